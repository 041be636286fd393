/** Counts, times, shapes as short texts. */
import { significant } from "../shared/numbers.js";

/** 135 M, 12.3 k, 940. */
export function count(n) {
  for (const [size, letter] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e4, "k"]]) {
    if (n >= size) return `${(n / (letter === "k" ? 1e3 : size)).toPrecision(3)} ${letter}`;
  }
  return significantCount(n);
}

function significantCount(n) {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** Bytes in the largest unit that keeps the number above 1. */
export function bytes(n) {
  for (const [size, unit] of [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) {
    if (n >= size) return `${significant(n / size)} ${unit}`;
  }
  return `${n} bytes`;
}

/** Microseconds as ms, or s. */
export function time(us) {
  if (us == null) return "";
  return us >= 1e6 ? `${significant(us / 1e6)} s` : `${significant(us / 1e3)} ms`;
}

/** A shape as one line of text: "1 × 9 × 576", "tuple(0: 1 × 9 × 576)". */
export function shapeText(shape) {
  if (shape == null) return "nothing";
  if (typeof shape === "string") return shape;
  if (Array.isArray(shape)) return shape[1].join(" × ") || "one number";
  return `${shape.kind}(${shape.items.map(([name, item]) => `${name}: ${shapeText(item)}`).join(", ")})`;
}
