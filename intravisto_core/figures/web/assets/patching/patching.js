/**
 * What every cell of a patching grid, or of a sweep of edits, does: positions and heads on one axis of layers, under the
 * prompts; beside them the chosen cell in words, the estimate, and the parts that matter.
 * Data: what patching_payload.py or sweep_payload.py packs. What the user did goes out as the trigger "act":
 * { rev, do: "select" | "cancel" | "test" | "open" | "layer" | "attention", block, layer, column, n }.
 */
import { bus, channels, element, resolved } from "../shared/base.js";
import { Card, showCard } from "../shared/card.js";
import { colourScale, luminance } from "../shared/colour.js";
import { paint, saveSvg, withName } from "../shared/image.js";
import { drawBlocks } from "./patching_blocks.js";
import { drawPanel } from "./patching_panel.js";
import { toSvg } from "./patching_export.js";

const NARROW = 900;
const PANEL = 312;
const KEY_PAUSE = 140;
let acts = 0;

class Picture extends Card {
  constructor(root) {
    super(root, "iv-patching-card");
    this.main = element("div", "iv-main", this.card);
    this.panel = element("aside", "iv-aside", this.card);
    this.scrolled = {};
    this.onSize = () => this.resize();
    this.onSave = ({ detail }) => this.data && this.save(detail.format);
    this.card.addEventListener("keydown", (event) => this.key(event));
  }

  mount() {
    super.mount();
    addEventListener("resize", this.onSize);
    bus.addEventListener("save", this.onSave);
  }

  unmount() {
    super.unmount();
    removeEventListener("resize", this.onSize);
    bus.removeEventListener("save", this.onSave);
  }

  resize() {
    if (this.card.clientWidth !== this.width || innerHeight !== this.height) this.draw();
  }

  /** What was chosen stays while cells come in; another grid begins with what the page says is chosen. */
  begin(data) {
    if (data.rev !== this.data?.rev) this.picked = false;
    if (!this.picked) this.chosen = data.chosen;
  }

  paint() {
    const { card, data } = this;
    if (!data || !card.clientWidth) return;
    Object.assign(this, { width: card.clientWidth, height: innerHeight });
    const active = card.getRootNode().activeElement;
    const focused = active?.dataset?.at;
    card.classList.toggle("iv-slim", this.width < NARROW);
    this.dark = luminance(channels(resolved(card, "background-color"))) < 0.18;
    this.scale = colourScale("diverging", this.dark);
    this.colours = Object.fromEntries(["ink", "paper", "soft", "muted", "rule", "accent"].map((name) => [name, paint(card, name)]));
    this.room = this.width - (this.width < NARROW ? 0 : PANEL);
    drawBlocks(this, this.main);
    drawPanel(this, this.panel);
    if (focused) card.querySelector(`[data-at="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  /** Itself with the font of the page, which measured texts and files name. */
  withFamily() {
    this.family = resolved(this.card, "font-family");
    return this;
  }

  /** A cell's value, or null where there is none. */
  value(block, layer, column) {
    return block.values[layer]?.[column] ?? null;
  }

  /** The step of the colour scale for a value. */
  shade(value) {
    return this.scale[Math.round(127.5 * (1 + Math.max(-1, Math.min(1, value / this.data.most))))];
  }

  choose(block, layer, column, how = "click") {
    Object.assign(this, { chosen: { block, layer, column }, picked: true });
    this.draw();
    this.card.querySelector(`[data-at="${CSS.escape(`block-${block}`)}"]`)?.focus({ preventScroll: true });
    clearTimeout(this.pause);
    this.pause = setTimeout(() => this.send("select"), how === "key" ? KEY_PAUSE : 0);
  }

  key(event) {
    const step = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const block = this.data?.blocks.find(({ key }) => key === event.target.dataset?.block);
    if (!block || !step) return;
    event.preventDefault();
    const inside = (value, least, most) => Math.max(least, Math.min(most, value));
    const here = this.chosen?.block === block.key ? this.chosen : { layer: this.data.layers.length - 1, column: block.prefix };
    const layer = inside(here.layer + step[0], 0, this.data.layers.length - 1);
    this.choose(block.key, layer, inside(here.column + step[1], block.prefix, block.columns.length - 1), "key");
  }

  /** Tell the page what was done with the chosen cell. */
  send(what) {
    acts += 1;
    this.act({ do: what, rev: this.data.rev, n: acts, ...this.chosen });
  }

  async save(format) {
    await saveSvg(withName(toSvg(this), this.data.model, this.card), format, this.data.fileName);
  }
}

export default function (given) {
  return showCard(Picture, "iv-patching", given);
}
