/** Where everything of a flow is: a column for each position, a line for each row, bars, ribbons and strokes. */
import { layColumns } from "./flow_columns.js";

const COLUMN = { least: 15, most: 112, wide: 84 };
const PITCH = { least: 10, labelled: 76, most: 116, tall: 112, plain: 24 };
const FULL = 0.8; // of a column: the widest bar
const NARROWEST = 26; // px of the widest bar, however narrow the columns are
const ENDS = 58; // column of the terminals
const TOP = 20;
const RIGHT = 14; // room for the last column's attention
const DEPTHS = {
  serial: { block: 0, mlp: 0.23, mid: 0.42, attention: 0.66 },
  parallel: { block: 0, mlp: 0.48, attention: 0.42 },
};
const TERMINAL = 0.86;
const STUB = 0.3; // of a row: how far what is set aside is drawn
const THICK = { block: 7, mid: 3, mlp: 5, attention: 6 };
const ORDER = { residual: 0, norm: 0, mlp: 1, attention: 2, undefined: 3 };
const BEND = 0.72;

export function clamp(value, least, most) {
  return Math.max(least, Math.min(most, value));
}

/** Links into an attention node, and those of terminals, are drawn as strokes, all others as ribbons. */
export function isStroke(link) {
  return link.target.kind === "attention" || link.source.position < 0;
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

export class FlowLayout {
  /** room: { width, height } to fill, px. Gives every node and link of the data its place in `at`. */
  constructor(data, room) {
    this.data = data;
    this.depths = DEPTHS[data.block];
    this.layColumns(room.width);
    this.layRows(room.height);
    const most = Math.max(...data.nodes.map(({ mass }) => Math.abs(mass)), 1e-9);
    this.unit = Math.max(FULL * this.column, NARROWEST * data.scale) / most;
    data.links.forEach((link) => (link.at = null));
    data.nodes.forEach((node) => this.measure(node));
    for (const kind of ["block", "mid", "attention", "mlp"]) {
      data.nodes.filter((node) => node.kind === kind).forEach((node) => this.place(node));
    }
    this.placeTerminals(data.nodes.filter(({ position }) => position < 0));
    data.nodes.forEach((node) => this.fillSlots(node));
    data.links.forEach((link) => this.draw(link));
  }

  layColumns(room) {
    const { data } = this;
    const used = new Set(data.nodes.map(({ position }) => position));
    this.ends = data.nodes.some(({ kind, position }) => position < 0 && kind !== "hidden") ? ENDS : 0;
    const wide = data.canvas === "wide" || data.canvas === "both" ? COLUMN.wide : 0;
    const how = { ...COLUMN, start: this.ends, wide, scale: data.scale };
    const { places, column, end } = layColumns(data.columns, used, room - this.ends - RIGHT, how);
    this.columns = places;
    this.column = column;
    this.width = end + RIGHT;
  }

  layRows(room) {
    const { data } = this;
    const lowest = data.rows.at(-1)?.row ?? 0;
    const below = lowest > 0 && data.nodes.some(({ kind, row }) => row === lowest && kind !== "block") ? 0.94 : 0.2;
    const free = (room - TOP) / (data.rows.length - 1 + below);
    const least = data.labels === "all" ? PITCH.labelled : PITCH.least;
    const adapted = data.canvas === "tall" || data.canvas === "both" ? Math.max(free, PITCH.tall) : free;
    this.pitch = clamp(adapted, least, PITCH.most) * data.scale;
    this.rows = new Map(data.rows.map(({ row }, i) => [row, TOP + i * this.pitch]));
    this.height = TOP + (data.rows.length - 1 + below) * this.pitch + 8;
  }

  /** Width of a node: its mass, or all that is drawn at one of its sides where signs cancel. */
  measure(node) {
    const drawn = (links) => sum(links.map(({ mass }) => Math.abs(mass)));
    const mass = Math.max(Math.abs(node.mass), drawn(node.below), drawn(node.above));
    const thin = Math.min(1, this.pitch / (PITCH.plain * this.data.scale));
    node.at = { width: Math.max(1.5, mass * this.unit), thick: Math.max(2, thin * (THICK[node.kind] ?? 6)) };
    const rank = (link, other) => (ORDER[link.kind] ?? 2) * 1e6 + (isStroke(link) ? other.position : -1);
    node.below.sort((a, b) => rank(a, a.source) - rank(b, b.source));
    node.above.sort((a, b) => rank(a, a.target) - rank(b, b.target));
  }

  /** The widths of the links at a node's lower side that come before that kind. */
  before(node, kind) {
    let x = 0;
    for (const link of node?.below ?? []) {
      if (ORDER[link.kind] >= ORDER[kind]) break;
      x += Math.abs(link.mass) * this.unit;
    }
    return x;
  }

  place(node) {
    const { middle, width } = this.columns.get(node.position);
    node.at.y = (this.rows.get(node.row) ?? 0) + this.depths[node.kind] * this.pitch;
    node.at.x = middle - node.at.width / 2;
    if (node.kind === "block" || node.kind === "mid") return;
    // beside the ribbon of the stream, in the slot where it joins what is above it
    const joined = node.above[0]?.target;
    if (!joined?.at || joined.at.x == null) return;
    node.at.x = joined.at.x + this.before(joined, node.kind);
    if (node.kind === "attention") node.at.x += Math.min(14, 0.16 * width);
  }

  placeTerminals(nodes) {
    const rows = new Map();
    for (const node of nodes) {
      if (node.kind === "hidden") {
        Object.assign(node.at, { x: 0, y: 0, width: 0 });
        continue;
      }
      const x = rows.get(node.row) ?? 6;
      node.at.x = x;
      node.at.y = (this.rows.get(node.row) ?? 0) + TERMINAL * this.pitch;
      rows.set(node.row, x + node.at.width + 6);
    }
  }

  fillSlots(node) {
    for (const [links, end] of [[node.below, "upper"], [node.above, "lower"]]) {
      let x = node.at.x;
      for (const link of links) {
        const width = Math.abs(link.mass) * this.unit;
        link.at ??= { width };
        link.at[end] = { x, y: node.at.y + (end === "upper" ? 0.5 : -0.5) * node.at.thick };
        x += width;
      }
    }
  }

  /** The outline of a ribbon, or the middle line of a stroke, as an SVG path. */
  draw(link) {
    const { upper, width } = link.at;
    const n = (value) => Math.round(10 * value) / 10;
    // what is set aside ends where it is: a stub below its node
    if (link.source.kind === "hidden") {
      link.at.lower = { x: upper.x, y: upper.y + STUB * this.pitch };
      Object.assign(link.source.at, { x: upper.x, y: link.at.lower.y, width: Math.max(1.5, width) });
    }
    const { lower } = link.at;
    if (isStroke(link)) {
      const [xa, xb] = [upper.x + width / 2, lower.x + width / 2];
      const bend = BEND * (lower.y - upper.y);
      link.at.path = `M${n(xa)} ${n(upper.y)}C${n(xa)} ${n(upper.y + bend)} ${n(xb)} ${n(lower.y - bend)} ${n(xb)} ${n(lower.y)}`;
      return;
    }
    const w = Math.max(1, width);
    const middle = n((upper.y + lower.y) / 2);
    const [a, b] = [upper.x, lower.x];
    link.at.path =
      `M${n(a)} ${n(upper.y)}C${n(a)} ${middle} ${n(b)} ${middle} ${n(b)} ${n(lower.y)}` +
      `H${n(b + w)}C${n(b + w)} ${middle} ${n(a + w)} ${middle} ${n(a + w)} ${n(upper.y)}Z`;
  }
}
