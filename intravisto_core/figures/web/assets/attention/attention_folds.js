/** In a chat, the tokens of the template: one chip in their place, with what the reading has on all of them. */
import { element, printable } from "../shared/base.js";

/** Puts a chip before each fold's first token and takes its tokens out of sight. tokens: of the text, by position. */
export function foldTokens(folds, tokens) {
  return folds.map(({ start, stop, words }) => {
    const chip = element("span", "iv-token iv-fold");
    chip.title = printable(words);
    element("span", "", chip, `⋯ ${stop - start}`);
    const number = element("small", "", chip);
    tokens[start].before(chip);
    for (const token of tokens.slice(start, stop)) token.hidden = true;
    return { start, stop, chip, number };
  });
}

/** What a reading has on each fold. weights: by position. write: a weight in few characters. */
export function sumFolds(folds, weights, write) {
  for (const { start, stop, number } of folds) {
    let sum = 0;
    for (const [position, weight] of weights) if (start <= position && position < stop) sum += weight;
    number.textContent = sum ? write(sum) : "";
  }
}
