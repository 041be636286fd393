/**
 * Where a token comes from, as one card: a band with sentences, which words it uses, when it comes up, who adds to it.
 * Data: what explain_payload.py packs. An act that leads elsewhere goes out as the trigger "act":
 * { rev, do: "open" | "ablate" | "test", to, position, row, kind, layer, head, n }.
 */
import { channels, element, resolved } from "../shared/base.js";
import { Card, showCard } from "../shared/card.js";
import { colourScale, luminance } from "../shared/colour.js";
import { drawBand } from "./explain_band.js";
import { drawRise } from "./explain_rise.js";
import { drawWho } from "./explain_who.js";
import { drawWords } from "./explain_words.js";

const NARROW = 900;
let acts = 0;

class Explanation extends Card {
  constructor(root) {
    super(root, "iv-card");
  }

  /** What was chosen stays while tests stream in; another token begins anew. */
  begin(data) {
    const subject = [data.rev, data.target, data.contrast, data.position].join("\n");
    if (subject !== this.subject) Object.assign(this, { chosen: data.who.first, scrolled: null, subject });
  }

  paint() {
    const { card, data } = this;
    if (!data) return;
    const focused = card.getRootNode().activeElement?.dataset?.at;
    this.width = card.clientWidth;
    card.replaceChildren();
    card.classList.toggle("iv-slim", this.width < NARROW);
    const dark = luminance(channels(resolved(card, "background-color"))) < 0.18;
    this.scales = { word: colourScale("residual", dark), part: colourScale("diverging", dark) };
    drawBand(this);
    drawWords(this);
    const both = element("div", "iv-both", card);
    drawRise(this, both);
    drawWho(this, both);
    const foot = element("div", "iv-below", card);
    for (const text of data.foot) element("span", "", foot, text);
    if (focused) card.querySelector(`[data-at="${CSS.escape(focused)}"]`)?.focus();
  }

  choose(part) {
    this.chosen = part;
    this.draw();
  }

  /** Ask the page to go somewhere, or to take a part away. */
  send(what) {
    acts += 1;
    this.act({ position: this.data.position, rev: this.data.rev, n: acts, ...what });
  }
}

export default function (given) {
  return showCard(Explanation, "iv-explain", given);
}
