/** All heads at once: what each looks at (bars), its pattern, its weight on one link, or a scatter of two scores. */
import { element } from "../shared/base.js";
import { HeadCells } from "./attention_cells.js";
import { ORDER } from "./attention_colours.js";
import { HeadScores } from "./attention_scores.js";
import { paintScatter, scatterAt } from "./attention_scatter.js";
import { HeadTip } from "./attention_tip.js";
import { clip, segments, sized } from "./attention_parts.js";
import { nameOfHead } from "./attention_heads.js";

const LEFT = 31;
const TOP = 20;
const LINE = 20; // px of a line of the sorted list
const NAME = 56; // px of a head's name there
const NUMBER = 50;
const MODES = [
  ["targets", "targets", "What each head looks at on this text: a bar sums to 100 %"],
  ["patterns", "patterns", "A small picture of each head's matrix, its own sinks set aside as chosen above"],
  ["link", "this link", "How strongly each head looks from the query to the key in sight"],
  ["scatter", "scatter", "All heads by two scores"],
];

export class AttentionMap {
  constructor(root, state) {
    Object.assign(this, { root, state });
    const bar = element("div", "iv-bar", root);
    element("h3", "", bar, "Heads").title = "Every layer (a line) has several heads (columns). Each head shares out its attention in its own way. Click one to see it everywhere.";
    this.modes = segments(bar, "What the map shows", MODES, (map) => state.change({ map }));
    this.widen = element("button", "iv-tool", bar, "⤢");
    this.widen.type = "button";
    this.widen.addEventListener("click", () => state.change({ wide: !state.wide }));
    this.scores = new HeadScores(root, state);
    this.cells = new HeadCells(state, this.scores);
    this.scroller = element("div", "iv-scroller iv-mapscroll", root);
    this.scroller.tabIndex = 0;
    this.canvas = element("canvas", "iv-pinned", this.scroller);
    this.space = element("div", "iv-space-map", this.scroller);
    this.over = element("div", "iv-cursor iv-over", this.space);
    this.over.hidden = true;
    this.cursors = element("div", "", this.space);
    this.foot = element("div", "iv-legend", root);
    this.tip = new HeadTip(root, state, this.scores);
    this.scroller.addEventListener("scroll", () => this.paint(), { passive: true });
    this.scroller.addEventListener("click", (event) => this.pick(event));
    this.scroller.addEventListener("mousemove", (event) => this.point(event));
    this.scroller.addEventListener("mouseleave", () => this.leave());
    this.scroller.addEventListener("keydown", (event) => this.key(event));
    this.resizes = new ResizeObserver(() => this.state.base && this.state.made && this.lay());
    this.resizes.observe(this.scroller);
  }

  // layout

  lay() {
    const { state, scroller } = this;
    const { layers, heads } = state.base;
    const [width, height] = [scroller.clientWidth, scroller.clientHeight];
    if (!width) return;
    this.listed = state.map !== "scatter" && state.order && state.sorted ? this.scores.ranked() : null;
    if (this.listed) Object.assign(this, { cell: [width - NAME - NUMBER, LINE], whole: [width, this.listed.length * LINE + 6] });
    else if (state.map === "scatter") Object.assign(this, { cell: [0, 0], whole: [width, height] });
    else {
      const room = Math.floor((width - LEFT - 8) / heads);
      const wide = Math.max(7, Math.min(state.wide ? 44 : 66, room));
      const tall = state.map === "patterns" ? wide : Math.max(6, Math.min(40, Math.floor((height - TOP - 6) / layers)));
      Object.assign(this, { cell: [wide, tall], whole: [LEFT + heads * wide + 4, TOP + layers * tall + 4] });
    }
    Object.assign(this.space.style, { width: `${this.whole[0]}px`, height: `${this.whole[1]}px` });
    this.paint();
    this.placeCursors();
  }

  /** Left, top, width and height of a head, in the scroller; null where the list has none. */
  boxOf(head) {
    const { heads, layers } = this.state.base;
    if (!this.cell) return null; // not laid out yet: the page is not in sight
    const [wide, tall] = this.cell;
    if (this.state.map === "scatter") return this.points?.get(head) ?? null;
    if (this.listed) {
      const at = this.listed.indexOf(head);
      return at < 0 ? null : [2, 3 + at * LINE, this.whole[0] - 6, LINE - 1];
    }
    return [LEFT + (head % heads) * wide, TOP + (layers - 1 - Math.floor(head / heads)) * tall, wide, tall];
  }

