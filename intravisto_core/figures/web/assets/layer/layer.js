/**
 * The inside of one layer: the stream as a ribbon, under it what attention read and wrote and what the MLP wrote.
 * Data: what layer_payload.py packs. What the user does goes out as the trigger "act":
 * { rev, n, do: "head" | "neuron" | "feature" | "layer" | "position", layer, index, expert | dictionary, position }.
 */
import { channels, element, resolved, writeToken } from "../shared/base.js";
import { Card, showCard } from "../shared/card.js";
import { colourScale, luminance } from "../shared/colour.js";
import { change, rank, significant } from "../shared/numbers.js";
import { drawFeatures, featureId } from "./layer_features.js";
import { drawLane, HEADER, pitchOf } from "./layer_lane.js";
import { hatches, shape, standing } from "./layer_parts.js";
import { drawPlus, drawStream, drawTap, RAIL, streamPlaces } from "./layer_stream.js";

const NARROW = 900;
const LANES = 136;
const NAMES = { size: "size", pull: "pull", versus: "against" };
let acts = 0;

class Picture extends Card {
  constructor(root) {
    super(root, "iv-layer-frame");
    this.card.tabIndex = 0;
    this.card.addEventListener("keydown", (event) => this.key(event));
  }

  resize() {
    if (this.card.clientWidth !== this.span) this.draw();
  }

  begin(data) {
    const place = [data.rev, data.layer, data.position].join("\n");
    if (place !== this.place || data.width !== this.data?.width) this.chosen = { head: data.head, neuron: data.neuron, feature: data.feature };
    this.chosen.feature ??= data.feature;
    Object.assign(this, { place, width: data.width });
  }

  send(what) {
    acts += 1;
    this.act({ rev: this.data.rev, n: acts, layer: this.data.layer, position: this.data.position, ...what });
  }

