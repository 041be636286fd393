/**
 * The heatmap: rows of the model against positions of the text. One scroller; header and labels stay in sight; only
 * the cells in sight, and a margin, are in the page. Data: what payload.py packs; the selection comes over the bus.
 */
import { bus, rootOf } from "../shared/base.js";
import { cellLabel, drawLegend, drawMarks } from "./cell_drawing.js";
import { Hover } from "../shared/hover.js";
import { GridData } from "./payload.js";
import { besideSvg, gridSvg } from "./grid_export.js";
import { GAP, HEADER, CellCanvas, clamp } from "./cell_canvas.js";

const SCROLL_PAUSE = 150; // ms
const LOOK_AGAIN = 50;
const ASK_AGAIN = 4000;

export class Grid extends CellCanvas {
  constructor(root) {
    super(root);
    this.hover = new Hover(root);
    this.ask = () => {};
    this.saving = null;
  }

  load(data) {
    this.marks = data.marks;
    // other colours, or more columns, of the cells that are looked at: what is in sight stays there
    if (this.data?.places === data.places) {
      this.data = data;
      this.lay();
      this.showSelection();
    } else super.load(data);
    this.askForMore();
    if (this.saving && !data.awaited.size) {
      const format = this.saving;
      this.saving = null;
      this.save(format);
    }
  }

  // columns that are still being decoded

  /** Ask for the columns that are not there yet, those in sight and in the direction of scrolling first. */
  askForMore() {
    clearTimeout(this.asking);
    if (!this.data.awaited.size) return;
    // an answer would close a dialog that is open
    const running = document.querySelector("[data-test-script-state=running], [data-testid=stDialog]");
    // what stands beside the picture is drawn first; again after a while, as another act may have overtaken the answer
    this.asking = setTimeout(() => this.askForMore(), running ? LOOK_AGAIN : ASK_AGAIN);
    if (!running) this.ask(this.sight());
  }

  /** Ask for what was scrolled to at once, where it is not there yet. */
  turnTo() {
    const { left, right } = this.inSight();
    for (let column = left; column < right; column++) {
      if (this.data.isAwaited(column)) return this.ask(this.sight());
    }
  }

  /** The first and last position that are looked at, or are next in the direction of scrolling. */
  sight() {
    const { columns, width } = this.data;
    const { left, right } = this.inSight();
    const ahead = Math.sign(left - (this.wasLeft ?? left)) * (right - left);
    this.wasLeft = left;
    const first = clamp(left + Math.min(0, ahead), 0, width - 1);
    const last = clamp(right - 1 + Math.max(0, ahead), 0, width - 1);
    return { first: columns[first].position, last: columns[last].position };
  }

  // beside another grid, of the same places

  mount() {
    super.mount();
    (bus.sides ??= new Set()).add(this);
  }

  unmount() {
    bus.sides.delete(this);
    clearTimeout(this.asking);
    clearTimeout(this.turning);
    super.unmount();
  }

  /** The grids that are shown beside each other, by their names; none where this one stands alone. */
  beside() {
    const all = this.data?.beside ? [...bus.sides].filter((grid) => grid.data?.beside) : [];
    return all.sort((a, b) => a.data.beside.localeCompare(b.data.beside));
  }

  scrolled() {
    super.scrolled();
    const { scrollLeft, scrollTop } = this.scroller;
    for (const grid of this.beside()) if (grid !== this) grid.scroller.scrollTo(scrollLeft, scrollTop);
    clearTimeout(this.turning);
    if (this.data?.awaited.size) this.turning = setTimeout(() => this.turnTo(), SCROLL_PAUSE);
  }

  /** Saving as the menu of the page asks for it; of grids beside each other one saves them all. */
  saveAsked(format) {
    if (!this.data.beside) this.save(format);
    else if (this.beside().at(-1) === this) this.save(`both.${format}`);
  }

  async save(format) {
    if (this.data.awaited.size) {
      this.saving = format;
      drawLegend(this);
      return;
    }
    const [which, kind] = format.split(".");
    if (which !== "both") return super.save(format);
    await this.offer(besideSvg(this.beside()), kind, "baseline-and-edited");
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
    const at = this.cellAt(event);
    if (at && !this.data.isAwaited(at[1])) this.hover.show(this.data, ...at, event);
    else this.hover.hide();
  }

  pick(event) {
    const [row, column] = this.selected ?? [0, 0];
    const label = event.target.closest("[data-row]");
    const head = event.target.closest("[data-column]");
    const at = this.cellAt(event);
    if (label) this.choose([Number(label.dataset.row), column], "click");
    else if (head) this.choose([row, Number(head.dataset.column)], "click");
    else if (at) {
      this.hover.mute(at[0] * this.data.width + at[1]);
      this.choose(at, "click");
    }
  }

  key(event) {
    const { height, width } = this.data;
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
      this.choose([clamp(r, 0, height - 1), clamp(c, 0, width - 1)], "key");
    } else if (event.key === "Enter" && this.selected) this.open();
    else if (event.key === "Escape") this.clear();
    else return;
    event.preventDefault();
  }

  /** Show the selected cell's numbers beside it. */
  open() {
    const [row, column] = this.selected;
    const box = this.canvas.getBoundingClientRect();
    const clientX = box.left + this.left(column) + this.cellWidth / 2;
    const clientY = box.top + this.top(row) + this.rowHeight / 2;
    this.hover.muted = null;
    this.hover.show(this.data, row, column, { clientX, clientY });
    this.report("open");
  }

  showSelection() {
    drawMarks(this);
    if (this.selected) this.scroller.setAttribute("aria-activedescendant", this.cellId(...this.selected));
    else this.scroller.removeAttribute("aria-activedescendant");
  }

  /** Show what was chosen elsewhere. */
  follow({ row, position }) {
    const at = row == null ? [-1, -1] : this.find(row, position);
    if (this.selected && at[0] === this.selected[0] && at[1] === this.selected[1]) return;
    this.selected = at.includes(-1) ? null : at;
    this.reveal();
    this.showSelection();
  }

  place() {
    const { rows, columns } = this.data;
    const [row, column] = this.selected ?? [];
    return this.selected
      ? { row: rows[row].row, position: columns[column].position }
      : { row: null, position: null };
  }

  // export

  toSvg() {
    return gridSvg(this);
  }

  /** The cell in words. */
  describe(row, position) {
    return cellLabel(this.data, ...this.find(row, position));
  }
}

export default function ({ data, parentElement, setStateValue, setTriggerValue, standalone = false }) {
  const root = rootOf(parentElement, "iv-grid");
  const grid = (root.intravisto ??= new Grid(root));
  grid.send = (selection) => setStateValue("selection", selection);
  grid.ask = (sight) => setTriggerValue("more", sight);
  grid.standalone = standalone;
  grid.mount();
  const fresh = new GridData(data);
  if (grid.data?.key !== fresh.key) grid.load(fresh);
  else grid.askForMore();
  return () => grid.unmount();
}
