/** Colour scales, even in lightness, with the text colour that is legible on each step. Same as figures/theme.py. */

const HUES = { residual: 255, attention: 155, mlp: 345, entropy: 70, observed: 290 };
const NEGATIVE_HUE = 50;
const POSITIVE_HUE = 255;
const TABLES = {
  viridis: [
    [68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142],
    [31, 158, 137], [53, 183, 121], [110, 206, 88], [181, 222, 43], [253, 231, 37],
  ],
  cividis: [
    [0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115],
    [138, 134, 120], [165, 156, 116], [195, 179, 105], [225, 204, 85], [254, 232, 56],
  ],
};
const STEPS = 256;
const LEAST_CONTRAST = 4.5;

function gamma(v) {
  const bounded = Math.min(1, Math.max(0, v));
  return Math.round(255 * (bounded <= 0.0031308 ? 12.92 * bounded : 1.055 * bounded ** (1 / 2.4) - 0.055));
}

/** OKLCH to sRGB, clipped to the gamut. */
export function oklch(lightness, chroma, hue) {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    gamma(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    gamma(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    gamma(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}

/** One hue from the page's background to full strength, t in [0, 1]. */
function ramp(t, hue, dark) {
  const bell = Math.sin(Math.PI * Math.min(1, t * 1.02));
  return dark
    ? oklch(0.245 + 0.53 * t, 0.018 + 0.06 * t + 0.085 * bell, hue)
    : oklch(0.985 - 0.53 * t, 0.004 + 0.125 * t + 0.05 * bell, hue);
}

function between(table, t) {
  const x = t * (table.length - 1);
  const k = Math.min(table.length - 2, Math.floor(x));
  return table[k].map((v, j) => Math.round(v + (table[k + 1][j] - v) * (x - k)));
}

/** Relative luminance (WCAG). */
export function luminance(rgb) {
  const [r, g, b] = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** White where it is legible, else a near-black, else black: one of them always is. */
function inkOn(rgb) {
  const level = luminance(rgb) + 0.05;
  if (1.05 / level >= LEAST_CONTRAST) return "#ffffff";
  return level / (luminance([10, 15, 24]) + 0.05) >= LEAST_CONTRAST ? "#0a0f18" : "#000000";
}

/** 256 steps of `{ fill, ink }`; a diverging scale has its zero in the middle. */
export function colourScale(name, dark) {
  return Array.from({ length: STEPS }, (_, i) => {
    const t = i / (STEPS - 1);
    let rgb;
    if (TABLES[name]) rgb = between(TABLES[name], t);
    else if (name === "diverging") rgb = ramp(Math.abs(2 * t - 1), t < 0.5 ? NEGATIVE_HUE : POSITIVE_HUE, dark);
    else rgb = ramp(t, HUES[name] ?? HUES.residual, dark);
    return { fill: `rgb(${rgb.join(", ")})`, ink: inkOn(rgb) };
  });
}
