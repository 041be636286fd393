/** What the attention page shows now, for all of its parts; and which packets it needs for that. */
import { bus } from "../shared/base.js";
import { forgetPackets, unpackPacket } from "./attention_codes.js";
import { BOTH, KEPT_FIELDS, START, readHeads, readPlace, writePlace } from "./attention_heads.js";
import { neededPackets, rowsNames } from "./attention_needs.js";
import { commonSinks, meanOfSlices, sliceOfCube, sliceOfRows, subtractSlices } from "./attention_slices.js";

const FLOOR = 0.1; // the least that gets the full colour by itself: below it noise would be shown in full
const PAUSE = 160; // ms that the pointer rests before something is asked of the server
const MOST_BYTES = 4_000_000; // of packets, where the server gives them again
const MOST_SLICES = 24;

export class AttentionState {
  constructor() {
    this.packets = new Map();
    this.slices = new Map();
    this.views = [];
    this.changed = new Set();
    this.ask = () => {};
    this.steer = () => {};
  }

  /** base: the header and arrays of the page's own packet. */
  load(base) {
    const fresh = this.base?.rev !== base.rev || this.base?.against !== base.against;
    this.base = base;
    this.length = base.tokens.length;
    this.slices.clear();
    for (const { from, size } of base.packets ?? []) this.accept(unpackPacket(base.data.packets.slice(from, from + size)));
    if (!this.heads) Object.assign(this, START, base.start);
    if (!base.links && window.location.hash) {
      const { heads, ...place } = readPlace(window.location.hash);
      Object.assign(this, place);
      const wanted = readHeads(heads, base.layers, base.heads);
      if (wanted && this.offers(wanted)) this.heads = wanted.name;
    }
    if (fresh) {
      this.last = null;
      this.query = Math.min(this.query, this.length - 1);
      this.key = Math.min(this.key, this.length - 1);
      this.cut = null;
    }
    const found = readHeads(this.heads, base.layers, base.heads) ?? readHeads("all", base.layers, base.heads);
    Object.assign(this, { heads: found.name, picks: found.picks });
  }

  /** Take an update; the parts of the page are drawn again at the next frame. */
  change(update) {
    if (update.heads != null) {
      const found = readHeads(update.heads, this.base.layers, this.base.heads);
      if (!found || !this.offers(found)) return false;
      Object.assign(update, { heads: found.name, picks: found.picks });
    }
    if (update.query != null) update.query = Math.max(0, Math.min(this.length - 1, update.query));
    if (update.key != null) update.key = Math.max(0, Math.min(this.length - 1, update.key));
    const moved = Object.keys(update).filter((name) => this[name] !== update[name]);
    if (!moved.length) return true;
    Object.assign(this, update);
    for (const name of moved) this.changed.add(name);
    this.frame ??= requestAnimationFrame(() => this.draw());
    return true;
  }

  /** Whether a page by itself holds these heads; where another file does, it is opened. */
  offers({ name, picks }) {
    const { offered, files } = this.base;
    if (!offered || (name === "all" && !files.all)) return true;
    const inside = new Set(offered);
    if (name !== "all" && picks.every((pick) => inside.has(pick)) && picks.length <= name.split("+").length) return true;
    if (files[name]) window.location.href = `${files[name]}${writePlace(this, name)}`;
    return false;
  }

  draw() {
    this.frame = null;
    if (!this.base) return;
    const what = this.changed;
    this.changed = new Set();
    this.made = this.shown();
    clearTimeout(this.pause);
    // what a choice lacks is on its way while the rest is drawn
    if (this.settled(what)) this.tell();
    else this.pause = setTimeout(() => this.tell(), PAUSE);
    for (const view of this.views) view.draw(what);
    this.painted?.();
  }

  /** Whether a change is a choice, not the pointer on its way. */
  settled(what) {
    return ![...what].some((name) => ["query", "key", "link"].includes(name)) || what.has("lockQuery") || what.has("lockKey");
  }

