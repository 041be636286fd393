/** A flow as SVG with plain colours, on the page and as a file. */
import { fitToken, namedRows } from "../shared/axis_words.js";
import { element, resolved } from "../shared/base.js";
import { drawExport } from "../shared/frame.js";
import { LINKS } from "./flow_data.js";
import { labelsOf } from "./flow_labels.js";
import { isStroke } from "./flow_layout.js";
import { paint, shape, shortener } from "../shared/image.js";
import { share } from "../shared/numbers.js";

const COLOURS = ["ink", "muted", "paper", "accent", "rule", "residual", "attention", "mlp", "norm", "mark"];
const OPACITY = { plain: 0.6, least: 0.34, most: 0.86 };
const EDGE = 0.95; // of all links by KL: the strongest colour
const MARGIN = 12;
const AXIS = 30;
const LEGEND = 30;
const TAB = 7.5; // px: radius of the number of a link

/** The theme's colours, and the fonts that texts are measured with. */
export function paletteOf(frame, textSize) {
  const palette = Object.fromEntries(COLOURS.map((name) => [name, paint(frame, name)]));
  const family = resolved(frame, "font-family");
  const context = document.createElement("canvas").getContext("2d");
  context.font = `500 ${textSize}px ${family}`;
  return {
    ...palette,
    family,
    shorten: shortener(context.font),
    widthOf: (text) => context.measureText(text).width,
  };
}

export function colourOf(palette, kind) {
  return palette[{ residual: "residual", attention: "attention", mlp: "mlp", norm: "norm" }[kind] ?? "muted"];
}

/** How strong each link is drawn: by KL where that is asked for and known. */
function opacities({ links, bright }) {
  const known = links.map(({ kl }) => kl).filter((kl) => kl != null);
  if (!bright || !known.length) return () => OPACITY.plain;
  const top = known.sort((a, b) => a - b)[Math.min(known.length - 1, Math.floor(EDGE * known.length))] || 1;
  return ({ kl, kind }) =>
    kl == null || kind === "norm" ? OPACITY.plain : OPACITY.least + (OPACITY.most - OPACITY.least) * Math.sqrt(Math.min(1, kl / top));
}

/** A stroke is at least 1 px wide; of less mass than that it is fainter instead. */
function faintness(link) {
  return isStroke(link) ? 0.4 + 0.6 * Math.min(1, link.at.width) : 1;
}

