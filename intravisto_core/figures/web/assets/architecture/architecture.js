/**
 * What a module is made of, and what runs after what: outline, picture, detail. Data: what architecture_payload.py packs.
 * An act that leads elsewhere goes out as the trigger "act": { rev, do: "attach" | "detach" | "open", path, … }.
 */
import { bus, channels, element, resolved, rootOf } from "../shared/base.js";
import { colourScale, luminance } from "../shared/colour.js";
import { measurer } from "../shared/image.js";
import { drawDetail } from "./arch_detail.js";
import { Drawing } from "./arch_draw.js";
import { savePicture } from "./arch_export.js";
import { Layout } from "./arch_layout.js";
import { Live } from "./arch_live.js";
import { ArchModel } from "./arch_model.js";
import { Outline } from "./arch_outline.js";
import { stripWidth } from "./arch_strip.js";
import { stripKinds } from "./arch_strip_kinds.js";
import { View, addButtons } from "./arch_view.js";

// what was opened and chosen stays while the page lives: a component is made anew at every switch of pages
const memory = (bus.architectures ??= new Map());
const LEGIBLE = 0.72;
const DEEPEST = 12;
let acts = 0;

class Architecture {
  constructor(root) {
    this.root = root;
    this.open = new Set();
    this.act = () => {};
    this.options = element("div", "iv-options", root);
    this.frame = element("div", "iv-three", root);
    this.outline = new Outline(element("div", "iv-outline", this.frame), this);
    this.stage = element("div", "iv-stage", this.frame);
    this.stage.tabIndex = 0;
    this.stage.ariaLabel = "Picture of the modules. Arrow keys go from box to box, Enter opens or closes, plus and minus zoom, 0 fits, slash searches.";
    this.view = new View(this.stage);
    this.detail = element("div", "iv-detail", this.frame);
    addButtons(this.stage, [
      ["−", "Smaller", () => this.view.zoom(0.8)],
      ["+", "Larger", () => this.view.zoom(1.25)],
      ["fit", "All of it", () => this.view.fit()],
      ["SVG", "Save the picture as shapes", () => savePicture(this, "svg")],
      ["PNG", "Save the picture as pixels", () => savePicture(this, "png")],
    ]);
    this.stage.addEventListener("keydown", (event) => this.key(event));
    this.frame.addEventListener("transitionend", ({ target }) => target === this.frame && this.data && this.draw());
    this.resizes = new ResizeObserver(() => this.resize());
    this.saving = ({ detail }) => savePicture(this, detail.format);
    this.onSelect = ({ detail }) => this.look(detail);
    this.measuring = ({ detail }) => this.follow(detail);
  }

  mount() {
    this.resizes.observe(this.stage);
    bus.addEventListener("save", this.saving);
    bus.addEventListener("select", this.onSelect);
    bus.addEventListener("measured", this.measuring);
  }

  unmount() {
    this.resizes.disconnect();
    bus.removeEventListener("save", this.saving);
    bus.removeEventListener("select", this.onSelect);
    bus.removeEventListener("measured", this.measuring);
  }

  resize() {
    if (!this.data || this.stage.clientWidth === this.wide) return;
    this.wide = this.stage.clientWidth;
    if (!this.touched) this.begin();
    else this.view.place && this.view.move();
  }

  /** New numbers of the same module leave everything where it is; another module begins anew. */
  load(data) {
    const signature = JSON.stringify(data);
    if (signature === this.signature) return;
    const subject = [data.name, data.modules, data.parameters].join("\n");
    const same = subject === this.subject;
    const kept = same ? { path: this.model.pathOf(this.selected), chosen: this.model.folds.map((f) => f.chosen) } : null;
    const hadRun = Boolean(this.data?.run);
    Object.assign(this, { data, signature, subject, model: new ArchModel(data), now: null });
    this.position = bus.selection?.position;
    if (kept) this.model.folds.forEach((fold, i) => (fold.chosen = kept.chosen[i] ?? fold.chosen));
    const failed = data.run?.failed;
    this.selected = (kept && this.model.find(kept.path)) ?? this.model.root;
    if (failed) this.selected = this.model.find(failed) ?? this.selected;
    this.kinds = stripKinds(this.model, this.model.folds);
    if (!this.kinds.some(([kind]) => kind === this.strip)) this.strip = this.kinds[0]?.[0] ?? "time";
    this.wide = this.stage.clientWidth;
    this.drawOptions();
    const before = same ? null : memory.get(subject);
    if (before) this.restore(before);
    else if (same && hadRun === Boolean(data.run)) this.relayout();
    else this.begin();
  }

