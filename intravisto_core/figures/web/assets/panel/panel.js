/** The selected cell: its tokens with bars, what it promotes and suppresses, shares at its junctions. Data: panel.py. */
import { bus, element, rootOf, writeToken } from "../shared/base.js";
import { change, probability, share, significant } from "../shared/numbers.js";

const chance = (p) => (p === 0 ? "0" : probability(p));
const FORMATS = { probability, chance, logit: change, coefficient: significant };

function tokenButton(parent, entry, pin) {
  const button = element("button", "iv-pick", parent);
  button.type = "button";
  writeToken(button, entry.token);
  button.setAttribute("aria-pressed", String(Boolean(entry.colour)));
  button.title = entry.colour ? "remove from the chart" : "draw over the layers";
  button.addEventListener("click", () => pin(entry.id));
  if (!entry.colour) return;
  button.classList.add("iv-pinned");
  button.style.setProperty("--iv-pin", entry.colour);
}

function nameColumns(table, names) {
  const row = element("tr", "", element("thead", "", table));
  element("td", "iv-rank", row);
  element("td", "iv-cell-token", row);
  element("td", "", row);
  for (const name of names) element("th", "iv-number", row, name).scope = "col";
}

function listTokens(root, { title, kind, down, entries, columns, hue }, pin) {
  if (!entries.length) return;
  const table = element("table", `iv-list${down ? " iv-down" : ""}${columns?.length ? " iv-wide" : ""}`, root);
  element("caption", "", table, title);
  if (columns?.length) nameColumns(table, columns);
  const body = element("tbody", "", table);
  const most = ["probability", "chance"].includes(kind) ? 1 : Math.max(...entries.map(({ value }) => Math.abs(value))) || 1;
  entries.forEach((entry, index) => {
    const row = element("tr", "", body);
    element("td", "iv-rank", row, index + 1);
    tokenButton(element("td", "iv-cell-token", row), entry, pin);
    const bar = element("span", "iv-gauge", element("td", "", row));
    element("i", hue ? `iv-${hue}` : "", bar).style.width = `${entry.value ? Math.max(0.8, (100 * Math.abs(entry.value)) / most) : 0}%`;
    element("td", "iv-number", row, FORMATS[kind](entry.value));
    if (columns?.length) element("td", "iv-number iv-aside", row, entry.aside);
  });
}

function listSteps(root, { title, entries }, go) {
  const table = element("table", "iv-list iv-steps", root);
  element("caption", "", table, title);
  const body = element("tbody", "", table);
  const most = Math.max(...entries.map(({ value }) => Math.abs(value))) || 1;
  entries.forEach(({ kind, name, value }, index) => {
    const row = element("tr", "", body);
    const button = element("button", "iv-pick", element("td", "iv-place", row), name);
    button.type = "button";
    button.title = "open this cell";
    row.addEventListener("click", () => go(index));
    const bar = element("span", "iv-gauge", element("td", "", row));
    element("i", `iv-${kind}`, bar).style.width = `${(100 * Math.max(0, value)) / most}%`;
    element("td", "iv-number", row, change(value));
  });
}

function showFacts(root, facts) {
  if (!facts.length) return;
  const list = element("dl", "iv-facts", root);
  for (const { name, value, help } of facts) {
    const item = element("div", "", list);
    item.title = help ?? "";
    element("dt", "", item, name);
    element("dd", "", item, value);
  }
}

function showShareBars(root, { title, parts }) {
  element("div", "iv-heading", root, title);
  const total = parts.reduce((sum, { share: size }) => sum + Math.abs(size), 0) || 1;
  const bar = element("div", "iv-stack", root);
  const legend = element("div", "iv-legend", root);
  for (const { kind, name, share: size } of parts) {
    const piece = element("span", `iv-${kind}${size < 0 ? " iv-negative" : ""}`, bar);
    piece.style.width = `${(100 * Math.abs(size)) / total}%`;
    piece.title = `${name} ${share(size)}`;
    const item = element("span", "", legend);
    element("i", `iv-${kind}${size < 0 ? " iv-negative" : ""}`, item);
    item.append(`${name} `);
    element("b", "", item, share(size));
  }
}

function showWrites(root, writes) {
  for (const { kind, name, tokens } of writes) {
    const row = element("div", "iv-write", root);
    element("i", `iv-${kind}`, row);
    element("span", "iv-writer", row, name);
    const list = element("span", "iv-written", row);
    for (const text of tokens) writeToken(element("span", "", list), text);
    list.title = tokens.join("  ");
  }
}

/** Until the server has answered, the panel of a cell that is no longer the selected one is dimmed. */
function dimWhenLeft(root, { row, position }) {
  const follow = ({ detail }) =>
    root.classList.toggle("iv-left", row != null && (detail.row !== row || detail.position !== position));
  root.classList.remove("iv-left");
  bus.addEventListener("select", follow);
  return () => bus.removeEventListener("select", follow);
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = rootOf(parentElement, "iv-panel");
  root.replaceChildren();
  if (data.reason) element("p", "iv-reason", root, data.reason);
  for (const list of data.lists ?? []) listTokens(root, list, (id) => setTriggerValue("pin", id));
  if (data.steps) listSteps(root, data.steps, (index) => setTriggerValue("go", index));
  showFacts(root, data.facts ?? []);
  for (const junction of data.junctions ?? []) showShareBars(root, junction);
  showWrites(root, data.writes ?? []);
  root.forget?.();
  root.forget = dimWhenLeft(root, data);
  return root.forget;
}
