/** What is shown beside the pointer: the cell's tokens with their numbers, entropy, shares. */
import { element, writeToken } from "./base.js";
import { change, nats, probability, rank, share, significant, verdict } from "./numbers.js";

const OFFSET = 16;
const MARGIN = 8;

/** One token with its bar and its number. */
export function addEntry(parent, text, number, fraction, kind = "") {
  const made = element("div", `iv-entry ${kind}`, parent);
  writeToken(element("span", "iv-name", made), text);
  const bar = element("span", "iv-gauge", made);
  element("i", "", bar).style.width = `${Math.max(1, 100 * Math.min(1, fraction))}%`;
  element("span", "iv-number", made, number);
}

/** A probability, with its logarithm where the figure would only say that it is small. */
export function probabilityText(p) {
  return p > 0 && p < 1e-5 ? `ln p ${significant(Math.log(p))}` : probability(p);
}

/** The same cell in two runs. */
function listPair(parent, data, cell) {
  for (const [k, name] of ["edited", "baseline"].entries()) {
    const made = element("div", "iv-entry", parent);
    element("span", "iv-caption", made, name);
    writeToken(element("span", "iv-name", made), data.token(cell, k));
  }
}

function listTop(parent, data, cell) {
  if (data.listing === "pair") return listPair(parent, data, cell);
  const format = { probability: probabilityText, logit: change, coefficient: significant }[data.listing];
  const size = data.listing === "probability" ? 1 : Math.abs(data.number(cell)) || 1;
  if (data.suppressed) element("div", "iv-caption", parent, "promoted");
  for (let k = 0; k < data.listed; k++) {
    const text = data.token(cell, k);
    if (!text) break;
    addEntry(parent, text, format(data.number(cell, k)), Math.abs(data.number(cell, k)) / size);
  }
  if (!data.suppressed) return;
  element("div", "iv-caption", parent, "suppressed");
  for (let k = 0; k < data.suppressed; k++) {
    const text = data.suppressedToken(cell, k);
    if (!text) break;
    const number = data.suppressedNumber(cell, k);
    addEntry(parent, text, change(number), Math.abs(number) / size, "iv-down");
  }
}

const FORMATS = { percent: probabilityText, share, nats, change, rank, number: significant, verdict };

function sideNumbers(data, cell) {
  const parts = [];
  if (data.inHover && data.step(cell) >= 0) parts.push(`${data.colourName}: ${FORMATS[data.line](data.value(cell))}`);
  const entropy = data.side("entropy", cell);
  if (entropy === entropy && entropy != null) parts.push(`entropy ${nats(entropy)}`);
  for (const [name, label] of [["attention", "attention"], ["mlp", "MLP"]]) {
    const value = data.side(name, cell);
    if (value != null && !Number.isNaN(value)) parts.push(`${label} ${share(value)} of ${data.shareOf[name]}`);
  }
  const winner = data.winner(cell);
  if (winner) parts.push(`${winner}put table`);
  return parts;
}

/** One popover for all cells; a popover, since an element in a scroller would be cut off at its edge. */
export class Hover {
  constructor(root) {
    this.box = element("div", "iv-hover", root);
    this.box.popover = "manual";
    this.cell = null;
    this.muted = null;
  }

  /** Nothing at this cell until the pointer has been elsewhere: the click has just answered. */
  mute(cell) {
    this.hide();
    this.muted = cell;
  }

  hide() {
    this.cell = null;
    if (this.box.matches(":popover-open")) this.box.hidePopover();
  }

  show(data, row, column, event) {
    const cell = row * data.width + column;
    this.reveal(cell, event, () => this.fill(data, row, column, cell));
  }

  /** Show beside the pointer what a cell, or a part of a picture, is; it is filled once. */
  reveal(cell, event, fill) {
    if (cell === this.muted) return;
    this.muted = null;
    if (cell !== this.cell) {
      this.cell = cell;
      this.box.replaceChildren();
      fill();
    }
    if (!this.box.matches(":popover-open")) this.box.showPopover();
    this.follow(event);
  }

  fill(data, row, column, cell) {
    const { box } = this;
    const { position, reads } = data.columns[column];
    const head = element("div", "iv-where", box);
    element("b", "", head, data.rows[row].label);
    head.append(` · position ${position} reads `);
    writeToken(element("b", "", head), reads);
    if (data.isBlank(cell)) {
      element("div", "iv-side", box, data.rows[row].blank || data.missing);
      return;
    }
    listTop(box, data, cell);
    for (const text of sideNumbers(data, cell)) element("div", "iv-side", box, text);
    if (data.step(cell) < 0) element("div", "iv-side", box, `no ${data.colourName} here: ${data.missing}`);
  }

  follow({ clientX, clientY }) {
    const { offsetWidth: width, offsetHeight: height, style } = this.box;
    let x = clientX + OFFSET;
    let y = clientY + OFFSET;
    if (x + width > innerWidth - MARGIN) x = clientX - width - OFFSET;
    if (y + height > innerHeight - MARGIN) y = clientY - height - OFFSET;
    style.left = `${Math.max(MARGIN, x)}px`;
    style.top = `${Math.max(MARGIN, Math.min(y, innerHeight - height - MARGIN))}px`;
  }
}
