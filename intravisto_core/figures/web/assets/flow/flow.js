/**
 * Where a prediction comes from: nodes on a grid (token across, row up), ribbons and strokes of the mass's width.
 * Data: what flow_payload.py packs; the selection comes over the bus.
 */
import { rootOf, weigh } from "../shared/base.js";
import { FlowData, keyOf } from "./flow_data.js";
import { drawFlow, drawLegend, emptySvg, flowSvg, paletteOf } from "./flow_draw.js";
import { FlowHover } from "./flow_hover.js";
import { FlowLayout, isStroke } from "./flow_layout.js";
import { shape } from "../shared/image.js";
import { share } from "../shared/numbers.js";
import { TokenRowPlot } from "../shared/token_row_plot.js";

export class Flow extends TokenRowPlot {
  constructor(root) {
    super(root);
    this.hover = new FlowHover(root);
  }

  arrange(room) {
    this.palette = paletteOf(this.frame, this.data.textSize);
    this.layout = new FlowLayout(this.data, room);
  }

  paintStage() {
    const { layout, palette, data } = this;
    const svg = emptySvg(Math.ceil(layout.width), Math.ceil(layout.height), palette, data.textSize);
    svg.setAttribute("role", "none");
    drawFlow(svg, layout, palette);
    this.stage.replaceChildren(svg);
  }

  paintFoot() {
    drawLegend(this.foot, this.layout, this.standalone);
  }

  sizes() {
    return this.data.sources;
  }

  sizeInWords(size) {
    return `${share(size)} of the mass ends there`;
  }

  /** The token strip shows the mass of each token. */
  load(data) {
    super.load(data);
    weigh({ rev: data.rev, masses: data.sources });
  }

  unmount() {
    super.unmount();
    weigh(null);
  }

  /** Ink, paper, ink around what is selected. */
  paintSelection() {
    const { over, selected, palette } = this;
    over.replaceChildren();
    if (!selected?.at) return;
    if (selected.source) {
      const width = isStroke(selected) ? Math.max(1, selected.at.width) : 0;
      const line = { d: selected.at.path, fill: "none" };
      shape("path", { ...line, stroke: palette.ink, "stroke-width": width + 5, "stroke-opacity": 0.9 }, over);
      shape("path", { ...line, stroke: palette.paper, "stroke-width": width + 2 }, over);
      const look = isStroke(selected) ? { stroke: palette.attention, "stroke-width": width } : { fill: palette[selected.kind] ?? palette.muted };
      shape("path", { ...line, ...look }, over);
      return;
    }
    const { x, y, width, thick } = selected.at;
    for (const [gap, stroke] of [[4, palette.ink], [2.5, palette.paper], [6, palette.paper]]) {
      const box = { x: x - gap, y: y - thick / 2 - gap, width: width + 2 * gap, height: thick + 2 * gap, rx: 3 };
      shape("rect", { ...box, fill: "none", stroke, "stroke-width": gap === 4 ? 2 : 1.2 }, over);
    }
  }

  toSvg() {
    return flowSvg(this);
  }
}

export default function ({ data, parentElement, setStateValue, standalone = false }) {
  const root = rootOf(parentElement, "iv-flow");
  const flow = (root.intravisto ??= new Flow(root));
  flow.send = (selection) => setStateValue("selection", selection);
  flow.standalone = standalone;
  flow.mount();
  if (flow.data?.key !== keyOf(data)) flow.load(new FlowData(data));
  else weigh({ rev: flow.data.rev, masses: flow.data.sources });
  return () => flow.unmount();
}
