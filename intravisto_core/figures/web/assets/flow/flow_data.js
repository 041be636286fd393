/** What figures/web/flow_payload.py packed: nodes, links and readings of a flow, and words for them. */
import { share } from "../shared/numbers.js";

const KINDS = {
  block: "block output",
  mid: "after attention",
  mlp: "MLP",
  attention: "attention",
  sink: "learned sink",
  bias: "bias",
  hidden: "attention sinks, set aside",
  undefined: "undefined",
  intervention: "put in by an edit",
};
export const LINKS = {
  residual: "residual",
  attention: "attention",
  mlp: "MLP",
  norm: "final norm",
  sink: "learned sink",
  bias: "bias",
  hidden: "attention sinks, set aside",
  undefined: "undefined",
  intervention: "put in by an edit",
};

const KEY = 64; // bytes in which a payload's key stands

function textOf(bytes, most) {
  const given = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes.buffer ?? bytes);
  return new TextDecoder().decode(given.subarray(0, most));
}

/** The key of a payload's content, without reading all of it: most often it is the one that is drawn. */
export function keyOf(bytes) {
  return /"key": "(\w+)"/.exec(textOf(bytes, KEY))?.[1];
}

/** All that a payload says. */
export function readPayload(bytes) {
  return JSON.parse(textOf(bytes));
}

export class FlowData {
  constructor(bytes) {
    Object.assign(this, readPayload(bytes));
    this.nodes = this.node.kind.map((kind, i) => ({
      index: i,
      kind,
      row: this.node.row[i],
      position: this.node.position[i],
      mass: this.node.mass[i],
      id: this.node.position[i] < 0 ? `${kind}.${this.node.row[i]}` : `${kind}.${this.node.row[i]}.${this.node.position[i]}`,
      below: [],
      above: [],
    }));
    this.links = this.link.kind.map((kind, i) => {
      const link = {
        index: i,
        kind: this.nodes[this.link.source[i]].position < 0 ? this.nodes[this.link.source[i]].kind : kind,
        source: this.nodes[this.link.source[i]],
        target: this.nodes[this.link.target[i]],
        share: this.link.share[i],
        mass: this.link.mass[i],
        kl: this.link.kl[i],
      };
      link.id = `${link.source.id}>${link.target.id}`;
      link.source.above.push(link);
      link.target.below.push(link);
      return link;
    });
    this.parts = new Map([...this.nodes, ...this.links].map((part) => [part.id, part]));
    this.starting = new Set(this.starts);
  }

  /** The tokens of a reading: { unit, entries: [{ text, number }] }, or null. */
  reading(index) {
    if (index < 0) return null;
    const [unit, ids, numbers] = this.readings[index];
    return { unit, entries: ids.map((id, k) => ({ text: this.vocabulary[id], number: numbers[k] })) };
  }

  /** The token that a node shows; "" where it shows none. */
  top(node) {
    return this.reading(this.node.reading[node.index])?.entries[0]?.text ?? "";
  }

  difference(part) {
    return this.reading((part.source ? this.link : this.node).difference[part.index]);
  }

  rowName(row) {
    return this.names[row] ?? `layer ${row - 1}`;
  }

  place({ row, position }) {
    return position < 0 ? this.rowName(row) : `${this.rowName(row)}, position ${position}`;
  }

  kindName({ kind }) {
    return KINDS[kind] ?? kind;
  }

  /** One line for readers who do not see the picture. */
  describe(part) {
    if (part.source) {
      const [low, high] = [part.source, part.target].map((node) => `${this.kindName(node)} at ${this.place(node)}`);
      return `${LINKS[part.kind]} link from ${low} to ${high}: ${share(part.mass)} of the mass`;
    }
    const token = this.top(part);
    return `${this.kindName(part)} at ${this.place(part)}: ${token ? `${token}, ` : ""}${share(part.mass)} of the mass`;
  }
}
