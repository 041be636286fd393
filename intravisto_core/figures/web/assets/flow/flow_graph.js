/**
 * The contribution-threshold graph: states as dots (token across, row up), steps above the threshold as lines.
 * Data: what graph_payload.py packs; the selection comes over the bus.
 */
import { element, rootOf, writeToken } from "../shared/base.js";
import { keyOf, readPayload } from "./flow_data.js";
import { drawLabels, emptySvg, hint, paletteOf, planeSvg } from "./flow_draw.js";
import { layColumns } from "./flow_columns.js";
import { clamp } from "./flow_layout.js";
import { drawExport } from "../shared/frame.js";
import { Hover, addEntry, probabilityText } from "../shared/hover.js";
import { shape } from "../shared/image.js";
import { share } from "../shared/numbers.js";
import { TokenRowPlot } from "../shared/token_row_plot.js";

const COLUMN = { least: 22, most: 110 };
const PITCH = { least: 10, most: 74 };
const TOP = 14;
const WIDEST = 9;
const TEXT = 12;

class GraphData {
  constructor(bytes) {
    Object.assign(this, readPayload(bytes));
    this.nodes = this.node.row.map((row, i) => ({
      index: i,
      kind: "block",
      row,
      position: this.node.position[i],
      mlp: this.node.mlp[i],
      over: this.node.over[i],
      mass: 0,
      token: this.node.token[i],
      probability: this.node.probability[i],
      id: `block.${row}.${this.node.position[i]}`,
      below: [],
      above: [],
    }));
    this.links = this.edge.share.map((size, i) => {
      const [source, target] = [this.nodes[this.edge.source[i]], this.nodes[this.edge.target[i]]];
      const kind = this.edge.kind[i];
      const link = { index: i, kind, source, target, share: size, id: `${source.id}>${target.id}>${kind}` };
      source.above.push(link);
      target.below.push(link);
      return link;
    });
    this.parts = new Map([...this.nodes, ...this.links].map((part) => [part.id, part]));
    this.starting = new Set(this.starts);
    this.labels = "blocks";
    this.textSize = TEXT;
  }

  /** The token that a state shows. */
  top({ token }) {
    return token;
  }

  rowName(row) {
    return this.names[row] ?? `layer ${row - 1}`;
  }

  describe(part) {
    const at = ({ row, position }) => `${this.rowName(row)}, position ${position}`;
    return part.source
      ? `${part.kind} step from ${at(part.source)} to ${at(part.target)}: share ${share(part.share)}`
      : `state at ${at(part)}${part.token ? `: ${part.token}` : ""}${part.over ? `, MLP share ${share(part.mlp)}` : ""}`;
  }
}

/** What a step brings. */
function inWords({ kind, source }) {
  return { residual: "the state below", mlp: "the MLP" }[kind] ?? `attention to position ${source.position}`;
}

class GraphHover extends Hover {
  showPart(data, part, event) {
    this.reveal(part, event, () => this.fill(data, part));
  }

  where(data, node, before = "") {
    const head = element("div", "iv-where", this.box, before);
    element("b", "", head, data.rowName(node.row));
    head.append(` · position ${node.position} reads `);
    writeToken(element("b", "", head), data.reads[node.position] ?? "");
  }

  fill(data, part) {
    if (part.source) {
      this.where(data, part.target);
      const what = inWords(part);
      element("div", "iv-side", this.box, `${share(part.share)} of it is ${what}`);
      if (part.kind === "attention") this.where(data, part.source, "read from ");
      return;
    }
    this.where(data, part);
    if (part.below.length) element("div", "iv-caption", this.box, "of what joins there with attention");
    for (const link of part.below.slice(0, 6)) {
      element("div", "iv-side", this.box, `${share(link.share)} ${inWords(link)}`);
    }
    if (part.mlp != null) element("div", "iv-caption", this.box, `of the block's output, the MLP is ${share(part.mlp)}`);
    if (part.token) {
      element("div", "iv-caption", this.box, "reads as");
      addEntry(this.box, part.token, probabilityText(part.probability), part.probability);
    }
  }
}

class Graph extends TokenRowPlot {
  constructor(root) {
    super(root);
    this.hover = new GraphHover(root);
  }

  arrange({ width, height }) {
    const { data } = this;
    this.palette = paletteOf(this.frame, TEXT);
    const used = new Set(data.nodes.map(({ position }) => position));
    const { places: columns, column, end } = layColumns(data.columns, used, width - 8, { ...COLUMN, scale: data.scale });
    const pitch = clamp((height - 2 * TOP) / Math.max(1, data.rows.length - 1), PITCH.least, PITCH.most) * data.scale;
    const rows = new Map(data.rows.map(({ row }, i) => [row, TOP + i * pitch]));
    this.radius = clamp(0.2 * Math.min(column, pitch), 2.6, 6);
    for (const node of data.nodes) {
      const [x, y] = [columns.get(node.position).middle, rows.get(node.row)];
      node.at = { x: x - this.radius, y, width: 2 * this.radius, thick: 2 * this.radius, dot: true };
    }
    for (const link of data.links) link.at = { width: 1 + WIDEST * data.scale * Math.min(1, link.share) * Math.min(1, column / 60 + 0.3) };
    this.layout = {
      data,
      columns,
      rows,
      pitch,
      width: end + 8,
      height: 2 * TOP + (data.rows.length - 1) * pitch,
    };
  }

