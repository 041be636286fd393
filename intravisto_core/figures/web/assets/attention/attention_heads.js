/** Names of heads, and the fields of what the attention page shows. */

/** The heads that a name stands for: `all`, `L17` (a layer), `L17H3`, several joined by `+`. Null where it is none. */
export function readHeads(text, layers, heads) {
  const plain = String(text).trim().toLowerCase();
  if (plain === "all" || plain === "mean" || plain === "") return { name: "all", picks: [...Array(layers * heads).keys()] };
  const names = [];
  const picks = [];
  for (const part of plain.split(/[+,;\s]+(?=l)/)) {
    const [, layer, head] = /^l(?:ayer)?\s*(\d+)(?:\s*h(?:ead)?\s*(\d+))?$/.exec(part) ?? [];
    if (layer == null || layer >= layers || (head != null && head >= heads)) return null;
    names.push(head == null ? `L${Number(layer)}` : `L${Number(layer)}H${Number(head)}`);
    const from = layer * heads;
    picks.push(...(head == null ? [...Array(heads).keys()].map((h) => from + h) : [from + Number(head)]));
  }
  return { name: [...new Set(names)].join("+"), picks: [...new Set(picks)] };
}

export const nameOfHead = (number, heads) => `L${Math.floor(number / heads)}H${number % heads}`;

/** What is remembered when the page is left. */
export const KEPT_FIELDS = [
  "heads", "strength", "sinks", "amplify", "least", "query", "key", "lockQuery", "lockKey", "map", "order", "sorted", "floor",
  "over", "tab", "two", "wide", "against", "cut", "scatter", "link", "shownSinks", "composed",
];
export const START = {
  heads: "all", picks: [], strength: "weights", sinks: "hide", amplify: 0, least: 0.01, query: 0, key: 0, lockQuery: false, lockKey: false,
  link: null, map: "targets", order: "", sorted: true, floor: 0, over: "matrix", tab: "tokens", two: false, wide: false, against: "mean", cut: null,
  scatter: [], shownSinks: [], composed: false,
};
/** Packets of which the baseline's are needed as well, where two runs are compared. */
export const BOTH = /^(cube|rows|query) /;
