/** Numbers as people read them: the same rules as figures/numbers.py, which a test holds together. */

/** The space before the sign does not break, so that number and sign stay on one line. */
export const PER_CENT = "\u00a0%";

/** Three significant digits, thousands grouped, a true minus sign. */
export function significant(value) {
  if (value == null || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  let text;
  if (size < 1e-4) text = size.toExponential(2).replace("e-", "e−");
  else if (size < 999.5) text = size.toPrecision(3);
  else text = String(Math.round(size)).replace(/\B(?=(\d{3})+$)/g, ",");
  return (value < 0 ? "−" : "") + text;
}

/** A probability: 58.8 %, >99.9 %, <0.001 %. */
export function probability(p) {
  if (p == null || Number.isNaN(p)) return "–";
  if (p > 0.9995) return `>99.9${PER_CENT}`;
  if (p < 1e-5) return `<0.001${PER_CENT}`;
  const text = significant(100 * p);
  return `${text === "100" ? "99.9" : text}${PER_CENT}`;
}

/** A probability in a cell, in whole per cent. */
export function wholePercent(p) {
  if (p == null || Number.isNaN(p)) return "–";
  if (p >= 0.995) return `>99${PER_CENT}`;
  return p < 0.01 ? `<1${PER_CENT}` : `${Math.round(100 * p)}${PER_CENT}`;
}

/** A share, which may be negative, nothing, or all. */
export function share(s) {
  return s == null || Number.isNaN(s) ? "–" : `${significant(100 * s)}${PER_CENT}`;
}

/** A share in a cell, in whole per cent. */
export function wholeShare(s) {
  if (s == null || Number.isNaN(s)) return "–";
  const whole = Math.round(100 * Math.abs(s));
  return `${s < 0 && whole > 0 ? "−" : ""}${whole}${PER_CENT}`;
}

/** An entropy or a divergence. */
export function nats(value) {
  return value == null || Number.isNaN(value) ? "–" : `${significant(value)} nats`;
}

/** A change, with its sign. */
export function change(value) {
  return (value > 0 ? "+" : "") + significant(value);
}

/** A place in an order, from 1 on. */
export function rank(value) {
  return value == null || Number.isNaN(value) ? "–" : String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** Whether a cell is right: 1 is, 0 is not. */
export function verdict(value) {
  if (value == null || Number.isNaN(value)) return "–";
  return value > 0.5 ? "✓ right" : "✕ wrong";
}

/** A number in a cell, where there is room for little: what is nearly nothing is only called small. */
export function brief(value) {
  const small = value != null && value !== 0 && Math.abs(value) < 0.01;
  return small ? (value < 0 ? ">−0.01" : "<0.01") : significant(value);
}

/** An entropy, a divergence or a log-probability in a cell. */
export function briefNats(value) {
  return value == null || Number.isNaN(value) ? "–" : `${brief(value)} nats`;
}
