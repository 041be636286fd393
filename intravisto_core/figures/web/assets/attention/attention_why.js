/** Why a head looks from a query to a key: its score as (part of the stream at the query) × (part at the key). */
import { element, writeToken } from "../shared/base.js";
import { shape } from "../shared/image.js";
import { cutName, reference, whyName } from "./attention_needs.js";
import { about, clip } from "./attention_parts.js";

const LEFT = 68;
const RIGHT = 30;
const TOP = 70;
const LINE = 22;
const STRONG = 0.35; // of the largest margin, from which a name is bold
const PAIRS = 4;
const OFFERED = 6; // keys that the score can be held against
const REFERENCES = [
  ["mean", "the mean of other keys"],
  ["weighted", "their mean by attention"],
  ["none", "nothing"],
];
const HELD = "The softmax ignores what all keys of a query share: a score says something beside others. By attention: what moves this key's odds. One other key: why this key and not that one.";
const COLUMNS = [
  ["without", "The part that is taken away, and the end that it is taken from"],
  ["predicted", "The weight by the table above, norms held"],
  ["measured", "The weight computed anew without the part, for this head alone"],
  ["total", "The weight in a run where the part is gone at that position for all that read it"],
];

export function drawWhy(panel, what) {
  const { state, body } = panel;
  if (!state.isOneHead()) return say(panel, "Choose one head: a mean of several has no score of its own. Click a head in the map at the left.");
  const packet = state.packet(whyName(state));
  const cut = state.cut && state.packet(cutName(state));
  const drawn = `${whyName(state)} ${Boolean(packet)} ${JSON.stringify(state.cut)} ${Boolean(cut)} ${panel.scheme.paper} ${body.clientWidth}`;
  if (panel.why === drawn && !what.has("dark")) return null;
  panel.why = drawn;
  if (!packet) return wait(panel);
  if (packet.error) return say(panel, packet.error, true);
  const { scrollTop } = body;
  const same = body.dataset.why === whyName(state);
  body.dataset.why = whyName(state);
  body.replaceChildren();
  body.classList.remove("iv-stale");
  drawTitle(panel, packet);
  drawGrid(panel, packet);
  drawWords(panel, packet);
  drawCut(panel, packet, cut);
  drawPairs(panel, packet);
  for (const note of packet.notes) element("p", "iv-small", body, note);
  body.scrollTop = same ? scrollTop : 0;
  return null;
}

function say(panel, words, problem = false) {
  panel.why = null;
  panel.body.replaceChildren();
  element("p", problem ? "iv-problem" : "iv-quiet", panel.body, words);
}

function wait({ body }) {
  if (body.querySelector(".iv-why")) body.classList.add("iv-stale");
  else {
    body.replaceChildren();
    element("p", "iv-quiet", body, "The score is being split …");
  }
}

function drawTitle(panel, { from, to }) {
  const { state, body } = panel;
  const title = element("p", "iv-cap iv-whytitle", body, "Why ");
  writeToken(element("b", "", title), clip(state.label(from), 14));
  element("small", "", title, ` ${from}`);
  title.append(" looks at ");
  writeToken(element("b", "", title), clip(state.label(to), 14));
  element("small", "", title, ` ${to}`);
  if (state.base.against) element("small", "", title, " in the edited run");
  const line = element("div", "iv-against", body);
  element("span", "iv-said", line, "score less ");
  offerReferences(panel, line, to);
}

/** What the score is held against: a mean, nothing, or another key: the sinks of the layer, and what the query looks at. */
function offerReferences({ state }, line, to) {
  const { base, query, picks } = state;
  const weights = new Map();
  state.made.slice?.visitRow(query, (key, weight) => weights.set(key, Math.abs(weight)));
  const sinks = base.found[Math.floor(picks[0] / base.heads)].filter((key) => key <= query);
  const largest = [...weights.keys()].sort((a, b) => weights.get(b) - weights.get(a));
  const against = String(reference(state));
  const chosen = REFERENCES.some(([value]) => value === against) ? [] : [Number(against)];
  const keys = [...new Set([...chosen, ...sinks, ...largest])].filter((key) => key !== to).slice(0, OFFERED);
  const box = element("select", "", line);
  box.ariaLabel = "Held against";
  box.title = HELD;
  const offer = (value, words) => (element("option", "", box, words).value = value);
  for (const [value, words] of REFERENCES) offer(value, words);
  for (const key of keys) offer(String(key), `that of ${clip(state.label(key), 14)} ${key}`);
  box.value = against;
  box.addEventListener("change", () => state.change({ against: box.value }));
}

/** Names of heads lead to that head at that position. */
function lead(panel, mark, name, position) {
  const { state } = panel;
  if (!/^L\d+H\d+$/.test(name)) return;
  mark.classList.add("iv-lead");
  mark.setAttribute("tabindex", "0");
  mark.setAttribute("role", "link");
  const go = () => {
    state.change({ heads: name, query: position, lockQuery: true, lockKey: false, key: position, link: null, cut: null });
    state.select();
  };
  mark.addEventListener("click", go);
  mark.addEventListener("keydown", (event) => event.key === "Enter" && go());
}

const number = (value) => (Math.abs(value) < 0.05 ? "" : value.toFixed(1).replace("-", "−"));
const full = (value) => number(value) || "0.0";

