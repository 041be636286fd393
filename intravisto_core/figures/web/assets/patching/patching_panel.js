/** Beside the grid: the chosen cell in words with the ways on, the estimate against the exact value, the parts that matter. */
import { element } from "../shared/base.js";
import { shape } from "../shared/image.js";
import { PER_CENT } from "../shared/numbers.js";
import { writePieces } from "./patching_pieces.js";
import { showMetric, showShort } from "./patching_words.js";

const WIDE = 276;
const TALL = 168;
const LEFT = 34;
const BASE = 140;

export function drawPanel(picture, parent) {
  parent.replaceChildren();
  const first = element("div", "iv-part iv-said", parent);
  drawWords(picture, first);
  if (picture.data.scatter) drawScatter(picture, element("div", "iv-part", parent));
  if (picture.data.carry.length) drawCarry(picture, element("div", "iv-part", parent));
  for (const { title, lines } of picture.data.more) {
    const part = element("div", "iv-part", parent);
    element("h3", "", part, title);
    for (const line of lines) writePieces(element("p", "", part), line);
  }
}

function findChosen(picture) {
  const { chosen, data } = picture;
  const block = data.blocks.find(({ key }) => key === chosen?.block);
  return block && block.columns[chosen.column] && data.layers[chosen.layer] != null ? block : null;
}

function drawWords(picture, part) {
  const { chosen, data } = picture;
  const block = findChosen(picture);
  part.setAttribute("aria-live", "polite");
  if (!block) {
    element("h3", "", part, "Nothing chosen yet");
    element("p", "iv-quiet", part, "Click a cell, or move with the arrow keys.");
    return;
  }
  const column = block.columns[chosen.column];
  const state = block.states[chosen.layer][chosen.column];
  element("h3", "", part, `${block.before}${data.layers[chosen.layer]}${block.between}${column.name}`);
  writePieces(element("p", "", part), tellCell(picture, block, state));
  const about = block.stories?.[chosen.column];
  if (about?.length && !data.progress) writePieces(element("p", "", part), about);
  if (data.progress) element("p", "iv-quiet", part, "What is drawn is final: cells are exact, the rest follows.");
  drawWays(picture, part, block, state);
}

/** The chosen cell's effect in words. */
function tellCell(picture, block, state) {
  const { chosen, data } = picture;
  if (state === ".") return [["This cell has not been run yet.", 0]];
  if (state === "x") return [[`${block.blank}.`, 0]];
  if (state === "=") return [[block.skipped, 0]];
  const value = picture.value(block, chosen.layer, chosen.column);
  const after = data.base + value * data.span;
  const pieces = [[block.does.replace("{name}", block.columns[chosen.column].name), 0], [showMetric(data, after), 1]];
  if (data.unit === "share") pieces.push([": ", 0], [showShort(data, value), 1], [block.way, 0]);
  else pieces.push([", ", 0], [showShort(data, value), 1], [block.way, 0]);
  const ends = block.interval?.map((rows) => rows[chosen.layer]?.[chosen.column]);
  if (ends?.every((end) => end != null)) pieces.push([` 95 % interval over the prompts: ${ends.map((end) => showShort(data, end)).join(" to ")}.`, 0]);
  if (Math.abs(value) <= data.floor) pieces.push([" That is below the noise floor: as good as nothing.", 0]);
  return pieces;
}

function drawWays(picture, part, block, state) {
  if (!picture.data.links) return;
  const line = element("div", "iv-ways", part);
  for (const { act, text, about, lead } of block.ways) {
    const button = element("button", `iv-act${lead && !picture.data.progress ? " iv-lead" : ""}`, line, text.replace("{layer}", picture.data.layers[picture.chosen.layer]));
    button.type = "button";
    button.title = about;
    button.dataset.at = `way-${act}`;
    // what grows is drawn again and again, under a dialog too, which this would close
    button.disabled = (["test", "open"].includes(act) && state !== "v") || (act === "test" && Boolean(picture.data.progress));
    button.addEventListener("click", () => picture.send(act));
  }
}

