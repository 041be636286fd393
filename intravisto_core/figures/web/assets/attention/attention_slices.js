/**
 * Attention as numbers: one head's weights, or a mean of several, as sparse rows (`Slice`). They are made from a cube (all
 * heads of a short text) or from the rows of a packet; sinks are set aside here, and two runs subtracted.
 */

import { decodeSize } from "./attention_codes.js";

const TENTH = 0.1;
const LEFT = 1e-6; // where less than this is left of a row beside sinks, it is hidden even so

/** The place of a key in a stretch of keys in order; −1 where it has none. */
export function findKey(keys, start, stop, key) {
  let [low, high] = [start, stop - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (keys[middle] === key) return middle;
    if (keys[middle] < key) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

export const triangle = (n) => (n * (n + 1)) / 2;

/**
 * Rows of weights: of query i the entries `starts[i]` to `starts[i + 1]`, with their keys in order. hidden: share of each
 * row on sinks, shown or not; rest: what of the row in sight has no entry; sunk: the keys that are set aside; bounds: the
 * least weight of each row that has an entry; signed: whether weights may be below 0.
 */
export class Slice {
  constructor({ length, starts, keys, weights, hidden, rest = null, sunk = new Set(), least = 0, bounds = null, signed = false }) {
    Object.assign(this, { length, starts, keys, weights, hidden, rest, sunk, least, bounds, signed });
  }

  /** The weight of a key; 0 where it has no entry. */
  at(query, key) {
    const place = findKey(this.keys, this.starts[query], this.starts[query + 1], key);
    return place < 0 ? 0 : this.weights[place];
  }

  /** Of a key without an entry, the weight that it stays below; 0 where all keys have one. */
  bound(query, key) {
    return this.bounds && findKey(this.keys, this.starts[query], this.starts[query + 1], key) < 0 ? this.bounds[query] : 0;
  }

  /** Calls `visit(key, weight)` for the entries of a row. */
  visitRow(query, visit) {
    for (let at = this.starts[query]; at < this.starts[query + 1]; at += 1) visit(this.keys[at], this.weights[at]);
  }

  /** Calls `visit(query, weight)` for the entries of a column. */
  visitColumn(key, visit) {
    const { begins, queries, places } = this.columns();
    for (let at = begins[key]; at < begins[key + 1]; at += 1) visit(queries[at], this.weights[places[at]]);
  }

  columns() {
    if (this.turned) return this.turned;
    const { length, starts, keys } = this;
    const begins = new Uint32Array(length + 1);
    for (const key of keys) begins[key + 1] += 1;
    for (let key = 0; key < length; key += 1) begins[key + 1] += begins[key];
    const free = begins.slice();
    const [queries, places] = [new Uint32Array(keys.length), new Uint32Array(keys.length)];
    for (let query = 0; query < length; query += 1) {
      for (let at = starts[query]; at < starts[query + 1]; at += 1) {
        const to = free[keys[at]]++;
        queries[to] = query;
        places[to] = at;
      }
    }
    this.turned = { begins, queries, places };
    return this.turned;
  }

  /** The largest size off the diagonal. */
  most() {
    if (this.largest != null) return this.largest;
    this.largest = 0;
    for (let query = 1; query < this.length; query += 1) {
      this.visitRow(query, (key, weight) => {
        const size = Math.abs(weight);
        if (key !== query && size > this.largest) this.largest = size;
      });
    }
    return this.largest;
  }

  /** Share on sinks, a mean over the queries from 1 on. */
  meanHidden() {
    if (this.length < 2) return 0;
    let sum = 0;
    for (let query = 1; query < this.length; query += 1) sum += this.hidden[query];
    return sum / (this.length - 1);
  }
}

/**
 * What a row's weights are multiplied by when its sinks are set aside. gone: what these have; kept: what the other keys
 * have; learned: whether a part of the row may go to no key. Of rounded weights only the sum of what is kept is near enough.
 */
function scaleOf(handling, gone, kept, learned) {
  if (handling !== "renormalise") return 1;
  const left = learned ? Math.max(kept, 1 - gone) : kept;
  return left < LEFT ? 0 : 1 / left;
}

/** A mean of heads of a cube: { codes, length }. picks: their numbers, all layers counted through; sinks: by layer. */
export function sliceOfCube({ codes, length, signed, learned }, picks, heads, sinks, handling) {
  const weights = new Float32Array(triangle(length));
  const hidden = new Float32Array(length);
  const starts = Uint32Array.from({ length: length + 1 }, (_, query) => triangle(query));
  const keys = new Uint16Array(weights.length);
  for (let query = 0, at = 0; query < length; query += 1) for (let key = 0; key <= query; key += 1) keys[at++] = key;
  for (const pick of picks) {
    const sunk = new Set(sinks[Math.floor(pick / heads)]);
    const from = pick * weights.length;
    for (let query = 0; query < length; query += 1) {
      let [gone, kept] = [0, 0];
      for (let key = 0; key <= query; key += 1) {
        const weight = decodeSize(codes[from + starts[query] + key]);
        if (sunk.has(key)) gone += weight;
        else kept += weight;
      }
      hidden[query] += gone / picks.length;
      const scale = scaleOf(handling, gone, kept, learned) / picks.length;
      for (let key = 0, at = starts[query]; key <= query; key += 1, at += 1) {
        if (handling === "show" || !sunk.has(key)) weights[at] += scale * decodeSize(codes[from + at]);
      }
    }
  }
  const sunk = handling === "show" ? new Set() : commonSinks(picks, heads, sinks);
  return new Slice({ length, starts, keys, weights, hidden, sunk, signed });
}

/** The keys that are sinks in every layer that takes part: of others something is left. */
export function commonSinks(picks, heads, sinks) {
  const layers = [...new Set(picks.map((pick) => Math.floor(pick / heads)))];
  return new Set((sinks[layers[0]] ?? []).filter((key) => layers.every((layer) => sinks[layer].includes(key))));
}

/**
 * The rows of a packet. Of heads of one layer they hold the sinks, which are set aside here; else that was done. rest and
 * sinkRest: what has no entry, beside sinks and of them.
 */
export function sliceOfRows({ data, length, least, signed, whole, learned }, sunk, handling) {
  const weights = Float32Array.from(data.codes, decodeSize);
  const { starts, keys, hidden, sinkRest } = data;
  const shown = handling === "show";
  const rest = Float32Array.from(data.rest, (value, query) => (shown ? value + sinkRest[query] : value));
  // what is kept is held against what sinks leave of a row, a tenth at least
  const bounds = Float32Array.from(hidden, (gone) => least * (!whole && handling === "renormalise" ? 1 : Math.max(TENTH, 1 - gone)));
  const made = new Slice({ length, starts, keys, weights, hidden, rest, sunk: shown ? new Set() : sunk, least, bounds, signed });
  if (!whole || shown) return made;
  for (let query = 0; query < length; query += 1) {
    let kept = rest[query];
    for (let at = starts[query]; at < starts[query + 1]; at += 1) if (!sunk.has(keys[at])) kept += weights[at];
    const scale = scaleOf(handling, hidden[query], kept, learned);
    for (let at = starts[query]; at < starts[query + 1]; at += 1) weights[at] *= sunk.has(keys[at]) ? 0 : scale;
    rest[query] *= scale;
    bounds[query] *= scale;
  }
  return made;
}

/** The mean of several slices of one text. */
export function meanOfSlices(slices) {
  if (slices.length === 1) return slices[0];
  const { length } = slices[0];
  const n = slices.length;
  const [starts, keys, weights] = [new Uint32Array(length + 1), [], []];
  const sum = (name) => Float32Array.from({ length }, (_, query) => slices.reduce((all, each) => all + (each[name]?.[query] ?? 0), 0) / n);
  for (let query = 0; query < length; query += 1) {
    const row = new Map();
    for (const each of slices) each.visitRow(query, (key, weight) => row.set(key, (row.get(key) ?? 0) + weight / n));
    for (const key of [...row.keys()].sort((a, b) => a - b)) {
      keys.push(key);
      weights.push(row.get(key));
    }
    starts[query + 1] = keys.length;
  }
  const sunk = new Set([...slices[0].sunk].filter((key) => slices.every((each) => each.sunk.has(key))));
  const { signed } = slices[0];
  const least = Math.max(...slices.map((each) => each.least));
  const bounds = Float32Array.from({ length }, (_, query) => Math.max(...slices.map((each) => each.bounds?.[query] ?? 0)));
  return new Slice({ length, starts, keys: Uint32Array.from(keys), weights: Float32Array.from(weights), hidden: sum("hidden"), rest: sum("rest"), sunk, least, bounds, signed });
}

/** Edited less baseline, over the positions that are compared. */
export function subtractSlices(edited, baseline, common) {
  const [starts, keys, weights] = [new Uint32Array(common + 1), [], []];
  for (let query = 0; query < common; query += 1) {
    let [a, b] = [edited.starts[query], baseline.starts[query]];
    const [endA, endB] = [edited.starts[query + 1], baseline.starts[query + 1]];
    while (a < endA || b < endB) {
      const keyA = a < endA ? edited.keys[a] : Infinity;
      const keyB = b < endB ? baseline.keys[b] : Infinity;
      const key = Math.min(keyA, keyB);
      keys.push(key);
      weights.push((keyA === key ? edited.weights[a++] : 0) - (keyB === key ? baseline.weights[b++] : 0));
    }
    starts[query + 1] = keys.length;
  }
  const { length, hidden, sunk, least, rest, bounds } = edited;
  const padded = Uint32Array.from({ length: length + 1 }, (_, query) => starts[Math.min(query, common)]);
  return new Slice({ length, starts: padded, keys: Uint32Array.from(keys), weights: Float32Array.from(weights), hidden, rest, sunk, least, bounds, signed: true });
}