  /** Up and down go through the layers, left and right along the text. */
  key(event) {
    const { data } = this;
    const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if ((!step && !move) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    if (step) this.go(data.layer + step);
    const position = data.position + (move ?? 0);
    if (move && position >= 0 && position < data.positions) this.send({ do: "position", position });
  }

  go(layer) {
    if (layer >= 0 && layer < this.data.layers && layer !== this.data.layer) this.send({ do: "layer", layer });
  }

  choose(row) {
    const kind = row.kind === "head" ? "head" : "neuron";
    this.chosen = { ...this.chosen, [kind]: `${row.kind}.${row.expert}.${row.index}` };
    this.mark();
    this.send({ do: kind, index: row.index, expert: row.expert });
  }

  chooseFeature(row) {
    this.chosen = { ...this.chosen, feature: featureId(row) };
    this.mark();
    this.send({ do: "feature", index: row.index, dictionary: row.dictionary });
  }

  mark() {
    const on = new Set(Object.values(this.chosen));
    for (const part of this.card.querySelectorAll("[data-row]")) {
      part.classList.toggle("iv-on", on.has(part.dataset.row));
      if (part.tagName === "BUTTON") part.setAttribute("aria-pressed", on.has(part.dataset.row));
    }
  }

  paint() {
    const { card, data } = this;
    if (!data) return;
    const focused = card.getRootNode().activeElement?.dataset?.row;
    this.span = card.clientWidth;
    card.replaceChildren();
    const dark = luminance(channels(resolved(card, "background-color"))) < 0.18;
    this.scale = colourScale(data.palette, dark);
    if (data.ranks.length) this.drawStrip();
    this.field = element("div", "iv-field", card);
    const narrow = this.span < NARROW;
    card.classList.toggle("iv-slim", narrow);
    const pitch = pitchOf(data.lanes);
    const tall = (lane) => HEADER + Math.max(lane.rows.length * pitch, 6 * pitch);
    const heights = data.lanes.map(tall);
    const shared = Math.max(...heights);
    const places = streamPlaces(this.span, narrow);
    const lanes = narrow
      ? [
          { x: 0, y: LANES, width: this.span - 60, height: heights[0], pitch },
          { x: 0, y: LANES + heights[0] + 14, width: this.span, height: heights[1], pitch },
        ]
      : [
          { x: 0, y: LANES, width: places.middle + 6, height: shared, pitch },
          { x: places.middle + 34, y: LANES, width: this.span - places.middle - 34, height: shared, pitch },
        ];
    const bottom = lanes[1].y + lanes[1].height + 8;
    this.field.style.height = `${bottom}px`;
    const svg = shape("svg", { width: this.span, height: bottom, role: "presentation" }, this.field);
    hatches(svg);
    const thick = drawStream(this, svg, places);
    drawTap(svg, 34, LANES + 4);
    if (!narrow && !data.parallel) drawTap(svg, places.middle + 56, LANES + 4);
    const joins = [places.middle - 8, places.out];
    ["attention", "mlp"].forEach((name, i) => {
      const plus = { x: joins[i], height: thick(data.lanes[i].sum.size) };
      drawLane(this, svg, name, lanes[i], plus);
      drawPlus(svg, joins[i], name);
    });
    this.drawAdds(joins, lanes, narrow);
    this.drawFoot();
    drawFeatures(this, card);
    this.mark();
    if (focused) card.querySelector(`button[data-row="${CSS.escape(focused)}"]`)?.focus();
  }

  drawAdds(joins, lanes, narrow) {
    const { data } = this;
    ["attention", "MLP"].forEach((name, i) => {
      const { sum } = data.lanes[i];
      const text = this.width === "size" ? significant(sum.size) : `${change(sum[this.width])} logits`;
      const made = element("span", "iv-adds", this.field, `${name} adds ${text}`);
      const top = i && narrow ? lanes[1].y + 2 : RAIL + 20;
      Object.assign(made.style, { right: `${this.span - joins[i] + 16}px`, top: `${top}px` });
    });
  }

  /** The target's rank after every layer; a click goes there. */
  drawStrip() {
    const { data, card } = this;
    const strip = element("div", "iv-layers", card);
    const name = element("span", "iv-quiet iv-layers-name", strip, "rank of ");
    writeToken(element("b", "", name), data.target);
    const bars = element("div", "iv-layers-bars", strip);
    data.ranks.slice(1).forEach((place, layer) => {
      const bar = element("button", "iv-layer-bar", bars);
      bar.title = `layer ${layer}: rank ${rank(data.ranks[layer])} → ${rank(place)}`;
      bar.setAttribute("aria-label", bar.title);
      bar.setAttribute("aria-current", layer === data.layer);
      const height = element("i", "", bar);
      const level = (standing(place, data.vocabulary) + 1) / 2;
      height.style.height = `${Math.max(2, 100 * level)}%`;
      height.style.background = this.scale[Math.round(level * (this.scale.length - 1))].fill;
      bar.addEventListener("click", () => this.go(layer));
    });
    const about = element("span", "iv-quiet", strip, `layer ${data.layer}: ${rank(data.ranks[data.layer])} → ${rank(data.ranks[data.layer + 1])}`);
    about.classList.add("iv-layers-now");
  }

  drawFoot() {
    const { data, card } = this;
    const foot = element("div", "iv-foot", card);
    const scale = element("span", "", foot, "rank of ");
    writeToken(element("b", "", scale), data.target);
    scale.append(" in what a part writes: first");
    const bar = element("i", "iv-scale", scale);
    const stops = [1, 10, 100, 1000, data.vocabulary / 2, data.vocabulary - 1000, data.vocabulary - 100, data.vocabulary - 10, data.vocabulary];
    const fills = stops.filter((r) => r >= 1).map((r) => this.scale[Math.round(((standing(r, data.vocabulary) + 1) / 2) * (this.scale.length - 1))].fill);
    bar.style.background = `linear-gradient(90deg,${fills.join(",")})`;
    scale.append(`last of ${rank(data.vocabulary)}`);
    if (!data.links) this.drawWidths(foot);
    const [attention, mlp] = data.lanes;
    const drawn = (lane, kind) => lane.rows.filter((row) => row.kind === kind);
    const sum = (rows) => rows.reduce((total, row) => total + (row[this.width] ?? 0), 0);
    const heads = drawn(attention, "head");
    const neurons = drawn(mlp, "neuron");
    const say = (text) => element("span", "", foot, text);
    say("widths: one scale a lane; what joins the stream: the stream's scale");
    if (this.width === "size") {
      say(`sizes cancel: heads Σ ${significant(attention.sizes)} → ${significant(attention.sum.size)}, neurons Σ ${significant(mlp.sizes)} → ${significant(mlp.sum.size)}`);
      say(`${heads.length} of ${attention.count} heads and ${neurons.length} of ${rank(mlp.count)} neurons have rows; half of the neurons' sizes is in ${rank(mlp.half)}`);
    } else {
      const target = this.width === "pull" ? data.target : `${data.target} against ${data.contrast}`;
      say(`pulls add up: attention ${change(attention.sum[this.width])}, MLP ${change(mlp.sum[this.width])} logits for ${target}`);
      say(`the ${neurons.length} neurons with rows are ${change(sum(neurons))} of it, the ${heads.length} heads ${change(sum(heads))}; hatched pulls the other way`);
    }
    for (const note of data.notes) say(note);
  }

  /** A page by itself changes widths here; the rows stay those that were chosen. */
  drawWidths(foot) {
    const line = element("span", "iv-widths", foot, "width: ");
    for (const [width, name] of Object.entries(NAMES)) {
      const target = width === "pull" ? ` on ${this.data.target}` : width === "versus" ? ` ${this.data.contrast}` : "";
      const made = element("button", "iv-width", line, name + target);
      made.setAttribute("aria-pressed", width === this.width);
      made.addEventListener("click", () => {
        this.width = width;
        this.draw();
      });
    }
  }
}

export default function (given) {
  return showCard(Picture, "iv-layer", given);
}