  /** The strips show the position that is selected on all pages. */
  look({ rev, position }) {
    if (!this.data || position == null || position === this.position || (rev && rev !== this.data.rev)) return;
    this.position = position;
    this.draw();
  }

  /** What is measured in a run that goes on takes the place of what stood there; null: the run is over. */
  follow(now) {
    if (!this.data || (now === null && !this.now)) return;
    this.now = now;
    this.model.setOutputs([...this.data.outputs, ...(now?.outputs ?? []).map((each) => ({ ...each, now: true }))]);
    this.drawOptions();
    this.draw();
    this.root.dataset.calls = now?.calls ?? "";
  }

  restore({ open, chosen, path, strip, place }) {
    this.open = new Set(open);
    this.model.folds.forEach((fold, i) => (fold.chosen = chosen[i] ?? fold.chosen));
    this.selected = this.model.find(path) ?? this.model.root;
    if (this.kinds.some(([kind]) => kind === strip)) this.strip = strip;
    this.drawOptions();
    this.touched = true;
    this.view.place = place && { ...place };
    this.relayout();
  }

  remember() {
    const { model, open, strip, view } = this;
    const chosen = model.folds.map((fold) => fold.chosen);
    memory.set(this.subject, { open: [...open], chosen, path: model.pathOf(this.selected), strip, place: view.place });
  }

  /** As much is open as stays legible, level by level; where something failed, the way there. */
  begin() {
    this.touched = false;
    this.open = new Set([""]);
    this.dark = luminance(channels(resolved(this.frame, "background-color"))) < 0.18;
    for (let depth = 1; depth <= DEEPEST; depth++) {
      const before = this.open;
      this.open = new Set(before);
      for (const node of this.model.nodes) if (node.depth < depth && node.children.length) this.open.add(node.path);
      for (const fold of this.model.folds) if (fold.owner.depth < depth && fold.repeat < 64) this.open.add(fold.key);
      if (this.open.size > before.size && this.view.scaleOf(this.layout()) < LEGIBLE) {
        this.open = before;
        break;
      }
    }
    if (this.data.run?.failed) this.openTo(this.selected);
    this.view.place = null;
    this.relayout();
  }

  layout() {
    const text = measurer(resolved(this.root, "font-family"));
    this.show = { model: this.model, strip: this.strip, position: this.position };
    return new Layout(this.model, this.open, text, (fold) => stripWidth(this.show, fold)).box;
  }

  relayout() {
    this.box = this.layout();
    this.draw();
  }

  draw() {
    const begun = performance.now();
    this.dark = luminance(channels(resolved(this.frame, "background-color"))) < 0.18;
    const scale = (name) => colourScale(name, this.dark);
    const scales = { says: scale("residual"), size: scale("attention"), routed: scale("mlp"), time: scale("entropy"), signed: scale("diverging") };
    this.show = { model: this.model, selected: this.selected, open: this.open, strip: this.strip, position: this.position, scales, failed: this.data.run?.failed };
    this.view.show(new Drawing(this.show, this).draw(this.box), this.box);
    this.outline.draw(this.show);
    drawDetail(this.detail, this.show, this);
    this.remember();
    if (this.data.live) (this.live ??= new Live(this)).paint();
    this.root.dataset.drawn = (performance.now() - begun).toFixed(1);
  }

  drawOptions() {
    this.options.replaceChildren();
    const { run } = this.data;
    if (run?.failed != null) {
      element("span", "iv-error", this.options, `The run failed in ${run.failed || "the code of the whole"}: ${run.error}. What ran until then is drawn.`);
    } else if (!run) {
      element("span", "iv-muted", this.options, "Nothing was run yet: links between the boxes come with the first run.");
    }
    if (this.now) {
      const made = this.now.calls - 1;
      const far = made ? `${made} ${made === 1 ? "token" : "tokens"} generated` : "the prompt is read";
      element("span", "iv-now", this.options, `A run goes on, ${far}: what is measured follows it, all else is of the run before.`);
    }
    for (const note of this.data.notes) element("span", "iv-muted", this.options, note);
    if (this.kinds.length < 2) return;
    const group = element("span", "iv-choice", this.options, "beside folded layers");
    for (const [kind, label] of this.kinds) {
      const button = element("button", "", group, label);
      button.type = "button";
      button.ariaPressed = String(kind === this.strip);
      button.addEventListener("click", () => {
        this.strip = kind;
        this.drawOptions();
        this.relayout();
      });
    }
  }

