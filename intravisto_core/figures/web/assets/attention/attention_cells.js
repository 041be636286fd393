/** One head in a box of the map: its targets as a bar, its pattern, or its weight on a link. */
import { ORDER, stepOf } from "./attention_colours.js";
import { weightsOfQuery } from "./attention_query.js";

const BARS = 13; // px of width from which a head has bars, else one colour

export class HeadCells {
  constructor(state, scores) {
    Object.assign(this, { state, scores });
  }

  /** A function that draws one head into a box, as the mode and the filter say. */
  filler(context, scheme) {
    const { state, scores } = this;
    this.scheme = scheme;
    const link = state.map === "link" ? weightsOfQuery(state, state.query) : null;
    const patterns = state.map === "patterns" ? this.patternPictures() : null;
    const key = state.linkedKey();
    const draw = (head, x, y, w, h) => {
      if (state.map === "targets") return this.fillTargets(context, head, x, y, w, h);
      if (patterns) {
        context.imageSmoothingEnabled = false;
        const side = Math.min(w, h);
        return context.drawImage(patterns, 0, head * patterns.side, patterns.side, patterns.side, x, y, side, side);
      }
      const weight = link ? link.at(head, key) : 0;
      const shade = Math.sign(weight) * Math.sqrt(Math.min(1, Math.abs(weight)));
      context.fillStyle = stepOf(scheme, shade, "attention", state.isSigned()).fill;
      return context.fillRect(x, y, w, h);
    };
    return (head, ...box) => {
      context.globalAlpha = scores.passes(head) ? 1 : 0.14;
      draw(head, ...box);
      context.globalAlpha = 1;
    };
  }

  fillTargets(context, head, x, y, w, h) {
    const { state, scheme } = this;
    const { classes, data, against } = state.base;
    const n = classes.length;
    const share = (kind) => data.targets[head * n + classes.findIndex(({ id }) => id === kind)];
    if (against) {
      // how much of its attention went elsewhere, by kinds: half of the sum of changes
      let moved = 0;
      for (let k = 0; k < n; k += 1) moved += Math.abs(data.targets[head * n + k] - data.targetsBefore[head * n + k]) / 2;
      context.fillStyle = scheme.observedScale[Math.round(255 * Math.sqrt(Math.min(1, moved)))].fill;
      return context.fillRect(x, y, w, h);
    }
    if (w < BARS) {
      // too narrow for bars: the largest kind beside sinks, paler the less of it there is
      const best = ORDER.slice(0, -1).reduce((a, b) => (share(b) > share(a) ? b : a));
      context.fillStyle = scheme.kinds.sink;
      context.fillRect(x, y, w, h);
      const before = context.globalAlpha;
      context.globalAlpha = before * Math.min(1, 0.15 + 1.1 * share(best));
      context.fillStyle = scheme.kinds[best];
      context.fillRect(x, y, w, h);
      context.globalAlpha = before;
      return null;
    }
    let from = x;
    for (const kind of ORDER) {
      const part = w * share(kind);
      context.fillStyle = scheme.kinds[kind];
      context.fillRect(from, y, part, h);
      from += part;
    }
    return null;
  }

  /** All patterns below each other as one image; null while they are on their way. */
  patternPictures() {
    const { state, scheme } = this;
    const packet = state.packet(`patterns ${state.sinks}`);
    if (!packet || packet.error) return null;
    if (this.pictures?.packet === packet && this.pictures.scheme === scheme) return this.pictures;
    const { side, data } = packet;
    const n = state.base.layers * state.base.heads;
    const image = new ImageData(side, side * n);
    const pixels = new Uint32Array(image.data.buffer);
    const steps = Uint32Array.from({ length: 256 }, (_, code) => scheme.attentionScale[code ? Math.round(255 * Math.sqrt(10 ** ((4 * (code - 1)) / 254 - 4))) : 0].pixel);
    for (let at = 0; at < pixels.length; at += 1) pixels[at] = steps[data.pictures[at]];
    this.pictures = new OffscreenCanvas(side, side * n);
    this.pictures.getContext("2d").putImageData(image, 0, 0);
    Object.assign(this.pictures, { packet, scheme, side });
    return this.pictures;
  }
}
