/** The text with both readings: green, what a token looks at (observer); violet, what looks at it (observed). */
import { element, writeToken } from "../shared/base.js";
import { foldTokens, sumFolds } from "./attention_folds.js";
import { stepOf } from "./attention_colours.js";
import { segments } from "./attention_parts.js";

const NUMBERED = 120; // tokens up to which each shaded one has its number
const STRONGEST = 205; // of 255 steps: so that the ink on a token stays legible beside its outline

export class AttentionText {
  constructor(root, state) {
    this.state = state;
    this.folds = [];
    this.bar = element("div", "iv-bar", root);
    this.pills = element("span", "iv-pills", this.bar);
    this.mode = segments(this.bar, "Readings", [["one", "one text"], ["two", "two"]], (mode) => state.change({ two: mode === "two" }));
    this.body = element("div", "iv-texts", root);
    this.foot = element("div", "iv-legend", root);
    this.body.addEventListener("mouseover", (event) => this.point(this.tokenAt(event)));
    this.body.addEventListener("mouseleave", () => state.change({ link: null }));
    this.body.addEventListener("dblclick", (event) => this.freeze(this.tokenAt(event)));
    this.body.addEventListener("keydown", (event) => this.key(event));
  }

  tokenAt({ target }) {
    const token = target.closest?.(".iv-token[data-position]");
    return token && { position: Number(token.dataset.position), side: token.parentElement.dataset.side };
  }

  point(found) {
    if (!found) return;
    const { state } = this;
    // where the query itself follows the pointer, the link in sight is its strongest
    const follows = !state.lockQuery && found.side !== "observed";
    const update = { link: follows ? null : found.position };
    if (follows) update.query = found.position;
    if (!state.lockKey && found.side !== "observer") update.key = found.position;
    state.change(update);
  }

  freeze(found) {
    if (found) this.state.freeze(found.position, found.side);
  }

