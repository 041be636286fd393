/** The line of options: which heads, strength, sinks, amplification, least weight; each says what it hides. */
import { element, writeToken } from "../shared/base.js";
import { MOST_NAMES } from "./attention_heads.js";
import { about, segments } from "./attention_parts.js";

const NAMED = 3;
const FULL = `Heads, ${MOST_NAMES} at most`;
const WHAT_SINKS = "Attention sinks: positions, most often the first, that heads look at when they have nothing to do. Each layer has its own, found by one rule for all pages.";
const JUMP = "all, layer 17, L17H3, or several: L17H3, L18H6. Press Enter.";
const STRENGTHS = {
  weights: ["weights", "The attention weights, as the softmax gives them."],
  value_weighted: ["value-weighted", "Each weight times the length of what it moves, ‖w · v W_O‖, over the row's sum."],
  projection: ["projection", "How much what is moved from there lies along all that the head wrote here; may be negative."],
};
const HANDLED = { show: "Attention sinks are shown", hide: "Attention sinks are set aside", renormalise: "Attention sinks are set aside, the rest is scaled up" };
const SINKS = [
  ["show", "show", "Sinks are positions like others."],
  ["hide", "hide", "What attention gives to sinks is set aside; all else stays as it is."],
  ["renormalise", "hide, renormalise", "What is left of a row is scaled up to 100 %. Where little is left this shows noise: such rows are faded."],
];

export class AttentionOptions {
  constructor(root, state) {
    this.state = state;
    this.root = root;
    this.allNamed = false;
    this.drawJump(this.option("Heads"));
    this.strength = segments(this.option("Strength"), "Strength", Object.entries(STRENGTHS).map(([value, words]) => [value, ...words]), (value) => state.change({ strength: value }));
    const sinks = this.option("");
    this.sinkWords = sinks.firstChild;
    this.sinkWords.title = WHAT_SINKS;
    this.sinks = segments(sinks, "Attention sinks", SINKS, (value) => state.change({ sinks: value }));
    [this.amplify, this.amplifyWords] = this.slider("Amplify", 0, 7, 0.25, (value) => state.change({ amplify: value ? 2 ** (value - 1) : 0 }));
    [this.least, this.leastWords] = this.slider("Hide below", 0, 20, 0.25, (value) => state.change({ least: value / 100 }));
    this.amplify.title = "The strength that gets the full colour. At the left end: the strongest in sight off the diagonal, but at least 10 %. Links above it look alike.";
    this.least.title = "Weaker links are left out of the pictures; what that leaves out of this row is told above.";
  }

  option(name) {
    const made = element("div", "iv-option", this.root);
    element("span", "iv-said", made, name);
    return made;
  }

