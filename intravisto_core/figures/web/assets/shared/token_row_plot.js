/**
 * A drawing over token columns and model rows: one scroller, row names kept at its left and tokens at its foot.
 * A picture extends it with `arrange` (places), `paintStage` (the drawing), `paintFoot`, `sizes` (of
 * each position) and `sizeInWords`.
 */
import { fitToken, namedRows } from "./axis_words.js";
import { element, resolved, writeToken } from "./base.js";
import { Frame } from "./frame.js";
import { shape } from "./image.js";
import { Overview } from "./overview.js";

const AXIS = 31;
const EDGE = 8;
const LEGIBLE = 26; // px of a column whose token can be read
const SLIM = 40; // px of a column whose token is written small
const DIGIT = 6; // px of a digit of a position
const PROBES = [[0, 0], [0, -3], [0, 3], [-3, 0], [3, 0], [-4, -4], [4, 4], [-4, 4], [4, -4]];

export class TokenRowPlot extends Frame {
  constructor(root) {
    super(root, "listbox", "iv-plane");
    this.names = element("div", "iv-names", this.canvas);
    this.stage = element("div", "iv-stage", this.canvas);
    // what is selected lies on a layer of its own, so that choosing does not paint the picture again
    this.over = shape("svg", { class: "iv-over" }, this.canvas);
    element("div", "iv-corner", this.canvas, "reads");
    this.axis = element("div", "iv-axis", this.canvas);
    for (const name of ["names", "axis", "over"]) this[name].setAttribute("aria-hidden", "true");
    element("div", "iv-shade iv-right", this.opening);
    this.overview = new Overview(this.frame, (position) => this.look(position));
  }

  // sizes

  lay() {
    const sizes = this.sizes();
    this.overview.load(this.data.columns, sizes, (i) => this.sizeInWords(sizes[i]));
    this.frame.classList.toggle("iv-long", this.overview.shown);
    this.size = this.room();
    if (!this.size.width) return;
    this.hover?.hide();
    this.labelWidth = this.measureNames();
    const { width, height } = this.size;
    this.arrange({ width: width - this.labelWidth - EDGE, height: height - AXIS - EDGE });
    const { layout, canvas, labelWidth } = this;
    canvas.style.gridTemplate = `${Math.ceil(layout.height)}px ${AXIS}px / ${labelWidth}px ${Math.ceil(layout.width)}px`;
    this.scroller.ariaLabel = `${this.data.title}: ${this.data.note}. Arrow keys move, Enter opens, Escape clears.`;
    this.paintNames();
    this.paintAxis();
    this.paintStage();
    this.over.setAttribute("width", Math.ceil(layout.width));
    this.over.setAttribute("height", Math.ceil(layout.height));
    this.paintFoot();
    this.overview.paint(labelWidth, width - labelWidth - EDGE);
    this.showSelection();
    this.shadeEdges();
  }

  /** A new picture shows what is selected, else where it begins: its upper right end. */
  load(data) {
    super.load(data);
    if (this.selected || !this.size?.width) return;
    this.scroller.scrollTop = 0;
    this.scroller.scrollLeft = this.scroller.scrollWidth;
  }

  shadeEdges() {
    super.shadeEdges();
    const { scrollLeft, clientWidth } = this.scroller;
    const end = scrollLeft + clientWidth - (this.labelWidth ?? 0);
    this.overview.mark((position) => {
      const { left, width, skipped } = this.layout.columns.get(position);
      return width > 0 && !skipped && left + width / 2 >= scrollLeft && left + width / 2 <= end;
    });
  }

  /** Bring a position into sight. */
  look(position) {
    const { left, width } = this.layout.columns.get(position);
    this.scroller.scrollLeft = left + width / 2 - (this.scroller.clientWidth - this.labelWidth) / 2;
    const node = this.data.nodes.find((each) => each.kind === "block" && each.position === position);
    if (node) this.choose(node, "click");
  }

  measureNames() {
    const context = document.createElement("canvas").getContext("2d");
    context.font = `600 12px ${resolved(this.frame, "font-family")}`;
    return Math.ceil(Math.max(...this.data.rows.map(({ label }) => context.measureText(label).width), 30)) + 18;
  }

