/**
 * What each head and each MLP adds to a score: a square for each, the last layer on top, the MLPs as a column of their
 * own. Data: what heads_payload.py gives. A click selects; arrow keys move.
 */
import { element, rootOf, channels, resolved } from "../shared/base.js";
import { colourScale, luminance } from "../shared/colour.js";
import { drawExport, Frame } from "../shared/frame.js";
import { Hover } from "../shared/hover.js";
import { paint, shape } from "../shared/image.js";
import { change } from "../shared/numbers.js";

const COLUMN = { least: 15, most: 46 };
const ROW = { least: 9, most: 30 };
const HEADER = 20;
const GAP = 6; // between the heads and the MLPs
const EDGE = 8;
const LETTER = 6.2; // px a character of a number takes
const TOLD = 0.08; // of the largest: smaller values are told by their colour alone

/** Values as squares: `columns` are the heads, then the MLP. */
class HeadsData {
  constructor(given) {
    Object.assign(this, given);
    this.height = given.values.length;
    this.width = given.heads + 1;
    this.most = Math.max(...given.values.flat().map((v) => Math.abs(v ?? 0)), 1e-12);
  }

  value(layer, column) {
    return this.values[layer][column];
  }

  name(layer, column) {
    return column < this.heads ? `layer ${layer} · head ${column}` : `layer ${layer} · MLP`;
  }

  text(layer, column) {
    const value = this.value(layer, column);
    return value == null ? "not cut into heads" : `${change(value)}`;
  }

  place(layer, column) {
    const row = layer + 1;
    const isHead = column < this.heads;
    return { row, position: this.position, part: `${isHead ? "attention" : "mlp"}.${row}.${this.position}`, head: isHead ? column : null };
  }

  /** The square that a choice made elsewhere is about, or null. */
  find({ row, position, part, head }) {
    if (row == null || position !== this.position || row < 1 || row > this.height) return null;
    if (part?.startsWith("mlp.")) return { layer: row - 1, column: this.heads };
    return head != null && head < this.heads ? { layer: row - 1, column: head } : null;
  }
}

class HeadsHover extends Hover {
  showSquare(data, layer, column, event) {
    this.reveal(layer * data.width + column, event, () => {
      element("b", "", element("div", "iv-where", this.box), data.name(layer, column));
      element("div", "iv-side", this.box, `adds ${data.text(layer, column)} to the ${data.score}`);
    });
  }
}

class HeadsMap extends Frame {
  constructor(root) {
    super(root, "grid", "iv-plane");
    this.hover = new HeadsHover(root);
    element("div", "iv-shade iv-right", this.opening);
    element("div", "iv-shade iv-bottom", this.opening);
  }

  lay() {
    this.size = this.room();
    if (!this.size.width) return;
    this.hover.hide();
    const { data, size } = this;
    const dark = luminance(channels(resolved(this.frame, "color"))) > 0.4;
    this.scale = colourScale("diverging", dark);
    this.colours = Object.fromEntries(["ink", "paper", "muted", "rule"].map((name) => [name, paint(this.frame, name)]));
    this.label = 14 + 7 * String(data.height - 1).length + 34;
    const fit = (room, n, { least, most }) => Math.max(least, Math.min(most, Math.floor(room / n)));
    this.column = fit(size.width - this.label - GAP - EDGE, data.width, COLUMN);
    this.pitch = fit(size.height - HEADER - EDGE, data.height, ROW);
    this.scroller.ariaLabel = `${data.title}. ${data.height} layers, ${data.heads} heads and the MLP. Arrow keys move, Escape clears.`;
    this.canvas.replaceChildren(this.draw());
    this.paintFoot();
    this.showSelection();
    this.shadeEdges();
  }

  left(column) {
    return this.label + column * this.column + (column === this.data.heads ? GAP : 0);
  }

  top(layer) {
    return HEADER + (this.data.height - 1 - layer) * this.pitch;
  }

  shade(value) {
    return this.scale[Math.round(127.5 * (1 + value / this.data.most))];
  }

  draw() {
    const { data, colours, column: width, pitch } = this;
    const box = { width: this.left(data.heads) + width + EDGE, height: HEADER + data.height * pitch + EDGE };
    const svg = shape("svg", { ...box, viewBox: `0 0 ${box.width} ${box.height}`, role: "rowgroup", "font-size": 11 });
    svg.style.fontFamily = resolved(this.frame, "font-family");
    const middle = { "text-anchor": "middle", fill: colours.muted };
    const step = Math.ceil((7 * String(data.heads - 1).length + 5) / width);
    for (let head = 0; head < data.heads; head += step) shape("text", { ...middle, x: this.left(head) + width / 2, y: HEADER - 6 }, svg, head);
    shape("text", { ...middle, x: this.left(data.heads) + width / 2, y: HEADER - 6, "font-size": width < 26 ? 9 : 11 }, svg, "MLP");
    const each = Math.max(1, Math.ceil(12 / pitch));
    for (let layer = 0; layer < data.height; layer++) {
      const line = shape("g", { role: "row" }, svg);
      const y = this.top(layer);
      const at = { x: this.label - 6, y: y + pitch / 2 + 4, "text-anchor": "end", fill: colours.muted };
      if ((data.height - 1 - layer) % each === 0) shape("text", at, line, `layer ${layer}`);
      for (let column = 0; column < data.width; column++) this.drawSquare(line, layer, column);
    }
    this.over = shape("g", { "pointer-events": "none" }, svg);
    return svg;
  }

