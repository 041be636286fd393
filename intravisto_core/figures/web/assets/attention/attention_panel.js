/** The chosen head: what it looks at on the whole, the two readings as lists, the heads that make the link in sight. */
import { element, writeToken } from "../shared/base.js";
import { ORDER } from "./attention_colours.js";
import { wordsOfHeads } from "./attention_options.js";
import { about, clip, segments, shareText } from "./attention_parts.js";
import { weightsOfQuery } from "./attention_query.js";
import { scoreText } from "./attention_scores.js";
import { nameOfHead } from "./attention_heads.js";
import { drawWhy } from "./attention_why.js";

const LISTED = 5;
const LEAST = 0.002; // below it a line is only counted among the others

export class AttentionPanel {
  constructor(root, state, scores) {
    Object.assign(this, { root, state, scores });
    const bar = element("div", "iv-bar", root);
    this.title = element("h3", "", bar);
    this.tabs = segments(bar, "Panel", [["tokens", "tokens"], ["why", "why here", "Which parts of the stream make the head look from this query to this key"]], (tab) => state.change({ tab }));
    this.body = element("div", "iv-inside", root);
  }

  draw(what) {
    const { state, body } = this;
    this.tabs.show(state.tab);
    this.tabs.root.hidden = !state.base.links;
    this.title.textContent = state.heads === "all" ? "All heads" : clip(wordsOfHeads(state.heads), 22);
    const { scrollTop } = body;
    if (state.tab === "why" && state.base.links) {
      drawWhy(this, what);
      return;
    }
    this.why = null;
    this.drawHeads(what);
    const { slice, stale } = state.made;
    body.classList.toggle("iv-stale", stale);
    if (slice) {
      const [looks, seen] = [[], []];
      slice.visitRow(state.query, (key, weight) => !isSunk(state, slice, key) && looks.push([key, weight]));
      slice.visitColumn(state.key, (query, weight) => seen.push([query, weight]));
      this.drawReading("attention", state.query, looks, slice);
      this.drawReading("observed", state.key, seen, slice);
      this.drawLinked(slice);
    }
    this.drawComposition();
    this.drawActions();
    body.scrollTop = scrollTop;
  }

  /** An empty body but for what does not follow the pointer: what the heads do on the whole. */
  drawHeads(what) {
    const { state, body } = this;
    const problem = state.problem();
    const subject = `${state.base.rev} ${state.heads} ${problem}`;
    const kept = this.whole?.parentElement === body && this.subject === subject && !what.has("dark") && !what.has("packet");
    if (kept) {
      while (body.lastChild !== this.whole) body.lastChild.remove();
      return;
    }
    this.subject = subject;
    body.replaceChildren();
    this.whole = element("div", "iv-whole", body);
    if (problem) element("p", "iv-problem", this.whole, problem);
    this.drawTargets();
    this.drawScores();
  }

  drawTargets() {
    const { state, scheme } = this;
    if (!state.base.map) return;
    const { classes } = state.base;
    const box = element("div", "", this.whole);
    element("p", "iv-cap", box, state.picks.length > 1 ? "Look at, on this text" : "Looks at, on this text");
    const bar = element("div", "iv-stack", box);
    for (const kind of ORDER) {
      const share = this.mean(`target ${kind}`);
      const part = element("span", "", bar);
      part.style.cssText = `flex:${Math.max(0, share)};background:${scheme.kinds[kind]}`;
      part.title = `${classes.find(({ id }) => id === kind).name} ${about(share)}`;
    }
    bar.setAttribute("role", "img");
    bar.ariaLabel = ORDER.map((kind) => `${classes.find(({ id }) => id === kind).name} ${about(this.mean(`target ${kind}`))}`).join(", ");
  }

  /** A score, as a mean of the heads in sight. */
  mean(id) {
    let [sum, n] = [0, 0];
    for (const pick of this.state.picks) {
      const value = this.scores.value(id, pick);
      if (!Number.isNaN(value)) [sum, n] = [sum + value, n + 1];
    }
    return n ? sum / n : NaN;
  }

  drawScores() {
    const { state } = this;
    for (const [of, title] of [["model", "On repeated random tokens"], ["text", "On this text"]]) {
      const scores = this.scores.list().filter((each) => each.of === of && !Number.isNaN(this.mean(each.id)));
      if (!scores.length) continue;
      const box = element("div", "", this.whole);
      element("p", "iv-cap", box, title);
      const grid = element("div", "iv-scores", box);
      for (const { id, name, help, unit } of scores) {
        const line = element("div", "", grid);
        line.title = help;
        element("span", "", line, name);
        element("b", "", line, scoreText(this.mean(id), unit));
      }
    }
  }

