/** One lane: a table of heads or neurons, ribbons into its rows, and from them to the sum that joins the stream. */
import { element, writeToken } from "../shared/base.js";
import { change, significant, wholePercent } from "../shared/numbers.js";
import { badge, ribbon, shape, tokenList } from "./layer_parts.js";
import { RAIL } from "./layer_stream.js";

export const HEADER = 24;
const TALLEST = 34;
const SHORTEST = 25;
const LEFT = { attention: 176, mlp: 118 };
const RIGHT = 92;
const LEAST = 0.4;
const SOURCE_LINE = 17; // px that a read token needs at its usual size
const SOURCE_TEXT = 0.8; // of its line, where many stand close
const LEAST_TEXT = 9;

/** How high a row is, so that the longer lane fills what both may take. */
export function pitchOf(lanes) {
  const longest = Math.max(...lanes.map((lane) => lane.rows.length), 6);
  return Math.max(SHORTEST, Math.min(TALLEST, 350 / longest));
}

/** A paint for a value: hatched where it pulls the other way. */
function paint(name, value, signed) {
  return signed && value < 0 ? `url(#iv-hatch-${name})` : `var(--iv-${name})`;
}

/** place: { x, y, width, height } of the lane; plus: where on the stream it joins. */
export function drawLane(picture, svg, name, place, plus) {
  const { data } = picture;
  const lane = data.lanes[name === "mlp" ? 1 : 0];
  const pitch = place.pitch;
  const value = (row) => row[picture.width] ?? 0;
  const signed = picture.width !== "size";
  const top = place.y + HEADER + Math.max(0, (place.height - HEADER - lane.rows.length * pitch) / 2);
  const largest = Math.max(...lane.rows.map((row) => Math.abs(value(row))), 1e-9);
  const unit = (pitch - 6) / largest;
  const left = place.x + LEFT[name];
  const right = place.x + place.width - RIGHT;
  const middle = (i) => top + pitch * (i + 0.5);
  drawHeader(picture, name, place, left, right);
  const links = shape("g", { class: `iv-links iv-of-${name}` }, svg);
  if (name === "attention") drawSources(picture, links, svg, place, { lane, middle, unit, left, value, signed });
  const bar = { x: right + 52, middle: place.y + (place.height + HEADER) / 2 };
  const addends = lane.rows.filter((row) => !row.inside);
  const stack = addends.reduce((sum, row) => sum + Math.abs(value(row)) * unit, 0);
  const squeeze = Math.min(1, (place.height * 0.42) / Math.max(stack, 1e-9));
  let y = bar.middle - (stack * squeeze) / 2;
  lane.rows.forEach((row, i) => {
    const height = Math.abs(value(row)) * unit;
    drawRow(picture, name, row, { left, right, y: middle(i), pitch, height, signed, value: value(row), lane: place });
    if (row.inside) return;
    const to = { x: bar.x, y: y + (height * squeeze) / 2, height: Math.max(0.6, height * squeeze) };
    const from = { x: right + 4, y: middle(i), height: Math.max(0.8, height) };
    const link = ribbon(links, from, to, paint(name, value(row), signed), row.kind === "others" ? "iv-rest" : "", row.hover);
    link.dataset.row = rowId(row);
    y += height * squeeze;
  });
  shape("rect", { x: bar.x, y: bar.middle - (stack * squeeze) / 2, width: 5, height: Math.max(1, stack * squeeze), class: `iv-sum iv-of-${name}` }, svg);
  drawRise(svg, name, { x: bar.x + 5, y: bar.middle, height: Math.max(1, stack * squeeze) }, plus);
}

function rowId(row) {
  return `${row.kind}.${row.expert}.${row.index}`;
}

/** From the sum up to the stream, as wide there as what it adds, on the stream's own scale. */
function drawRise(svg, name, from, plus) {
  const half = Math.max(1, plus.height) / 2;
  const [top, bottom] = [from.y - from.height / 2, from.y + from.height / 2];
  const path = [
    `M${from.x} ${top}C${(from.x + plus.x) / 2} ${top} ${plus.x - half} ${top} ${plus.x - half} ${RAIL + 70}L${plus.x - half} ${RAIL + 8}`,
    `H${plus.x + half}L${plus.x + half} ${RAIL + 70}C${plus.x + half} ${bottom} ${from.x + 20} ${bottom} ${from.x} ${bottom}Z`,
  ];
  shape("path", { d: path.join(""), class: `iv-rise-band iv-of-${name}` }, svg);
}

function drawHeader(picture, name, place, left, right) {
  const { data } = picture;
  const head = element("div", "iv-lane-head", picture.field);
  Object.assign(head.style, { left: `${place.x}px`, top: `${place.y}px`, width: `${place.width}px` });
  const at = (x, text, end = false) => {
    const made = element("span", end ? "iv-from-right" : "", head, text);
    made.style.left = `${x - place.x}px`;
    return made;
  };
  if (name === "attention") {
    at(left - 84, "reads", true);
    at(left + 12, "head");
  } else {
    at(left - 8, "fired by", true);
    at(left + 12, "neuron");
    at(left + 118, "active", true);
  }
  const ranks = at(left + (name === "mlp" ? 126 : 54), "rank");
  ranks.title = `rank of ${data.target} in what a row writes`;
  at(left + (name === "mlp" ? 190 : 118), "writes");
}

