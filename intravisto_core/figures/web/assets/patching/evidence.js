/**
 * A claim that was tested: one row a prompt, what the edit did beside its controls, then the verdict. Data: what
 * evidence_payload.py packs.
 */
import { element } from "../shared/base.js";
import { Card, showCard } from "../shared/card.js";
import { shape } from "../shared/image.js";
import { significant } from "../shared/numbers.js";

const NARROW = 760;
const SIDE = 316;
const LABEL = 168;
const ROW = { least: 17, most: 26, room: 330 };
const TOP = 20;
const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100];

class Evidence extends Card {
  constructor(root) {
    super(root, "iv-evidence-card");
  }

  paint() {
    const { card, data } = this;
    if (!data || !card.clientWidth) return;
    this.width = card.clientWidth;
    const slim = this.width < NARROW;
    card.classList.toggle("iv-slim", slim);
    card.replaceChildren();
    const rows = element("div", "iv-rows", card);
    drawRows(data, rows, (slim ? this.width : this.width - SIDE) - 28);
    const side = element("div", "iv-verdict", card);
    drawVerdict(data, side, (slim ? Math.min(this.width, 420) : SIDE) - 28);
  }
}

function mark(kind, x, y, size = 3) {
  const corners = {
    square: [[-1, -1], [1, -1], [1, 1], [-1, 1]],
    triangle: [[0, -1.3], [1.25, 1], [-1.25, 1]],
    diamond: [[0, -1.4], [1.4, 0], [0, 1.4], [-1.4, 0]],
  }[kind];
  if (!corners) return ["circle", { cx: x, cy: y, r: size }];
  return ["path", { d: `M${corners.map(([a, b]) => `${(x + a * size).toFixed(1)} ${(y + b * size).toFixed(1)}`).join("L")}Z` }];
}

function ticksOf(low, high) {
  const step = STEPS.find((each) => (high - low) / each <= 6) ?? 200;
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high + 1e-9; k++) found.push(Number((k * step).toPrecision(6)));
  return found;
}

function drawKey(data, parent) {
  const key = element("div", "iv-key", parent);
  element("b", "", key, "What the edit did");
  const items = [["iv-edit", "circle", 4.5, "the edit"], ...data.kinds.map(({ name, shape: kind }) => ["iv-control", kind, 3.4, name])];
  for (const [className, kind, size, name] of items) {
    const item = element("span", "", key);
    const svg = shape("svg", { width: 12, height: 12, class: className }, item);
    shape(...mark(kind, 6, 6, size), svg);
    item.append(name);
  }
}

function drawRows(data, parent, width) {
  drawKey(data, parent);
  const values = data.rows.flatMap(({ effect, controls }) => [effect, ...controls.map(([, value]) => value)]);
  const [low, high] = [Math.min(0, ...values), Math.max(...values, 1e-6)];
  const x = (v) => LABEL + ((width - LABEL - 10) * (v - low)) / (high - low);
  const pitch = Math.max(ROW.least, Math.min(ROW.most, Math.floor(ROW.room / data.rows.length)));
  const height = TOP + pitch * data.rows.length + 4;
  const svg = shape("svg", { width, height, role: "img", "aria-label": `${data.rows.length} prompts. ${data.said[0]}` }, parent);
  shape("text", { x: LABEL - 8, y: 11, class: "iv-tick iv-end" }, svg, data.axis);
  for (const tick of ticksOf(low, high)) {
    shape("path", { d: `M${x(tick)} ${TOP - 4}V${height}`, class: tick ? "iv-line" : "iv-line iv-zero" }, svg);
    shape("text", { x: x(tick), y: 11, class: "iv-tick iv-middle" }, svg, significant(tick));
  }
  data.rows.forEach((row, k) => drawRow(data, svg, row, TOP + pitch * (k + 0.5), x));
}

function drawRow(data, svg, row, y, x) {
  const line = shape("g", {}, svg);
  shape("title", {}, line, row.prompt);
  shape("text", { x: LABEL - 8, y: y + 4, class: "iv-label iv-end" }, line, `${row.own ? "◆ " : ""}${row.label}`);
  const more = row.effect > row.against;
  shape("path", { d: `M${x(row.against)} ${y}H${x(row.effect)}`, class: more ? "iv-reach" : "iv-reach iv-short" }, line);
  for (const [kind, value, words] of row.controls) {
    const made = shape(...mark(data.kinds[kind].shape, x(value), y, 2.8), line);
    made.setAttribute("class", "iv-control");
    shape("title", {}, made, `${data.kinds[kind].name}: ${words}, ${significant(value)}`);
  }
  const dot = shape("circle", { cx: x(row.effect), cy: y, r: 5, class: "iv-edit" }, line);
  shape("title", {}, dot, `${row.prompt}: ${row.number} logits`);
}

function drawVerdict(data, parent, width) {
  const head = element("div", `iv-head iv-${data.kind}`, parent);
  element("i", "", head, { good: "✓", bad: "≈", open: "…" }[data.kind]);
  element("b", "", head, data.verdict);
  parent.setAttribute("aria-live", "polite");
  element("p", "iv-claim", parent, data.claim);
  for (const line of data.said) element("p", "", parent, line);
  if (data.interval) drawInterval(data, parent, width);
  for (const line of data.notes) element("p", "iv-quiet", parent, line);
}

function drawInterval({ interval, kind }, parent, width) {
  element("div", "iv-quiet", parent, interval.about);
  const all = [interval.low, interval.high, 0, ...interval.points];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const x = (v) => 10 + ((width - 20) * (v - low)) / (high - low || 1);
  const svg = shape("svg", { width, height: 50, role: "img", "aria-label": interval.inWords }, parent);
  shape("path", { d: `M10 24H${width - 10}`, class: "iv-line" }, svg);
  shape("path", { d: `M${x(0)} 5V34`, class: "iv-zero" }, svg);
  for (const tick of ticksOf(low, high)) shape("text", { x: x(tick), y: 46, class: "iv-tick iv-middle" }, svg, significant(tick));
  for (const point of interval.points) shape("circle", { cx: x(point), cy: 13, r: 2.6, class: "iv-control" }, svg);
  shape("path", { d: `M${x(interval.low)} 24H${x(interval.high)}`, class: `iv-span iv-${kind}` }, svg);
  shape("circle", { cx: x(interval.mean), cy: 24, r: 5.5, class: `iv-mean iv-${kind}` }, svg);
  shape("title", {}, svg, interval.inWords);
}

export default function (given) {
  return showCard(Evidence, "iv-evidence", given);
}