function drawScatter(picture, part) {
  const { data } = picture;
  const head = element("h3", "", part, "Estimate beside it");
  element("small", "", head, "one backward pass");
  const points = data.blocks.filter(({ estimate }) => estimate).flatMap((block) => pointsOf(picture, block));
  const sizes = points.flatMap(({ x, y }) => [x, y]);
  const [low, high] = [Math.min(-0.1, ...sizes), Math.max(data.unit === "share" ? 1 : 0.1, ...sizes)];
  const at = (v, start, end) => start + ((end - start) * (v - low)) / (high - low);
  const svg = shape("svg", { width: WIDE, height: TALL, class: "iv-scatter", role: "img", "aria-label": `Estimate against exact value of ${points.length} cells. ${data.scatter}` }, part);
  const x = (v) => at(v, LEFT + 4, WIDE - 20);
  const y = (v) => at(v, BASE - 2, 8);
  const marks = data.unit === "share" ? [0, 0.5, 1].filter((v) => v <= high) : [0, high];
  for (const mark of marks) {
    shape("path", { d: `M${x(mark)} ${BASE}V6M${LEFT} ${y(mark)}H${WIDE - 8}`, class: "iv-rule" }, svg);
    const text = showShort(data, mark, true);
    shape("text", { x: x(mark), y: BASE + 14, class: "iv-tick iv-middle" }, svg, data.unit === "share" ? `${text}${PER_CENT}` : text);
    shape("text", { x: LEFT - 4, y: y(mark) + 4, class: "iv-tick iv-end" }, svg, text);
  }
  shape("path", { d: `M${x(low)} ${y(low)}L${x(high)} ${y(high)}`, class: "iv-same" }, svg);
  for (const point of points) drawPoint(picture, svg, point, x, y);
  shape("text", { x: WIDE - 8, y: TALL - 2, class: "iv-tick iv-end" }, svg, "exact →");
  shape("text", { x: 0, y: TALL - 2, class: "iv-tick" }, svg, "↑ estimate");
  const key = element("div", "iv-key", part);
  for (const block of data.blocks.filter(({ estimate }) => estimate)) {
    element("i", `iv-dot iv-${block.colour}${block.axis === "head" ? " iv-square" : ""}`, key);
    element("span", "", key, block.short);
  }
  if (data.scatter) element("p", "iv-quiet", part, data.scatter);
}

function pointsOf(picture, block) {
  const found = [];
  block.values.forEach((row, layer) =>
    row.forEach((value, column) => {
      const guess = block.estimate[layer]?.[column];
      if (block.states[layer][column] !== "v" || value == null || guess == null) return;
      if (Math.max(Math.abs(value), Math.abs(guess)) > picture.data.floor) found.push({ block, layer, column, x: value, y: guess });
    }),
  );
  return found;
}

function drawPoint(picture, svg, { block, layer, column, x: exact, y: guess }, x, y) {
  const look = { class: `iv-point iv-${block.colour}` };
  const [px, py] = [x(exact), y(guess)];
  const made = block.axis === "head" ? shape("rect", { ...look, x: px - 3, y: py - 3, width: 6, height: 6 }, svg) : shape("circle", { ...look, cx: px, cy: py, r: 3.4 }, svg);
  const { data } = picture;
  const name = `${block.before}${data.layers[layer]}${block.between}${block.columns[column].name}`;
  shape("title", {}, made, `${name}: exact ${showShort(data, exact)}, estimate ${showShort(data, guess)}`);
  made.addEventListener("click", () => picture.choose(block.key, layer, column));
}

function drawCarry(picture, part) {
  for (const { title, about, parts } of picture.data.carry) {
    const head = element("h3", "", part, title);
    element("small", "", head, about);
    const line = element("p", "iv-carry", part);
    parts.forEach(({ text, number, block, layer, column }, k) => {
      const each = element("span", "", line);
      const button = element("button", "iv-link", each, text);
      button.type = "button";
      button.dataset.at = `carry-${text}`;
      button.addEventListener("click", () => picture.choose(block, layer, column));
      each.append(` ${number}${k < parts.length - 1 ? " ·" : ""}`);
    });
  }
}
