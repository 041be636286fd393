/** The whole grid as SVG or PNG, made in the browser from the same data, colours and sizes. */
import { resolved } from "../shared/base.js";
import { MARK_GLYPHS, cellLabel, secondLine } from "./cell_drawing.js";
import { fixedWidth, measurer, paint, shape, shortener } from "../shared/image.js";

const HEADER = 46;
const FOOTER = 34;
const MARGIN = 10;
const MARK_DASHES = { injected: "5 3", scaled: "1.5 3" };

function drawCells(grid, svg, shorten, width, ink) {
  const { data, cellWidth, rowHeight } = grid;
  for (let row = 0; row < data.height; row++) {
    for (let column = 0; column < data.width; column++) {
      const cell = row * data.width + column;
      const x = grid.left(column);
      const y = HEADER + row * rowHeight;
      const group = shape("g", {}, svg);
      shape("title", {}, group, cellLabel(data, row, column));
      const shade = grid.shade(cell);
      const box = { x, y, width: cellWidth - 1, height: rowHeight - 1 };
      shape("rect", { ...box, fill: data.isBlank(cell) ? "url(#blank)" : (shade?.fill ?? "none") }, group);
      if (data.isBlank(cell)) continue;
      const middle = { x: x + cellWidth / 2, "text-anchor": "middle", fill: shade?.ink ?? ink };
      const token = shorten(data.token(cell), cellWidth - 8);
      const size = grid.textSize;
      const baseline = y + rowHeight / 2 + (grid.twoLines ? -1 : 0.35 * size);
      shape("text", { ...middle, ...fixedWidth(width(token, size)), y: baseline, "font-size": size }, group, token);
      if (!grid.twoLines) continue;
      const second = shorten(secondLine(data, cell), (cellWidth - 8) * 1.2);
      const small = { y: y + rowHeight / 2 + size, "font-size": 0.81 * size };
      shape("text", { ...middle, ...fixedWidth(width(second, 0.81 * size)), ...small }, group, second);
    }
  }
}

function drawLabels(grid, svg, shorten, width, ink, muted) {
  const { data, cellWidth, rowHeight, labelWidth } = grid;
  data.columns.forEach(({ position, reads, says }, column) => {
    const middle = { x: grid.left(column) + cellWidth / 2, "text-anchor": "middle" };
    const [number, read, output] = [`${position} `, shorten(reads, cellWidth - 26), shorten(says, cellWidth - 8)];
    const whole = fixedWidth(width(number, 10) + width(read, 13, 600));
    const head = shape("text", { ...middle, ...whole, y: 16, fill: ink, "font-weight": 600 }, svg);
    shape("tspan", { fill: muted, "font-size": 10, "font-weight": 400 }, head, number);
    shape("tspan", {}, head, read);
    shape("text", { ...middle, ...fixedWidth(width(output)), y: 37, fill: muted }, svg, output);
  });
  const end = { x: labelWidth - 8, "text-anchor": "end", "font-size": 12 };
  shape("text", { ...end, y: 16, fill: muted }, svg, "reads");
  shape("text", { ...end, y: 37, fill: muted }, svg, "says →");
  data.rows.forEach(({ label, strong }, row) => {
    const weight = strong ? 600 : 400;
    const style = { ...fixedWidth(width(label, 12, weight)), fill: strong ? ink : muted, "font-weight": weight };
    shape("text", { ...end, ...style, y: HEADER + row * rowHeight + rowHeight / 2 + 4 }, svg, label);
  });
}

function drawOutlines(grid, svg, ink, paper, accent) {
  const { data, cellWidth, rowHeight } = grid;
  if (data.firstGenerated > 0) {
    const x = grid.left(data.firstGenerated) - 1;
    const y2 = HEADER + data.height * rowHeight;
    shape("line", { x1: x, x2: x, y1: 0, y2, stroke: accent, "stroke-width": 2 }, svg);
  }
  for (const { row, position, kind } of grid.marks) {
    const [r, c] = grid.find(row, position);
    if (r < 0 || c < 0) continue;
    const at = { x: grid.left(c) + 1, y: HEADER + r * rowHeight + 1, width: cellWidth - 3, height: rowHeight - 3 };
    const dash = MARK_DASHES[kind] ? { "stroke-dasharray": MARK_DASHES[kind] } : {};
    shape("rect", { ...at, ...dash, fill: "none", stroke: ink, "stroke-width": 2 }, svg);
    const tab = { x: at.x + at.width - 13, y: at.y, width: 14, height: 13 };
    shape("rect", { ...tab, fill: ink }, svg);
    const glyph = { x: tab.x + 7, y: tab.y + 10, "text-anchor": "middle", "font-size": 9, fill: paper };
    shape("text", glyph, svg, MARK_GLYPHS[kind]);
  }
}