  drawSquare(line, layer, column) {
    const { data, colours, pitch } = this;
    const value = data.value(layer, column);
    const shade = value == null ? null : this.shade(value);
    const [x, y, width] = [this.left(column), this.top(layer), this.column];
    const look = { x, y, width: width - 1, height: pitch - 1, fill: shade?.fill ?? "none", stroke: shade ? "none" : colours.rule };
    const made = shape("rect", { ...look, class: "iv-head", role: "gridcell", "data-layer": layer, "data-column": column }, line);
    made.setAttribute("aria-label", `${data.name(layer, column)}: ${data.text(layer, column)}`);
    const text = value == null || Math.abs(value) < TOLD * data.most ? "" : change(Number(value.toPrecision(2)));
    const brief = text.replace(/(\.\d)\d+$/, "$1");
    if (!brief || pitch < 13 || brief.length * LETTER > width - 3) return;
    shape("text", { x: x + (width - 1) / 2, y: y + pitch / 2 + 3.5, "text-anchor": "middle", fill: shade.ink, "font-size": 10.5 }, line, brief);
  }

  paintFoot() {
    const { foot, data, scale } = this;
    foot.replaceChildren();
    element("span", "iv-note", foot, data.note);
    const item = element("span", "iv-item", foot, change(-data.most));
    const ramp = element("i", "iv-ramp", item);
    ramp.style.background = `linear-gradient(90deg, ${[0, 64, 128, 191, 255].map((k) => scale[k].fill).join(", ")})`;
    item.append(change(data.most));
    if (this.standalone) drawExport(foot);
  }

  // pointing and choosing

  squareAt({ target }) {
    const { layer, column } = target.dataset ?? {};
    return layer == null ? null : { layer: Number(layer), column: Number(column) };
  }

  point(event) {
    const at = this.squareAt(event);
    if (at) this.hover.showSquare(this.data, at.layer, at.column, event);
    else this.hover.hide();
  }

  pick(event) {
    const at = this.squareAt(event);
    if (!at) return;
    this.hover.hide();
    this.choose(at, "click");
  }

  key(event) {
    if (event.key === "Escape") return this.clear();
    const step = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const { height, width } = this.data;
    const now = this.selected ?? { layer: height - 1, column: -step[1] };
    const inside = (value, n) => Math.max(0, Math.min(n - 1, value));
    this.choose({ layer: inside(now.layer + step[0], height), column: inside(now.column + step[1], width) }, "key");
  }

  follow(choice) {
    this.selected = this.data.find(choice);
    this.showSelection();
  }

  reveal() {
    if (!this.selected || !this.over) return;
    const { scroller, pitch, column } = this;
    const [x, y] = [this.left(this.selected.column), this.top(this.selected.layer)];
    if (y < scroller.scrollTop + HEADER) scroller.scrollTop = y - HEADER;
    else if (y + 2 * pitch > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = y + 2 * pitch - scroller.clientHeight;
    if (x < scroller.scrollLeft + this.label) scroller.scrollLeft = x - this.label;
    else if (x + 2 * column > scroller.scrollLeft + scroller.clientWidth) scroller.scrollLeft = x + 2 * column - scroller.clientWidth;
  }

  showSelection() {
    const { over, selected, colours } = this;
    if (!over) return;
    over.replaceChildren();
    if (!selected) return;
    const box = { x: this.left(selected.column), y: this.top(selected.layer), width: this.column - 1, height: this.pitch - 1 };
    for (const [grow, stroke] of [[0, colours.ink], [1.5, colours.paper], [3, colours.ink]]) {
      const around = { x: box.x - grow, y: box.y - grow, width: box.width + 2 * grow, height: box.height + 2 * grow };
      shape("rect", { ...around, fill: "none", stroke, "stroke-width": 1.5 }, over);
    }
  }

  place() {
    const { selected, data } = this;
    return selected ? data.place(selected.layer, selected.column) : { row: null, position: data.position };
  }

  // files

  toSvg() {
    const drawn = this.draw();
    const [width, height] = ["width", "height"].map((name) => Number(drawn.getAttribute(name)));
    const svg = shape("svg", { width: Math.max(width, 420), height: height + 44, xmlns: "http://www.w3.org/2000/svg", "font-size": 11 });
    svg.style.fontFamily = resolved(this.frame, "font-family");
    shape("rect", { width: "100%", height: "100%", fill: this.colours.paper }, svg);
    shape("text", { x: 8, y: 18, fill: this.colours.ink, "font-size": 12.5, "font-weight": 600 }, svg, this.data.title);
    const plane = shape("g", { transform: "translate(0 22)" }, svg);
    plane.append(...drawn.childNodes);
    const foot = `${this.data.note} · colours from ${change(-this.data.most)} to ${change(this.data.most)}`;
    shape("text", { x: 8, y: height + 38, fill: this.colours.muted }, svg, foot);
    this.showSelection();
    this.lay();
    return new XMLSerializer().serializeToString(svg);
  }
}

export default function ({ data, parentElement, setStateValue, standalone = false }) {
  const root = rootOf(parentElement, "iv-heads");
  const map = (root.intravisto ??= new HeadsMap(root));
  map.send = (selection) => setStateValue("selection", selection);
  map.standalone = standalone;
  map.mount();
  const signature = JSON.stringify(data);
  if (map.signature !== signature) {
    map.signature = signature;
    map.load(new HeadsData(data));
  }
  return () => map.unmount();
}
