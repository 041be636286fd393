/**
 * Two prompts with their tokens under each other, as they stand for each other. A click on a token of one prompt and one
 * of the other pairs them, or parts them where they are a pair. Data: what alignment_data gives. Out goes the trigger
 * "act": { rev, pairs, n }.
 */
import { element, rootOf, writeToken } from "../shared/base.js";

const FOLDED = 14; // so many equal tokens at the beginning are folded
const KEPT = 5; // and so many of them stay in sight
let acts = 0;

/** Columns of the two prompts: pairs, and tokens that stand for nothing. */
function columnsOf({ clean, corrupt, pairs }) {
  const found = [];
  let [a, b] = [0, 0];
  for (const [top, bottom] of [...pairs, [clean.length, corrupt.length]]) {
    for (; a < top; a++) found.push([a, null]);
    for (; b < bottom; b++) found.push([null, b]);
    if (top < clean.length && bottom < corrupt.length) found.push([a++, b++]);
  }
  return found;
}

class Alignment {
  constructor(root) {
    this.box = element("div", "iv-aligned", root);
    this.picked = null;
    this.act = () => {};
  }

  load(data) {
    const signature = JSON.stringify(data);
    if (signature === this.signature) return;
    Object.assign(this, { data, signature, picked: null });
    this.draw();
  }

  draw() {
    const { box, data } = this;
    const focused = box.getRootNode().activeElement?.dataset?.at;
    const scrolled = this.scroller?.scrollLeft ?? 0;
    box.replaceChildren();
    this.scroller = element("div", "iv-pairs", box);
    this.scroller.setAttribute("role", "group");
    this.scroller.ariaLabel = "tokens of both prompts, as they stand for each other";
    const names = element("div", "iv-pair iv-names", this.scroller);
    element("span", "", names, "clean");
    element("span", "", names, "corrupt");
    const columns = columnsOf(data);
    const same = columns.findIndex(([a, b]) => a == null || b == null || data.clean[a].id !== data.corrupt[b].id);
    const hidden = same > FOLDED ? same - KEPT : 0;
    if (hidden) {
      const fold = element("div", "iv-pair iv-fold", this.scroller);
      fold.title = "Both prompts begin with the same tokens";
      element("span", "", fold, `${hidden} equal …`);
    }
    columns.slice(hidden).forEach(([a, b]) => {
      const differ = a != null && b != null && data.clean[a].id !== data.corrupt[b].id;
      const pair = element("div", `iv-pair${differ ? " iv-differ" : ""}`, this.scroller);
      this.drawToken(pair, 0, a);
      this.drawToken(pair, 1, b);
    });
    element("p", "iv-hint", box, data.note);
    this.scroller.scrollLeft = scrolled;
    if (focused) box.querySelector(`[data-at="${focused}"]`)?.focus({ preventScroll: true });
  }

  drawToken(parent, side, position) {
    if (position == null) return element("span", "iv-none", parent, "–");
    const token = (side ? this.data.corrupt : this.data.clean)[position];
    const on = this.picked?.side === side && this.picked.position === position;
    const button = element("button", `iv-token${on ? " iv-on" : ""}`, parent);
    button.type = "button";
    button.dataset.at = `${side}-${position}`;
    button.title = `position ${position}, id ${token.id}`;
    button.disabled = !this.data.editable;
    button.setAttribute("aria-pressed", String(on));
    writeToken(button, token.t);
    button.addEventListener("click", () => this.pick(side, position));
    return button;
  }

  pick(side, position) {
    const other = this.picked;
    if (!other || other.side === side) this.picked = other?.position === position && other.side === side ? null : { side, position };
    else {
      this.picked = null;
      const [a, b] = side ? [other.position, position] : [position, other.position];
      acts += 1;
      this.act({ rev: this.data.rev, pairs: changed(this.data.pairs, a, b), n: acts });
    }
    this.draw();
  }
}

/** The pairs with one more, or less where it is one of them; what would cross it goes. */
function changed(pairs, a, b) {
  const rest = pairs.filter(([x, y]) => (x < a && y < b) || (x > a && y > b));
  const known = pairs.some(([x, y]) => x === a && y === b);
  return known ? pairs.filter(([x]) => x !== a) : [...rest, [a, b]].sort(([x], [y]) => x - y);
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = rootOf(parentElement, "iv-alignment");
  const alignment = (root.intravisto ??= new Alignment(root));
  alignment.act = (what) => setTriggerValue("act", what);
  alignment.load(data);
}
