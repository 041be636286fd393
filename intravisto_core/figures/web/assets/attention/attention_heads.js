/** Names of heads, and the fields of what the attention page shows. */

/** How many heads and layers can be chosen at once: each has rows of its own. */
export const MOST_NAMES = 16;

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
  if (new Set(names).size > MOST_NAMES) return null;
  return { name: [...new Set(names)].join("+"), picks: [...new Set(picks)] };
}

export const nameOfHead = (number, heads) => `L${Math.floor(number / heads)}H${number % heads}`;

const NUMBERS = ["query", "key"];
const FLAGS = ["lockQuery", "lockKey", "two"];

/** The end of a file's address: the heads, and what is read and frozen, so that it stays from file to file. */
export function writePlace(state, name) {
  const said = [name, ...NUMBERS.map((field) => `${field}=${state[field]}`), ...FLAGS.filter((field) => state[field])];
  return `#${said.join("&")}`;
}

/** Such an end: { heads, query, … }; of one without readings the heads alone. */
export function readPlace(hash) {
  const [heads, ...said] = decodeURIComponent(hash.slice(1)).split("&");
  const given = new Map(said.map((each) => each.split("=")));
  const numbers = NUMBERS.filter((field) => /^\d{1,9}$/.test(given.get(field) ?? "")).map((field) => [field, Number(given.get(field))]);
  const flags = said.length ? FLAGS.map((field) => [field, given.has(field)]) : [];
  return { heads, ...Object.fromEntries([...numbers, ...flags]) };
}

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