  /** In a parallel block the MLP is a step of its own, elsewhere a mark on the state. */
  stepsByMlp() {
    return this.data.links.some(({ kind }) => kind === "mlp");
  }

  path({ kind, source, target, at }) {
    const middle = (node) => node.at.x + this.radius;
    const [x1, y1, x2, y2] = [middle(target), target.at.y, middle(source), source.at.y];
    if (kind === "residual") return `M${x1} ${y1}L${x2} ${y2}`;
    const side = (kind === "mlp" ? -1 : 1) * (3 * this.radius + 1.5 * at.width);
    if (source.position === target.position) return `M${x1} ${y1}Q${x1 + side} ${(y1 + y2) / 2} ${x2} ${y2}`;
    const bend = 0.5 * (y2 - y1);
    return `M${x1} ${y1}C${x1 - 0.2 * (x1 - x2)} ${y1 + bend} ${x2 + 0.2 * (x1 - x2)} ${y2 - bend} ${x2} ${y2}`;
  }

  drawInto(parent) {
    const { data, layout, palette, radius } = this;
    for (const y of layout.rows.values()) {
      shape("line", { x1: 0, x2: layout.width, y1: y, y2: y, stroke: palette.rule, "stroke-opacity": 0.45 }, parent);
    }
    for (const link of [...data.links].sort((a, b) => (a.kind === "residual" ? 1 : 0) - (b.kind === "residual" ? 1 : 0))) {
      const look = { fill: "none", stroke: palette[link.kind], "stroke-width": link.at.width.toFixed(2), "stroke-opacity": 0.62 };
      const made = shape("path", { d: this.path(link), ...look, class: "iv-link", "data-part": link.id, role: "option" }, parent);
      made.setAttribute("aria-label", data.describe(link));
    }
    for (const node of data.nodes) {
      const at = { cx: node.at.x + radius, cy: node.at.y };
      if (node.over && !this.stepsByMlp()) shape("circle", { ...at, r: radius + 2.2, fill: palette.paper, stroke: palette.mlp, "stroke-width": 1.8 }, parent);
      const made = shape("circle", { ...at, r: radius, fill: palette.ink, class: "iv-node", "data-part": node.id, role: "option" }, parent);
      made.setAttribute("aria-label", data.describe(node));
    }
    drawLabels(parent, palette, layout);
  }

  sizes() {
    const sizes = new Array(this.data.columns.length).fill(0);
    for (const { position } of this.data.nodes) sizes[position] += 1;
    return sizes;
  }

  sizeInWords(size) {
    return size === 1 ? "1 state" : `${size} states`;
  }

  paintStage() {
    const { layout, palette } = this;
    const svg = emptySvg(Math.ceil(layout.width), Math.ceil(layout.height), palette, 12);
    svg.setAttribute("role", "none");
    this.drawInto(svg);
    this.stage.replaceChildren(svg);
  }

  paintFoot() {
    const { foot, data } = this;
    foot.replaceChildren();
    element("span", "iv-note", foot, [data.note, data.sinks].filter(Boolean).join(" · "));
    hint(foot, "iv-chipcolour iv-residual", "the state below");
    hint(foot, "iv-chipcolour iv-attention", "attention");
    if (this.stepsByMlp()) hint(foot, "iv-chipcolour iv-mlp", "MLP");
    else if (data.nodes.some(({ over }) => over)) hint(foot, "iv-ring", "MLP above the threshold");
    if (this.standalone) drawExport(foot);
  }

  paintSelection() {
    const { over, selected, palette, radius } = this;
    over.replaceChildren();
    if (!selected?.at) return;
    if (selected.source) {
      const line = { d: this.path(selected), fill: "none" };
      for (const [more, stroke] of [[5, palette.ink], [2, palette.paper], [0, palette[selected.kind]]]) {
        shape("path", { ...line, stroke, "stroke-width": selected.at.width + more }, over);
      }
      return;
    }
    const at = { cx: selected.at.x + radius, cy: selected.at.y, fill: "none" };
    for (const [gap, stroke] of [[3, palette.paper], [5, palette.ink]]) shape("circle", { ...at, r: radius + gap, stroke, "stroke-width": 2 }, over);
  }

  toSvg() {
    return planeSvg(this, (parent) => this.drawInto(parent), `threshold ${share(this.data.threshold)} · sizes, not causes`);
  }
}

export default function ({ data, parentElement, setStateValue, standalone = false }) {
  const root = rootOf(parentElement, "iv-graph");
  const graph = (root.intravisto ??= new Graph(root));
  graph.send = (selection) => setStateValue("selection", selection);
  graph.standalone = standalone;
  graph.mount();
  if (graph.data?.key !== keyOf(data)) graph.load(new GraphData(data));
  return () => graph.unmount();
}
