/** The parts of a circuit on the grid of layers, and the edges between those that are kept. */
import { shape } from "../shared/image.js";

const ROW = { least: 17, most: 58 };
const COLUMN = { least: 15, most: 64 };
const LABEL = 34;
const GAP = 22; // between the last head and the MLPs
const END = 30; // the bars of the words and of the logits
const RESERVE = 470; // px of the window that stand above and below
const MOST_EDGES = 80;
const STROKE = { least: 0.8, more: 5 };

/** How large everything is. */
function layOut(picture) {
  const { data, room } = picture;
  const row = Math.max(ROW.least, Math.min(ROW.most, Math.floor((innerHeight - RESERVE) / data.layers)));
  const fits = Math.floor((room - LABEL - GAP - 8) / picture.wide);
  const column = Math.max(COLUMN.least, Math.min(COLUMN.most, fits));
  const node = { width: Math.min(column - 4, 34), height: Math.min(row - 5, 22) };
  const width = LABEL + picture.wide * column + GAP + 8;
  const height = 2 * END + data.layers * row;
  const at = (part) => {
    const [layer, head] = [Math.floor(part / picture.wide), part % picture.wide];
    return { x: LABEL + (head + 0.5) * column + (head === data.heads ? GAP : 0), y: END + (data.layers - 1 - layer + 0.5) * row };
  };
  return { row, column, node, width, height, at };
}

/** The drawn edges: of the largest those that lead from and to kept parts, words or logits. */
export function chooseEdges(picture) {
  const { data, kept } = picture;
  const all = data.scores.length;
  const stays = (part) => part < 0 || part === all || kept[part] === 1;
  const found = [];
  for (const [source, readers, score, kind, tells] of data.edges) {
    const ends = readers.filter(stays);
    if (stays(source) && ends.length) found.push({ source, ends, score, kind, tells });
  }
  return { drawn: found.slice(0, MOST_EDGES), left: Math.max(0, found.length - MOST_EDGES) };
}

function pathOf(size, source, reader, all) {
  const { at, node } = size;
  const ends = { bottom: size.height - END, top: END };
  const from = source < 0 ? { x: at(reader === all ? 0 : reader).x, y: ends.bottom } : { x: at(source).x, y: at(source).y - node.height / 2 };
  const to = reader === all ? { x: source < 0 ? from.x : at(source).x, y: ends.top } : { x: at(reader).x, y: at(reader).y + node.height / 2 };
  if (to.y > from.y) {
    // a head and the MLP of its own layer stand side by side
    const top = Math.min(from.y, to.y - node.height) - 9;
    return `M${from.x} ${from.y}C${from.x} ${top} ${to.x} ${top} ${to.x} ${to.y - node.height}`;
  }
  const bend = Math.max(12, 0.45 * (from.y - to.y));
  const aside = Math.abs(from.x - to.x) < 2 && from.y - to.y > 2 * size.row ? size.column * 0.5 : 0;
  return `M${from.x} ${from.y}C${from.x + aside} ${from.y - bend} ${to.x + aside} ${to.y + bend} ${to.x} ${to.y}`;
}

function drawEdges(picture, size, svg) {
  const all = picture.data.scores.length;
  const { drawn } = chooseEdges(picture);
  const most = Math.max(1e-9, ...drawn.map(({ score }) => Math.abs(score)));
  for (const { source, ends, score, kind, tells } of drawn) {
    for (const reader of ends) {
      const look = { d: pathOf(size, source, reader, all), fill: "none", stroke: picture.colours[kind], "stroke-opacity": 0.5 };
      const dashes = score < 0 ? { "stroke-dasharray": "4 3" } : {};
      const made = shape("path", { ...look, ...dashes, "stroke-width": (STROKE.least + (STROKE.more * Math.abs(score)) / most).toFixed(2), class: "iv-edge" }, svg);
      shape("title", {}, made, tells);
    }
  }
}

function drawEnd(picture, size, svg, y, text) {
  const { colours } = picture;
  shape("rect", { x: LABEL, y, width: size.width - LABEL - 8, height: 18, rx: 4, fill: colours.residual, "fill-opacity": 0.16, stroke: colours.residual, "stroke-opacity": 0.5 }, svg);
  shape("text", { x: LABEL + 8, y: y + 13, "font-size": 12, fill: colours.ink }, svg, text);
}

