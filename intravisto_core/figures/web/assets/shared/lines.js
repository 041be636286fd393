/** Tables of lines, each with a bar and its number: places that a click leads to, or parts that a click unfolds. */
import { element, writeToken } from "./base.js";

function head(table, { title, columns }) {
  if (title) element("caption", "", table, title);
  if (!columns?.length) return;
  const row = element("tr", "", element("thead", "", table));
  element("td", "iv-what", row);
  element("td", "iv-room", row);
  for (const name of columns) element("th", "iv-number", row, name).scope = "col";
}

function nameCell(parent, line, act) {
  const cell = element("td", "iv-what", parent);
  const clickable = line.part != null || line.id != null;
  const words = element(clickable ? "button" : "span", clickable ? "iv-go" : "", cell);
  if (line.id != null) {
    words.setAttribute("aria-expanded", String(Boolean(line.open)));
    element("i", "iv-open", words, line.open ? "▾" : "▸");
  }
  element("i", `iv-dot iv-${line.kind}`, words);
  words.append(line.name);
  if (line.token) writeToken(element("b", "", words), line.token);
  words.title = [line.name, line.help].filter(Boolean).join("\n");
  if (!clickable) return;
  words.type = "button";
  words.addEventListener("click", () => act(line));
}

function bar(parent, line, signed) {
  const room = element("span", `iv-gauge${signed ? " iv-signed" : ""}`, element("td", "iv-room", parent));
  const fill = element("i", `iv-${line.kind}${line.negative ? " iv-negative" : ""}`, room);
  const width = 100 * Math.min(1, Math.abs(line.size));
  fill.style.width = `${Math.abs(line.size) > 1e-4 ? Math.max(0.6, signed ? width / 2 : width) : 0}%`;
  if (signed) fill.style.marginLeft = `${line.size < 0 ? 50 - width / 2 : 50}%`;
}

/** Draw one table; `act` gets the line that was clicked. */
export function drawTable(root, table, data, act) {
  const made = element("table", "iv-lines", root);
  head(made, table);
  const body = element("tbody", "", made);
  for (const line of table.lines) {
    const row = element("tr", line.level ? `iv-level${line.level}` : "", body);
    row.dataset.part = line.part ?? "";
    row.dataset.head = line.head ?? "";
    nameCell(row, line, act);
    if (data.plain) continue;
    bar(row, line, data.signed);
    element("td", "iv-number", row, line.number);
    if (table.columns?.length > 1) element("td", "iv-number iv-aside", row, line.aside);
  }
  if (table.more) element("div", "iv-more", root, table.more);
}
