/** The sheet of cells: its elements, sizes and colours, and drawing what is in sight of it. */
import { channels, element, resolved } from "../shared/base.js";
import { cellWords, drawLegend, drawMarks, drawRange } from "./cell_drawing.js";
import { colourScale, luminance } from "../shared/colour.js";
import { Frame } from "../shared/frame.js";
import { Overview } from "../shared/overview.js";

export const HEADER = 46;
export const GAP = 4; // room for the outline of a selected cell beside header and labels
const EDGE = 6;
const COLUMN = { least: 68, most: 118 };
const ROW = { least: 26, most: 54, twoLines: 38 };
const COMPACT = { least: 15, text: 11 }; // rows of one line, where all of them are in sight then
const MARGIN = { rows: 6, columns: 4 };
const OVERVIEW = 16; // px of the largest bar of the strip over a long text, so that many rows stay in sight under it
const TEXT = 13; // px, of the tokens in cells of these sizes

export function clamp(value, least, most) {
  return Math.max(least, Math.min(most, value));
}

/** Where to scroll so that the cell of that index, and one on either side, is within `room`. */
function scrollFor(index, unit, now, room) {
  const first = (index - 1) * unit;
  if (first < now) return first > 0 ? Math.min(now, first + GAP) : 0;
  const end = (index + 2) * unit;
  if (end <= now + room) return now;
  return Math.min(index, Math.ceil((end - room) / unit)) * unit + GAP;
}

export class CellCanvas extends Frame {
  constructor(root) {
    super(root, "grid", "iv-canvas");
    this.marks = [];
    this.canvas.setAttribute("role", "presentation");
    this.head = element("div", "iv-head", this.canvas);
    this.head.setAttribute("role", "row");
    this.head.ariaRowIndex = 1;
    this.corner = element("div", "iv-corner", this.head);
    this.corner.setAttribute("role", "columnheader");
    element("div", "", this.corner, "reads");
    element("div", "", this.corner, "says →");
    this.rowLayer = element("div", "iv-rows", this.canvas);
    this.rowLayer.setAttribute("role", "rowgroup");
    this.markLayer = element("div", "iv-marks", this.canvas);
    this.markLayer.setAttribute("aria-hidden", "true");
    element("div", "iv-shade iv-right", this.opening);
    element("div", "iv-shade iv-bottom", this.opening);
    this.overview = new Overview(this.frame, (position) => this.look(position), OVERVIEW);
  }

  /** Outlines besides the selection: [{ row, position, kind }], kind injected, ablated, scaled or found. */
  setMarks(marks) {
    this.marks = marks;
    drawMarks(this);
    drawLegend(this);
  }

  // sizes and places

  lay() {
    const { data, scroller, canvas } = this;
    this.loadOverview();
    this.size = this.room();
    if (!this.size.width) return;
    this.family = resolved(this.frame, "font-family");
    this.labelWidth = this.measureLabels();
    const room = this.size.height - HEADER - GAP - EDGE;
    const larger = data.textSize / TEXT;
    const fitting = Math.floor(room / data.height);
    const compact = larger <= 1 && fitting >= COMPACT.least && fitting < ROW.least;
    this.rowHeight = compact ? fitting : Math.round(clamp(fitting, ROW.least * larger, ROW.most * larger));
    this.textSize = compact ? clamp(fitting - 4, COMPACT.text, data.textSize) : data.textSize;
    scroller.classList.toggle("iv-compact", compact);
    this.twoLines = this.rowHeight >= Math.floor(ROW.twoLines * larger);
    const free = this.size.width - this.labelWidth - GAP - EDGE;
    this.cellWidth = Math.round(clamp(Math.floor(free / data.width), COLUMN.least * larger, COLUMN.most * larger));
    const sizes = { cell: this.cellWidth, row: this.rowHeight, label: this.labelWidth, text: this.textSize };
    canvas.style.width = `${this.left(data.width) + EDGE}px`;
    canvas.style.height = `${this.top(data.height) + EDGE}px`;
    for (const [name, value] of Object.entries(sizes)) {
      scroller.style.setProperty(`--iv-${name}`, `${value}px`);
    }
    scroller.setAttribute("aria-rowcount", data.height + 1);
    scroller.setAttribute("aria-colcount", data.width + 1);
    scroller.ariaLabel = `${data.title}: ${data.note}. Arrow keys move, Enter opens, Escape clears.`;
    this.overview.paint(this.left(0), this.size.width - this.left(0) - EDGE);
    this.recolour();
  }

