/**
 * The heatmap: rows of the model against positions of the text. One scroller; header and labels stay in sight; only
 * the cells in sight, and a margin, are in the page. Data: what payload.py packs; the selection comes over the bus.
 */
import { announce, bus, channels, element, resolved, rootOf } from "./base.js";
import { cellLabel, drawLegend, drawMarks, drawRange } from "./cells.js";
import { colourScale, luminance } from "./colour.js";
import { Hover } from "./hover.js";
import { GridData } from "./payload.js";
import { download, gridPng, gridSvg } from "./picture.js";

const HEADER = 46;
const GAP = 4; // room for the outline of a selected cell beside header and labels
const EDGE = 6;
const COLUMN = { least: 68, most: 118 };
const ROW = { least: 26, most: 54, twoLines: 38 };
const MARGIN = { rows: 6, columns: 4 };
const KEY_PAUSE = 140;
let made = 0;

function clamp(value, least, most) {
  return Math.max(least, Math.min(most, value));
}

export class Grid {
  constructor(root) {
    this.number = made++;
    this.marks = [];
    this.selected = null;
    this.send = () => {};
    root.replaceChildren();
    this.frame = element("div", "iv-frame", root);
    this.scroller = element("div", "iv-scroller", this.frame);
    this.scroller.tabIndex = 0;
    this.scroller.setAttribute("role", "grid");
    this.canvas = element("div", "iv-canvas", this.scroller);
    this.canvas.setAttribute("role", "rowgroup");
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
    element("div", "iv-shade iv-right", this.frame);
    element("div", "iv-shade iv-bottom", this.frame);
    this.foot = element("div", "iv-foot", root);
    this.frame.append(this.foot);
    this.hover = new Hover(root);
    this.listen();
  }

  listen() {
    const { scroller, canvas, frame } = this;
    scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    scroller.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("mousemove", (event) => this.point(event));
    canvas.addEventListener("mouseleave", () => this.hover.hide());
    canvas.addEventListener("click", (event) => this.click(event));
    this.foot.addEventListener("click", ({ target }) => target.dataset.format && this.save(target.dataset.format));
    // The theme's colours are style variables: the end of the frame's (instant) transition tells of a new theme.
    frame.addEventListener("transitionend", ({ target }) => target === frame && this.data && this.recolour());
    this.onSelect = ({ detail }) => detail.from !== this && this.follow(detail);
    this.resizes = new ResizeObserver(() => {
      if (this.data && frame.clientWidth !== this.frameWidth) {
        this.layout();
        this.reveal();
      }
    });
  }

  mount() {
    bus.addEventListener("select", this.onSelect);
    this.resizes.observe(this.frame);
  }

  unmount() {
    bus.removeEventListener("select", this.onSelect);
    this.resizes.disconnect();
    this.hover.hide();
  }

  load(data) {
    this.data = data;
    this.marks = data.marks;
    this.selected = null;
    this.layout();
    if (bus.selection) this.follow(bus.selection);
  }

  /** Outlines besides the selection: [{ row, position, kind }], kind injected, ablated, scaled or found. */
  setMarks(marks) {
    this.marks = marks;
    drawMarks(this);
    drawLegend(this);
  }

  // sizes and places

  layout() {
    const { data, frame, scroller, canvas } = this;
    this.frameWidth = frame.clientWidth;
    if (!this.frameWidth) return;
    this.labelWidth = this.measureLabels();
    const room = (parseFloat(resolved(scroller, "max-height")) || 600) - HEADER - GAP - EDGE;
    this.rowHeight = clamp(Math.floor(room / data.height), ROW.least, ROW.most);
    this.twoLines = this.rowHeight >= ROW.twoLines;
    const free = this.frameWidth - this.labelWidth - GAP - EDGE - (data.height * this.rowHeight > room ? 12 : 0);
    this.cellWidth = clamp(Math.floor(free / data.width), COLUMN.least, COLUMN.most);
    canvas.style.width = `${this.left(data.width) + EDGE}px`;
    canvas.style.height = `${this.top(data.height) + EDGE}px`;
    for (const [name, value] of [["cell", this.cellWidth], ["row", this.rowHeight], ["label", this.labelWidth]]) {
      scroller.style.setProperty(`--iv-${name}`, `${value}px`);
    }
    scroller.setAttribute("aria-rowcount", data.height + 1);
    scroller.setAttribute("aria-colcount", data.width + 1);
    scroller.ariaLabel = `${data.title}: ${data.note}. Arrow keys move, Enter opens, Escape clears.`;
    this.recolour();
  }