function drawScale(grid, svg, width, height, muted) {
  const { data, scale } = grid;
  const gradient = shape("linearGradient", { id: "scale" }, svg.querySelector("defs"));
  for (let i = 0; i <= 16; i++) {
    shape("stop", { offset: i / 16, "stop-color": scale[Math.round((i * 255) / 16)].fill }, gradient);
  }
  const y = height - 14;
  const small = { y, "font-size": 12, fill: muted };
  shape("text", { ...small, x: grid.labelWidth }, svg, `${data.title} · ${data.colourName}`);
  const right = width - MARGIN - 60;
  shape("text", { ...small, x: right - 128, "text-anchor": "end" }, svg, data.lowText);
  shape("rect", { x: right - 120, y: y - 9, width: 112, height: 10, fill: "url(#scale)" }, svg);
  shape("text", { ...small, x: right }, svg, data.highText);
}

function gridShape(grid) {
  const { data, frame } = grid;
  const [ink, muted, paper, accent] = ["ink", "muted", "paper", "accent"].map((name) => paint(frame, name));
  const family = resolved(frame, "font-family");
  const width = Math.max(420, grid.left(data.width) + MARGIN);
  const height = HEADER + data.height * grid.rowHeight + FOOTER;
  const svg = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "font-family": family, "font-size": 13 });
  svg.setAttribute("style", "white-space: pre");
  const hatch = shape("pattern", { id: "blank", width: 6, height: 6, patternUnits: "userSpaceOnUse" }, shape("defs", {}, svg));
  shape("path", { d: "M0 6L6 0", stroke: muted, "stroke-opacity": 0.35 }, hatch);
  shape("title", {}, svg, data.title);
  shape("rect", { width, height, fill: paper }, svg);
  const measured = measurer(family);
  drawLabels(grid, svg, shortener(`600 13px ${family}`), measured, ink, muted);
  drawCells(grid, svg, shortener(`600 ${grid.textSize}px ${family}`), measured, ink);
  drawOutlines(grid, svg, ink, paper, accent);
  drawScale(grid, svg, width, height, muted);
  return svg;
}

const svgText = (svg) => new XMLSerializer().serializeToString(svg);

/** The whole grid as the text of an SVG file. */
export function gridSvg(grid) {
  return svgText(gridShape(grid));
}

/** Grids beside each other as the text of one SVG file, each under its name. */
export function besideSvg(grids) {
  const { frame } = grids[0];
  const family = resolved(frame, "font-family");
  const svg = shape("svg", { "font-family": family, "font-size": 15, "font-weight": 600 });
  const paper = shape("rect", { fill: paint(frame, "paper") }, svg);
  let [x, height] = [MARGIN, 0];
  for (const grid of grids) {
    const inner = gridShape(grid);
    const size = { width: Number(inner.getAttribute("width")), height: Number(inner.getAttribute("height")) };
    shape("text", { x, y: 20, fill: paint(frame, "ink") }, svg, grid.data.beside);
    inner.setAttribute("x", x);
    inner.setAttribute("y", 28);
    inner.setAttribute("font-weight", 400);
    svg.append(inner);
    x += size.width + 2 * MARGIN;
    height = Math.max(height, 28 + size.height);
  }
  const whole = { width: x - MARGIN, height: height + MARGIN };
  for (const [name, value] of Object.entries(whole)) {
    svg.setAttribute(name, value);
    paper.setAttribute(name, value);
  }
  svg.setAttribute("viewBox", `0 0 ${whole.width} ${whole.height}`);
  return svgText(svg);
}