  select(node) {
    if (node !== this.selected) {
      this.selected = node;
      this.draw();
    }
  }

  choose(fold, k) {
    this.touched = true;
    fold.chosen = k;
    const inside = fold.body.some((body) => this.selected === body || this.selected.path.startsWith(`${body.path}.`));
    if (!inside) this.selected = fold.body.at(-1);
    this.draw();
  }

  /** Open what is closed, close what is open; the box stays where it was. */
  toggle(key) {
    this.touched = true;
    const before = this.find(key)?.getBoundingClientRect();
    if (this.open.has(key)) this.open.delete(key);
    else this.open.add(key);
    this.relayout();
    const after = this.find(key)?.getBoundingClientRect();
    if (before && after) this.view.shift(before.left + before.width / 2 - after.left - after.width / 2, before.top - after.top);
  }

  find(key) {
    return this.view.svg.querySelector(`[data-toggle="${CSS.escape(key)}"]`)?.closest(".iv-node");
  }

  openTo(node) {
    for (let each = node.parent; each; each = each.parent) this.open.add(each.path);
    for (let each = node; each; each = each.parent) if (each.fold) this.open.add(each.fold.key);
  }

  /** To a path: opened, chosen, in sight. */
  go(path) {
    const node = this.model.find(path);
    if (!node) return;
    this.touched = true;
    this.openTo(node);
    this.selected = node;
    this.relayout();
    const group = this.view.svg.querySelector(`.iv-node[data-path="${CSS.escape(node.path)}"]`);
    if (group) {
      if (this.view.place.s < LEGIBLE) this.view.zoom(LEGIBLE / this.view.place.s);
      this.view.reveal(group);
    }
  }

  key(event) {
    const { key } = event;
    const boxes = [...this.view.svg.querySelectorAll(".iv-node[data-path]")].map((g) => g.dataset.path).filter(Boolean);
    const step = (by) => {
      const at = boxes.indexOf(this.selected.path);
      return this.model.byPath.get(boxes[Math.min(boxes.length - 1, Math.max(0, at + by))] ?? "");
    };
    const parts = {
      ArrowDown: () => this.move(step(1)),
      ArrowUp: () => this.move(step(-1)),
      ArrowLeft: () => this.move(this.selected.parent ?? this.selected),
      ArrowRight: () => this.move(step(1)),
      Enter: () => this.keyOf(this.selected) && this.toggle(this.keyOf(this.selected)),
      Escape: () => this.move(this.model.root),
      "+": () => this.view.zoom(1.25),
      "=": () => this.view.zoom(1.25),
      "-": () => this.view.zoom(0.8),
      0: () => this.view.fit(),
      "/": () => this.outline.box.focus(),
    };
    if (!parts[key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    parts[key]();
  }

  keyOf(node) {
    return node.children.length ? node.path : (node.fold?.key ?? "");
  }

  move(node) {
    if (!node) return;
    this.select(node);
    const group = this.view.svg.querySelector(`.iv-node[data-path="${CSS.escape(node.path)}"]`);
    if (group) this.view.reveal(group);
  }

  /** Measure at a module, or at all that it is drawn for. */
  attach(node, statistic, what, all) {
    const { label, paths } = this.model.allOf(node, all);
    this.send({ do: "attach", label, paths, statistic, what });
  }

  detach(path, { statistic, what }) {
    this.send({ do: "detach", path, statistic, what });
  }

  /** Show other dimensions of a picture. */
  turn(path, what, [x, y, spread]) {
    this.send({ do: "axes", path, what, x, y, spread });
  }

  openLayer(path, page) {
    this.send({ do: "open", path, page });
  }

  send(what) {
    acts += 1;
    this.act({ rev: this.data.rev, n: acts, ...what });
  }
}

export default function ({ data, parentElement, setTriggerValue, standalone }) {
  const root = rootOf(parentElement, "iv-architecture");
  root.classList.toggle("iv-alone", Boolean(standalone));
  const picture = (root.intravisto ??= new Architecture(root));
  picture.act = (what) => setTriggerValue("act", what);
  picture.mount();
  picture.load(data);
  return () => picture.unmount();
}
