/** The whole text as a narrow strip above a drawing: how much each position has, and which ones are in sight. */
import { element } from "./base.js";
import { shape } from "./image.js";

const HEIGHT = 22;
const LONG = 40; // tokens, from which the strip is of use

export class Overview {
  /** frame: of the drawing. look: is called with the position that was clicked. */
  constructor(frame, look) {
    this.root = element("div", "iv-overview");
    frame.prepend(this.root);
    this.label = element("div", "iv-overlabel", this.root, "whole text");
    this.svg = shape("svg", { class: "iv-overbars", height: HEIGHT }, this.root);
    this.root.addEventListener("click", (event) => {
      const position = this.positionAt(event);
      if (position != null) look(position);
    });
    this.root.addEventListener("mousemove", (event) => this.tell(this.positionAt(event)));
  }

  /** sizes: of every position. words: what the size of a position is, as text. */
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
    const most = Math.max(...this.sizes.map((size) => Math.abs(size ?? 0)), 1e-12);
    const each = width / this.columns.length;
    this.columns.forEach(({ generated }, i) => {
      const size = Math.abs(this.sizes[i] ?? 0) / most;
      const height = size > 0 ? Math.max(1, Math.sqrt(size) * (HEIGHT - 3)) : 0;
      const at = { x: (i * each).toFixed(2), y: (HEIGHT - height).toFixed(1), width: Math.max(0.8, 0.8 * each).toFixed(2), height: height.toFixed(1) };
      if (height) shape("rect", { ...at, class: generated ? "iv-overbar iv-new" : "iv-overbar" }, this.svg);
    });
    this.root.title = "";
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
        shape("rect", { x: first * each, y: 0, width: Math.max(2, (end - first) * each), height: HEIGHT, class: "iv-insight" }, this.sight);
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
    const column = this.columns?.find((each) => each.position === position);
    this.root.title = column ? `position ${position} reads ${column.reads}: ${this.words(this.sizes[position])}. Shaded: in sight` : "";
  }
}
