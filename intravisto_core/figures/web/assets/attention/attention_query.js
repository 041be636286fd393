/** One query in all heads: the cube of weights along its other axis, from the whole cube or from the query's packet. */
import { decodeSize } from "./attention_codes.js";
import { findKey, triangle } from "./attention_slices.js";

/**
 * The weights of a query, sinks and all; null where they are not here. `at(head, key)` is one of them, and
 * `visit(head, call)` calls `call(key, weight)` for those that have an entry: from `least` on, or all.
 */
export function weightsOfQuery(state, query) {
  const { base } = state;
  const own = readRun(state, query, base.rev);
  if (!own || !base.against) return own;
  const other = readRun(state, query, base.against);
  return other && differenceOf(own, other);
}

function readRun(state, query, rev) {
  if (!state.base.cube) return readPacket(state.packet(`query ${query} ${state.strength}`, rev));
  const cube = state.packet(`cube ${state.strength}`, rev);
  if (!cube || cube.error) return null;
  const [whole, from] = [triangle(cube.length), triangle(query)];
  const last = query < cube.length ? query : -1;
  const at = (head, key) => (key <= last ? decodeSize(cube.data.codes[head * whole + from + key]) : 0);
  return {
    at,
    visit(head, call) {
      for (let key = 0; key <= last; key += 1) call(key, at(head, key));
    },
  };
}

function readPacket(packet) {
  if (!packet || packet.error) return null;
  const { starts, keys, codes } = packet.data;
  return {
    least: packet.least,
    at(head, key) {
      const place = findKey(keys, starts[head], starts[head + 1], key);
      return place < 0 ? 0 : decodeSize(codes[place]);
    },
    visit(head, call) {
      for (let place = starts[head]; place < starts[head + 1]; place += 1) call(keys[place], decodeSize(codes[place]));
    },
  };
}

function differenceOf(own, other) {
  const at = (head, key) => own.at(head, key) - other.at(head, key);
  return {
    at,
    least: own.least,
    visit(head, call) {
      own.visit(head, (key) => call(key, at(head, key)));
      other.visit(head, (key, weight) => own.at(head, key) === 0 && call(key, -weight));
    },
  };
}
