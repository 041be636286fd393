/**
 * Cards under the picture of a layer: one head, one neuron, one feature. Data: what layer_payload.py packs.
 * What leads elsewhere goes out as the trigger "act": { rev, n, do: "test" | "ablate" | "double" | "steer" | "open", kind, layer, index, … }.
 */
import { channels, element, resolved, writeToken } from "../shared/base.js";
import { Card, showCard } from "../shared/card.js";
import { colourScale, luminance } from "../shared/colour.js";
import { change, rank, significant, wholePercent } from "../shared/numbers.js";
import { badge, tokenList } from "./layer_parts.js";

let acts = 0;

class Cards extends Card {
  constructor(root) {
    super(root, "iv-cards-box");
  }

  resize() {
    this.card.classList.toggle("iv-slim", this.card.clientWidth < 800);
  }

  send(card, what) {
    acts += 1;
    const { layer, position, head, neuron, expert, feature, dictionary } = card;
    let place = { kind: "neuron", index: neuron, expert };
    if (head != null) place = { kind: "head", index: head, expert: -1 };
    if (feature != null) place = { kind: "feature", index: feature, dictionary };
    this.act({ rev: this.data.rev, n: acts, layer, position, ...place, ...what });
  }

  paint() {
    const { card, data } = this;
    if (!data) return;
    card.replaceChildren();
    const dark = luminance(channels(resolved(card, "background-color"))) < 0.18;
    this.scales = Object.fromEntries(["attention", "mlp", "residual", "diverging"].map((name) => [name, colourScale(name, dark)]));
    this.scales.rank = colourScale(data.palette, dark);
    if (data.head) this.drawHead(data.head);
    if (data.neuron) this.drawNeuron(data.neuron);
    if (data.feature) this.drawFeature(data.feature);
  }

  frame(card, kind) {
    const made = element("div", "iv-one-card", this.card);
    const title = element("div", "iv-card-title", made);
    element("h3", "", title, card.title);
    element("i", "iv-gap", title);
    if (this.data.links) {
      const button = (text, what, hint) => {
        const b = element("button", "iv-do", title, text);
        b.title = hint;
        b.addEventListener("click", () => this.send(card, what));
      };
      if (card.active !== false) {
        if (kind !== "feature") button("Test this", { do: "test" }, "Asks whether it does so on other prompts, and more than chance does");
        button("Ablate", { do: "ablate" }, "Runs the text again without what it writes here, and shows what follows");
        button("Double", { do: "double" }, "Runs the text again with twice as much of it");
      }
      if (kind === "feature") button("Steer", { do: "steer" }, "Runs the text again with as much of it everywhere as it has at most");
      if (kind === "head") button("Attention", { do: "open" }, "Opens this head on the attention page");
    }
    element("div", "iv-card-about", made, card.about);
    return made;
  }

  label(parent, text) {
    element("div", "iv-card-label", parent, text);
  }

  /** Tokens shaded by a number each; of a long text its end, with the largest of what is before it. */
  overText(parent, over, name, format) {
    const most = Math.max(over.largest ?? 0, 1e-9);
    const line = element("div", "iv-over", parent);
    if (over.before) this.cell(line, over.before.token, over.before.value, over.before.position, { most, name, format });
    if (over.before) element("span", "iv-quiet", line, `the largest of ${over.before.count} before …`);
    over.tokens.forEach((text, i) => this.cell(line, text, over.values[i], over.first + i, { most, name, format }));
  }

  cell(line, text, value, position, { most, name, format }) {
    const cell = element("div", "iv-over-cell", line);
    writeToken(element("span", "", cell), text);
    element("small", "", cell, value == null ? "–" : format(value));
    if (value == null) return;
    const share = Math.min(1, Math.abs(value) / most) * 0.85;
    const scale = value < 0 ? this.scales.diverging : this.scales[name];
    const step = scale[Math.round(value < 0 ? (0.5 - share / 2) * (scale.length - 1) : share * (scale.length - 1))];
    Object.assign(cell.style, { background: step.fill, color: step.ink });
    cell.classList.toggle("iv-beyond", Math.abs(value) > most);
    cell.title = `${position} ${text}: ${significant(value)}`;
  }

  /** of: the token whose key or value it is. */
  row(table, name, tokens, target, of = "") {
    const line = element("tr", "", table);
    const title = element("td", "iv-quiet", line, name);
    if (of) title.title = `at its largest source, ${of}`;
    tokenList(element("td", "", line), tokens, target);
  }

