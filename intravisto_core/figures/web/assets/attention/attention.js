/**
 * The attention page: the text, the map of heads, one matrix and a panel over one state; pointing at anything moves all.
 * Data: what attention_payload.py packs. It says what is in sight as the state "sight"; packets that this needs come by
 * the component `attention_packet`. An act that leads elsewhere goes out as the trigger "act".
 */
import { announce, bus, element, heed, rootOf } from "../shared/base.js";
import { unpackPacket } from "./attention_codes.js";
import { colours } from "./attention_colours.js";
import { AttentionMap } from "./attention_map.js";
import { AttentionMatrix } from "./attention_matrix.js";
import { AttentionOptions } from "./attention_options.js";
import { AttentionPanel } from "./attention_panel.js";
import { nameOfHead } from "./attention_heads.js";
import { AttentionState, hearPackets } from "./attention_state.js";
import { AttentionText } from "./attention_text.js";

const NARROW = 900;
let acts = 0;

class AttentionPage {
  constructor(root) {
    this.root = root;
    element("span", "iv-probe", root).ariaHidden = "true";
    const state = (this.state = new AttentionState());
    const options = element("div", "iv-optionline", root);
    this.work = element("div", "iv-work", root);
    const card = (name) => element("section", `iv-card iv-${name}`, this.work);
    this.options = new AttentionOptions(options, state);
    this.map = new AttentionMap(card("map"), state);
    this.text = new AttentionText(card("text"), state);
    this.matrix = new AttentionMatrix(card("matrix"), state);
    this.panel = new AttentionPanel(card("panel"), state, this.map.scores);
    state.views = [this, this.options, this.map, this.text, this.matrix, this.panel];
    state.chosen = () => this.select();
    state.steer = (packet) => this.follow(packet);
    state.act = (what) => this.act({ ...what, rev: state.base.rev, n: (acts += 1) });
    this.act = () => {};
    // The theme's colours are style variables: the end of the (instant) transition tells of a new theme.
    this.work.addEventListener("transitionend", ({ target }) => target === this.work && state.base && state.redraw());
    this.resizes = new ResizeObserver(() => root.classList.toggle("iv-slim", root.clientWidth < NARROW));
    this.onSelect = ({ detail }) => detail.from !== this && this.heard(detail);
  }

  mount() {
    this.resizes.observe(this.root);
    bus.addEventListener("select", this.onSelect);
    this.deafen ??= hearPackets(this.state);
  }

  unmount() {
    this.resizes.disconnect();
    bus.removeEventListener("select", this.onSelect);
    this.deafen?.();
    this.deafen = null;
    this.map.tip.hide();
  }

  load(data) {
    const base = unpackPacket(data);
    if (base.key === this.loaded) return;
    this.loaded = base.key;
    this.state.load(base);
    if (this.waiting) this.follow(this.waiting);
    this.state.redraw();
    this.state.changed.add("packet").add("heads");
  }

  /** First of all views: the colours that the others draw with. */
  draw(what) {
    if (!this.scheme || what.has("dark")) this.scheme = colours(this.root);
    for (const part of [this.map, this.text, this.matrix, this.panel, this.map.tip]) part.scheme = this.scheme;
    this.map.tip.pictures = this.map.cells.pictures;
    this.root.classList.toggle("iv-widemap", this.state.wide);
    this.root.classList.toggle("iv-nomap", !this.state.base.map);
  }

  /** The place of the query, for all pages: in the attention of the head's layer where one is chosen. */
  select() {
    const { state } = this;
    if (!state.base.links) return;
    const one = state.isOneHead();
    const layer = Math.floor(state.picks[0] / state.base.heads);
    const row = one ? layer + 1 : state.base.layers + 1;
    const place = { row, position: state.query, part: one ? `attention.${row}.${state.query}` : "", head: one ? state.picks[0] % state.base.heads : null, rev: state.base.rev, how: "attention" };
    const { n } = announce(place, this);
    this.send({ ...place, n });
    // with what this brings into sight at once: the page's script runs one time for both
    state.tell();
  }

  heard({ rev, position, row, head, part }) {
    const { state } = this;
    if (!state.base || position == null || (rev && rev !== state.base.rev && rev !== state.base.against)) return;
    if (position !== state.query) state.change({ query: position, lockQuery: true });
    if (head != null && part?.startsWith("attention.")) state.change({ heads: nameOfHead((row - 1) * state.base.heads + head, state.base.heads) });
  }

  /** What the server says: the selection of all pages, and where a link of another page led. */
  follow(steer) {
    const { state } = this;
    const { rev, selection, goal } = steer;
    // what is said of another text waits for that text's packet
    this.waiting = state.base?.rev === rev ? null : steer;
    if (this.waiting) return;
    const folds = JSON.stringify(steer.folds);
    if (folds !== this.folds) {
      this.folds = folds;
      this.text.folds = steer.folds;
      state.redraw();
    }
    const said = `${rev} ${goal.n}`;
    if (said !== this.goal) {
      // a picture that was just made takes over where the page was left, too
      this.goal = said;
      state.change(goal.state);
    }
    if (selection.n === this.selection) return;
    this.selection = selection.n;
    heed(selection);
  }
}

export default function ({ data, parentElement, setStateValue, setTriggerValue, standalone }) {
  const root = rootOf(parentElement, "iv-attention");
  const page = (root.intravisto ??= new AttentionPage(root));
  root.classList.toggle("iv-alone", Boolean(standalone));
  page.state.ask = standalone ? () => {} : (sight) => setStateValue("sight", sight);
  page.send = (selection) => setStateValue("selection", selection);
  page.act = (what) => setTriggerValue("act", what);
  page.mount();
  page.load(data);
  return () => page.unmount();
}