  paintNames() {
    this.names.replaceChildren();
    const { rows, pitch } = this.layout;
    for (const { row, label, strong } of namedRows(this.data.rows, rows, pitch)) {
      const name = element("div", `iv-rowname${strong ? " iv-strong" : ""}`, this.names, label);
      name.style.top = `${rows.get(row) - 10}px`;
      name.dataset.row = row;
    }
  }

  paintAxis() {
    this.axis.replaceChildren();
    if (this.layout.ends) {
      const ends = element("div", "iv-tick iv-special iv-ends", this.axis, "ends");
      ends.style.width = `${this.layout.ends}px`;
      ends.title = "where mass ends that no position gets: attention sinks set aside, learned sinks, biases, parts that cancel";
    }
    const family = resolved(this.frame, "font-family");
    let free = -Infinity;
    for (const { position, reads, special, generated } of this.data.columns) {
      const { left, width, skipped } = this.layout.columns.get(position);
      if (!width) continue;
      if (skipped) {
        const gap = element("div", "iv-tick iv-gap", this.axis, "⋯");
        Object.assign(gap.style, { left: `${left}px`, width: `${width}px` });
        gap.title = `positions ${position} to ${position + skipped - 1}: nothing of the flow is drawn there`;
        continue;
      }
      const classes = `iv-tick${special ? " iv-special" : ""}${generated ? " iv-generated" : ""}${width < SLIM ? " iv-slim" : ""}`;
      const tick = element("div", classes, this.axis);
      tick.style.left = `${left}px`;
      tick.style.width = `${width}px`;
      tick.title = `position ${position} reads ${reads}`;
      tick.dataset.position = position;
      if (width < LEGIBLE) {
        // no room for words: the numbers of some positions, where they run into no word
        const needed = DIGIT * String(position).length + 4;
        if (left < free || this.narrowFrom(position) < needed) continue;
        element("i", "", tick, position);
        free = left + Math.max(LEGIBLE, needed);
        continue;
      }
      const { numbered, size, cut } = fitToken(reads, position, width, family);
      if (numbered) element("i", "", tick, position);
      tick.style.fontSize = `${size}px`;
      tick.classList.toggle("iv-cut", cut);
      writeToken(element("span", "", tick), reads);
    }
  }

  /** px from a column to the next one that can be read. */
  narrowFrom(position) {
    const { columns } = this.layout;
    let room = 0;
    for (let p = position; columns.has(p); p += 1) {
      const { width, skipped } = columns.get(p);
      if (skipped || width >= LEGIBLE) break;
      room += width;
    }
    return room;
  }

  // pointing and choosing

  /** What is at the pointer, or a few px beside it: thin strokes are hard to hit. */
  partAt({ clientX, clientY }) {
    const root = this.frame.getRootNode();
    for (const [dx, dy] of PROBES) {
      const hit = root.elementFromPoint(clientX + dx, clientY + dy)?.closest?.("[data-part]");
      const part = hit && this.stage.contains(hit) && this.data.parts.get(hit.dataset.part);
      if (part) return part;
    }
    return null;
  }

  point(event) {
    const part = this.partAt(event);
    this.canvas.style.cursor = part ? "pointer" : "default";
    this.light(part);
    if (part) this.hover.showPart(this.data, part, event);
    else this.hover.hide();
  }

  away() {
    super.away();
    this.light(null);
  }

  /** Bring out a part, and the links of a node. */
  light(part) {
    if (part === this.lit) return;
    this.lit = part;
    for (const lit of this.stage.querySelectorAll(".iv-lit")) lit.classList.remove("iv-lit");
    if (!part) return;
    const parts = part.source ? [part] : [...part.below, ...part.above];
    for (const { id } of parts) this.drawn(id)?.classList.add("iv-lit");
  }

  drawn(id) {
    return this.stage.querySelector(`[data-part="${CSS.escape(id)}"]`);
  }

  pick(event) {
    const tick = event.target.closest("[data-position]");
    const name = event.target.closest("[data-row]");
    const part = tick || name ? this.first(tick ?? name) : this.partAt(event);
    if (!part) return;
    this.hover.hide();
    this.hover.muted = part;
    this.choose(part, "click");
  }

