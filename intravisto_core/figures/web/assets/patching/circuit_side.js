/** Beside a circuit: the chosen part, what the circuit is worth, the curve of faithfulness. */
import { element } from "../shared/base.js";
import { shape } from "../shared/image.js";
import { wholeShare } from "../shared/numbers.js";
import { chooseEdges } from "./circuit_net.js";

const WIDE = 292;
const TALL = 176;
const LEFT = 38;
const BASE = 140;
const LEAST = 0.001; // the share at which the axis begins
const TICKS = [0.001, 0.01, 0.1, 1];

export function drawSide(picture, parent) {
  parent.replaceChildren();
  drawChosen(picture, element("div", "iv-part", parent));
  drawWorth(picture, element("div", "iv-part iv-worth", parent));
  drawCurve(picture, element("div", "iv-part", parent));
}

function drawChosen(picture, part) {
  const { chosen, data, kept } = picture;
  part.setAttribute("aria-live", "polite");
  if (chosen == null) {
    element("h3", "", part, "Heads and MLPs, layers up");
    const click = data.links ? "Click one to keep it or leave it out. " : "";
    element("p", "iv-quiet", part, `Filled ones are kept; a dot in an empty one is the size of its score, a bar in it means below 0. ${click}Strokes are what parts hand to each other.`);
    return;
  }
  element("h3", "", part, `${picture.nameOf(chosen)}: ${kept[chosen] ? "kept" : "left out"}`);
  element("p", "", part, data.tells[chosen]);
  if (!data.links) return;
  const line = element("div", "iv-ways", part);
  const isHead = chosen % picture.wide !== data.heads;
  const ways = [
    ["toggle", kept[chosen] ? "Leave it out" : "Keep it", "As a click on it does"],
    ["test", "Test this", "Does it matter so on other prompts, and more than chance does?"],
    ["layer", `Layer ${Math.floor(chosen / picture.wide)}`, "What this layer wrote, and who wrote it"],
    ...(isHead ? [["attention", "Attention", "Where this head looks, and why"]] : []),
  ];
  for (const [act, text, about] of ways) {
    const button = element("button", "iv-act", line, text);
    Object.assign(button, { type: "button", title: about });
    button.dataset.at = `way-${act}`;
    button.addEventListener("click", () => (act === "toggle" ? picture.toggle(chosen) : picture.send(act)));
  }
}

function drawWorth(picture, part) {
  const { data } = picture;
  const n = picture.kept.filter(Boolean).length;
  if (picture.changed) {
    element("h3", "", part, `${n} of ${picture.kept.length} parts, not measured yet`);
    element("p", "iv-quiet", part, "Press Measure to see what they are worth. Below, and in the curve, is what was measured last.");
  } else {
    const head = element("h3", "", part, "What it is worth");
    element("small", "", head, `${n} of ${picture.kept.length} parts`);
  }
  for (const line of data.said) element("p", picture.changed ? "iv-quiet" : "", part, line);
  for (const [name, value, about] of data.facts) {
    const line = element("p", "iv-fact", part);
    line.title = about;
    element("span", "", line, name);
    element("b", "", line, value);
  }
  const { drawn, left } = chooseEdges(picture);
  if (data.edges.length) element("p", "iv-quiet", part, left ? `${drawn.length} edges are drawn, ${left} lighter ones are not.` : `${drawn.length} edges are drawn.`);
  else element("p", "iv-quiet", part, `${data.edgesOf} ranks parts, not edges; EAP-IG draws edges too.`);
  for (const note of data.notes) element("p", "iv-quiet", part, note);
}

function drawCurve(picture, part) {
  const { curve, own, links } = picture.data;
  const head = element("h3", "", part, "Faithfulness");
  element("small", "", head, "the lead that is left, by how much is kept");
  const svg = shape("svg", { width: WIDE, height: TALL, class: "iv-curve", role: "img", "aria-label": `Faithfulness of ${curve.sizes.map((size, k) => `${size} parts: ${wholeShare(curve.f[k])}`).join(", ")}` }, part);
  const values = [0, 1, own, ...curve.f, ...curve.bySize, ...curve.low, ...curve.high].filter((v) => v != null);
  const [low, high] = [Math.max(-1.5, Math.min(...values)), Math.min(2.5, Math.max(...values))];
  const x = (share) => LEFT + 6 + ((WIDE - LEFT - 20) * Math.log(Math.max(LEAST, share) / LEAST)) / Math.log(1 / LEAST);
  const y = (f) => 8 + ((BASE - 12) * (high - Math.max(low, Math.min(high, f)))) / (high - low || 1);
  for (const mark of [0, 0.5, 1]) {
    shape("path", { d: `M${LEFT} ${y(mark)}H${WIDE - 6}`, class: mark === 0.5 ? "iv-rule" : "iv-rule iv-firm" }, svg);
    shape("text", { x: LEFT - 4, y: y(mark) + 4, class: "iv-tick iv-end" }, svg, wholeShare(mark));
  }
  for (const tick of TICKS) shape("text", { x: x(tick), y: BASE + 14, class: "iv-tick iv-middle" }, svg, `${100 * tick} %`);
  shape("text", { x: WIDE - 6, y: TALL - 4, class: "iv-tick iv-end" }, svg, "share of heads and MLPs kept, log scale");
  const line = (list) => curve.shares.map((share, k) => `${k ? "L" : "M"}${x(share).toFixed(1)} ${y(list[k]).toFixed(1)}`).join("");
  shape("path", { d: line(curve.bySize), class: "iv-by-size" }, svg);
  shape("path", { d: line(curve.f), class: "iv-by-score" }, svg);
  curve.shares.forEach((share, k) => {
    if (curve.low[k] != null) shape("path", { d: `M${x(share)} ${y(curve.low[k])}V${y(curve.high[k])}`, class: "iv-error" }, svg);
    const dot = shape("circle", { cx: x(share), cy: y(curve.f[k]), r: 4, class: `iv-dot${links ? " iv-take" : ""}`, "data-size": curve.sizes[k] }, svg);
    shape("title", {}, dot, `The ${curve.sizes[k]} best: ${wholeShare(curve.f[k])} of the lead.${links ? " Click to take them." : ""}`);
    if (links) dot.addEventListener("click", () => picture.takeBest(curve.sizes[k]));
  });
  const size = [...picture.data.measured].filter((c) => c === "1").length;
  const mine = shape("path", { d: `M${x(size / picture.kept.length)} ${y(own) - 6}l5 6l-5 6l-5 -6z`, class: "iv-own" }, svg);
  shape("title", {}, mine, `This circuit, ${size} parts: ${wholeShare(own)} of the lead.`);
  const key = element("div", "iv-key", part);
  for (const [name, text] of [["iv-by-score", "by score"], ["iv-by-size", "by size of score"], ["iv-own", "this circuit"]]) {
    const mark = shape("svg", { width: 16, height: 12 }, key);
    shape("path", { d: name === "iv-own" ? "M8 1l5 5l-5 5l-5 -5z" : "M0 6H16", class: name }, mark);
    element("span", "", key, text);
  }
}