  measureLabels() {
    const context = document.createElement("canvas").getContext("2d");
    context.font = `600 12px ${resolved(this.frame, "font-family")}`;
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
    drawMarks(this);
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

  shadeEdges() {
    const { scrollTop, scrollLeft, clientWidth, clientHeight, scrollWidth, scrollHeight } = this.scroller;
    const { classList } = this.frame;
    classList.toggle("iv-more-left", scrollLeft > 0);
    classList.toggle("iv-more-above", scrollTop > 0);
    classList.toggle("iv-more-right", scrollLeft + clientWidth < scrollWidth - EDGE);
    classList.toggle("iv-more-below", scrollTop + clientHeight < scrollHeight - EDGE);
  }

  scrolled() {
    this.hover.hide();
    this.frameRequest ??= requestAnimationFrame(() => {
      this.frameRequest = null;
      if (this.data) this.draw();
    });
  }

  /** Keep the selected cell in sight, one cell from the edge. */
  reveal() {
    if (!this.selected || !this.frameWidth) return;
    const { scroller, cellWidth, rowHeight } = this;
    const [row, column] = this.selected;
    const width = scroller.clientWidth - this.labelWidth - GAP;
    const height = scroller.clientHeight - HEADER - GAP;
    const x = column * cellWidth;
    const y = row * rowHeight;
    if (x - cellWidth < scroller.scrollLeft) scroller.scrollLeft = x - cellWidth;
    else if (x + 2 * cellWidth > scroller.scrollLeft + width) scroller.scrollLeft = x + 2 * cellWidth - width;
    if (y - rowHeight < scroller.scrollTop) scroller.scrollTop = y - rowHeight;
    else if (y + 2 * rowHeight > scroller.scrollTop + height) scroller.scrollTop = y + 2 * rowHeight - height;
    this.draw();
  }

  // pointing and choosing

  cellAt({ target, clientX, clientY }) {
    if (target.closest(".iv-head, .iv-label")) return null;
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor((clientX - box.left - this.labelWidth - GAP) / this.cellWidth);
    const row = Math.floor((clientY - box.top - HEADER - GAP) / this.rowHeight);
    return row >= 0 && column >= 0 && row < this.data.height && column < this.data.width ? [row, column] : null;
  }

  point(event) {
    const at = this.data && this.cellAt(event);
    if (at) this.hover.show(this.data, ...at, event);
    else this.hover.hide();
  }

  click(event) {
    if (!this.data) return;
    const [row, column] = this.selected ?? [0, 0];
    const label = event.target.closest("[data-row]");
    const head = event.target.closest("[data-column]");
    const at = this.cellAt(event);
    this.scroller.focus({ preventScroll: true });
    if (label) this.choose(Number(label.dataset.row), column, "click");
    else if (head) this.choose(row, Number(head.dataset.column), "click");
    else if (at) {
      this.hover.mute(at[0] * this.data.width + at[1]);
      this.choose(...at, "click");
    }
  }

  key(event) {
    const { height, width } = this.data ?? {};
    const page = Math.max(1, Math.floor((this.scroller.clientHeight - HEADER) / this.rowHeight) - 1);
    const [row, column] = this.selected ?? [-1, -1];
    const far = event.ctrlKey || event.metaKey;
    const moves = {
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      PageUp: [row - page, column],
      PageDown: [row + page, column],
      Home: [far ? 0 : row, 0],
      End: [far ? height - 1 : row, width - 1],
    };
    if (moves[event.key]) {
      const [r, c] = this.selected ? moves[event.key] : [0, 0];
      this.hover.hide();
      this.choose(clamp(r, 0, height - 1), clamp(c, 0, width - 1), "key");
    } else if (event.key === "Enter" && this.selected) this.report("open");
    else if (event.key === "Escape") this.clear();
    else return;
    event.preventDefault();
  }

  choose(row, column, how) {
    this.selected = [row, column];
    this.reveal();
    this.showSelection();
    this.report(how);
  }

  clear() {
    this.selected = null;
    this.hover.hide();
    this.showSelection();
    this.report("clear");
  }

  showSelection() {
    drawMarks(this);
    if (this.selected) this.scroller.setAttribute("aria-activedescendant", this.cellId(...this.selected));
    else this.scroller.removeAttribute("aria-activedescendant");
  }

  /** Show what was chosen elsewhere. */
  follow({ row, position, rev }) {
    if (!this.data || (rev && this.data.rev && rev !== this.data.rev)) return;
    const at = row == null ? [-1, -1] : this.find(row, position);
    this.selected = at.includes(-1) ? null : at;
    this.reveal();
    this.showSelection();
  }

  report(how) {
    const { rows, columns, rev } = this.data;
    const [row, column] = this.selected ?? [];
    const place = this.selected
      ? { row: rows[row].row, position: columns[column].position }
      : { row: null, position: null };
    const { n } = announce({ ...place, how, rev }, this);
    clearTimeout(this.pause);
    this.pause = setTimeout(() => this.send({ ...place, how, rev, n }), how === "key" ? KEY_PAUSE : 0);
  }

  // export

  toSvg() {
    return gridSvg(this);
  }

  toPng(scale = 2) {
    return gridPng(this, scale);
  }

  async save(format) {
    const blob = format === "png" ? await this.toPng() : new Blob([this.toSvg()], { type: "image/svg+xml" });
    download(blob, `${this.data.fileName}.${format}`);
  }

  /** The cell in words. */
  describe(row, position) {
    return cellLabel(this.data, ...this.find(row, position));
  }
}

export default function ({ data, parentElement, setStateValue }) {
  const root = rootOf(parentElement, "iv-grid");
  const grid = (root.intravisto ??= new Grid(root));
  grid.send = (selection) => setStateValue("selection", selection);
  grid.mount();
  const fresh = new GridData(data);
  if (grid.data?.key !== fresh.key) grid.load(fresh);
  return () => grid.unmount();
}
