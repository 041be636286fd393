/** Drawing the part of the grid that is in sight: column headers, row labels, cells. */
import { fitToken } from "../shared/axis_words.js";
import { element, writeToken } from "../shared/base.js";
import { drawExport } from "../shared/frame.js";
import { brief, briefNats, change, rank, verdict, wholePercent, wholeShare } from "../shared/numbers.js";

export const MARK_GLYPHS = { injected: "✚", ablated: "✕", scaled: "×", found: "◆" };

const HEAD_EDGES = 8; // px beside a column's words

const BRIEF = {
  percent: wholePercent,
  share: wholeShare,
  nats: briefNats,
  change,
  rank,
  number: brief,
  verdict,
};

/** What the second line of a cell says. */
export function secondLine(data, cell) {
  if (data.line === "tokens") {
    const rest = Array.from({ length: data.listed - 1 }, (_, k) => data.token(cell, k + 1)).filter(Boolean);
    return rest.join(" ") || "–";
  }
  const value = data.value(cell);
  return BRIEF[data.line](value);
}

/** One line for readers who do not see the picture. */
export function cellLabel(data, row, column) {
  return `${data.rows[row].label}, position ${data.columns[column].position}: ${cellWords(data, row, column)}`;
}

/** What a cell holds, in words. */
export function cellWords(data, row, column) {
  const cell = row * data.width + column;
  if (data.isAwaited(column)) return "not decoded yet";
  return data.isBlank(cell)
    ? `blank, ${data.rows[row].blank || data.missing}`
    : `${data.token(cell)}, ${data.colourName} ${secondLine(data, cell)}`;
}

function drawCell(grid, parent, row, column) {
  const { data } = grid;
  const cell = row * data.width + column;
  const made = element("div", "iv-cell", parent);
  made.id = grid.cellId(row, column);
  made.setAttribute("role", "gridcell");
  made.ariaColIndex = column + 2;
  made.ariaLabel = cellLabel(data, row, column);
  made.style.left = `${grid.left(column)}px`;
  if (data.isAwaited(column)) {
    made.classList.add("iv-awaited");
    return;
  }
  if (data.isBlank(cell)) {
    made.classList.add("iv-blank");
    return;
  }
  const shade = grid.shade(cell);
  if (shade) {
    made.style.background = shade.fill;
    made.style.color = shade.ink;
  } else made.classList.add("iv-plain");
  writeToken(element("div", "iv-token", made), data.token(cell));
  if (grid.twoLines) element("div", "iv-line", made, secondLine(data, cell));
  const winner = data.winner(cell);
  if (winner) element("i", "iv-winner", made, winner);
}

function drawRow(grid, row, from, to) {
  const { label, strong } = grid.data.rows[row];
  const made = element("div", "iv-row");
  made.setAttribute("role", "row");
  made.ariaRowIndex = row + 2;
  made.style.top = `${grid.top(row)}px`;
  const head = element("div", `iv-label${strong ? " iv-strong" : ""}`, made, label);
  head.setAttribute("role", "rowheader");
  head.ariaColIndex = 1;
  head.dataset.row = row;
  for (let column = from; column < to; column++) drawCell(grid, made, row, column);
  return made;
}

function headerTitle({ position, reads, says, next }) {
  const follows = next == null ? "" : `; the text goes on with ${next}`;
  return `position ${position} reads ${reads}, says ${says}${follows}`;
}