function drawRow(picture, name, row, at) {
  const { data } = picture;
  const clickable = row.kind === "head" || row.kind === "neuron";
  const made = element(clickable ? "button" : "div", `iv-row iv-of-${name}`, picture.field);
  made.classList.toggle("iv-inside", row.inside);
  made.dataset.row = rowId(row);
  made.title = row.hover;
  Object.assign(made.style, {
    left: `${at.left - 4}px`,
    top: `${at.y - at.pitch / 2 + 1}px`,
    width: `${at.right - at.left + 8}px`,
    height: `${at.pitch - 2}px`,
  });
  const bar = element("i", "iv-bar", made);
  bar.style.height = `${Math.max(1, at.height)}px`;
  bar.classList.toggle("iv-against", at.signed && at.value < 0);
  const title = element(clickable ? "b" : "span", name === "mlp" ? "iv-name iv-wide" : "iv-name", made, row.name);
  if (name === "mlp" && row.act != null) element("span", "iv-act-value", made, significant(row.act));
  else if (name === "mlp") title.classList.add("iv-over-act");
  badge(made, row.rank, data.vocabulary, picture.scale);
  tokenList(made, row.tokens, data.target);
  if (row.fired.length) {
    const fired = tokenList(picture.field, [...row.fired].reverse(), data.target, "iv-fired");
    Object.assign(fired.style, { right: `${picture.span - at.left + 10}px`, top: `${at.y - 9}px`, width: `${LEFT.mlp - 26}px` });
  }
  if (clickable) {
    made.setAttribute("aria-label", `${row.name}, rank ${row.rank}, ${picture.width} ${change(at.value)}`);
    made.addEventListener("click", () => picture.choose(row));
  }
}

/** The tokens that heads read, and a band from each to each head. */
function drawSources(picture, links, svg, place, { lane, middle, unit, left, value, signed }) {
  const { data } = picture;
  const { positions, names } = data.sources;
  const heads = lane.rows.filter((row) => row.kind === "head");
  const x = left - 78;
  const space = (place.height - HEADER) / Math.max(1, positions.length);
  const yOf = (j) => place.y + HEADER + space * (j + 0.5);
  const measured = data.sources[picture.width];
  const bands = heads.map((row, i) => {
    const sizes = measured[i].map((v) => Math.abs(v ?? 0));
    const sum = sizes.reduce((a, b) => a + b, 0) || 1;
    return sizes.map((v) => (v / sum) * Math.abs(value(row)) * unit);
  });
  const taken = positions.map((_, j) => bands.reduce((sum, band) => sum + band[j], 0));
  const squeeze = Math.min(1, Math.max(1, space - 3) / Math.max(...taken, 1e-9));
  const next = taken.map((v, j) => yOf(j) - (v * squeeze) / 2);
  heads.forEach((row, i) => {
    const at = lane.rows.indexOf(row);
    let y = middle(at) - bands[i].reduce((a, b) => a + b, 0) / 2;
    bands[i].forEach((height, j) => {
      const thin = height * squeeze;
      if (height > LEAST) {
        const title = [
          `${row.name} reads ${names[j]}: weight ${wholePercent(data.sources.weight[i][j])}`,
          `size ${significant(data.sources.size[i][j])}, pull ${change(data.sources.pull[i][j] ?? 0)}`,
        ].join(", ");
        const from = { x, y: next[j] + thin / 2, height: Math.max(0.5, thin) };
        const to = { x: left - 4, y: y + height / 2, height: Math.max(0.5, height) };
        const link = ribbon(links, from, to, paint("attention", measured[i][j], signed), "", title);
        link.dataset.row = rowId(row);
      }
      y += height;
      next[j] += thin;
    });
  });
  const most = Math.max(...taken, 1e-9);
  positions.forEach((position, j) => {
    const label = element("span", "iv-source", picture.field);
    const share = taken[j] / most;
    Object.assign(label.style, { right: `${picture.span - x + 6}px`, top: `${yOf(j) - 8}px`, opacity: 0.55 + 0.45 * share });
    if (space < SOURCE_LINE) label.style.fontSize = `${Math.max(LEAST_TEXT, SOURCE_TEXT * space)}px`;
    label.classList.toggle("iv-much", share > 0.3);
    if (position >= 0) element("small", "", label, String(position));
    writeToken(element("span", "iv-source-name", label), names[j]);
    label.style.display = (space < 9 && share < 0.2) || (position < -3 && share < 0.05) ? "none" : "";
    const height = Math.max(1, taken[j] * squeeze);
    shape("rect", { x: x - 3, y: yOf(j) - height / 2, width: 3, height, class: "iv-source-bar" }, svg);
  });
}
