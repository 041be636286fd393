/** Sentences in pieces, each plain or strong; token glyphs are dimmed, and nothing is taken for markup. */
import { element } from "../shared/base.js";

const GLYPH = "␣";

export function writePieces(target, pieces) {
  for (const [text, strong] of pieces) {
    const place = element(strong ? "b" : "span", "", target);
    text.split(GLYPH).forEach((piece, index) => {
      if (index) element("span", "iv-space", place, GLYPH);
      place.append(piece);
    });
  }
  return target;
}
