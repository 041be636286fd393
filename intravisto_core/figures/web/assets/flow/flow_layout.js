/** Where everything of a flow is: a column for each position, a line for each row, bars, ribbons and strokes. */

const COLUMN = { least: 15, most: 112, wide: 84 };
const PITCH = { least: 24, labelled: 76, most: 116, tall: 112 };
const FULL = 0.8; // of a column: the widest bar
const NARROWEST = 26; // px of the widest bar, however narrow the columns are
const EMPTY = 0.45; // width of a column without nodes, where room is short
const ENOUGH = 62;
const GAP = 16; // px for a run of columns without nodes, where there is no room for each
const ENDS = 58; // column of the terminals
const TOP = 20;
const RIGHT = 14; // room for the last column's attention
const DEPTHS = {
  serial: { block: 0, mlp: 0.23, mid: 0.42, attention: 0.66 },
  parallel: { block: 0, mlp: 0.48, attention: 0.42 },
};
const TERMINAL = 0.86;
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

/** Runs of at least two columns that nothing is drawn in: where each begins, and how many they are. */
function emptyRuns(columns, used) {
  const runs = [];
  columns.forEach(({ position }, i) => {
    if (used.has(position)) return;
    const last = runs.at(-1);
    if (last && last.first + last.length === i) last.length += 1;
    else runs.push({ first: i, length: 1 });
  });
  return runs.filter(({ length }) => length > 1);
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
    this.ends = used.has(-1) ? ENDS : 0;
    const inner = room - this.ends - RIGHT;
    const even = inner / data.columns.length;
    const fits = data.canvas === "fixed" || data.canvas === "tall";
    const weights = data.columns.map(({ position }) => (even >= ENOUGH || used.has(position) ? 1 : EMPTY));
    const runs = fits && COLUMN.least * sum(weights) > inner ? emptyRuns(data.columns, used) : [];
    for (const { first, length } of runs) weights.fill(0, first, first + length);
    const free = Math.min(COLUMN.most, (inner - GAP * runs.length) / sum(weights));
    this.column = Math.max(COLUMN.least, fits ? free : Math.max(free, COLUMN.wide)) * data.scale;
    const skipped = new Map(runs.map(({ first, length }) => [first, length]));
    this.columns = new Map();
    let x = this.ends;
    data.columns.forEach(({ position }, i) => {
      const width = skipped.has(i) ? GAP : weights[i] * this.column;
      this.columns.set(position, { left: x, width, middle: x + width / 2, skipped: skipped.get(i) ?? 0 });
      x += width;
    });
    this.width = x + RIGHT;
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
    node.at = { width: Math.max(1.5, mass * this.unit), thick: THICK[node.kind] ?? 6 };
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
    const { upper, lower, width } = link.at;
    const n = (value) => Math.round(10 * value) / 10;
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
