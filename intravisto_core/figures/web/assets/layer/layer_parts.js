/** What the picture of a layer and its cards share: rank badges, lists of tokens, bars, ribbons. */
import { element, printable, writeToken } from "../shared/base.js";
import { rank } from "../shared/numbers.js";

const NS = "http://www.w3.org/2000/svg";

export function shape(tag, attributes, parent) {
  const made = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent?.append(made);
  return made;
}

/** Where a rank stands on a scale that is logarithmic at both ends: 1 is first, 0 is the middle, −1 is last. */
export function standing(place, vocabulary) {
  const half = Math.log(Math.max(2, vocabulary / 2));
  const near = 1 - Math.log(place) / half;
  return near > 0 ? near : Math.min(0, Math.log(Math.max(1, vocabulary + 1 - place)) / half - 1);
}

/** The rank of the target, coloured. */
export function badge(parent, place, vocabulary, scale) {
  const made = element("span", "iv-rank", parent, `#${rank(place)}`);
  const step = scale[Math.round(((standing(place, vocabulary) + 1) / 2) * (scale.length - 1))];
  Object.assign(made.style, { background: step.fill, color: step.ink });
  return made;
}

/** Tokens in a row, as many as fit; the target is underlined. */
export function tokenList(parent, tokens, target, className = "") {
  const list = element("span", `iv-list ${className}`, parent);
  for (const text of tokens) {
    const made = element("span", text === target ? "iv-token iv-target" : "iv-token", list);
    writeToken(made, text);
  }
  list.title = tokens.join("  ");
  return list;
}

/** A band from one upright edge to another; heights are at the ends, y are the middles. */
export function ribbon(parent, from, to, colour, className, title = "") {
  const bend = (from.x + to.x) / 2;
  const [a, b] = [from.y - from.height / 2, to.y - to.height / 2];
  const path = [
    `M${from.x} ${a}C${bend} ${a} ${bend} ${b} ${to.x} ${b}`,
    `V${b + to.height}C${bend} ${b + to.height} ${bend} ${a + from.height} ${from.x} ${a + from.height}Z`,
  ];
  const made = shape("path", { d: path.join(""), fill: colour, class: `iv-ribbon ${className}` }, parent);
  if (title) shape("title", {}, made).textContent = printable(title);
  return made;
}

/** Patterns for what pulls the other way. */
export function hatches(svg) {
  const defs = shape("defs", {}, svg);
  for (const name of ["attention", "mlp"]) {
    const turn = { patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" };
    const pattern = shape("pattern", { id: `iv-hatch-${name}`, width: 6, height: 6, ...turn }, defs);
    shape("rect", { width: 6, height: 6, class: `iv-hatch-ground iv-of-${name}` }, pattern);
    shape("rect", { width: 2.4, height: 6, class: `iv-hatch-line iv-of-${name}` }, pattern);
  }
}
