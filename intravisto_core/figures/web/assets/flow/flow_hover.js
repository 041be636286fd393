/** What is shown beside the pointer over a node or a link: its mass, share and KL, and the tokens it reads as. */
import { element, writeToken } from "../shared/base.js";
import { LINKS } from "./flow_data.js";
import { Hover, addEntry, probabilityText } from "../shared/hover.js";
import { change, nats, share, significant } from "../shared/numbers.js";

const FORMATS = { probability: probabilityText, change, coefficient: significant };

function where(parent, data, node) {
  const head = element("div", "iv-where", parent);
  element("b", "", head, data.rowName(node.row));
  if (node.position >= 0) {
    head.append(` · position ${node.position} reads `);
    writeToken(element("b", "", head), data.reads[node.position] ?? "");
  }
  head.append(` · ${data.kindName(node)}`);
}

function list(parent, title, reading) {
  if (!reading?.entries.length) return;
  element("div", "iv-caption", parent, title);
  const most = reading.unit === "probability" ? 1 : Math.abs(reading.entries[0].number) || 1;
  for (const { text, number } of reading.entries) {
    addEntry(parent, text, FORMATS[reading.unit](number), Math.abs(number) / most, number < 0 ? "iv-down" : "");
  }
}

const TITLES = {
  probability: "reads as",
  change: "raises most (change of logit)",
  coefficient: "reads as, one token taken away after the other",
};

export class FlowHover extends Hover {
  showPart(data, part, event) {
    this.reveal(part, event, () => (part.source ? this.fillLink(data, part) : this.fillNode(data, part)));
  }

  fillNode(data, node) {
    const { box } = this;
    where(box, data, node);
    element("div", "iv-side", box, `${share(node.mass)} of the mass`);
    const reading = data.reading(data.node.reading[node.index]);
    if (reading) list(box, TITLES[reading.unit], reading);
    if (node.kind === "block") list(box, "changed since the row below (logit)", data.difference(node));
  }

  fillLink(data, link) {
    const { box } = this;
    const head = element("div", "iv-where", box);
    element("b", "", head, LINKS[link.kind]);
    head.append(" link");
    where(box, data, link.source);
    element("div", "iv-arrow", box, "↑ goes into");
    where(box, data, link.target);
    element("div", "iv-side", box, `${share(link.mass)} of the mass`);
    element("div", "iv-side", box, `${share(link.share)} of what the upper end got`);
    if (link.kl != null) element("div", "iv-side", box, `KL of upper from lower end ${nats(link.kl)}`);
    list(box, "changed from lower to upper end (logit)", data.difference(link));
  }
}