function drawGrid(panel, { rows, columns, cells, rowSums, columnSums, sum: packetSum, total, from, to }) {
  const { state, body, scheme } = panel;
  const width = Math.max(240, body.clientWidth - 24);
  const step = Math.floor((width - LEFT - RIGHT) / columns.length);
  const bottom = TOP + rows.length * LINE;
  const svg = shape("svg", { class: "iv-why", width, height: bottom + 20, role: "table", "aria-label": `The score in parts; sum ${full(total)}` }, body);
  const most = Math.max(...cells.flat().map(Math.abs), 1e-9);
  const strongest = (sums) => STRONG * Math.max(...sums.map(Math.abs));
  const text = (attributes, words, strong) => shape("text", { ...attributes, ...(strong ? { class: "iv-strong" } : {}) }, svg, words);
  text({ x: LEFT - 6, y: 12, "text-anchor": "end" }, "at the key →");
  text({ x: LEFT - 6, y: TOP - 7, "text-anchor": "end" }, "query ↓");
  columns.forEach(({ name, short, title }, at) => {
    const mark = text({ transform: `translate(${LEFT + at * step + step / 2 + 4} ${TOP - 5}) rotate(-60)` }, short, Math.abs(columnSums[at]) > strongest(columnSums));
    shape("title", {}, mark, title);
    lead(panel, mark, name, to);
  });
  rows.forEach(({ name, short, title }, at) => {
    const y = TOP + at * LINE;
    const mark = text({ x: LEFT - 6, y: y + 15, "text-anchor": "end" }, short, Math.abs(rowSums[at]) > strongest(rowSums));
    shape("title", {}, mark, title);
    lead(panel, mark, name, from);
    cells[at].forEach((value, column) => {
      const { fill, ink } = scheme.divergingScale[Math.round(127.5 * (1 + Math.max(-1, Math.min(1, value / most))))];
      const cell = shape("rect", { x: LEFT + column * step, y, width: step - 1, height: LINE - 1, rx: 2, fill }, svg);
      shape("title", {}, cell, `${name} at the query × ${columns[column].name} at the key: ${value.toFixed(3).replace("-", "−")}`);
      if (number(value) && step > 15) shape("text", { x: LEFT + column * step + (step - 1) / 2, y: y + 15, "text-anchor": "middle", class: `iv-num${step < 21 ? " iv-tiny" : ""}`, style: `fill:${ink}` }, svg, number(value));
    });
    text({ x: width - 2, y: y + 15, "text-anchor": "end", class: "iv-num" }, full(rowSums[at]), true);
  });
  columnSums.forEach((value, at) => text({ x: LEFT + at * step + (step - 1) / 2, y: bottom + 14, "text-anchor": "middle" }, full(value), true));
  text({ x: LEFT - 6, y: bottom + 14, "text-anchor": "end" }, "sum");
  text({ x: width - 2, y: bottom + 14, "text-anchor": "end" }, full(packetSum), true);
}

function drawWords({ body }, { words }) {
  for (const sentence of words) element("p", "iv-small", body, sentence);
}

function drawPairs(panel, { pairs, total }) {
  if (!pairs.length) return;
  const box = element("div", "iv-list", panel.body);
  element("p", "iv-cap", box, "Largest pairs, query × key");
  const most = Math.max(...pairs.map(({ value }) => Math.abs(value)), Math.abs(total), 1e-9);
  for (const { query, key, value } of pairs.slice(0, PAIRS)) {
    const row = element("div", "iv-row iv-wide", box);
    element("span", "iv-rowname", row, `${query} × ${key}`);
    const gauge = element("span", "iv-gauge", row);
    element("i", value < 0 ? "iv-of-less" : "iv-of-more", gauge).style.width = `${(100 * Math.abs(value)) / most}%`;
    element("span", "iv-number", row, full(value));
  }
}

/** Without a part: the weight predicted and measured, for this head alone, and with the part gone for all its readers. */
function drawCut(panel, packet, asked) {
  const { state, body } = panel;
  const box = element("div", "iv-list iv-cuts", body);
  const caption = element("p", "iv-cap", box, `Cut this · the weight is ${about(packet.weight)}`);
  const table = element("table", "", box);
  const top = element("tr", "", table);
  for (const [name, title] of COLUMNS) element("th", "", top, name).title = title;
  for (const { name, end, predicted, measured, can } of packet.cuts) {
    const line = element("tr", "", table);
    const cell = element("td", "", line);
    const label = element("span", "", cell, name);
    lead(panel, label, name, end === "key" ? packet.to : packet.from);
    element("small", "", cell, ` at the ${end}`);
    element("td", "", line, predicted == null ? "–" : about(predicted));
    element("td", "", line, measured == null ? "–" : about(measured));
    const place = element("td", "", line);
    const mine = state.cut?.part === name && state.cut.end === end;
    if (mine && asked) place.textContent = asked.error ? "–" : asked.total == null ? "–" : about(asked.total);
    else if (mine) place.textContent = "…";
    else if (can) {
      const button = element("button", "iv-act", place, "cut");
      button.type = "button";
      button.title = `Run on without ${name} at the ${end}, for all that read it`;
      button.addEventListener("click", () => state.change({ cut: { part: name, end } }));
    }
    if (mine && asked?.error) element("p", "iv-problem", box, asked.error);
  }
}

