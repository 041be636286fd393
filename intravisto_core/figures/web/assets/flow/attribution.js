/**
 * The parts of a logit as bars, and beside them how it is reached row by row. Data: { tables as of flow_links.js, sums:
 * [{ name, value }], rows: [{ label, value, text }] }. For pages that stand alone.
 */
import { element, rootOf } from "../shared/base.js";
import { shape } from "../shared/image.js";
import { drawTable } from "../shared/lines.js";

const ROW = 23;
const LABEL = 86;
const WIDTH = 330;
const EDGE = 12;

function drawSums(parent, found) {
  const table = element("table", "iv-sums", parent);
  for (const { name, value } of found) {
    const row = element("tr", "", table);
    element("th", "", row, name).scope = "row";
    element("td", "iv-number", row, value);
  }
}

/** One row a line, the final norm on top, as in the heatmap. */
function drawSteps(parent, rows) {
  element("div", "iv-caption", parent, "Reached row by row (logit)");
  const values = rows.map(({ value }) => value);
  const [least, most] = [Math.min(0, ...values), Math.max(0, ...values)];
  const at = (value) => LABEL + EDGE + ((value - least) / (most - least || 1)) * (WIDTH - LABEL - 2 * EDGE);
  const height = rows.length * ROW;
  const svg = shape("svg", { width: WIDTH, height, viewBox: `0 0 ${WIDTH} ${height}`, role: "img" }, parent);
  svg.setAttribute("aria-label", rows.map(({ label, text }) => `${label} ${text}`).join("; "));
  shape("line", { x1: at(0), x2: at(0), y1: 0, y2: height, class: "iv-zero" }, svg);
  const places = rows.map(({ value }, i) => [at(value), height - (i + 0.5) * ROW]);
  shape("polyline", { points: places.map((place) => place.join(" ")).join(", "), class: "iv-climb" }, svg);
  rows.forEach(({ label, text }, i) => {
    const [x, y] = places[i];
    shape("text", { x: LABEL - 4, y: y + 4, "text-anchor": "end", class: "iv-tickname" }, svg, label);
    const dot = shape("circle", { cx: x, cy: y, r: 3.5, class: "iv-point" }, svg);
    shape("title", {}, dot, `${label}: ${text}`);
  });
}

export default function ({ data, parentElement }) {
  const root = rootOf(parentElement, "iv-attribution");
  root.replaceChildren();
  const bars = element("div", "iv-links iv-narrow", root);
  for (const table of data.tables) drawTable(bars, table, data, () => {});
  const aside = element("div", "iv-aside-panel", root);
  drawSums(aside, data.sums);
  drawSteps(aside, data.rows);
}
