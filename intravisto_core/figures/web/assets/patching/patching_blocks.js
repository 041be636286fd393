/** The blocks of a grid: each a plane of layers × columns with its header; all share the layer axis. */
import { element } from "../shared/base.js";
import { measurer, shape, shortener } from "../shared/image.js";
import { showShort } from "./patching_words.js";

const ROW = { least: 9, most: 46 };
const COLUMN = { position: { least: 34, most: 76 }, head: { least: 13, most: 30 } };
const NUMBER_ROW = 11; // px of a row from which numbers stand in its cells
const LABEL = 46;
const EDGE = 3; // room for the outline of a chosen cell
const BETWEEN = 18;
const RESERVE = 428; // px of the window that stand above and below the rows
const PREFIX = { each: 31, most: 0.36, least: 132 };
const HEAD_SHARE = 0.42;
const HEADER = { prompts: 42, heads: 20 };
const ALONE = 64; // px that a column of heads may have where there are no prompts beside it

/** How large everything is, for the card's width and the window's height. */
export function layOut(picture) {
  const { data, room } = picture;
  const layers = data.layers.length;
  const row = Math.max(ROW.least, Math.min(ROW.most, Math.floor((innerHeight - RESERVE) / layers)));
  const inside = room - 28 - BETWEEN * (data.blocks.length - 1) - LABEL * data.blocks.length;
  const heads = data.blocks.filter(({ axis }) => axis === "head");
  const limit = data.blocks.length > 1 ? HEAD_SHARE * inside : inside;
  const columns = heads.reduce((sum, block) => sum + block.columns.length, 0);
  const sizes = new Map();
  let left = inside;
  for (const block of heads) {
    const { least } = COLUMN.head;
    const most = heads.length === data.blocks.length ? ALONE : COLUMN.head.most;
    const width = Math.max(least, Math.min(most, Math.floor(limit / columns)));
    sizes.set(block.key, { column: width, prefix: 0 });
    left -= Math.min(limit, width * block.columns.length) + 2 * EDGE;
  }
  for (const block of data.blocks.filter(({ axis }) => axis === "position")) {
    const { least, most } = COLUMN.position;
    const folded = block.prefix;
    const prefix = folded ? Math.min(folded * PREFIX.each, Math.max(PREFIX.least, PREFIX.most * left)) : 0;
    const n = block.columns.length - folded;
    sizes.set(block.key, { column: Math.max(least, Math.min(most, Math.floor((left - prefix - 2 * EDGE) / Math.max(1, n)))), prefix });
  }
  return { row, sizes };
}

/** Where a column of a block begins. */
function leftOf(block, size, column) {
  return EDGE + size.prefix + (column - block.prefix) * size.column;
}

/** How tall the header of every block is: two prompts, or the numbers of heads. */
const headerOf = ({ blocks }) => (blocks.some(({ axis }) => axis === "position") ? HEADER.prompts : HEADER.heads);

/** Where the row of a layer begins. */
const topOf = (data, row, layer) => headerOf(data) + EDGE + (data.layers.length - 1 - layer) * row;

/** The layers whose numbers are written: every fifth, the ends, the chosen one. */
function isNamed(picture, layer, row) {
  const last = picture.data.layers.length - 1;
  const every = row >= 13 && last < 16 ? 1 : row * 5 >= 26 ? 5 : 10;
  return layer === 0 || layer === last || layer === picture.chosen?.layer || (layer % every === 0 && last - layer >= Math.ceil(12 / row) && layer * row >= 12);
}

export function drawBlocks(picture, parent) {
  const { data } = picture;
  for (const scroller of parent.querySelectorAll(".iv-plane")) picture.scrolled[scroller.dataset.block] = scroller.scrollLeft;
  parent.replaceChildren();
  const bar = element("div", "iv-bar", parent);
  if (data.progress) drawProgress(picture, bar);
  else element("span", "iv-about", bar, data.about);
  const line = element("div", "iv-blocks", parent);
  const { row, sizes } = layOut(picture);
  for (const block of data.blocks) drawBlock(picture, line, block, row, sizes.get(block.key));
  drawFoot(picture, parent);
}

function drawProgress(picture, bar) {
  const { progress } = picture.data;
  const done = element("span", "iv-done", bar);
  element("i", "", done).style.width = `${progress.total ? (100 * progress.done) / progress.total : 0}%`;
  element("span", "iv-about", bar, progress.text);
  if (!progress.cancel) return;
  const button = element("button", "iv-act", bar, "Cancel");
  button.type = "button";
  button.dataset.at = "cancel";
  button.addEventListener("click", () => picture.send("cancel"));
}

