/** Colours of the attention page: the two readings, a difference, and one colour a kind of target. */
import { channels, resolved } from "../shared/base.js";
import { colourScale, luminance, oklch } from "../shared/colour.js";

/** Greys say little, hues say what the head does: [lightness, chroma, hue] of each kind, light and dark. */
const TARGETS = {
  sink: [[0.925, 0.006, 260], [0.31, 0.012, 260]],
  itself: [[0.73, 0.012, 260], [0.5, 0.012, 260]],
  previous: [[0.62, 0.13, 235], [0.7, 0.12, 230]],
  after_same: [[0.6, 0.2, 36], [0.66, 0.19, 38]],
  same: [[0.8, 0.15, 88], [0.83, 0.15, 90]],
  last_8: [[0.87, 0.07, 155], [0.45, 0.07, 155]],
  farther: [[0.66, 0.13, 155], [0.66, 0.14, 155]],
};
/** What tells most stands first, on one baseline. */
export const ORDER = ["after_same", "same", "previous", "last_8", "farther", "itself", "sink"];

const known = new Map();

/** The scales of a theme, each 256 steps of { fill, ink, pixel }, and the colours of the page. */
export function colours(root) {
  const names = ["paper", "ink", "muted", "rule", "accent", "attention", "observed", "soft"];
  const page = Object.fromEntries(names.map((name) => [name, resolvedColour(root, name)]));
  const key = Object.values(page).join();
  if (known.has(key)) return known.get(key);
  const dark = luminance(channels(page.paper)) < 0.18;
  const made = { ...page, dark, kinds: {} };
  for (const name of ["attention", "observed", "diverging"]) made[`${name}Scale`] = withPixels(colourScale(name, dark));
  for (const [kind, pair] of Object.entries(TARGETS)) made.kinds[kind] = `rgb(${oklch(...pair[dark ? 1 : 0]).join(", ")})`;
  known.set(key, made);
  return made;
}

function resolvedColour(root, name) {
  root.style.setProperty("--iv-probe", `var(--iv-${name})`);
  const [r, g, b] = channels(resolved(root.querySelector(".iv-probe"), "color")).map(Math.round);
  return `rgb(${r}, ${g}, ${b})`;
}

/** Each step with its colour as a pixel of an image (little-endian RGBA). */
function withPixels(scale) {
  return scale.map(({ fill, ink }) => {
    const [r, g, b] = channels(fill).map(Math.round);
    return { fill, ink, pixel: ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0 };
  });
}

/** The step of a scale for a shade from 0 to 1; below 0 on the scale of differences. */
export function stepOf(scheme, shade, side, signed, most = 255) {
  if (!signed) return scheme[`${side}Scale`][Math.round(most * Math.min(1, shade))];
  return scheme.divergingScale[Math.round(127.5 * (1 + Math.max(-1, Math.min(1, shade))))];
}