function drawHeader(grid, column) {
  const { columns, firstGenerated } = grid.data;
  const { position, reads, says, made: came, special } = columns[column];
  const generated = firstGenerated >= 0 && column >= firstGenerated;
  const head = element("div", `iv-column${generated ? " iv-generated" : ""}`);
  head.setAttribute("role", "columnheader");
  head.ariaColIndex = column + 2;
  head.dataset.column = column;
  head.title = headerTitle(columns[column]);
  head.style.left = `${grid.left(column)}px`;
  const upper = element("div", `iv-reads${special ? " iv-special" : ""}`, head);
  // a word is read to its end: where there is no room for both its position goes, which its title has
  const { numbered, size } = fitToken(reads, position, grid.cellWidth - HEAD_EDGES, grid.family);
  if (numbered) element("i", "", upper, position);
  else upper.style.fontSize = `${size}px`;
  writeToken(element("span", "", upper), reads);
  writeToken(element("div", `iv-says${came ? " iv-came" : ""}`, head), says);
  return head;
}

/** Put the cells of that range, and its headers and labels, into the page instead of those that were there. */
export function drawRange(grid, { top, bottom, left, right }) {
  const rows = [];
  for (let row = top; row < bottom; row++) rows.push(drawRow(grid, row, left, right));
  grid.rowLayer.replaceChildren(...rows);
  const heads = [];
  for (let column = left; column < right; column++) heads.push(drawHeader(grid, column));
  grid.head.replaceChildren(grid.corner, ...heads);
}

function place(grid, kind, row, column) {
  const made = element("div", `iv-mark iv-${kind}`, grid.markLayer);
  made.style.left = `${grid.left(column)}px`;
  made.style.top = `${grid.top(row)}px`;
  if (MARK_GLYPHS[kind]) element("b", "", made, MARK_GLYPHS[kind]);
}

/** Outlines of edits, finds and the selected cell, the line where generation begins, and bars in the labels. */
export function drawMarks(grid) {
  const { data, marks, selected } = grid;
  grid.markLayer.replaceChildren();
  if (data.firstGenerated > 0) {
    element("div", "iv-border", grid.markLayer).style.left = `${grid.left(data.firstGenerated) - 2}px`;
  }
  for (const { row, position, kind } of marks) {
    const [r, c] = grid.find(row, position);
    if (r >= 0 && c >= 0) place(grid, kind, r, c);
  }
  grid.overview.spot(new Set(marks.map(({ position }) => position)));
  if (selected) place(grid, "selected", ...selected);
  for (const label of grid.canvas.querySelectorAll(".iv-label, .iv-column")) {
    const here = selected && (label.dataset.row == selected[0] || label.dataset.column == selected[1]);
    label.classList.toggle("iv-on", Boolean(here));
  }
}

/** How much is decoded, and what waits for the rest. */
function drawProgress(grid, foot) {
  const { data, saving } = grid;
  const done = data.width - data.awaited.size;
  const item = element("span", "iv-item iv-progress", foot, `${done} of ${data.width} columns decoded`);
  item.setAttribute("role", "status");
  const bar = element("progress", "", item);
  bar.max = data.width;
  bar.value = done;
  if (saving) element("span", "iv-item", foot, `The ${saving.toUpperCase()} is saved when all are there.`);
}

/** The line under the grid: what is shown, what the marks mean, the colour bar. */
export function drawLegend(grid) {
  const { data, foot, marks, scale } = grid;
  foot.replaceChildren();
  element("span", "iv-note", foot, data.note);
  if (data.awaited.size) drawProgress(grid, foot);
  for (const kind of new Set(marks.map((mark) => mark.kind))) {
    const item = element("span", "iv-item", foot);
    element("i", `iv-swatch iv-${kind}`, item, MARK_GLYPHS[kind]);
    item.append(kind);
  }
  if (data.data.winner) element("span", "iv-item", foot, "tab: in = input table, out = output table");
  const bar = element("span", "iv-item iv-scale", foot, data.colourName);
  element("em", "", bar, data.lowText);
  const stops = Array.from({ length: 17 }, (_, i) => scale[Math.round((i * 255) / 16)].fill);
  element("i", "iv-bar", bar).style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
  element("em", "", bar, data.highText);
  if (grid.standalone) drawExport(foot, data.beside === "edited" ? ["both.svg", "both.png"] : []);
}