  key(event) {
    const found = this.tokenAt(event);
    if (!found) return;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.perLine(found), ArrowDown: this.perLine(found) }[event.key];
    if (event.key === "Enter") this.freeze(found);
    else if (event.key === "Escape") this.state.change({ lockQuery: false, lockKey: false, link: null });
    else if (step) {
      const { tokens } = this.sides.find(({ side }) => side === found.side);
      let to = Math.max(0, Math.min(tokens.length - 1, found.position + step));
      while (tokens[to].hidden && tokens[to + Math.sign(step)]) to += Math.sign(step);
      if (tokens[to].hidden) return;
      const next = tokens[to];
      this.focus(next);
      this.point({ position: Number(next.dataset.position), side: found.side });
    } else return;
    event.preventDefault();
  }

  /** How many tokens stand in a line, as a step up or down. */
  perLine({ side, position }) {
    const { tokens } = this.sides.find((each) => each.side === side);
    const top = tokens[position].offsetTop;
    let [from, to] = [position, position];
    while (from > 0 && tokens[from - 1].offsetTop === top) from -= 1;
    while (to < tokens.length - 1 && tokens[to + 1].offsetTop === top) to += 1;
    return to - from + 1;
  }

  focus(token) {
    for (const other of token.parentElement.querySelectorAll('.iv-token[tabindex="0"]')) other.tabIndex = -1;
    token.tabIndex = 0;
    token.focus({ preventScroll: false });
  }

  build() {
    const { base, two, query } = this.state;
    this.built = this.subject;
    this.body.replaceChildren();
    this.body.classList.toggle("iv-pair", two);
    this.numbered = base.tokens.length <= NUMBERED;
    this.others = new Map(base.other);
    this.sides = (two ? ["observer", "observed"] : ["both"]).map((side) => {
      const words = element("div", `iv-tokens${this.numbered ? "" : " iv-dense"}`, this.body);
      words.dataset.side = side;
      words.setAttribute("role", "toolbar");
      words.ariaLabel = `${SIDES[side]}: the text; arrow keys move, Enter freezes, Escape frees`;
      const tokens = base.tokens.map((token, position) => this.token(words, token, position, position === query));
      return { side, words, tokens, folds: foldTokens(this.folds, tokens), painted: new Set() };
    });
  }

  /** What the text is built of. */
  get subject() {
    const { base, two } = this.state;
    return `${base.rev} ${base.against} ${two} ${JSON.stringify(this.folds)}`;
  }

  token(words, { t, sort }, position, focused) {
    const { prompt } = this.state.base;
    if (position === prompt) element("span", "iv-divider", words).title = "from here on the text was generated";
    const made = element("button", `iv-token${position >= prompt ? " iv-generated" : ""}${sort ? ` iv-${sort}` : ""}`, words);
    made.type = "button";
    made.tabIndex = focused ? 0 : -1;
    made.dataset.position = position;
    writeToken(element("span", "", made), t);
    const other = this.others?.get(position);
    if (other != null) {
      made.classList.add("iv-other");
      made.title = `the baseline has ‘${other}’ here`;
    }
    if (this.numbered) made.number = element("small", "", made);
    // a new line of the text begins a new line here
    if (/[⏎\n␊]/.test(t)) element("span", "iv-break", words);
    return made;
  }

  draw(what) {
    const { state } = this;
    const fresh = this.built !== this.subject;
    if (fresh) this.build();
    this.drawPills();
    this.mode.show(state.two ? "two" : "one");
    if (fresh || what.has("dark") || what.has("packet")) this.drawLegend();
    this.body.classList.toggle("iv-stale", state.made.stale);
    const absent = !state.base.links && state.made.stale;
    this.foot.classList.toggle("iv-absent", absent);
    if (absent) this.foot.textContent = "This file does not hold these weights.";
    if (!state.made.slice) return;
    for (const side of this.sides) this.paint(side);
    for (const side of this.sides) this.reveal(side, fresh);
  }

  /** Shade what has a weight, and bare what had one before: the others are left alone. */
  paint({ side, words, tokens, folds, painted }) {
    const { state } = this;
    const { slice, full } = state.made;
    const [looks, seen] = [new Map(), new Map()];
    if (side !== "observed") slice.visitRow(state.query, (key, weight) => looks.set(key, weight));
    if (side !== "observer") slice.visitColumn(state.key, (query, weight) => seen.set(query, weight));
    const now = new Set();
    const write = (position) => {
      const [a, b] = [looks.get(position) ?? 0, seen.get(position) ?? 0];
      if (this.shade(tokens[position], a, b, state.shade(a, state.query, full), state.shade(b, position, full))) now.add(position);
    };
    for (const position of new Set([...looks.keys(), ...seen.keys()])) write(position);
    for (const position of painted) if (!now.has(position)) this.shade(tokens[position], 0, 0, 0, 0);
    painted.clear();
    for (const position of now) painted.add(position);
    sumFolds(folds, side === "observed" ? seen : looks, whole);
    if (side !== "observed") this.markSunk(tokens, slice);
    this.mark(words, tokens, side);
  }

  shade(token, a, b, shadeA, shadeB) {
    const { state, scheme } = this;
    const signed = state.made.slice.signed;
    const green = shadeA ? stepOf(scheme, shadeA, "attention", signed, STRONGEST) : null;
    const violet = shadeB ? stepOf(scheme, shadeB, "observed", signed, STRONGEST) : null;
    const both = green && violet;
    token.style.background = both ? `linear-gradient(${green.fill} 0 50%, ${violet.fill} 50%)` : (green ?? violet)?.fill ?? "";
    token.style.color = (green ?? violet)?.ink ?? "";
    if (token.number) {
      token.number.textContent = both ? `${whole(a)}·${whole(b)}` : green ? whole(a) : violet ? whole(b) : "";
      token.number.style.color = both ? violet.ink : "";
    }
    return Boolean(green || violet);
  }

  /** Sinks that are set aside are hatched; the first of them tells what the row has on all of them. */
  markSunk(tokens, slice) {
    const { query, sinks } = this.state;
    const sunk = new Set(sinks === "show" ? [] : [...slice.sunk].filter((key) => key <= query));
    for (const key of this.hatched ?? []) {
      if (sunk.has(key)) continue;
      tokens[key].classList.remove("iv-sunk");
      if (tokens[key].number) tokens[key].number.textContent = "";
    }
    const first = Math.min(...sunk);
    for (const key of sunk) {
      const token = tokens[key];
      token.classList.add("iv-sunk");
      if (token.number) token.number.textContent = key === first && !slice.signed ? whole(slice.hidden[query]) : "";
    }
    this.hatched = sunk;
  }

  mark(words, tokens, side) {
    const { query, key, lockQuery, lockKey } = this.state;
    for (const old of words.querySelectorAll(".iv-here")) old.classList.remove("iv-here", "iv-query", "iv-key", "iv-locked");
    const at = (position, name, locked) => tokens[position].classList.add("iv-here", name, ...(locked ? ["iv-locked"] : []));
    if (side !== "observer") at(key, "iv-key", lockKey);
    if (side !== "observed") at(query, "iv-query", lockQuery);
    if (side === "both" && query === key) tokens[query].classList.remove("iv-key");
  }

  /** Keep what is read in sight, unless the pointer chose it. */
  reveal({ side, words, tokens }, fresh) {
    const { query, key } = this.state;
    const position = side === "observed" ? key : query;
    if (words.dataset.seen === String(position) && !fresh) return;
    words.dataset.seen = position;
    if (words.matches(":hover") && !fresh) return;
    const token = tokens[position];
    const above = token.offsetTop - words.scrollTop;
    if (above < 0 || above + token.offsetHeight > words.clientHeight) words.scrollTop = token.offsetTop - words.clientHeight / 2;
  }

  drawPills() {
    const { state } = this;
    this.pills.replaceChildren();
    for (const [side, position, locked] of [["attention", state.query, state.lockQuery], ["observed", state.key, state.lockKey]]) {
      const pill = element("button", `iv-pill${locked ? " iv-on" : ""}`, this.pills);
      pill.type = "button";
      pill.dataset.side = side === "attention" ? "observer" : "observed";
      element("i", `iv-of-${side}`, pill);
      writeToken(element("b", "", pill), state.label(position));
      element("span", "", pill, side === "attention" ? "looks at" : "is looked at by");
      const how = element("em", "", pill, locked ? "" : "· at pointer");
      if (locked) element("span", "", how, "frozen ").after("✕");
      pill.title = locked ? "Let it follow the pointer again" : "Freeze it here; a double click on a token does the same";
      pill.addEventListener("click", () => state.freeze(position, pill.dataset.side));
    }
  }

  drawLegend() {
    const { state, foot } = this;
    foot.replaceChildren();
    const item = (name, words, title) => {
      const made = element("span", "", foot);
      element("i", `iv-of-${name}`, made);
      made.append(words);
      made.title = title;
    };
    if (state.base.against) {
      item("more", "more than in the baseline", "Blue: this run has more weight here");
      item("less", "less", "Orange: this run has less weight here");
      if (state.base.other.length) item("other", "another token than in the baseline", "Dotted: the generated texts differ here; at the pointer stands the baseline's token");
      if (state.base.common < state.length) element("span", "", foot, `the texts are not equally long: compared up to position ${state.base.common - 1}`);
      element("span", "", foot, "points of per cent · double click freezes");
      return;
    }
    item("attention", "looks at: a row, sums to 100 %", "Observer: what the token under the pointer looks at");
    item("observed", "is looked at by: a column, each its own query's share", "Observed: which later tokens look at the token under the pointer");
    if (state.base.prompt < state.length) item("generated", "generated", "Underlined tokens were written by the model");
    element("span", "", foot, this.numbered ? "numbers in % · double click freezes" : "double click freezes");
  }
}

const SIDES = { both: "looks at and is looked at by", observer: "looks at", observed: "is looked at by" };

/** Whole per cent, as it has room under a token. */
function whole(weight) {
  const size = 100 * Math.abs(weight);
  const sign = weight < 0 ? "−" : "";
  return size < 0.95 ? `${sign}<1` : `${sign}${Math.round(size)}`;
}