  drawHead(card) {
    const made = this.frame(card, "head");
    this.label(made, `what it takes from each token: weight × size of the value${card.sink > 0.005 ? `; its learned sink has ${wholePercent(card.sink)}` : ""}`);
    this.overText(made, card.over, "attention", significant);
    const table = element("table", "iv-table", made);
    const head = element("tr", "", table);
    for (const name of ["source", "weight", "size", "pull", "rank", "its value would write", "its key answers to"]) element("th", "", head, name);
    for (const source of card.sources) {
      const line = element("tr", "", table);
      writeToken(element("td", "", line), source.token);
      element("td", "iv-number", line, wholePercent(source.weight));
      element("td", "iv-number", line, significant(source.size));
      element("td", "iv-number", line, change(source.pull));
      badge(element("td", "", line), source.rank, card.vocabulary, this.scales.rank);
      tokenList(element("td", "", line), source.writes.slice(0, 4), card.target);
      tokenList(element("td", "", line), source.answers.slice(0, 3), card.target);
    }
    const words = element("table", "iv-table", made);
    this.row(words, "finds in the text", card.finds.map(([text, score]) => `${text} ${significant(score)}`), "");
    const [first] = card.sources;
    this.row(words, "Q looks for", card.looks, card.target);
    if (first) {
      this.row(words, "K answers to", first.answers, card.target, first.token);
      this.row(words, "V takes", first.takes, card.target, first.token);
      this.row(words, "OV writes", first.writes, card.target, first.token);
    }
    this.lists(words, card);
    this.drawOutputRows(made, card);
    this.notes(made, card);
  }

  /** The numbers of z that write most: a list that is closed at first. */
  drawOutputRows(parent, card) {
    if (!card.rows.length) return;
    const box = element("details", "iv-output-rows", parent);
    element("summary", "iv-card-label", box, "rows of W_O that write most");
    const table = element("table", "iv-table", box);
    const head = element("tr", "", table);
    for (const name of ["number", "value", "size", "pull", "writes"]) element("th", "", head, name);
    for (const row of card.rows) {
      const line = element("tr", "", table);
      element("td", "", line, row.name);
      element("td", "iv-number", line, change(row.value));
      element("td", "iv-number", line, significant(row.size));
      element("td", "iv-number", line, change(row.pull));
      tokenList(element("td", "", line), row.writes, card.target);
    }
  }

  drawNeuron(card) {
    const made = this.frame(card, "neuron");
    this.label(made, "activation over the text");
    this.overText(made, card.over, "mlp", change);
    const both = element("div", "iv-two", made);
    const left = element("div", "", both);
    this.label(left, card.fired.length ? `what fires it: the ${card.gated ? "gate's" : "neuron's"} input, ${change(card.total)}, by part of the stream` : "what fires it is not known");
    const most = Math.max(...card.fired.map(([, , v]) => Math.abs(v)), 1e-9);
    const parts = [...card.fired, ...(card.rest == null ? [] : [["all others", "rest", card.rest]])];
    for (const [name, kind, value] of parts) {
      const line = element("div", "iv-fired-line", left);
      element("span", "", line, name);
      const bar = element("i", `iv-fired-bar iv-by-${kind}`, element("span", "", line));
      bar.style.width = `${Math.min(100, (100 * Math.abs(value)) / most)}%`;
      bar.classList.toggle("iv-negative", value < 0);
      element("span", "iv-number", line, change(value));
    }
    const words = element("table", "iv-table", element("div", "", both));
    if (card.gated) {
      this.row(words, "gate reads", card.gate_reads.slice(0, 6), card.target);
      this.row(words, card.up_positive ? "up reads" : "up reads (−)", (card.up_positive ? card.up_reads : card.up_against).slice(0, 6), card.target);
    } else if (card.gate_reads.length) this.row(words, "reads", card.gate_reads.slice(0, 6), card.target);
    this.lists(words, card);
    this.notes(made, card);
  }

  drawFeature(card) {
    const made = this.frame(card, "feature");
    this.label(made, "activation over the text");
    this.overText(made, card.over, "residual", significant);
    this.lists(element("table", "iv-table", made), card);
    this.notes(made, card);
  }

  lists(table, card) {
    for (const [name, list] of [["promotes", card.promoted], ["pushes down", card.suppressed]]) {
      const line = element("tr", "", table);
      element("td", "iv-quiet", line, name);
      const cell = tokenList(element("td", "", line), list.map(([text]) => text), card.target);
      cell.title = list.map(([text, by, before, after]) => `${text}: logit ${change(by)}, rank ${rank(before)} → ${rank(after)}`).join("\n");
    }
  }

  notes(parent, card) {
    for (const note of card.notes) element("div", "iv-card-label", parent, note);
  }
}

export default function (given) {
  return showCard(Cards, "iv-layer-cards", given);
}