function drawBlock(picture, parent, block, row, size) {
  const { data, chosen } = picture;
  const layers = data.layers.length;
  const box = element("div", "iv-block", parent);
  const head = element("div", "iv-block-name", box);
  element("b", "", head, block.name);
  element("span", "", head, block.about);
  const both = element("div", "iv-axis", box);
  const height = headerOf(data) + layers * row + 2 * EDGE;
  const axis = shape("svg", { width: block.axis === "head" ? LABEL - 20 : LABEL, height, class: "iv-labels", "aria-hidden": "true" }, both);
  drawLabels(picture, axis, block, row, Number(axis.getAttribute("width")) - 5);
  const scroller = element("div", "iv-plane", both);
  scroller.tabIndex = 0;
  Object.assign(scroller.dataset, { at: `block-${block.key}`, block: block.key });
  scroller.setAttribute("role", "grid");
  scroller.setAttribute("aria-label", `${block.name}. ${layers} layers, ${block.columns.length} columns. Arrow keys move.`);
  const svg = drawPlane(picture, block, row, size);
  scroller.append(svg);
  scroller.scrollLeft = picture.scrolled[block.key] ?? 0;
  const place = (event) => event.target.closest("[data-layer]")?.dataset;
  svg.addEventListener("click", (event) => {
    const at = place(event);
    if (at) picture.choose(block.key, Number(at.layer), Number(at.column));
  });
  if (chosen?.block === block.key) reveal(scroller, leftOf(block, size, chosen.column), size.column);
}

function reveal(scroller, left, width) {
  if (left < scroller.scrollLeft) scroller.scrollLeft = left - width;
  else if (left + 2 * width > scroller.scrollLeft + scroller.clientWidth) scroller.scrollLeft = left + 2 * width - scroller.clientWidth;
}

export function drawLabels(picture, svg, block, row, x) {
  const { data, chosen, colours } = picture;
  const end = { x, "text-anchor": "end", "font-size": 11 };
  for (const [k, name] of (block.lines ?? []).entries()) shape("text", { ...end, y: 14 + 19 * k, fill: colours.muted, "font-size": 10.5 }, svg, name);
  data.layers.forEach((layer, k) => {
    if (!isNamed(picture, k, row)) return;
    const on = chosen?.layer === k && chosen.block === block.key;
    const look = on ? { fill: colours.ink, "font-weight": 700 } : { fill: colours.muted };
    shape("text", { ...end, ...look, y: topOf(data, row, k) + row / 2 + 4 }, svg, layer);
  });
}

/** The plane itself: header, cells, the outline of what is chosen. */
export function drawPlane(picture, block, row, size) {
  const { data, colours } = picture;
  const layers = data.layers.length;
  const width = leftOf(block, size, block.columns.length) + EDGE;
  const height = headerOf(data) + layers * row + 2 * EDGE;
  const svg = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "rowgroup" });
  addHatch(svg, `low-${block.key}`, colours, 4, 0.42);
  addHatch(svg, `same-${block.key}`, colours, 6, 0.26);
  drawHeader(picture, svg, block, size);
  if (block.prefix) drawPrefix(picture, svg, block, row, size);
  for (let layer = 0; layer < layers; layer++) {
    const line = shape("g", { role: "row" }, svg);
    for (let column = block.prefix; column < block.columns.length; column++) drawCell(picture, line, block, layer, column, row, size);
  }
  drawChosen(picture, svg, block, row, size);
  return svg;
}

