/**
 * The token strip: prompt | generated, as chips. A click selects the token's position; of a generated token the
 * position that says it (one to the left), in the top row, with the token as target. Passive: chips to look at only.
 *
 * Data: { tokens: [{ t, p, id, sort, kind, spells, part }], prompt, rev, top, sel: { row, position, target, n }, label,
 * passive, folds: [{ start, stop, words }] }. `p` is the position, else the index; `sort` the kind of token and `kind` that in words; `spells` the
 * characters that bytes make with their neighbours, `part` which of them it is; `prompt` the number of positions in the
 * prompt; `top` the grid's top row.
 */
import { announce, bus, element, heed, printable, rootOf, writeToken } from "./base.js";
import { share } from "./numbers.js";

const EDGE = 3;
const BAR = 9; // px of the largest mass

function titleOf(token, text, position, generated, passive) {
  const about = sortInWords(token) + (token.id == null ? "" : `, id ${token.id}`);
  if (passive) return `${position}: ${text}${about}`;
  return generated
    ? `generated ${text}${about}: shows why, at position ${position - 1}, which says it`
    : `position ${position} reads ${text}${about}`;
}

function sortInWords({ sort, kind, spells }) {
  if (!sort || sort === "word") return "";
  return spells ? `, ${kind} of ‘${printable(spells)}’` : `, ${kind}`;
}

export class Strip {
  constructor(root) {
    this.root = root;
    this.send = () => {};
    root.setAttribute("role", "toolbar");
    root.addEventListener("click", ({ target }) => this.click(target.closest(".iv-chip")));
    root.addEventListener("keydown", (event) => this.key(event));
    this.onSelect = ({ detail }) => this.show(detail);
    this.onWeigh = ({ detail }) => this.weigh(detail);
    this.resizes = new ResizeObserver(() => this.data && bus.selection && this.show(bus.selection));
  }

  mount() {
    bus.addEventListener("select", this.onSelect);
    bus.addEventListener("weigh", this.onWeigh);
    this.resizes.observe(this.root);
  }

  unmount() {
    bus.removeEventListener("select", this.onSelect);
    bus.removeEventListener("weigh", this.onWeigh);
    this.resizes.disconnect();
  }

  load(data) {
    const signature = JSON.stringify([data.tokens, data.prompt, data.rev, data.label, data.passive, data.folds]);
    const fresh = this.signature !== signature;
    const newRun = this.data?.rev !== data.rev;
    this.data = data;
    if (fresh) {
      this.signature = signature;
      this.draw();
    }
    if (data.passive) return;
    heed(data.sel, newRun);
    this.weigh(bus.weights);
    if (bus.selection) this.show(bus.selection);
  }

  draw() {
    const { root, data } = this;
    root.replaceChildren();
    root.classList.toggle("iv-passive", Boolean(data.passive));
    root.ariaLabel = data.passive ? "tokens of the prompt" : "tokens; arrow keys move, Enter selects";
    if (data.label) element("span", "iv-part", root, "prompt");
    let started = false;
    let together = root;
    let before = root;
    const folds = data.folds ?? [];
    data.tokens.forEach((token, index) => {
      const position = token.p ?? index;
      const fold = folds.find(({ start, stop }) => start <= position && position < stop);
      if (fold) {
        if (fold.start === position) this.fold(fold);
        return;
      }
      const generated = position >= data.prompt;
      if (generated && !started) {
        started = true;
        // the first token stands in the line of the words that say what it is
        together = before = element("span", "iv-first", root);
        element("span", "iv-divider", together);
        if (data.label) element("span", "iv-part", together, "generated");
      }
      // the bytes of one character stay together where the strip wraps
      if (!token.part) together = data.tokens[index + 1]?.part ? element("span", "iv-together", before) : before;
      this.chip(token, position, generated, index, together);
      if (!data.tokens[index + 1]?.part) before = root;
    });
  }

  /** One chip for tokens that the page folds. */
  fold({ start, stop, words }) {
    element("span", "iv-fold", this.root, `⋯ ${stop - start}`).title = printable(words);
  }

  chip(token, position, generated, index, parent) {
    const { passive } = this.data;
    const classes = `iv-chip${generated ? " iv-generated" : ""}${token.part ? " iv-joined" : ""}`;
    const text = printable(token.t);
    const chip = writeToken(element(passive ? "span" : "button", classes, parent), text);
    if (token.sort) chip.classList.add(`iv-${token.sort}`);
    chip.dataset.position = position;
    chip.title = chip.dataset.title = titleOf(token, text, position, generated, passive);
    if (passive) return;
    chip.type = "button";
    chip.tabIndex = index === 0 ? 0 : -1;
  }

  /** A bar at the foot of each chip: how much of the picture's mass comes from there. */
  weigh(weights) {
    const { root, data } = this;
    if (!data || data.passive) return;
    const masses = weights && weights.rev === data.rev ? weights.masses : [];
    const most = Math.max(...masses.map((mass) => Math.abs(mass ?? 0)), 1e-12);
    for (const chip of root.querySelectorAll(".iv-chip")) {
      const mass = masses[chip.dataset.position];
      chip.style.setProperty("--iv-mass", `${mass ? Math.max(1, (BAR * Math.abs(mass)) / most).toFixed(1) : 0}px`);
      chip.title = mass == null ? chip.dataset.title : `${chip.dataset.title} · ${share(mass)} of the mass comes from it`;
    }
  }

  click(chip) {
    const { data } = this;
    if (!chip || data.passive) return;
    const position = Number(chip.dataset.position);
    const choice =
      position >= data.prompt && position > 0
        ? { row: data.top, position: position - 1, target: position }
        : { row: bus.selection?.row ?? data.top, position };
    const { n } = announce({ ...choice, how: "strip", rev: data.rev }, this);
    this.send({ ...choice, how: "strip", rev: data.rev, n });
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || this.data.passive) return;
    const chips = [...this.root.querySelectorAll(".iv-chip")];
    const next = chips[chips.indexOf(event.target.closest(".iv-chip")) + step];
    if (!next) return;
    event.preventDefault();
    for (const chip of chips) chip.tabIndex = chip === next ? 0 : -1;
    next.focus();
  }

  show({ position, target, rev }) {
    const { root, data } = this;
    if (!data || data.passive || (rev && data.rev && rev !== data.rev)) return;
    for (const chip of root.querySelectorAll(".iv-chip")) {
      const here = position != null && Number(chip.dataset.position) === position;
      chip.classList.toggle("iv-on", here);
      chip.classList.toggle("iv-target", target != null && Number(chip.dataset.position) === target);
      if (here) this.bringIntoSight(chip);
    }
  }

  /** Scrolls the strip only, never the page, so that a line beside the chip's is in sight too: that of the next token. */
  bringIntoSight(chip) {
    const { root } = this;
    const next = root.querySelector(`.iv-chip[data-position="${Number(chip.dataset.position) + 1}"]`) ?? chip;
    const end = next.offsetTop + next.offsetHeight;
    const beyond = chip.offsetTop < root.scrollTop || end > root.scrollTop + root.clientHeight;
    if (beyond) root.scrollTop = end + EDGE - root.clientHeight;
  }
}

export default function ({ data, parentElement, setStateValue }) {
  const root = rootOf(parentElement, "iv-strip");
  const strip = (root.intravisto ??= new Strip(root));
  strip.send = (selection) => setStateValue("selection", selection);
  strip.mount();
  strip.load(data);
  return () => strip.unmount();
}