  headAt({ clientX, clientY }) {
    const box = this.scroller.getBoundingClientRect();
    const [x, y] = [clientX - box.left + this.scroller.scrollLeft, clientY - box.top + this.scroller.scrollTop];
    const { heads, layers } = this.state.base;
    if (this.state.map === "scatter") return scatterAt(this.points, x, y);
    if (this.listed) return this.listed[Math.floor((y - 3) / LINE)] ?? null;
    const [column, row] = [Math.floor((x - LEFT) / this.cell[0]), layers - 1 - Math.floor((y - TOP) / this.cell[1])];
    return column >= 0 && column < heads && row >= 0 && row < layers ? row * heads + column : null;
  }

  // drawing

  draw(what) {
    const { state } = this;
    this.root.hidden = !state.base.map;
    if (!state.base.map) return;
    this.modes.show(state.map);
    for (const button of this.modes.root.children) button.hidden = !state.canShow(button.dataset.value);
    this.widen.hidden = state.base.heads <= 16 && !state.wide;
    this.widen.title = state.wide ? "Give the other parts their room again" : "Let the map take the width of the page";
    this.widen.classList.toggle("iv-on", state.wide);
    this.scores.draw(what);
    const anew = ["map", "order", "sorted", "floor", "scatter", "wide", "dark", "packet", "strength", "sinks", "shownSinks"];
    const linked = state.map === "link" && ["query", "key", "link", "lockKey", "lockQuery"].some((name) => what.has(name));
    if (!this.cell || anew.some((name) => what.has(name))) this.lay();
    else if (linked) this.paint();
    if (what.has("heads")) this.placeCursors(true);
  }

  paint() {
    const { state, scroller, scheme } = this;
    if (!this.cell || !scheme) return;
    const [width, height] = [scroller.clientWidth, scroller.clientHeight];
    const context = sized(this.canvas, width, height);
    context.translate(-scroller.scrollLeft, -scroller.scrollTop);
    context.textBaseline = "middle";
    this.family = getComputedStyle(this.root).fontFamily;
    context.font = `11px ${this.family}`;
    if (state.map === "scatter") this.points = paintScatter(context, this, width, height);
    else if (this.listed) this.paintList(context, scroller.scrollTop, height);
    else this.paintGrid(context);
    this.paintLegend();
    this.scroller.ariaLabel = `Map of heads, ${state.map}: ${state.base.layers} layers × ${state.base.heads} heads. Arrow keys choose a head, Escape all.`;
  }

  paintGrid(context) {
    const { state, scheme, scroller } = this;
    const { layers, heads } = state.base;
    const [wide, tall] = this.cell;
    const fill = this.cells.filler(context, this.scheme);
    const from = Math.max(0, Math.floor((scroller.scrollTop - TOP) / tall));
    const to = Math.min(layers, Math.ceil((scroller.scrollTop + scroller.clientHeight - TOP) / tall));
    const [gapX, gapY] = [wide > 14 ? 2 : 1, tall > 10 ? 2 : 1];
    for (let row = from; row < to; row += 1) {
      const layer = layers - 1 - row;
      for (let head = 0; head < heads; head += 1) fill(layer * heads + head, LEFT + head * wide, TOP + row * tall, wide - gapX, tall - gapY);
    }
    const strip = (x, y, w, h) => {
      context.fillStyle = scheme.paper;
      context.fillRect(x, y, w, h);
      context.fillStyle = scheme.muted;
    };
    strip(scroller.scrollLeft, scroller.scrollTop, LEFT - 2, scroller.clientHeight);
    context.textAlign = "right";
    const every = Math.max(1, Math.ceil(11 / tall));
    for (let row = from; row < to; row += 1) {
      const layer = layers - 1 - row;
      if (layer % every === 0) context.fillText(`L${layer}`, scroller.scrollLeft + LEFT - 6, TOP + row * tall + tall / 2);
    }
    strip(scroller.scrollLeft, scroller.scrollTop, scroller.clientWidth, TOP - 1);
    context.textAlign = "center";
    const some = [1, 2, 4, 8, 16].find((step) => step * wide >= 16) ?? 32;
    for (let head = 0; head < heads; head += some) {
      const x = LEFT + head * wide + wide / 2;
      if (x > scroller.scrollLeft + LEFT) context.fillText(head, x, scroller.scrollTop + TOP / 2 + 1);
    }
  }

