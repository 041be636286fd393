/** The whole text as a narrow strip above a drawing: how much each position has, and which ones are in sight. */
import { element } from "./base.js";
import { shape } from "./image.js";

const HEIGHT = 22; // px
const LONG = 40; // tokens, from which the strip is of use

export class Overview {
  /** frame: of the drawing. look: is called with the position that was clicked. height: of the largest bar, px. */
  constructor(frame, look, height = HEIGHT) {
    this.height = height;
    this.root = element("div", "iv-overview");
    frame.prepend(this.root);
    this.label = element("div", "iv-overlabel", this.root, "whole text");
    this.label.style.lineHeight = `${height}px`;
    this.svg = shape("svg", { class: "iv-overbars", height }, this.root);
    this.root.addEventListener("click", (event) => {
      const position = this.positionAt(event);
      if (position != null) look(position);
    });
    this.root.addEventListener("mousemove", (event) => this.tell(this.positionAt(event)));
  }

  /** sizes: of every column. words: gives what the size of the column of an index is, as text. */
  load(columns, sizes, words) {
    this.columns = columns;
    this.sizes = sizes;
    this.words = words;
    this.root.hidden = columns.length < LONG;
  }

  get shown() {
    return Boolean(this.columns) && !this.root.hidden;
  }

  paint(labelWidth, width) {
    if (!this.shown) return;
    this.label.style.width = `${labelWidth}px`;
    this.width = width;
    this.svg.setAttribute("width", width);
    this.svg.replaceChildren();
    this.sight = shape("g", {}, this.svg);
    const { height: tallest } = this;
    const most = Math.max(...this.sizes.map((size) => Math.abs(size ?? 0)), 1e-12);
    const each = width / this.columns.length;
    this.columns.forEach(({ generated }, i) => {
      const size = Math.abs(this.sizes[i] ?? 0) / most;
      const height = size > 0 ? Math.max(1, Math.sqrt(size) * (tallest - 3)) : 0;
      const at = { x: (i * each).toFixed(2), y: (tallest - height).toFixed(1), width: Math.max(0.8, 0.8 * each).toFixed(2), height: height.toFixed(1) };
      if (height) shape("rect", { ...at, class: generated ? "iv-overbar iv-new" : "iv-overbar" }, this.svg);
    });
    this.spots = shape("g", {}, this.svg);
    this.spot();
    this.root.title = "";
  }

  /** Point out positions, as those where something was found. */
  spot(positions = this.positions ?? new Set()) {
    this.positions = positions;
    if (!this.shown || !this.spots) return;
    this.spots.replaceChildren();
    const each = this.width / this.columns.length;
    this.columns.forEach(({ position }, i) => {
      if (positions.has(position)) shape("rect", { x: (i + 0.5) * each - 1.5, y: 0, width: 3, height: 4, class: "iv-overspot" }, this.spots);
    });
  }

  /** Shade the positions that are in sight. */
  mark(inSight) {
    if (!this.shown || !this.sight) return;
    this.sight.replaceChildren();
    const each = this.width / this.columns.length;
    let first = null;
    this.columns.forEach(({ position }, i) => {
      const here = inSight(position);
      if (here && first == null) first = i;
      if (first != null && (!here || i === this.columns.length - 1)) {
        const end = here ? i + 1 : i;
        shape("rect", { x: first * each, y: 0, width: Math.max(2, (end - first) * each), height: this.height, class: "iv-insight" }, this.sight);
        first = null;
      }
    });
  }

  positionAt({ clientX }) {
    if (!this.shown) return null;
    const { left } = this.svg.getBoundingClientRect();
    return this.columns[Math.floor(((clientX - left) / this.width) * this.columns.length)]?.position;
  }

  tell(position) {
    const i = this.columns?.findIndex((each) => each.position === position) ?? -1;
    this.root.title = i < 0 ? "" : `position ${position} reads ${this.columns[i].reads}: ${this.words(i)}. Shaded: in sight`;
  }
}
