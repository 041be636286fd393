/** The scores of heads: choosing one to sort or filter by, and two to draw against each other. */
import { element } from "../shared/base.js";
import { significant } from "../shared/numbers.js";
import { about } from "./attention_parts.js";

const PAIR = ["previous", "induction"];
// what the line of choices depends on; the pointer is none of it
const DRAWN_FOR = ["map", "order", "sorted", "floor", "scatter", "packet", "dark"];

export class HeadScores {
  constructor(root, state) {
    this.state = state;
    this.line = element("div", "iv-scoreline", root);
    this.chosen = this.select("Score", (order) => state.change({ order, sorted: Boolean(order) && state.sorted !== false, floor: 0 }));
    this.sorted = element("button", "iv-tool", this.line, "sort");
    this.sorted.type = "button";
    this.sorted.title = "The largest first, as a list; else the map keeps its order";
    this.sorted.addEventListener("click", () => state.change({ sorted: !state.sorted }));
    this.floor = element("input", "", this.line);
    Object.assign(this.floor, { type: "range", min: 0, max: 100, step: 1, title: "Heads with less than this are dimmed" });
    this.floor.ariaLabel = "least score";
    this.floor.addEventListener("input", () => state.change({ floor: Number(this.floor.value) / 100 }));
    this.count = element("span", "iv-said", this.line);
    this.pair = [0, 1].map((axis) => this.select(axis ? "↑" : "→", (id) => state.change({ scatter: this.axes().map((old, at) => (at === axis ? id : old)) })));
  }

  select(name, take) {
    const label = element("label", "iv-said", this.line, `${name} `);
    const made = element("select", "", label);
    made.ariaLabel = name;
    made.addEventListener("change", () => take(made.value));
    return made;
  }

  /** The scores that there are: those of the packet, and the share of each kind of target. */
  list() {
    const { base } = this.state;
    const kinds = base.classes.map(({ id, name, help }) => ({ id: `target ${id}`, name: `to: ${name}`, help, unit: "share" }));
    return [...(this.state.packet("types")?.scores ?? []), ...base.scores, ...kinds];
  }

  axes() {
    const known = new Set(this.list().map(({ id }) => id));
    const fallback = PAIR.every((id) => known.has(id)) ? PAIR : ["target previous", "target after_same"];
    return [0, 1].map((axis) => (known.has(this.state.scatter[axis]) ? this.state.scatter[axis] : fallback[axis]));
  }

  value(id, head) {
    const { base } = this.state;
    if (id.startsWith("target ")) {
      const at = base.classes.findIndex((each) => each.id === id.slice(7));
      return base.data.targets[head * base.classes.length + at];
    }
    for (const from of [base, this.state.packet("types")]) {
      const at = from?.scores?.findIndex((each) => each.id === id) ?? -1;
      if (at >= 0) return from.data.scores[at * this.n() + head];
    }
    return NaN;
  }

  unit(id) {
    return this.list().find((each) => each.id === id)?.unit;
  }

  text(id, head) {
    return scoreText(this.value(id, head), this.unit(id));
  }

  range(id) {
    if (this.unit(id) === "share") return [0, 1];
    let [low, high] = [0, 1e-9];
    for (let head = 0; head < this.n(); head += 1) {
      const value = this.value(id, head);
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return [low, high];
  }

  n() {
    return this.state.base.layers * this.state.base.heads;
  }

  /** Whether a head is not filtered out. */
  passes(head) {
    return this.bound == null || this.value(this.state.order, head) >= this.bound;
  }

  /** The heads that pass, the largest first. */
  ranked() {
    const { order } = this.state;
    const all = [...Array(this.n()).keys()].filter((head) => this.passes(head) && !Number.isNaN(this.value(order, head)));
    return all.sort((a, b) => this.value(order, b) - this.value(order, a));
  }

  draw(what) {
    if (this.built != null && !DRAWN_FOR.some((name) => what.has(name))) return;
    const { state } = this;
    const scatter = state.map === "scatter";
    const [low, high] = state.order ? this.range(state.order) : [0, 0];
    this.bound = state.order && state.floor && !scatter ? low + state.floor * (high - low) : null;
    const ids = this.list().map(({ id }) => id).join();
    if (this.built !== ids) {
      this.built = ids;
      for (const box of [this.chosen, ...this.pair]) {
        box.replaceChildren();
        if (box === this.chosen) element("option", "", box, "none: by layer").value = "";
        for (const { id, name, help } of this.list()) {
          const option = element("option", "", box, name);
          option.value = id;
          option.title = help;
        }
      }
    }
    for (const part of [this.chosen.parentElement, this.sorted, this.floor, this.count]) part.hidden = scatter;
    for (const box of this.pair) box.parentElement.hidden = !scatter;
    this.chosen.value = state.order;
    this.chosen.title = this.list().find(({ id }) => id === state.order)?.help ?? "Sort or filter the heads by a score";
    this.pair.forEach((box, axis) => (box.value = this.axes()[axis]));
    this.sorted.hidden ||= !state.order;
    this.floor.hidden ||= !state.order;
    this.sorted.classList.toggle("iv-on", Boolean(state.sorted));
    if (!what.has("floor")) this.floor.value = 100 * state.floor;
    if (this.bound == null) return this.count.replaceChildren();
    const passing = [...Array(this.n()).keys()].filter((head) => this.passes(head)).length;
    this.count.textContent = `≥ ${scoreText(this.bound, this.unit(state.order))}: ${passing} of ${this.n()}`;
  }
}

export function scoreText(value, unit) {
  if (value == null || Number.isNaN(value)) return "–";
  if (unit === "share") return about(value);
  if (unit === "nats" && Math.abs(value) < 1e-3) return "<0.001 nats";
  return `${unit === "nats" ? significant(value) : value.toFixed(Math.abs(value) < 10 ? 2 : 1).replace("-", "−")}${unit === "nats" ? " nats" : unit === "positions" ? " pos." : ""}`;
}