  paintList(context, top, height) {
    const { scheme, scores, state } = this;
    const fill = this.cells.filler(context, this.scheme);
    for (let at = Math.max(0, Math.floor(top / LINE) - 1); at < this.listed.length && at * LINE < top + height; at += 1) {
      const head = this.listed[at];
      const y = 3 + at * LINE;
      context.fillStyle = scheme.ink;
      context.textAlign = "left";
      context.fillText(nameOfHead(head, state.base.heads), 6, y + LINE / 2 - 1);
      context.textAlign = "right";
      context.fillText(scores.text(state.order, head), this.whole[0] - 6, y + LINE / 2 - 1);
      fill(head, NAME, y + 2, this.cell[0] - 8, LINE - 6);
    }
  }

  paintLegend() {
    const { state, scheme, foot } = this;
    const said = `${state.map} ${state.base.against} ${state.strength} ${scheme.paper} ${state.query} ${state.map === "link" && state.linkedKey()}`;
    if (said === this.said) return;
    this.said = said;
    foot.replaceChildren();
    if (state.map === "scatter" || (state.map === "targets" && !state.base.against)) {
      for (const kind of ORDER) {
        const { name, help } = state.base.classes.find(({ id }) => id === kind);
        const item = element("span", "", foot);
        item.title = help;
        element("i", "", item).style.background = scheme.kinds[kind];
        item.append(name);
      }
      return;
    }
    const words = {
      targets: "how much of its attention goes to other kinds of keys than in the baseline",
      patterns: `row ↓ query, column → key${state.base.against ? ", of the edited run" : ""}`,
      link: `${clip(state.label(state.query), 14)} → ${clip(state.label(state.linkedKey()), 14)} in every head, ${state.strength.replace("_", "-")}`,
    }[state.map];
    element("span", "", foot, words);
    const signed = state.map === "link" && state.isSigned();
    const scale = signed ? scheme.divergingScale : state.map === "targets" ? scheme.observedScale : scheme.attentionScale;
    const ramp = element("span", "", foot);
    ramp.append(signed ? "−100 " : "0 ");
    element("i", "iv-ramp", ramp).style.background = `linear-gradient(90deg, ${[0, 64, 128, 191, 255].map((k) => scale[k].fill).join(", ")})`;
    ramp.append(" 100 %, √");
  }

  placeCursors(reveal = false) {
    const { state, cursors, scroller } = this;
    cursors.replaceChildren();
    if (state.heads === "all") return;
    for (const pick of state.picks) {
      const box = this.boxOf(pick);
      if (box) place(element("div", "iv-cursor", cursors), box);
    }
    const box = this.boxOf(state.picks[0]);
    if (!reveal || !box || scroller.matches(":hover")) return;
    if (box[1] < scroller.scrollTop + TOP || box[1] + box[3] > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = box[1] - scroller.clientHeight / 2;
    if (box[0] < scroller.scrollLeft + LEFT || box[0] + box[2] > scroller.scrollLeft + scroller.clientWidth) scroller.scrollLeft = box[0] - scroller.clientWidth / 2;
  }

  // pointing and choosing

  point(event) {
    const head = this.headAt(event);
    const box = head == null ? null : this.boxOf(head);
    this.over.hidden = !box;
    if (!box) return this.tip.hide();
    place(this.over, box);
    return this.tip.show(head, event);
  }

  leave() {
    this.over.hidden = true;
    this.tip.hide();
  }

  pick(event) {
    const head = this.headAt(event);
    const { state } = this;
    if (head == null) return;
    const name = nameOfHead(head, state.base.heads);
    const several = (event.shiftKey || event.ctrlKey || event.metaKey) && state.heads !== "all";
    const names = state.heads.split("+");
    if (several) state.change({ heads: (names.includes(name) && names.length > 1 ? names.filter((each) => each !== name) : [...new Set([...names, name])]).join("+") });
    else state.change({ heads: state.heads === name ? "all" : name });
    state.select();
  }

  key(event) {
    const { state } = this;
    const { heads, layers } = state.base;
    if (event.key === "Escape") state.change({ heads: "all" });
    const step = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step && event.key !== "Escape") return;
    event.preventDefault();
    if (!step) return;
    const inside = (value, n) => Math.max(0, Math.min(n - 1, value));
    const now = state.heads === "all" ? null : state.picks[0];
    let next;
    if (this.listed) next = this.listed[inside((now == null ? -1 : this.listed.indexOf(now)) - step[0] + step[1], this.listed.length)];
    else if (now == null) next = (layers - 1) * heads;
    else next = inside(Math.floor(now / heads) + step[0], layers) * heads + inside((now % heads) + step[1], heads);
    if (next != null) state.change({ heads: nameOfHead(next, heads) });
    this.placeCursors(true);
  }
}

function place(mark, [x, y, w, h]) {
  Object.assign(mark.style, { left: `${x - 2}px`, top: `${y - 2}px`, width: `${w + 3}px`, height: `${h + 3}px` });
}
