/** The band of the card: what is summed up in sentences, and the ways on. */
import { element } from "../shared/base.js";

const GLYPH = "␣";

/** A text whose token glyphs are dimmed, never taken for markup. */
export function writeText(target, text) {
  text.split(GLYPH).forEach((piece, index) => {
    if (index) element("span", "iv-space", target, GLYPH);
    target.append(piece);
  });
  return target;
}

/** A button that acts; `at` names it, so that it keeps the focus when the card is drawn again. */
export function addButton(parent, text, about, at, act) {
  const button = element("button", "iv-act", parent, text);
  button.type = "button";
  button.title = about;
  button.dataset.at = at;
  button.addEventListener("click", (event) => {
    event.stopPropagation();
    act();
  });
  return button;
}

export function drawBand(card) {
  const { data } = card;
  const band = element("div", "iv-band", card.card);
  const sentence = element("p", "", band);
  sentence.setAttribute("aria-live", "polite");
  for (const { text, strong, quiet, part } of data.pieces) {
    if (part >= 0) {
      const name = addButton(sentence, text, "Show this part below", `named-${part}`, () => card.choose(part));
      name.className = "iv-named";
      continue;
    }
    writeText(element(strong ? "b" : "span", quiet ? "iv-quiet" : "", sentence), text);
  }
  if (!data.links) return;
  const ways = element("div", "iv-ways", band);
  addButton(ways, "Open in flow", "Follow the flow down from this position", "to-flow", () => card.send({ do: "open", to: "flow" }));
  addButton(ways, "Attribution", "All parts of the score, with heads and neurons", "to-attribution", () => card.send({ do: "open", to: "attribution" }));
  addButton(ways, "Patching", "Hold this prompt against another one: where is their difference kept?", "to-patching", () => card.send({ do: "open", to: "patching" }));
  addButton(ways, "Heatmap", "What every layer would say here", "to-heatmap", () => card.send({ do: "open", to: "heatmap", row: data.top }));
}