  drawJump(parent) {
    const { state } = this;
    this.jump = element("input", "iv-jump", parent);
    this.jump.ariaLabel = "Heads";
    this.jump.title = JUMP;
    this.jump.spellcheck = false;
    const take = () => {
      const ok = state.change({ heads: this.jump.value });
      this.jump.classList.toggle("iv-wrong", !ok);
      this.jump.title = ok ? JUMP : `Expected all, layer 0 to ${state.base.layers - 1}, or a head such as L${state.base.layers - 1}H${state.base.heads - 1}; ${MOST_NAMES} at most`;
      if (ok) this.jump.value = wordsOfHeads(state.heads);
    };
    this.jump.addEventListener("change", take);
    this.jump.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        this.jump.value = wordsOfHeads(state.heads);
        this.jump.blur();
      }
    });
  }

  slider(name, min, max, step, take) {
    const option = this.option("");
    const input = element("input", "", option);
    Object.assign(input, { type: "range", min, max, step });
    input.ariaLabel = name;
    input.addEventListener("input", () => take(Number(input.value)));
    return [input, option.firstChild];
  }

  draw(what) {
    const { state } = this;
    this.jump.disabled = !state.base.map;
    this.jump.previousSibling.textContent = state.heads.split("+").length < MOST_NAMES ? "Heads" : FULL;
    if (this.root.getRootNode().activeElement !== this.jump) this.jump.value = wordsOfHeads(state.heads);
    this.strength.show(state.strength);
    for (const button of this.strength.root.children) button.hidden = !state.base.strengths.includes(button.dataset.value);
    this.sinks.show(state.sinks);
    const none = !state.base.found.some((keys) => keys.length) && !state.base.learned;
    for (const button of this.sinks.root.children) button.disabled = none;
    this.sinks.root.hidden = !state.base.map;
    if (what.has("amplify") || !this.drawn) this.amplify.value = state.amplify ? Math.log2(state.amplify) + 1 : 0;
    if (what.has("least") || !this.drawn) this.least.value = 100 * state.least;
    this.drawn = true;
    const { slice, full } = state.made;
    if (!slice) return this.sayNothingYet();
    this.saySinks(slice, none);
    this.say(this.amplifyWords, "Amplify ", state.amplify ? `×${Number(state.amplify.toPrecision(2))}` : "auto", ` · full colour ${about(full)}${this.beyond(slice, full)}`);
    this.amplify.parentElement.classList.toggle("iv-amplified", state.amplify > 0);
    this.say(this.leastWords, "Hide below ", about(state.least), state.base.against ? "" : ` · in this row ${about(this.left(slice))}`);
    return null;
  }

  /** The names alone, while the first weights are on their way. */
  sayNothingYet() {
    this.said = null;
    this.sinkWords.replaceChildren("Sinks");
    this.amplifyWords.replaceChildren("Amplify");
    this.leastWords.replaceChildren("Hide below");
  }

  say(place, before, strong, after) {
    place.replaceChildren(before, Object.assign(document.createElement("b"), { textContent: strong }), after);
  }

  /** How many keys of the row in sight are stronger than what gets the full colour: they look alike. */
  beyond(slice, full) {
    let count = 0;
    slice.visitRow(this.state.query, (_, weight) => (count += Math.abs(weight) > 1.001 * full ? 1 : 0));
    return count ? `, in this row ${count} above it` : "";
  }

  /** What of the row in sight is weaker than the least, what has no entry included. */
  left(slice) {
    const { query, least } = this.state;
    let sum = slice.rest?.[query] ?? 0;
    slice.visitRow(query, (_, weight) => (sum += Math.abs(weight) < least ? Math.abs(weight) : 0));
    return sum;
  }

  /** Which positions are sinks here, each to be shown or set aside by a click, and what they have. */
  saySinks(slice, none) {
    const { state, sinkWords } = this;
    const said = `${state.heads} ${state.query} ${state.shownSinks} ${state.sinks} ${slice.hidden[state.query]} ${this.allNamed}`;
    if (said === this.said) return;
    this.said = said;
    sinkWords.replaceChildren(none ? (state.base.map ? "No attention sinks in this text" : HANDLED[state.sinks]) : "Sinks ");
    if (none) return;
    const found = this.foundSinks();
    if (found.length) sinkWords.append("(");
    const named = this.allNamed ? found : found.slice(0, NAMED);
    named.forEach((key, i) => {
      const off = state.shownSinks.includes(key);
      const button = writeToken(element("button", `iv-sinkname${off ? " iv-off" : ""}`, sinkWords), state.label(key).trim() || "␣");
      button.type = "button";
      element("small", "", button, key);
      button.title = off ? "Counts as any other position now; click to set it aside again" : "Click to let this one count as any other position";
      button.disabled = !state.base.links;
      button.addEventListener("click", () => state.change({ shownSinks: off ? state.shownSinks.filter((each) => each !== key) : [...state.shownSinks, key].sort((a, b) => a - b) }));
      if (i < named.length - 1) sinkWords.append(", ");
    });
    if (found.length > NAMED) this.nameMore(slice, none, found.length - named.length);
    if (found.length) sinkWords.append(") ");
    const all = element("b", "", sinkWords, about(slice.meanHidden()));
    all.before("have ");
    const row = element("b", "iv-share", sinkWords, about(slice.hidden[state.query]));
    row.before(" · in this row ");
  }

  /** All sinks by name, or the first few again. */
  nameMore(slice, none, more) {
    const button = element("button", "iv-sinkname", this.sinkWords, more ? `and ${more} more` : "fewer");
    button.before(" ");
    button.type = "button";
    button.addEventListener("click", () => {
      this.allNamed = !this.allNamed;
      this.saySinks(slice, none);
    });
  }

  /** The positions that are sinks in the layers in sight: those of most layers first. */
  foundSinks() {
    const { base, picks } = this.state;
    const count = new Map();
    for (const layer of new Set(picks.map((pick) => Math.floor(pick / base.heads)))) {
      for (const key of base.found[layer]) count.set(key, (count.get(key) ?? 0) + 1);
    }
    return [...count.keys()].sort((a, b) => count.get(b) - count.get(a) || a - b);
  }
}

/** `L17` as `layer 17`, several with commas. */
export function wordsOfHeads(name) {
  return name.split("+").map((each) => (/^L\d+$/.test(each) ? `layer ${each.slice(1)}` : each)).join(", ");
}