function hatches(svg, palette) {
  const defs = shape("defs", {}, svg);
  for (const kind of ["residual", "attention", "mlp", "norm", "muted"]) {
    const hatch = shape("pattern", { id: `hatch-${kind}`, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, defs);
    shape("rect", { width: 2.6, height: 5, fill: palette[kind] }, hatch);
  }
}

function fillOf(palette, link) {
  const kind = palette[link.kind] ? link.kind : "muted";
  return link.mass < 0 ? `url(#hatch-${kind})` : palette[kind];
}

function drawLink(parent, palette, data, link, strength) {
  const common = { d: link.at.path, class: "iv-link", "data-part": link.id };
  const dashed = link.mass < 0 ? { "stroke-dasharray": "6 4" } : {};
  const look = isStroke(link)
    ? { fill: "none", stroke: colourOf(palette, link.kind), "stroke-width": Math.max(1, Math.round(10 * link.at.width) / 10), "stroke-opacity": strength, ...dashed }
    : { fill: fillOf(palette, link), "fill-opacity": strength };
  const made = shape("path", { ...common, ...look }, parent);
  made.setAttribute("role", "option");
  made.setAttribute("aria-label", data.describe(link));
}

const NODE_COLOURS = { block: "ink", mid: "muted", mlp: "mlp", attention: "attention" };

function drawNode(parent, palette, data, node) {
  const { x, y, width, thick } = node.at;
  const fill = palette[NODE_COLOURS[node.kind]] ?? "url(#hatch-muted)";
  const box = { x: x.toFixed(1), y: (y - thick / 2).toFixed(1), width: width.toFixed(1), height: thick, fill };
  const made = shape("rect", { ...box, rx: 1, class: "iv-node", "data-part": node.id }, parent);
  made.setAttribute("role", "option");
  made.setAttribute("aria-label", data.describe(node));
}

/** The tokens of nodes, where they have room. */
export function drawLabels(parent, palette, layout) {
  for (const { node, text, size, x, y, end } of labelsOf(layout, palette.shorten, palette.widthOf)) {
    const fill = node.kind === "block" ? palette.ink : node.kind === "mid" ? palette.muted : colourOf(palette, node.kind);
    const weight = layout.data.starting.has(node.index) ? 700 : 500;
    const halo = { stroke: palette.paper, "stroke-width": 3, "stroke-linejoin": "round", "paint-order": "stroke", "stroke-opacity": 0.85 };
    const at = { x: x.toFixed(1), y: (y + 0.35 * size).toFixed(1), "text-anchor": end ? "end" : "start", "font-size": size };
    const made = shape("text", { ...at, ...halo, fill, "font-weight": weight, class: "iv-text", "data-part": node.id }, parent);
    const [, spaces, rest] = /^(␣*)([^]*)$/.exec(text);
    if (spaces) shape("tspan", { "fill-opacity": 0.5 }, made, spaces);
    made.append(rest);
  }
}

/** The x for a tab at that height that is next to the wanted one, where no other tab is. */
function besideOthers(wanted, y, places, most) {
  const free = (x) => x >= TAB && x <= most && places.every(([left, top]) => Math.hypot(left - x, top - y) >= 2 * TAB);
  for (let far = 0; far < most; far += TAB) {
    for (const x of [wanted - far, wanted + far]) if (free(x)) return x;
  }
  return wanted;
}

/** Numbered tabs and outlines on links where two measures disagree. */
function drawMarks(parent, palette, layout) {
  const places = [];
  for (const { part, number } of layout.data.marks) {
    const link = layout.data.parts.get(part);
    if (!link?.at) continue;
    const { upper, lower, width } = link.at;
    const outline = { d: link.at.path, fill: "none", stroke: palette.mark, "stroke-dasharray": "4 3", class: "iv-marked" };
    shape("path", { ...outline, "stroke-width": isStroke(link) ? 1.6 : 1.4 }, parent);
    const [middle, y] = [(upper.x + lower.x + width) / 2, (upper.y + lower.y) / 2];
    const x = besideOthers(middle, y, places, layout.width - TAB);
    places.push([x, y]);
    shape("circle", { cx: x, cy: y, r: TAB, fill: palette.mark, "data-part": link.id, class: "iv-marked" }, parent);
    const text = { x, y: y + 3.5, "text-anchor": "middle", "font-size": 10, "font-weight": 700, fill: palette.paper };
    shape("text", { ...text, "pointer-events": "none" }, parent, number);
  }
}

/** Draw lines of rows, links, nodes, labels and marks into an SVG group. */
export function drawFlow(parent, layout, palette) {
  const { data, width, rows } = layout;
  for (const y of rows.values()) shape("line", { x1: 0, x2: width, y1: y, y2: y, stroke: palette.rule, "stroke-opacity": 0.55 }, parent);
  drawBorder(parent, layout, palette);
  const strength = opacities(data);
  const links = [...data.links].sort((a, b) => isStroke(b) - isStroke(a) || Math.abs(b.mass) - Math.abs(a.mass));
  for (const link of links) drawLink(parent, palette, data, link, (strength(link) * faintness(link)).toFixed(3));
  for (const node of data.nodes) if (node.kind !== "hidden") drawNode(parent, palette, data, node);
  drawMarks(parent, palette, layout);
  drawLabels(parent, palette, layout);
}

function drawBorder(parent, { data, columns, height }, palette) {
  const first = data.columns.find(({ generated }) => generated);
  if (!first || !data.columns.some(({ generated }) => !generated)) return;
  const x = columns.get(first.position).left;
  shape("line", { x1: x, x2: x, y1: 0, y2: height, stroke: palette.accent, "stroke-width": 2 }, parent);
}

export function emptySvg(width, height, palette, textSize) {
  const size = { width, height, viewBox: `0 0 ${width} ${height}` };
  const svg = shape("svg", { ...size, "font-family": palette.family, "font-size": textSize, "font-weight": 500 });
  svg.setAttribute("style", "white-space: pre");
  hatches(svg, palette);
  return svg;
}

/** The line under the picture: what is drawn, what colours, widths and marks mean. */
export function drawLegend(foot, layout, standalone) {
  const { data } = layout;
  foot.replaceChildren();
  element("span", "iv-note", foot, [data.note, data.sinks].filter(Boolean).join(" · "));
  const kinds = new Set(data.links.map(({ kind }) => kind));
  for (const kind of ["residual", "attention", "mlp", "norm"].filter((k) => kinds.has(k))) {
    const item = element("span", "iv-item", foot);
    element("i", `iv-chipcolour iv-${kind}`, item);
    item.append(LINKS[kind]);
  }
  if (kinds.has("hidden")) hint(foot, "iv-chipcolour iv-aside", "set aside");
  if (data.signed) hint(foot, "iv-hatched", "negative");
  if (data.marks.length) hint(foot, "iv-numbered", "listed below");
  const [mass, width] = scaleBar(layout);
  const bar = element("span", "iv-item", foot);
  element("i", "iv-scalebar", bar).style.width = `${width}px`;
  bar.append(`${share(mass)} of the mass`);
  if (data.bright) element("span", "iv-item", foot, "stronger colour: larger KL");
  if (standalone) drawExport(foot);
}

/** One item of a legend. */
export function hint(foot, className, text) {
  const item = element("span", "iv-item", foot);
  element("i", className, item);
  item.append(text);
}

/** A mass of a round size, and how wide it is drawn. */
function scaleBar({ unit }) {
  const mass = [1, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01].find((m) => m * unit <= 46) ?? 0.01;
  return [mass, Math.max(1, mass * unit)];
}

/** The whole picture as the text of an SVG file, with row names, tokens and a legend. */
export function flowSvg(flow) {
  return planeSvg(flow, (parent) => drawFlow(parent, flow.layout, flow.palette), "bookkeeping of sizes, not causes", scaleBar(flow.layout));
}

/** A plane (layout, palette, labelWidth) as an SVG file; `draw` puts its drawing into a group, `words` end the legend. */
export function planeSvg({ layout, palette, labelWidth }, draw, words, scale = null) {
  const { data } = layout;
  const width = Math.max(560, labelWidth + layout.width + MARGIN);
  const height = layout.height + AXIS + LEGEND;
  const svg = emptySvg(width, height, palette, data.textSize ?? 12);
  shape("title", {}, svg, `${data.title}. ${data.note}`);
  shape("rect", { width, height, fill: palette.paper }, svg);
  draw(shape("g", { transform: `translate(${labelWidth} 0)` }, svg));
  for (const { row, label, strong } of namedRows(data.rows, layout.rows, layout.pitch)) {
    const look = { fill: strong ? palette.ink : palette.muted, "font-weight": strong ? 600 : 400, "font-size": 12 };
    shape("text", { x: labelWidth - 8, y: layout.rows.get(row) + 4, "text-anchor": "end", ...look }, svg, label);
  }
  const shorten = shortener(`600 12px ${palette.family}`);
  for (const { position, reads } of data.columns) {
    const { middle, width: room, skipped } = layout.columns.get(position);
    if (skipped) shape("text", { x: labelWidth + middle, y: layout.height + 17, "text-anchor": "middle", fill: palette.muted, "font-size": 12 }, svg, "⋯");
    if (skipped || room < 22) continue;
    const { numbered, size } = fitToken(reads, position, room, palette.family);
    const look = { "text-anchor": "middle", fill: palette.ink, "font-size": size };
    const text = shape("text", { x: labelWidth + middle, y: layout.height + 17, ...look }, svg);
    if (numbered) shape("tspan", { fill: palette.muted, "font-size": 10 }, text, `${position} `);
    shape("tspan", {}, text, shorten(reads, ((room - (numbered ? 18 : 2)) * 12) / size));
  }
  legendSvg(svg, { data, palette, y: height - 9 }, [words, data.sinks].filter(Boolean).join(" · "), scale);
  return new XMLSerializer().serializeToString(svg);
}

function legendSvg(svg, { data, palette, y }, words, scale) {
  const small = { y, "font-size": 12, fill: palette.muted, "font-weight": 400 };
  const kinds = new Set(data.links.map(({ kind }) => kind));
  let x = MARGIN;
  for (const kind of ["residual", "attention", "mlp"].filter((k) => kinds.has(k))) {
    shape("rect", { x, y: y - 9, width: 10, height: 10, rx: 2, fill: palette[kind] }, svg);
    shape("text", { ...small, x: x + 15 }, svg, LINKS[kind]);
    x += 34 + palette.widthOf(LINKS[kind]);
  }
  if (scale) {
    const [mass, width] = scale;
    shape("rect", { x, y: y - 6, width, height: 4, fill: palette.ink }, svg);
    x += width + 6;
  }
  shape("text", { ...small, x }, svg, scale ? `${share(scale[0])} of the mass · ${words}` : words);
}
