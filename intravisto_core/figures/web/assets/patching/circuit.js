/**
 * A circuit: heads and MLPs, layers up, with what they hand to each other; beside them what the circuit is worth, the
 * chosen part and the curve of faithfulness. Data: what circuit_payload.py packs. A click keeps a part or leaves it out;
 * what the user did goes out as the trigger "act": { rev, do: "edit" | "test" | "layer" | "attention", kept, part, n },
 * kept as a text of 0 and 1.
 */
import { bus, channels, element, resolved } from "../shared/base.js";
import { Card, showCard } from "../shared/card.js";
import { luminance } from "../shared/colour.js";
import { paint, saveSvg, withName } from "../shared/image.js";
import { drawNet, netToSvg } from "./circuit_net.js";
import { drawSide } from "./circuit_side.js";

const NARROW = 900;
const PANEL = 324;
const NAMES = ["ink", "paper", "soft", "muted", "rule", "accent", "residual", "attention", "mlp"];

class Circuit extends Card {
  constructor(root) {
    super(root, "iv-circuit-card");
    this.main = element("div", "iv-net", this.card);
    this.side = element("aside", "iv-aside", this.card);
    this.n = 0;
    this.onSave = ({ detail }) => this.data && this.save(detail.format);
    this.main.addEventListener("keydown", (event) => this.key(event));
  }

  mount() {
    super.mount();
    bus.addEventListener("save", this.onSave);
  }

  unmount() {
    super.unmount();
    bus.removeEventListener("save", this.onSave);
  }

  /** What the page knows of the user's edits counts unless the user has gone on since. */
  begin(data) {
    const other = data.rev !== this.data?.rev;
    if (other) Object.assign(this, { n: data.n, chosen: null });
    if (other || data.n >= this.n) this.kept = [...data.kept].map(Number);
  }

  paint() {
    const { card, data } = this;
    if (!data || !card.clientWidth) return;
    this.width = card.clientWidth;
    const slim = this.width < NARROW;
    card.classList.toggle("iv-slim", slim);
    this.dark = luminance(channels(resolved(card, "background-color"))) < 0.18;
    this.colours = Object.fromEntries(NAMES.map((name) => [name, paint(card, name)]));
    this.family = resolved(card, "font-family");
    this.room = this.width - (slim ? 0 : PANEL) - 24;
    const active = card.getRootNode().activeElement;
    const focused = this.main.contains(active);
    const scrolled = this.main.scrollLeft;
    drawNet(this, this.main);
    this.main.scrollLeft = scrolled;
    drawSide(this, this.side);
    if (focused) this.focusChosen();
  }

  /** The number of parts in a layer. */
  get wide() {
    return this.data.heads + 1;
  }

  /** The name of a part. */
  nameOf(part) {
    const layer = Math.floor(part / this.wide);
    const head = part % this.wide;
    return head === this.data.heads ? `L${layer} MLP` : `L${layer}H${head}`;
  }

  /** Whether the parts that are kept are others than those that were measured. */
  get changed() {
    return this.kept.join("") !== this.data.measured;
  }

  choose(part) {
    this.chosen = part;
    this.draw();
    this.focusChosen();
  }

  focusChosen() {
    this.main.querySelector(`[data-part="${this.chosen ?? 0}"]`)?.focus({ preventScroll: true });
  }

  /** Keep a part, or leave it out. */
  toggle(part) {
    this.chosen = part;
    if (this.data.links) {
      this.kept[part] = 1 - this.kept[part];
      this.send("edit");
    }
    this.choose(part);
  }

  /** Keep the parts of largest score, so many of them. */
  takeBest(size) {
    const order = this.data.scores.map((score, part) => [score, part]).sort((a, b) => b[0] - a[0] || a[1] - b[1]);
    this.kept = this.data.scores.map(() => 0);
    for (const [, part] of order.slice(0, size)) this.kept[part] = 1;
    this.send("edit");
    this.draw();
  }

  key(event) {
    const step = { ArrowUp: this.wide, ArrowDown: -this.wide, ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const part = Number(event.target.dataset?.part ?? NaN);
    if (Number.isNaN(part)) return;
    if (step !== undefined) {
      event.preventDefault();
      const next = part + step;
      const sameRow = Math.abs(step) > 1 || Math.floor(next / this.wide) === Math.floor(part / this.wide);
      if (next >= 0 && next < this.kept.length && sameRow) this.choose(next);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.toggle(part);
    }
  }

  /** Tell the page what was done. */
  send(what) {
    this.n += 1;
    this.act({ do: what, rev: this.data.rev, n: this.n, kept: this.kept.join(""), part: this.chosen });
  }

  async save(format) {
    await saveSvg(withName(netToSvg(this), this.data.model, this.card), format, this.data.fileName);
  }
}

export default function (given) {
  return showCard(Circuit, "iv-circuit", given);
}
