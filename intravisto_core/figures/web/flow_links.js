/**
 * Lists of places with their numbers: links of a node, heads of an edge, parts of a logit. A click leads there.
 * Data: { rev, wide, narrow, plain, signed, tables: [{ title, columns, more, lines: [{ kind, name, token, size, number, aside, negative, row,
 * position, part, help, id, open }] }] }. A line with an `id` is opened or closed by a click instead.
 */
import { announce, bus, element, rootOf, writeToken } from "./base.js";

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

function list(root, table, data, act) {
  const made = element("table", "iv-lines", root);
  head(made, table);
  const body = element("tbody", "", made);
  for (const line of table.lines) {
    const row = element("tr", line.level ? `iv-level${line.level}` : "", body);
    row.dataset.part = line.part ?? "";
    nameCell(row, line, act);
    if (data.plain) continue;
    bar(row, line, data.signed);
    element("td", "iv-number", row, line.number);
    if (table.columns?.length > 1) element("td", "iv-number iv-aside", row, line.aside);
  }
  if (table.more) element("div", "iv-more", root, table.more);
}

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const root = rootOf(parentElement, "iv-links");
  root.replaceChildren();
  root.classList.toggle("iv-wide", Boolean(data.wide));
  root.classList.toggle("iv-narrow", Boolean(data.narrow));
  const act = ({ row, position, part, id }) => {
    if (id != null) return setTriggerValue("open", id);
    const place = { row, position, part, how: "list", rev: data.rev };
    const { n } = announce(place, root);
    setStateValue("selection", { ...place, n });
  };
  for (const table of data.tables) list(root, table, data, act);
  const mark = ({ part }) => {
    for (const row of root.querySelectorAll("tr[data-part]")) row.classList.toggle("iv-on", Boolean(part) && row.dataset.part === part);
  };
  const follow = ({ detail }) => mark(detail);
  if (bus.selection) mark(bus.selection);
  bus.addEventListener("select", follow);
  return () => bus.removeEventListener("select", follow);
}
