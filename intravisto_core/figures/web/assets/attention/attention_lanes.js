/** For one query: a lane a head, what each head takes from which key; the heads that take most beside sinks first. */
import { stepOf } from "./attention_colours.js";
import { about, clip } from "./attention_parts.js";
import { nameOfHead } from "./attention_heads.js";
import { weightsOfQuery } from "./attention_query.js";

const LINE = 19;
const LEFT = 58;
const RIGHT = 52;
const FOOT = 66; // px of the keys' names
const WIDEST = 26;

/** The heads to draw, found once for what they depend on: a pointer that moves along the keys changes none. */
export class RankedLanes {
  find(state, count) {
    const { base, query, strength, sinks, shownSinks } = state;
    const subject = JSON.stringify([base.rev, base.against, query, strength, sinks, shownSinks, count]);
    if (this.subject !== subject || !this.found) Object.assign(this, { subject, found: rankLanes(state, count) });
    return this.found;
  }
}

/** By their largest look at another key, sinks aside. */
function rankLanes(state, count) {
  const read = weightsOfQuery(state, state.query);
  if (!read) return null;
  const { base, query } = state;
  const sunk = state.sinks === "show" ? base.found.map(() => new Set()) : state.sinksOf().map((keys) => new Set(keys));
  const lanes = [];
  for (let head = 0; head < base.layers * base.heads; head += 1) {
    const aside = sunk[Math.floor(head / base.heads)];
    let most = 0;
    read.visit(head, (key, weight) => {
      if (key !== query && !aside.has(key)) most = Math.max(most, Math.abs(weight));
    });
    lanes.push({ head, aside, size: most });
  }
  lanes.sort((a, b) => b.size - a.size);
  return { lanes: lanes.slice(0, count), read };
}

/** Draws them; returns the lanes and the words under them. */
export function paintLanes(context, { state, scheme, family, ranked }, width, height) {
  const count = Math.max(1, Math.floor((height - FOOT - 8) / LINE));
  const found = ranked.find(state, count);
  context.textBaseline = "middle";
  if (!found) {
    context.fillStyle = scheme.muted;
    context.font = `13px ${family}`;
    context.fillText("This query in all heads is on its way …", 16, 24);
    return { lanes: [], words: "" };
  }
  const { query, base } = state;
  // of a long text the last keys, and those that a lane looks at most
  const keys = keysInSight(found, query, Math.floor((width - LEFT - RIGHT) / 4), state);
  const fewer = keys.length <= query ? `, the ${keys.length} keys of ${query + 1} that they look at most` : "";
  const unit = Math.min(WIDEST, (width - LEFT - RIGHT - 6) / keys.length);
  const largest = Math.max(found.lanes[0]?.size ?? 0, 1e-9);
  found.lanes.forEach(({ head, aside, size }, at) => {
    const y = 8 + at * LINE;
    const name = nameOfHead(head, base.heads);
    const on = state.picks.length === 1 && state.picks[0] === head;
    context.fillStyle = on ? scheme.ink : scheme.muted;
    context.font = `${on ? 700 : 400} 11px ${family}`;
    context.textAlign = "right";
    context.fillText(name, LEFT - 6, y + LINE / 2 - 1);
    keys.forEach((key, column) => {
      const weight = aside.has(key) ? 0 : found.read.at(head, key);
      const shade = Math.sign(weight) * Math.sqrt(Math.min(1, Math.abs(weight)));
      context.fillStyle = aside.has(key) ? scheme.kinds.sink : shade ? stepOf(scheme, shade, "attention", state.isSigned()).fill : scheme.soft;
      context.fillRect(LEFT + column * unit, y, unit - (unit > 5 ? 1 : 0), LINE - 2);
    });
    context.fillStyle = scheme.muted;
    context.globalAlpha = 0.6;
    context.fillRect(LEFT + keys.length * unit + 6, y + 5, (RIGHT - 12) * (size / largest), 8);
    context.globalAlpha = 1;
  });
  paintKeys(context, { state, scheme, family, keys, unit, top: 8 + found.lanes.length * LINE + 4 });
  return { ...found, keys, unit, words: `the ${found.lanes.length} heads that look most at one other key${fewer} · bar: that look, at most ${about(largest)} · √ scale to 100 %` };
}

function keysInSight({ lanes, read }, query, most, state) {
  const all = [...Array(query + 1).keys()];
  if (all.length <= most) return all;
  const sizes = new Map();
  for (const { head, aside } of lanes) {
    read.visit(head, (key, weight) => !aside.has(key) && sizes.set(key, (sizes.get(key) ?? 0) + Math.abs(weight)));
  }
  const kept = new Set([...sizes.keys()].sort((a, b) => sizes.get(b) - sizes.get(a)).slice(0, Math.min(most, 90)));
  kept.add(query);
  kept.add(state.linkedKey());
  return [...kept].sort((a, b) => a - b);
}

function paintKeys(context, { state, scheme, family, keys, unit, top }) {
  const every = Math.max(1, Math.ceil(11 / unit));
  context.textAlign = "right";
  keys.forEach((key, column) => {
    const on = key === state.linkedKey();
    if (!on && column % every) return;
    context.save();
    context.translate(LEFT + column * unit + unit / 2, top + 2);
    context.rotate(-Math.PI / 2);
    context.font = `${on ? 700 : 400} 11px ${family}`;
    context.fillStyle = on ? scheme.observed : scheme.muted;
    context.fillText(clip(state.label(key), 10), 0, 0);
    context.restore();
  });
}

/** The head and key at a place of the lanes. */
export function laneAt(rows, x, y) {
  const lane = rows?.lanes[Math.floor((y - 8) / LINE)];
  if (!lane) return null;
  const key = rows.keys[Math.floor((x - LEFT) / rows.unit)];
  return { head: lane.head, key: x >= LEFT && key != null ? key : null };
}