function drawNode(picture, size, svg, part, most) {
  const { colours, data } = picture;
  const { x, y } = size.at(part);
  const { width, height } = size.node;
  const isKept = picture.kept[part] === 1;
  const strength = Math.min(1, Math.abs(data.scores[part]) / most);
  const colour = colours[part % picture.wide === data.heads ? "mlp" : "attention"];
  const name = picture.nameOf(part);
  const state = isKept ? "kept" : "left out";
  const own = shape("g", { class: "iv-node", "data-part": part, role: data.links ? "switch" : "img", "aria-checked": isKept, "aria-label": `${name}, ${state}`, tabindex: part === (picture.chosen ?? 0) ? 0 : -1 }, svg);
  const box = { x: x - width / 2, y: y - height / 2, width, height, rx: 4 };
  shape("rect", { ...box, fill: colours.paper }, own);
  const look = isKept ? { fill: colour, "fill-opacity": (0.35 + 0.6 * strength).toFixed(2), stroke: colour } : { fill: colour, "fill-opacity": (0.16 * strength).toFixed(3), stroke: colours.rule };
  shape("rect", { ...box, ...look }, own);
  if (!isKept && strength > 0.02) shape("circle", { cx: x, cy: y, r: (0.45 * height * Math.sqrt(strength)).toFixed(2), fill: colour, "fill-opacity": 0.3 }, own);
  if (data.scores[part] < 0 && strength > 0.05) shape("path", { d: `M${x - 3.5} ${y}H${x + 3.5}`, stroke: colours.ink, "stroke-width": 1.6 }, own);
  if (String(picture.kept[part]) !== data.measured[part]) {
    shape("rect", { ...box, fill: "none", stroke: colours.ink, "stroke-width": 1.5, "stroke-dasharray": isKept ? "4 2" : "1.5 2.5" }, own);
    shape("text", { x: x + width / 2 - 1, y: y - height / 2 + 5, "font-size": 11, "font-weight": 650, "text-anchor": "middle", fill: colours.ink }, own, isKept ? "+" : "✕");
  }
  if (picture.chosen === part) shape("rect", { x: box.x - 3, y: box.y - 3, width: width + 6, height: height + 6, rx: 6, fill: "none", stroke: colours.ink, "stroke-width": 2 }, own);
  shape("title", {}, own, `${name}, ${state}. ${data.tells[part]}`);
  return own;
}

function drawLabels(picture, size, svg) {
  const { data, colours } = picture;
  const every = size.row >= 15 && data.layers <= 16 ? 1 : 5;
  for (let layer = 0; layer < data.layers; layer++) {
    if (layer % every && layer !== data.layers - 1) continue;
    shape("text", { x: LABEL - 8, y: size.at(layer * picture.wide).y + 4, "font-size": 12, "text-anchor": "end", fill: colours.muted }, svg, layer);
  }
  const step = size.column >= 20 ? 1 : 4;
  const under = size.height - 2;
  for (let head = 0; head < data.heads; head += step) {
    shape("text", { x: size.at(head).x, y: under + 12, "font-size": 11, "text-anchor": "middle", fill: colours.muted }, svg, head);
  }
  shape("text", { x: size.at(data.heads).x, y: under + 12, "font-size": 11, "text-anchor": "middle", fill: colours.muted }, svg, "MLP");
}

function makeNet(picture) {
  const size = layOut(picture);
  const tall = size.height + 14;
  const svg = shape("svg", { width: size.width, height: tall, viewBox: `0 0 ${size.width} ${tall}`, role: "group", "aria-label": `${picture.kept.filter(Boolean).length} of ${picture.kept.length} heads and MLPs are kept` });
  drawEnd(picture, size, svg, END - 24, "logits: what the model says");
  drawEnd(picture, size, svg, size.height - END + 4, "words of the prompt");
  drawLabels(picture, size, svg);
  drawEdges(picture, size, svg);
  const most = Math.max(1e-9, ...picture.data.scores.map(Math.abs));
  const nodes = picture.kept.map((_, part) => drawNode(picture, size, svg, part, most));
  return { svg, nodes };
}

export function drawNet(picture, parent) {
  const { svg, nodes } = makeNet(picture);
  nodes.forEach((node, part) => node.addEventListener("click", () => picture.toggle(part)));
  parent.replaceChildren(svg);
}

/** The same as one SVG file. */
export function netToSvg(picture) {
  const { svg } = makeNet(picture);
  const [width, height] = ["width", "height"].map((side) => Number(svg.getAttribute(side)));
  const whole = shape("svg", { xmlns: "http://www.w3.org/2000/svg", width, height, viewBox: `0 0 ${width} ${height}`, "font-family": picture.family });
  shape("rect", { width, height, fill: picture.colours.paper }, whole);
  whole.append(...svg.childNodes);
  return new XMLSerializer().serializeToString(whole);
}