function addHatch(svg, id, colours, step, strength) {
  const pattern = shape("pattern", { id, width: step, height: step, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, svg);
  shape("rect", { width: step, height: step, fill: colours.soft }, pattern);
  shape("path", { d: `M0 0V${step}`, stroke: colours.muted, "stroke-opacity": strength, "stroke-width": step > 4 ? 1.6 : 1.1 }, pattern);
}

function addToken(svg, text, at, room, family) {
  const short = shortener(`${at["font-weight"] ?? 400} ${at["font-size"]}px ${family}`)(text, room);
  const made = shape("text", at, svg);
  const [, spaces, rest] = /^(␣*)([^]*)$/.exec(short);
  if (spaces) shape("tspan", { opacity: 0.5, "font-weight": 400 }, made, spaces);
  shape("tspan", {}, made, rest);
  if (short !== text) shape("title", {}, made, text);
}

function drawHeader(picture, svg, block, size) {
  const { colours, data, family } = picture.withFamily();
  const plain = { "text-anchor": "middle", "font-size": 13 };
  block.columns.slice(block.prefix).forEach((column, k) => {
    const x = leftOf(block, size, k + block.prefix);
    const middle = x + size.column / 2;
    if (block.axis === "head") {
      const every = Math.ceil((7 * column.top.length + 4) / size.column);
      if (k % every === 0) shape("text", { ...plain, x: middle, y: headerOf(data) - 5, "font-size": 11, fill: colours.muted }, svg, column.top);
      return;
    }
    if (column.differ) shape("rect", { x: x + 1, y: 0.5, width: size.column - 3, height: 38, rx: 5, class: "iv-differ" }, svg);
    const bold = { ...plain, x: middle, fill: colours.ink, "font-weight": 600 };
    addToken(svg, column.top, { ...bold, y: 15 }, size.column - 6, family);
    const second = column.differ ? bold : { ...plain, x: middle, fill: colours.muted };
    if (column.bottom != null) addToken(svg, column.bottom, { ...second, y: 33 }, size.column - 6, family);
  });
}

/** The words that both prompts begin with: one block that says why there is nothing to patch. */
function drawPrefix(picture, svg, block, row, size) {
  const { colours, data, family } = picture.withFamily();
  const [x, width] = [EDGE, size.prefix - 4];
  const text = tail(block.columns.slice(0, block.prefix).map(({ top }) => top), width, measurer(family));
  for (const y of [15, 33]) shape("text", { x: x + width, y, "text-anchor": "end", "font-size": 12, fill: colours.muted, class: "iv-prefix" }, svg, text);
  const top = topOf(data, row, data.layers.length - 1);
  const tall = data.layers.length * row - 1;
  shape("rect", { x, y: top, width, height: tall, rx: 4, fill: `url(#same-${block.key})` }, svg);
  const lines = block.same;
  const wide = Math.max(...lines.map((line, k) => measurer(family)(line, 12.5, k ? 400 : 650))) + 16;
  const high = 17 * lines.length + 14;
  if (tall < high || width < wide + 4) {
    const title = shape("title", {}, svg.lastChild);
    title.textContent = lines.join(" ");
    return;
  }
  const [cx, cy] = [x + width / 2, top + tall / 2];
  shape("rect", { x: cx - wide / 2, y: cy - high / 2, width: wide, height: high, rx: 6, fill: colours.paper, stroke: colours.rule }, svg);
  lines.forEach((line, k) => {
    const look = k ? { fill: colours.muted } : { fill: colours.ink, "font-weight": 650 };
    shape("text", { ...look, x: cx, y: cy - high / 2 + 20 + 17 * k, "text-anchor": "middle", "font-size": 12.5 }, svg, line);
  });
}

/** As many of the last words as there is room for. */
function tail(words, room, measure) {
  let text = "";
  for (let k = words.length - 1; k >= 0; k--) {
    const longer = k ? `… ${words[k]} ${text}` : `${words[k]} ${text}`;
    if (measure(longer.trim(), 12) > room - 4) return `… ${text}`.trim();
    text = `${words[k]} ${text}`.trim();
  }
  return text;
}

function drawCell(picture, line, block, layer, column, row, size) {
  const { data, colours } = picture;
  const value = picture.value(block, layer, column);
  const state = block.states[layer][column];
  const [x, y] = [leftOf(block, size, column), topOf(data, row, layer)];
  const box = { x, y, width: size.column - 1, height: row - 1, class: "iv-patch", role: "gridcell", "data-layer": layer, "data-column": column };
  const low = state === "=" || (value != null && Math.abs(value) <= data.floor);
  const shade = value == null || low ? null : picture.shade(value);
  const fill = shade?.fill ?? (low ? `url(#low-${block.key})` : colours.paper);
  const made = shape("rect", { ...box, fill, "data-state": state }, line);
  const name = `${block.before}${data.layers[layer]}${block.between}${block.columns[column].name}`;
  const told = state === "." ? "not run yet" : state === "x" ? block.blank : `${showShort(data, value)}${low ? ", below the noise floor" : ""}`;
  made.setAttribute("aria-label", `${name}: ${told}`);
  shape("title", {}, made, `${name}: ${told}`);
  if (state === ".") shape("circle", { cx: x + size.column / 2, cy: y + row / 2 - 0.5, r: 1.3, fill: colours.rule, "pointer-events": "none" }, line);
  if (!shade || row < NUMBER_ROW || Math.abs(value) < data.told) return;
  const text = showShort(data, value, true);
  if (text.length * 6 > size.column - 2) return;
  shape("text", { x: x + (size.column - 1) / 2, y: y + row / 2 + 3.3, "text-anchor": "middle", fill: shade.ink, "font-size": 10.5, "pointer-events": "none" }, line, text);
}

function drawChosen(picture, svg, block, row, size) {
  const { chosen, colours, data } = picture;
  if (chosen?.block !== block.key) return;
  const [x, y] = [leftOf(block, size, chosen.column), topOf(data, row, chosen.layer)];
  for (const [grow, stroke, width] of [[1, colours.paper, 4], [1, colours.ink, 2]]) {
    const around = { x: x - grow, y: y - grow, width: size.column - 1 + 2 * grow, height: row - 1 + 2 * grow, rx: 2 };
    shape("rect", { ...around, fill: "none", stroke, "stroke-width": width, "pointer-events": "none" }, svg);
  }
}

function drawFoot(picture, parent) {
  const { data, scale } = picture;
  const foot = element("div", "iv-under", parent);
  const item = element("span", "iv-item", foot);
  const ramp = element("i", "iv-ramp", item);
  ramp.style.background = `linear-gradient(90deg, ${[0, 64, 128, 191, 255].map((k) => scale[k].fill).join(", ")})`;
  item.append(data.scaleText);
  if (data.floorText) {
    const low = element("span", "iv-item", foot);
    element("i", "iv-low", low);
    low.append(data.floorText);
  }
  for (const line of data.foot) element("span", "iv-item", foot, line);
}