  drawReading(side, position, pairs, slice) {
    const { state } = this;
    const box = element("div", `iv-list iv-reading${side === "attention" ? " iv-first" : ""}`, this.body);
    const caption = element("p", "iv-cap", box);
    writeToken(element("span", "", caption), clip(state.label(position), 18));
    caption.append(side === "attention" ? " looks at" : " is looked at by");
    pairs.sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    const top = pairs.slice(0, LISTED).filter(([, weight]) => Math.abs(weight) >= LEAST);
    if (side === "attention") {
      const others = pairs.slice(top.length);
      const sum = others.reduce((all, [, weight]) => all + weight, 0) + (slice.rest?.[position] ?? 0);
      const count = position + 1 - top.length - [...slice.sunk].filter((key) => key <= position).length;
      if (count > 0) element("em", "", caption, ` · ${count} others ${shareText(sum, slice.signed)}`);
      const learned = state.picks.length === 1 ? state.base.data.learned?.[state.picks[0]] : 0;
      if (learned > 0) element("em", "", caption, ` · learned sink ${about(learned)} on average`);
    }
    if (!top.length) element("p", "iv-quiet", box, "nothing of .2 % or more");
    const most = Math.max(...top.map(([, weight]) => Math.abs(weight)), 1e-9);
    for (const [at, weight] of top) {
      const row = this.row(box, side, most, weight, slice.signed, (name) => {
        writeToken(name, clip(state.label(at), 13));
        element("small", "", name, ` ${at}`);
      });
      row.addEventListener("mouseenter", () => this.point(side, at));
      row.addEventListener("click", () => {
        state.change(side === "attention" ? { key: at, link: at, lockKey: true } : { query: at, lockQuery: true, link: state.key });
        state.select();
      });
    }
    if (side === "attention" && slice.bounds) {
      element("p", "iv-quiet iv-unsent", box, `${about(slice.rest[position])} in keys below ${about(slice.bounds[position])} each, not sent one by one`);
    }
  }

  /** A line under the pointer moves the other reading, as a token of the text does. */
  point(side, at) {
    const { state } = this;
    if (side === "attention") state.change({ link: at, ...(state.lockKey ? {} : { key: at }) });
    else if (!state.lockQuery) state.change({ query: at, link: state.key });
  }

  row(parent, side, most, weight, signed, write) {
    const row = element("button", "iv-row", parent);
    row.type = "button";
    write(element("span", "iv-rowname", row));
    const gauge = element("span", "iv-gauge", row);
    const fill = element("i", `iv-of-${signed ? (weight < 0 ? "less" : "more") : side}`, gauge);
    fill.style.width = `${(100 * Math.abs(weight)) / most}%`;
    element("span", "iv-number", row, shareText(weight, signed));
    return row;
  }

  /** The heads with the largest weight on the link in sight: the same place of the cube along its other axis. */
  drawLinked(slice) {
    const { state } = this;
    const read = state.base.map && weightsOfQuery(state, state.query);
    if (!read) return;
    const { heads, layers } = state.base;
    const key = state.linkedKey();
    const all = Array.from({ length: layers * heads }, (_, head) => [head, read.at(head, key)]).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    const box = element("div", "iv-list", this.body);
    const caption = element("p", "iv-cap", box, "Heads with ");
    writeToken(element("span", "", caption), clip(state.label(state.query), 12));
    caption.append(" → ");
    writeToken(element("span", "", caption), clip(state.label(key), 12));
    element("em", "", caption, ` ${state.query} → ${key}`);
    const most = Math.max(Math.abs(all[0][1]), 1e-9);
    for (const [head, weight] of all.slice(0, LISTED)) {
      if (Math.abs(weight) < LEAST) break;
      this.row(box, "plain", most, weight, slice.signed, (name) => (name.textContent = nameOfHead(head, heads))).addEventListener("click", () => {
        state.change({ heads: nameOfHead(head, heads), link: key });
        state.select();
      });
    }
  }

  /** The heads below that this one can read most, by their weights alone: asked for when it is unfolded. */
  drawComposition() {
    const { state } = this;
    if (!state.base.links || !state.isOneHead() || state.picks[0] < state.base.heads) return;
    const box = element("details", "iv-list", this.body);
    box.open = state.composed;
    const title = element("summary", "iv-cap", box, "Can read from (weights alone)");
    title.title = "Composition: how far what a head below writes lies where the queries (Q), keys (K) or values (V) of this head read, less what random matrices have. It says what could be read, not what was.";
    box.addEventListener("toggle", () => state.change({ composed: box.open }));
    if (!state.composed) return;
    const packet = state.packet(`composition ${state.heads}`);
    if (!packet || packet.error) {
      element("p", "iv-quiet", box, packet?.error ?? "being computed …");
      return;
    }
    const most = Math.max(...packet.lines.map(({ value }) => Math.abs(value)), 1e-9);
    for (const { way, head, value } of packet.lines) {
      const row = this.row(box, "plain", most, value, false, (name) => (name.textContent = `${way}  ${head}`));
      row.lastChild.textContent = `+${value.toFixed(3)}`.replace("+-", "−");
      row.addEventListener("click", () => state.change({ heads: head }));
    }
  }

  /** What can be done with the head, on a page that has the model. */
  drawActions() {
    const { state } = this;
    if (!state.base.links || !state.isOneHead() || state.base.against) return;
    const box = element("div", "iv-actions", this.body);
    const name = nameOfHead(state.picks[0], state.base.heads);
    const [query, key] = [state.query, state.linkedKey()];
    const layer = Math.floor(state.picks[0] / state.base.heads);
    const head = state.picks[0] % state.base.heads;
    const act = (words, what, title) => {
      const button = element("button", "iv-act", box, words);
      button.type = "button";
      button.title = title;
      button.addEventListener("click", () => state.act({ do: what, layer, head, query, key }));
    };
    act("Ablate", "ablate", `Run again without what ${name} writes at ${state.label(query)}, position ${query}`);
    act("Test this", "test", `Does ${name} matter here on other prompts too, and more than chance?`);
    act("Cut the look", "cut", `Run again while ${name} may not look from position ${query} at position ${key}`);
    act("Test the look", "test_look", `Does this look matter on other prompts too, and more than chance?`);
    act("In the flow", "flow", `Where the state after layer ${layer} at position ${query} comes from`);
    act("Attribution", "attribution", `What ${name} adds to the question's token, among all parts`);
  }
}

function isSunk(state, slice, key) {
  return state.sinks !== "show" && slice.sunk.has(key);
}
