/** Under the picture of a layer: what dictionaries make of its places, a table each, whose rows add up to the place. */
import { element } from "../shared/base.js";
import { change, significant } from "../shared/numbers.js";
import { badge, tokenList } from "./layer_parts.js";

export function featureId(row) {
  return `feature.${row.dictionary}.${row.index}`;
}

export function drawFeatures(picture, frame) {
  for (const each of picture.data.features) {
    const box = element("div", "iv-features", frame);
    const head = element("div", "iv-features-head", box);
    element("b", "", head, each.name);
    element("span", "iv-quiet", head, each.about);
    const names = element("div", "iv-feature iv-feature-names", box);
    for (const name of ["", "", "active", "rank", "writes", picture.width === "size" ? "size" : "logits"]) element("span", "", names, name);
    const value = (row) => row[picture.width] ?? 0;
    const largest = Math.max(...each.rows.map((row) => Math.abs(value(row))), 1e-9);
    for (const row of each.rows) drawRow(picture, box, row, value(row), largest);
  }
}

function drawRow(picture, box, row, value, largest) {
  const clickable = row.kind === "feature";
  const made = element(clickable ? "button" : "div", "iv-feature", box);
  made.title = row.hover;
  const bar = element("i", `iv-feature-bar iv-is-${row.kind}`, element("span", "", made));
  bar.style.width = `${Math.max(1, (100 * Math.abs(value)) / largest)}%`;
  bar.classList.toggle("iv-against", picture.width !== "size" && value < 0);
  element(clickable ? "b" : "span", clickable ? "" : "iv-quiet", made, row.name);
  element("span", "iv-number", made, row.act == null ? "" : significant(row.act));
  badge(element("span", "", made), row.rank, picture.data.vocabulary, picture.scale);
  tokenList(made, row.tokens, picture.data.target);
  element("span", "iv-number iv-quiet", made, picture.width === "size" ? significant(value) : change(value));
  if (!clickable) return;
  made.dataset.row = featureId(row);
  made.setAttribute("aria-label", `${row.name} of ${row.dictionary}, rank ${row.rank}, ${picture.width} ${change(value)}`);
  made.addEventListener("click", () => picture.chooseFeature(row));
}
