/** One head's matrix, or a mean's: query down, key across. Only what is in sight is painted, as one image. */
import { element } from "../shared/base.js";
import { stepOf } from "./attention_colours.js";
import { RankedLanes, laneAt, paintLanes } from "./attention_lanes.js";
import { paintGround } from "./attention_ground.js";
import { wordsOfHeads } from "./attention_options.js";
import { nameOfHead } from "./attention_heads.js";
import { coveredBelow, fittingUnit, paintNames, roomBelow } from "./attention_names.js";
import { about, segments, shareText, sized } from "./attention_parts.js";

const LEFT = 78;
const TOP = 8;
const LARGEST = 28; // px of a cell
const SMALLEST = 0.02;
const DOT = 2; // pixels that a strong cell takes at least
const STRONG = 0.3;

export class AttentionMatrix {
  constructor(root, state) {
    Object.assign(this, { root, state, zoom: 0, ranked: new RankedLanes() });
    const bar = element("div", "iv-bar", root);
    this.title = element("h3", "", bar);
    this.title.title = "Down: the token that looks, called query. Across: the token that is looked at, called key. No token sees later ones.";
    this.modes = segments(bar, "Slice", [["matrix", "matrix", "Query × key"], ["lanes", "heads × keys", "What the query in sight takes, head by head"]], (over) => state.change({ over }));
    this.zooms = segments(bar, "Zoom", [["-", "−", "Smaller"], ["fit", "fit", "The whole matrix"], ["+", "+", "Larger"]], (way) => this.rescale(way));
    this.scroller = element("div", "iv-scroller iv-matrixscroll", root);
    this.scroller.tabIndex = 0;
    this.scroller.setAttribute("role", "grid");
    this.image = element("canvas", "iv-pinned", this.scroller);
    this.marks = element("canvas", "iv-pinned iv-marks", this.scroller);
    this.space = element("div", "iv-space-matrix", this.scroller);
    this.foot = element("div", "iv-legend", root);
    this.scroller.addEventListener("scroll", () => this.paint(), { passive: true });
    this.scroller.addEventListener("mousemove", (event) => (state.over === "lanes" ? this.pointLane(event) : this.point(this.cellAt(event))));
    this.scroller.addEventListener("mouseleave", () => state.change({ link: null }));
    this.scroller.addEventListener("click", (event) => (state.over === "lanes" ? this.pickLane(event) : this.pick(this.cellAt(event))));
    this.scroller.addEventListener("keydown", (event) => this.key(event));
    this.scroller.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.resizes = new ResizeObserver(() => this.state.made && this.lay());
    this.resizes.observe(this.scroller);
  }

  // layout

  fitting() {
    const { clientWidth, clientHeight } = this.scroller;
    const unit = fittingUnit(this.state.length, clientWidth - LEFT - 8, clientHeight - TOP);
    return Math.max(SMALLEST, Math.min(LARGEST, unit >= 4 ? Math.floor(4 * unit) / 4 : unit));
  }

  lay() {
    const { state, scroller } = this;
    if (!scroller.clientWidth) return;
    this.unit = this.zoom || this.fitting();
    const lanes = state.over === "lanes";
    const size = this.unit * state.length;
    Object.assign(this.space.style, lanes ? { width: "0", height: "0" } : { width: `${LEFT + size + 6}px`, height: `${TOP + size + roomBelow(this.unit)}px` });
    this.zooms.root.hidden = lanes;
    this.paint();
  }

  rescale(way) {
    const fit = this.fitting();
    const next = way === "fit" ? 0 : Math.max(fit, Math.min(LARGEST, this.unit * (way === "+" ? 2 : 0.5)));
    this.zoom = next <= fit ? 0 : next;
    this.lay();
    this.reveal(true);
  }

  wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.rescale(event.deltaY < 0 ? "+" : "-");
  }

  cellAt({ clientX, clientY }) {
    if (this.state.over === "lanes" || !this.unit) return null;
    const box = this.scroller.getBoundingClientRect();
    const key = Math.floor((clientX - box.left + this.scroller.scrollLeft - LEFT) / this.unit);
    const query = Math.floor((clientY - box.top + this.scroller.scrollTop - TOP) / this.unit);
    const { length } = this.state;
    if (clientY > box.top + this.scroller.clientHeight - coveredBelow(this.unit)) return null;
    return clientX - box.left > LEFT - 2 && key >= 0 && query >= key && query < length ? { query, key } : null;
  }

  // drawing

  draw(what) {
    const { state } = this;
    this.modes.show(state.over);
    const lanes = state.over === "lanes";
    // until the rows of other heads are here, the picture stays
    const waits = state.made.stale && state.made.slice === this.painted;
    const anew = !waits && ["heads", "strength", "sinks", "shownSinks", "amplify", "least", "dark", "packet", "over", "wide"].some((name) => what.has(name));
    this.title.textContent = lanes ? `What ‘${state.label(state.query)}’ takes, head by head` : `${state.heads === "all" ? "All heads, mean" : wordsOfHeads(state.heads)} · query ↓ × key →`;
    this.root.classList.toggle("iv-stale", state.made.stale);
    if (!this.unit || what.has("over") || what.has("packet")) this.lay();
    else if (anew || lanes) this.paint();
    else this.paintMarks();
    if (!this.scroller.matches(":hover")) this.reveal();
  }

  paint() {
    const { state, scroller } = this;
    const [width, height] = [scroller.clientWidth, scroller.clientHeight];
    const { slice } = state.made ?? {};
    if (!slice) this.foot.textContent = state.problem() || (state.base.links ? "being computed …" : "");
    if (!width || !slice || !this.scheme) return;
    this.family = getComputedStyle(this.root).fontFamily;
    if (state.over === "lanes") {
      sized(this.marks, width, height);
      this.rows = paintLanes(sized(this.image, width, height), this, width, height);
      this.foot.textContent = this.rows.words;
      return;
    }
    this.painted = slice;
    this.paintImage(slice, width, height);
    this.paintMarks();
    const { length } = state;
    const said = [`√ scale, full colour ${shareText(state.made.whole, false)}`, `${length} × ${length}`];
    if (slice.least && !state.base.against) said.push(`keys from ${about(slice.least)} of what sinks leave on`);
    if (state.sinks !== "show" && slice.sunk.size) said.push("grey columns: hidden sinks");
    if (state.sinks === "renormalise") said.push("rows fade by what is left");
    this.foot.textContent = said.join(" · ");
  }

  /** Every pixel gets the strongest weight that falls on it. */
  paintImage(slice, width, height) {
    const { state, scroller, unit, scheme, image } = this;
    const ratio = window.devicePixelRatio || 1;
    const context = sized(image, width, height);
    const [wide, tall] = [image.width, image.height];
    const [scrollX, scrollY] = [scroller.scrollLeft, scroller.scrollTop];
    const [fromX, fromY, step] = [(LEFT - scrollX) * ratio, (TOP - scrollY) * ratio, unit * ratio];
    const shades = new Float32Array(wide * tall);
    const first = Math.max(0, Math.floor((scrollY - TOP) / unit) - 1);
    const last = Math.min(state.length, Math.ceil((scrollY + height - TOP) / unit) + 1);
    const gap = step >= 5 ? 1 : 0;
    const { whole } = state.made;
    const edge = Math.ceil(LEFT * ratio);
    for (let query = first; query < last; query += 1) {
      const top = Math.round(fromY + query * step);
      slice.visitRow(query, (key, weight) => {
        const shade = state.shade(weight, query, whole);
        if (!shade) return;
        const left = Math.round(fromX + key * step);
        const least = Math.abs(shade) > STRONG ? DOT : 1;
        const x1 = Math.min(wide, Math.max(left + least, Math.round(fromX + (key + 1) * step) - gap));
        const y1 = Math.min(tall, Math.max(top + least, Math.round(fromY + (query + 1) * step) - gap));
        for (let y = Math.max(0, top); y < y1; y += 1) {
          for (let x = Math.max(edge, left), at = y * wide + x; x < x1; x += 1, at += 1) {
            if (Math.abs(shade) > Math.abs(shades[at])) shades[at] = shade;
          }
        }
      });
    }
    const made = context.createImageData(wide, tall);
    const pixels = new Uint32Array(made.data.buffer);
    for (let at = 0; at < shades.length; at += 1) {
      const shade = shades[at];
      if (shade) pixels[at] = stepOf(scheme, Math.sign(shade) * Math.sqrt(Math.abs(shade)), "attention", slice.signed).pixel;
    }
    context.putImageData(made, 0, 0);
    paintGround(context, this, slice, LEFT, TOP, ratio);
  }

  /** What moves with the pointer: the selected row and column, and the labels. */
  paintMarks() {
    this.modes.root.hidden = !this.state.canShow("lanes");
    const { state, scroller, unit, scheme } = this;
    if (state.over === "lanes" || !unit || !state.made?.slice) return;
    const { length, query, key, base } = state;
    const [width, height] = [scroller.clientWidth, scroller.clientHeight];
    const context = sized(this.marks, width, height);
    const [x, y] = [(at) => LEFT + at * unit - scroller.scrollLeft, (at) => TOP + at * unit - scroller.scrollTop];
    context.textBaseline = "middle";
    if (base.prompt < length) {
      context.fillStyle = scheme.accent;
      context.fillRect(Math.max(LEFT - 4, x(0) - 4), y(base.prompt) - 1, (base.prompt + 1) * unit + 4, 1.5);
    }
    context.save();
    context.beginPath();
    context.rect(LEFT - 2, 0, width, height);
    context.clip();
    context.strokeStyle = scheme.ink;
    context.lineWidth = 1.2;
    context.globalAlpha = 0.8;
    context.strokeRect(x(0) - 0.5, y(query) - 0.5, (query + 1) * unit, Math.max(unit, 2));
    context.globalAlpha = 1;
    context.strokeStyle = scheme.observed;
    context.lineWidth = 1.5;
    context.strokeRect(x(key) - 0.5, y(key) - 0.5, Math.max(unit, 2), (length - key) * unit);
    context.restore();
    paintNames(context, this, { x, y, width, height, left: LEFT });
    this.say();
  }

  /** The selected cell in words. */
  say() {
    const { state } = this;
    const { query, key } = state;
    const { slice, stale } = state.made;
    const bound = slice.bound(query, key);
    const said = stale ? "on its way" : bound ? `less than ${about(bound)}` : shareText(slice.at(query, key), slice.signed);
    this.scroller.ariaLabel = `Matrix: ${state.label(query)}, position ${query}, looks at ${state.label(key)}, position ${key}: ${said}. Arrow keys move, Enter freezes, Escape frees.`;
  }

  // pointing and choosing

  point(cell) {
    const { state } = this;
    if (!cell) return;
    state.change({ ...(state.lockQuery ? {} : { query: cell.query }), ...(state.lockKey ? {} : { key: cell.key }), link: cell.key });
  }

  pick(cell) {
    const { state } = this;
    if (!cell) return;
    state.change({ ...cell, link: cell.key, lockQuery: true, lockKey: true });
    state.select();
  }

  laneAt({ clientX, clientY }) {
    const box = this.scroller.getBoundingClientRect();
    return laneAt(this.rows, clientX - box.left, clientY - box.top);
  }

  pointLane(event) {
    const { key } = this.laneAt(event) ?? {};
    if (key != null) this.state.change({ link: key, ...(this.state.lockKey ? {} : { key }) });
  }

  pickLane(event) {
    const found = this.laneAt(event);
    if (found) this.state.change({ heads: nameOfHead(found.head, this.state.base.heads), ...(found.key == null ? {} : { key: found.key, lockKey: true, link: null }) });
  }

  key(event) {
    const { state } = this;
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (event.key === "Escape") state.change({ lockQuery: false, lockKey: false, link: null });
    else if (event.key === "Enter") this.pick({ query: state.query, key: Math.min(state.key, state.query) });
    else if (["+", "-"].includes(event.key)) this.rescale(event.key);
    else if (step) {
      const query = Math.max(0, Math.min(state.length - 1, state.query + step[0]));
      const key = Math.max(0, Math.min(query, state.key + step[1]));
      state.change({ query, key, link: key });
      this.reveal(true);
    } else return;
    event.preventDefault();
  }

  /** Keep the selected cell in sight, a cell away from the edge. */
  reveal(force = false) {
    const { state, scroller, unit } = this;
    if (!unit || state.over === "lanes") return;
    const [x, y] = [state.key * unit, TOP + state.query * unit];
    const [wide, tall] = [scroller.clientWidth - LEFT, scroller.clientHeight - roomBelow(unit)];
    if (!force && scroller.dataset.seen === `${state.query} ${state.key}`) return;
    scroller.dataset.seen = `${state.query} ${state.key}`;
    if (y < scroller.scrollTop + unit || y + 2 * unit > scroller.scrollTop + tall) scroller.scrollTop = y - tall / 2;
    if (x < scroller.scrollLeft + unit || x + 2 * unit > scroller.scrollLeft + wide) scroller.scrollLeft = x - wide / 2;
  }
}

