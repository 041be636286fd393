/** The second section: the target's rank after every attention and MLP, the steps at which it comes up, its chance. */
import { element } from "../shared/base.js";
import { shape } from "../shared/image.js";

const LEFT = 48;
const RIGHT = 10;
const TOP = 12;
const HEIGHT = 334;
const CURVE = 250;
const BASE = 312;
const BARS = 38;
const APART = 31;
const LEADER = 30;
const TEXT = 150;
const RANKS = [1, 5, 10, 100, 1000, 10000, 100000];
const SHOWN_CHANCE = 0.1;

function drawRanks(svg, vocabulary, y, width) {
  for (const rank of RANKS.filter((r) => r < vocabulary)) {
    shape("path", { d: `M${LEFT} ${y(rank)}H${width - RIGHT}`, class: rank === 1 ? "iv-rule iv-firm" : "iv-rule" }, svg);
    const name = rank === 1 ? "first" : rank.toLocaleString("en-US");
    shape("text", { x: LEFT - 6, y: y(rank) + 4, class: "iv-scale iv-end" }, svg, name);
  }
}

function drawSteps(svg, rise, x, y) {
  const { rank, halves } = rise;
  for (let i = 1; i < rank.length; i++) {
    shape("path", { d: `M${x(i - 1)} ${y(rank[i - 1])}L${x(i)} ${y(rank[i])}`, class: `iv-step iv-${halves[i]}` }, svg);
  }
}

function drawContrast(svg, data, x, y) {
  const ranks = data.rise.contrast;
  if (!ranks) return;
  shape("path", { d: ranks.map((r, i) => `${i ? "L" : "M"}${x(i)} ${y(r)}`).join(""), class: "iv-other" }, svg);
  const early = Math.ceil(0.3 * ranks.length);
  const top = Math.min(...ranks.slice(0, early).map((r, i) => Math.min(y(r), y(data.rise.rank[i]))));
  shape("text", { x: x(1), y: Math.max(top - 8, TOP + 10), class: "iv-other-name" }, svg, data.contrast);
}

function drawMoments(card, svg, rise, x, y) {
  let before = -APART;
  const places = [...rise.moments].sort((a, b) => b.step - a.step);
  const least = Math.min(...places.map((m) => x(m.step)), Infinity);
  for (const moment of places) {
    const line = Math.max(before + APART, Math.min(y(rise.rank[moment.step]) - 2, CURVE - 16), TOP + 8);
    before = line;
    const px = x(moment.step);
    const py = y(rise.rank[moment.step]);
    const left = px - LEADER - TEXT > LEFT;
    const end = left ? Math.min(px, Math.max(least, LEFT + TEXT + LEADER)) - LEADER : px + LEADER;
    const side = left ? "iv-end" : "iv-start";
    const bend = left ? end + 10 : end - 10;
    shape("path", { d: `M${left ? end + 3 : end - 3} ${line - 4}H${bend}L${left ? px - 4 : px + 4} ${py}`, class: "iv-leader" }, svg);
    const dot = shape("circle", { cx: px, cy: py, r: 4.5, class: "iv-moment" }, svg);
    shape("text", { x: end, y: line, class: `iv-what-name ${side}` }, svg, moment.text);
    shape("text", { x: end, y: line + 13, class: `iv-scale ${side} iv-halo` }, svg, moment.small);
    if (!card.data.links) continue;
    dot.setAttribute("tabindex", "0");
    dot.setAttribute("role", "button");
    dot.setAttribute("aria-label", `${moment.text}, ${moment.small}: open in the heatmap`);
    dot.dataset.at = `moment-${moment.step}`;
    shape("title", {}, dot, "Open this cell in the heatmap");
    const open = () => card.send({ do: "open", to: "heatmap", row: moment.row });
    dot.addEventListener("click", open);
    dot.addEventListener("keydown", ({ key }) => key === "Enter" && open());
  }
}

function drawChance(svg, rise, left, right) {
  const each = (right - left) / rise.chance.length;
  shape("text", { x: LEFT - 6, y: BASE - BARS / 2 + 4, class: "iv-scale iv-end" }, svg, "chance");
  shape("path", { d: `M${left} ${BASE}H${right}`, class: "iv-rule" }, svg);
  rise.chance.forEach((p, layer) => {
    const tall = Math.max(0.5, BARS * (p ?? 0));
    const bar = shape("rect", { x: left + each * layer + Math.min(1, each / 6), y: BASE - tall, width: Math.max(1, each - 2), height: tall, class: "iv-bar" }, svg);
    shape("title", {}, bar, `after layer ${layer}: ${rise.chanceText[layer]}`);
  });
  const last = rise.chance.length - 1;
  if (rise.chance[last] > SHOWN_CHANCE) {
    const y = BASE - BARS * rise.chance[last] - 4;
    shape("text", { x: right, y, class: "iv-scale iv-end iv-halo" }, svg, rise.chanceNow);
  }
  const every = [1, 2, 5, 10, 20].find((step) => (each * step) >= 26) ?? 40;
  for (let layer = 0; layer <= last; layer++) {
    const near = layer !== last && last - layer < every * 0.7;
    if ((layer % every && layer !== last) || near) continue;
    shape("text", { x: left + each * (layer + 0.5), y: BASE + 15, class: "iv-scale iv-middle" }, svg, String(layer));
  }
  shape("text", { x: LEFT - 6, y: BASE + 15, class: "iv-scale iv-end" }, svg, "layer");
}

export function drawRise(card, parent) {
  const { data } = card;
  const { rise } = data;
  const part = element("div", "iv-part iv-rise", parent);
  const head = element("h3", "", part);
  element("span", "iv-count", head, "2");
  head.append(" When it comes up");
  const small = element("small", "", head);
  small.append("rank after each ");
  if (rise.halves.includes("attention")) {
    element("b", "iv-attention-name", small, "attention");
    small.append(" and ");
    element("b", "iv-mlp-name", small, "MLP");
  } else small.append("block");
  const width = part.clientWidth - 24;
  const svg = shape("svg", { width, height: HEIGHT, role: "img", "aria-label": rise.inWords }, part);
  const steps = rise.rank.length - 1;
  const x = (i) => LEFT + ((width - LEFT - RIGHT) * i) / Math.max(1, steps);
  const y = (r) => TOP + ((CURVE - TOP) * Math.log(Math.max(1, r))) / Math.log(Math.max(2, rise.vocabulary));
  drawRanks(svg, rise.vocabulary, y, width);
  drawContrast(svg, data, x, y);
  drawSteps(svg, rise, x, y);
  drawMoments(card, svg, rise, x, y);
  drawChance(svg, rise, LEFT, width - RIGHT);
}