  redraw() {
    this.changed.add("dark");
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  // packets

  accept(packet) {
    if (packet.name === "steer") return this.steer(packet);
    this.packets.delete(packet.name);
    this.packets.set(packet.name, packet);
    this.slices.clear();
    const of = [this.base?.rev, this.base?.against].filter(Boolean);
    if (this.base?.links && this.heads) forgetPackets(this.packets, MOST_BYTES, new Set(this.needed().flatMap((name) => of.map((rev) => `${rev} ${name}`))));
    if (!of.some((rev) => packet.name.startsWith(`${rev} `))) return null;
    this.changed.add("packet");
    this.frame ??= requestAnimationFrame(() => this.draw());
    return null;
  }

  packet(name, rev = this.base.rev) {
    return this.packets.get(`${rev} ${name}`);
  }

  needed() {
    return neededPackets(this);
  }

  /** Why the weights in sight could not be computed, in words. */
  problem() {
    for (const name of this.needed().filter((each) => BOTH.test(each))) {
      const { error } = this.packet(name) ?? {};
      if (error) return error;
    }
    return "";
  }

  /** The sinks of each layer that are set aside: those found, less those that the reader has shown. */
  sinksOf(rev = this.base.rev) {
    const found = rev === this.base.rev ? this.base.found : this.base.foundBefore;
    return this.shownSinks.length ? found.map((keys) => keys.filter((key) => !this.shownSinks.includes(key))) : found;
  }

  /** Tell the server what was chosen, and what is in sight and not here; where the pointer is alone tells it nothing. */
  tell() {
    const names = this.needed();
    const { rev, against } = this.base;
    const missing = names.filter((name) => !this.packet(name) || (against && BOTH.test(name) && !this.packet(name, against)));
    const kept = Object.fromEntries(KEPT_FIELDS.map((name) => [name, this[name]]));
    const placed = { ...kept, query: this.lockQuery && this.query, key: this.lockKey && this.key, link: null };
    const [chosen, lacking] = [JSON.stringify([placed, rev]), JSON.stringify(missing)];
    if (chosen === this.told?.chosen && (!missing.length || lacking === this.told.lacking)) return;
    this.told = { chosen, lacking };
    this.ask({ ...kept, rev, missing, needed: names });
  }

  // what is shown

  /** Whether weights may be below 0. */
  isSigned() {
    return Boolean(this.base.against) || this.strength === "projection";
  }

  isOneHead() {
    return this.picks.length === 1;
  }

  /** The key that “this link” means: the one under the pointer, else the one that is read, else the strongest. */
  linkedKey() {
    const { link, key, query, lockKey } = this;
    if (link != null && link <= query) return link;
    return key < query || (lockKey && key === query) ? key : this.strongestKey();
  }

  strongestKey() {
    let [best, most] = [this.query, -1];
    this.made?.slice?.visitRow(this.query, (key, weight) => {
      if (Math.abs(weight) > most && !this.made.slice.sunk.has(key)) [best, most] = [key, Math.abs(weight)];
    });
    return best;
  }

  slice() {
    const name = `${this.heads} ${this.strength} ${this.sinks} ${this.shownSinks} ${this.base.against}`;
    if (this.slices.has(name)) return this.slices.get(name);
    const own = this.sliceOf(this.base.rev);
    const other = this.base.against ? this.sliceOf(this.base.against) : null;
    if (!own || (this.base.against && !other)) return null;
    const made = other ? subtractSlices(own, other, this.base.common) : own;
    this.slices.set(name, made);
    if (this.slices.size > MOST_SLICES) this.slices.delete(this.slices.keys().next().value);
    return made;
  }

  sliceOf(rev) {
    const { base, picks, sinks, strength } = this;
    const places = this.sinksOf(rev);
    if (base.cube) {
      const cube = this.packet(`cube ${strength}`, rev);
      if (!cube || cube.error) return null;
      return sliceOfCube({ codes: cube.data.codes, length: cube.length, signed: cube.signed, learned: base.learned }, picks, base.heads, places, sinks);
    }
    const rows = rowsNames(this).map((name) => this.packet(name, rev));
    if (rows.some((each) => !each || each.error)) return null;
    return meanOfSlices(rows.map((each) => sliceOfRows({ ...each, learned: base.learned }, new Set(each.layer < 0 ? commonSinks(picks, base.heads, places) : places[each.layer]), sinks)));
  }

  /**
   * The slice in sight, with what gets the full colour: in the text the strongest off the diagonal of row and column in
   * sight, in the matrix the strongest of all, each at least 10 %. stale: the slice before, while its own is on its way.
   */
  shown() {
    const found = this.slice();
    if (found) this.last = found;
    const slice = found ?? this.last ?? null;
    const stale = !found;
    if (!slice) return { slice: null, stale };
    let most = 0;
    const look = (weight) => (most = Math.max(most, Math.abs(weight)));
    if (!this.amplify) {
      slice.visitRow(this.query, (key, weight) => key !== this.query && look(weight));
      slice.visitColumn(this.key, (query, weight) => query !== this.key && look(weight));
    }
    const full = this.amplify ? 1 / this.amplify : Math.max(FLOOR, most);
    const whole = this.amplify ? full : Math.max(FLOOR, slice.most());
    return { slice, stale, full, whole, fade: (query) => (this.sinks === "renormalise" ? Math.sqrt(Math.max(0, 1 - slice.hidden[query])) : 1) };
  }

  /** How strongly a weight is shaded: 0 to 1, below 0 where it is less than in the baseline. */
  shade(weight, query, full) {
    if (Math.abs(weight) < this.least || !weight) return 0;
    return Math.sign(weight) * Math.min(1, Math.abs(weight) / full) * this.made.fade(query);
  }

  /** Whether a slice can be shown: a page by itself holds no more than it was made with. */
  canShow(name) {
    const { links, cube, map } = this.base;
    if (name === "patterns") return links;
    return !["link", "lanes"].includes(name) || (map && (links || cube));
  }

  // choosing

  /**
   * Freeze a reading at a position, or set it free where it is frozen there. In one text the first that is frozen is what
   * the token looks at, the second what looks at it.
   */
  freeze(position, side) {
    const [atQuery, atKey] = [this.lockQuery && this.query === position, this.lockKey && this.key === position];
    const turn = side !== "both" ? side : atQuery ? "observer" : atKey || (this.lockQuery && !this.lockKey) ? "observed" : "observer";
    if (turn === "observer") this.change(atQuery ? { lockQuery: false } : { lockQuery: true, query: position });
    else this.change(atKey ? { lockKey: false } : { lockKey: true, key: position });
    if (turn === "observer" && this.lockQuery) this.select();
  }

  /** Tell the other pages where the reader is. */
  select() {
    this.chosen?.();
  }

  label(position) {
    return this.base.tokens[position]?.t ?? "";
  }
}

/** Packets that come by themselves, from the components that carry them. */
export function hearPackets(state) {
  const hear = ({ detail }) => state.accept(detail);
  bus.addEventListener("packet", hear);
  for (const packet of bus.packets?.values() ?? []) state.accept(packet);
  return () => bus.removeEventListener("packet", hear);
}
