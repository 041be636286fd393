/** The stream through a layer: cards at its states, a ribbon at true scale, and where the two lanes join it. */
import { element, writeToken } from "../shared/base.js";
import { significant } from "../shared/numbers.js";
import { badge, ribbon, shape } from "./layer_parts.js";

export const RAIL = 92;
const WIDEST = 30;

/** Places along the stream. narrow: both lanes join it at the right, one below the other. */
export function streamPlaces(width, narrow) {
  const end = width - 14;
  return { start: 12, middle: narrow ? width - 96 : Math.round(width * 0.48), end, out: end - 12 };
}

export function drawStream(picture, svg, places) {
  const { data } = picture;
  const top = Math.max(...data.states.map((s) => s.size), ...data.lanes.map((l) => l.sum.size)) || 1;
  const thick = (size) => Math.max(1.5, (WIDEST * size) / top);
  const xs = data.parallel ? [places.start, places.end] : [places.start, places.middle, places.end];
  data.states.slice(1).forEach((after, i) => {
    const from = { x: xs[i], y: RAIL, height: thick(data.states[i].size) };
    const to = { x: xs[i + 1], y: RAIL, height: thick(after.size) };
    ribbon(svg, from, to, "var(--iv-residual)", "iv-stream");
  });
  drawCards(picture);
  return thick;
}

function drawCards(picture) {
  const { data } = picture;
  const line = element("div", "iv-states", picture.field);
  const cards = [...data.states];
  if (data.parallel) cards.splice(1, 0, null);
  for (const state of cards) {
    const card = element("div", "iv-state", line);
    if (!state) {
      element("span", "iv-quiet", card, "parallel block: attention and MLP read the same stream, no state between");
      continue;
    }
    const head = element("div", "iv-state-name", card);
    element("b", "", head, state.name);
    const told = element("span", "iv-quiet", head, `size ${significant(state.size)} · entropy ${significant(state.entropy)}`);
    told.title = "Size: length of the vector. Entropy of what it would say, in nats.";
    const tokens = element("div", "iv-state-tokens", card);
    for (const [text, chance] of state.tokens) {
      const pair = element("span", "iv-pair", tokens);
      writeToken(element("span", text === data.target ? "iv-token iv-target" : "iv-token", pair), text);
      element("small", "", pair, chance);
    }
    const own = element("div", "iv-state-rank", card);
    badge(own, state.rank, data.vocabulary, picture.scale);
    writeToken(element("span", "iv-quiet", own), data.target);
    element("span", "iv-quiet", own, state.chance);
  }
}

/** A circle with a plus on the stream. */
export function drawPlus(svg, x, lane) {
  const mark = shape("g", { class: `iv-plus iv-of-${lane}` }, svg);
  shape("circle", { cx: x, cy: RAIL, r: 9 }, mark);
  shape("path", { d: `M${x - 4.5} ${RAIL}h9M${x} ${RAIL - 4.5}v9` }, mark);
}

/** What reads the stream: a line down with the norm on it. */
export function drawTap(svg, x, bottom) {
  const tap = shape("g", { class: "iv-tap" }, svg);
  shape("path", { d: `M${x} ${RAIL}V${bottom}` }, tap);
  shape("rect", { x: x - 17, y: RAIL + 20, width: 34, height: 15, rx: 7 }, tap);
  shape("text", { x, y: RAIL + 31, "text-anchor": "middle" }, tap).textContent = "norm";
}