  /** The first node of a column or of a row. */
  first({ dataset }) {
    const [key, value] = dataset.position != null ? ["position", dataset.position] : ["row", dataset.row];
    return this.data.nodes.find((node) => node.kind === "block" && node[key] === Number(value));
  }

  key(event) {
    const moves = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
    if (moves[event.key]) this.move(...moves[event.key]);
    else if ("[]".includes(event.key)) this.turn(event.key === "]" ? 1 : -1);
    else if (event.key === "Enter" && this.selected) this.open();
    else if (event.key === "Escape") this.clear();
    else return;
    event.preventDefault();
  }

  move(across, down) {
    const from = this.selected?.source ? this.selected.target : this.selected;
    const next = from ? this.beside(from, across, down) : this.data.nodes[0];
    this.hover.hide();
    if (next) this.choose(next, "key");
  }

  /** The nearest node above or below in the same column, or in the next column that has one near this height. */
  beside(from, across, down) {
    const ahead = this.data.nodes.filter(({ position, at }) =>
      across
        ? Math.sign(position - from.position) === across && position >= 0
        : position === from.position && Math.sign(Math.round(at.y - from.at.y)) === down,
    );
    const far = ({ position, kind, at }) =>
      across
        ? Math.abs(at.y - from.at.y) + 0.01 * Math.abs(position - from.position) + (kind === from.kind ? 0 : 4)
        : Math.abs(at.y - from.at.y);
    return ahead.sort((a, b) => far(a) - far(b))[0];
  }

  /** From a node to its links, one after the other. */
  turn(step) {
    const node = this.selected?.source ? this.turning : this.selected;
    if (!node) return;
    this.turning = node;
    const links = [...node.below, ...node.above];
    if (!links.length) return;
    const now = links.indexOf(this.selected);
    this.choose(links[(now + step + links.length + (now < 0 && step < 0 ? 1 : 0)) % links.length], "key");
  }

  /** Show the numbers of what is selected beside it. */
  open() {
    const box = this.drawn(this.selected.id).getBoundingClientRect();
    this.hover.muted = null;
    this.hover.showPart(this.data, this.selected, { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 });
    this.report("open");
  }

  /** Show what was chosen elsewhere. */
  follow({ row, position, part }) {
    const found = this.data.parts.get(part) ?? this.data.parts.get(`block.${row}.${position}`) ?? null;
    if (found === this.selected) return;
    this.selected = found;
    this.reveal();
    this.showSelection();
  }

  showSelection() {
    this.paintSelection();
    const node = this.selected?.source ? this.selected.target : this.selected;
    for (const mark of this.canvas.querySelectorAll(".iv-tick, .iv-rowname")) {
      const here = node && (mark.dataset.row == node.row || mark.dataset.position == node.position);
      mark.classList.toggle("iv-on", Boolean(here));
    }
    for (const old of this.stage.querySelectorAll("[aria-selected]")) old.removeAttribute("aria-selected");
    const drawn = this.selected && this.drawn(this.selected.id);
    if (!drawn) return this.scroller.removeAttribute("aria-activedescendant");
    drawn.id ||= `iv-${this.number}-${this.selected.id}`;
    drawn.setAttribute("aria-selected", "true");
    this.scroller.setAttribute("aria-activedescendant", drawn.id);
  }

  /** Keep the selected node in sight. */
  reveal() {
    const node = this.selected?.source ? this.selected.target : this.selected;
    if (!node?.at || !this.size?.width) return;
    const { scroller, labelWidth } = this;
    const [x, y] = [node.at.x + node.at.width / 2, node.at.y];
    const [wide, tall] = [scroller.clientWidth - labelWidth, scroller.clientHeight - AXIS];
    if (x < scroller.scrollLeft + 20 || x > scroller.scrollLeft + wide - 20) scroller.scrollLeft = Math.max(0, x - wide / 2);
    if (y < scroller.scrollTop + 12 || y > scroller.scrollTop + tall - 12) scroller.scrollTop = Math.max(0, y - tall / 2);
  }

  place() {
    const { selected } = this;
    const node = selected?.source ? selected.target : selected;
    if (!node) return { row: null, position: null, part: "" };
    return { row: node.row, position: node.position < 0 ? null : node.position, part: selected.id };
  }
}