  /** The whole text in one strip: of each column how the highest row that has colours is coloured. */
  loadOverview() {
    const { data } = this;
    const row = Math.max(0, data.rows.findIndex(({ blank }) => !blank));
    const columns = data.columns.map((each, i) => ({ ...each, generated: data.firstGenerated >= 0 && i >= data.firstGenerated }));
    this.overview.load(columns, columns.map((_, i) => this.extent(row * data.width + i)), (i) => `${data.rows[row].label}: ${cellWords(data, row, i)}`);
    this.frame.classList.toggle("iv-long", this.overview.shown);
  }

  /** How far up the scale a cell is, 0 to 1; on a scale with a middle, how far from it. */
  extent(cell) {
    const step = this.data.step(cell);
    if (step < 0) return 0;
    return this.data.scale === "diverging" ? Math.abs(step - 127.5) / 127.5 : step / 255;
  }

  /** Bring a position into sight, and select it. */
  look(position) {
    const { scroller, cellWidth, labelWidth, selected } = this;
    const [, column] = this.find(this.data.rows[0].row, position);
    scroller.scrollLeft = (column + 0.5) * cellWidth - (scroller.clientWidth - labelWidth) / 2;
    this.choose([selected?.[0] ?? 0, column], "click");
  }

  shadeEdges() {
    super.shadeEdges();
    const { left, right } = this.inSight();
    const [first, last] = [this.data.columns[left], this.data.columns[right - 1]];
    this.overview.mark((position) => Boolean(first && last) && position >= first.position && position <= last.position);
  }

  measureLabels() {
    const context = document.createElement("canvas").getContext("2d");
    context.font = `600 12px ${this.family}`;
    return Math.ceil(Math.max(...this.data.rows.map(({ label }) => context.measureText(label).width))) + 22;
  }

  left(column) {
    return this.labelWidth + GAP + column * this.cellWidth;
  }

  top(row) {
    return HEADER + GAP + row * this.rowHeight;
  }

  cellId(row, column) {
    return `iv-${this.number}-${row}-${column}`;
  }

  /** Indices of a heatmap row and a position; -1 where this grid does not show them. */
  find(row, position) {
    const { rows, columns } = this.data;
    return [rows.findIndex((r) => r.row === row), columns.findIndex((c) => c.position === position)];
  }

  shade(cell) {
    const step = this.data.step(cell);
    return step < 0 ? null : this.scale[step];
  }

  recolour() {
    const dark = luminance(channels(resolved(this.frame, "background-color"))) < 0.18;
    this.scale = colourScale(this.data.scale, dark);
    this.range = null;
    this.draw();
    drawLegend(this);
  }

  // drawing what is in sight

  inSight() {
    const { scrollTop, scrollLeft, clientWidth, clientHeight } = this.scroller;
    return {
      top: Math.floor(scrollTop / this.rowHeight),
      bottom: Math.min(this.data.height, Math.ceil((scrollTop + clientHeight - HEADER) / this.rowHeight)),
      left: Math.floor(scrollLeft / this.cellWidth),
      right: Math.min(this.data.width, Math.ceil((scrollLeft + clientWidth - this.labelWidth) / this.cellWidth)),
    };
  }

  draw() {
    this.shadeEdges();
    const { top, bottom, left, right } = this.inSight();
    const had = this.range;
    if (had && top >= had.top && bottom <= had.bottom && left >= had.left && right <= had.right) return;
    this.range = {
      top: Math.max(0, top - MARGIN.rows),
      bottom: Math.min(this.data.height, bottom + MARGIN.rows),
      left: Math.max(0, left - MARGIN.columns),
      right: Math.min(this.data.width, right + MARGIN.columns),
    };
    drawRange(this, this.range);
    drawMarks(this);
  }

  scrolled() {
    this.hover.hide();
    this.frameRequest ??= requestAnimationFrame(() => {
      this.frameRequest = null;
      if (this.data) this.draw();
    });
  }

  /** Keep the selected cell in sight, one cell from the edge; whole cells begin at the labels. */
  reveal() {
    if (!this.selected || !this.size.width) return;
    const { scroller, cellWidth, rowHeight, labelWidth } = this;
    const [row, column] = this.selected;
    const across = scrollFor(column, cellWidth, scroller.scrollLeft, scroller.clientWidth - labelWidth - GAP);
    const down = scrollFor(row, rowHeight, scroller.scrollTop, scroller.clientHeight - HEADER - GAP);
    if (across !== scroller.scrollLeft) scroller.scrollLeft = across;
    if (down !== scroller.scrollTop) scroller.scrollTop = down;
    this.draw();
  }
}
