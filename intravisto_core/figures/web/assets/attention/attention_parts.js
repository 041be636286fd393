/** Small pieces that the parts of the attention page share. */
import { element } from "../shared/base.js";
import { PER_CENT } from "../shared/numbers.js";

/** A row of buttons of which one is on; `show` says which. */
export function segments(parent, label, pairs, choose) {
  const root = element("span", "iv-segments", parent);
  root.setAttribute("role", "group");
  root.ariaLabel = label;
  for (const [value, text, title = ""] of pairs) {
    const button = element("button", "", root, text);
    button.type = "button";
    button.dataset.value = value;
    button.title = title;
    button.addEventListener("click", () => choose(value));
  }
  const show = (value) => {
    for (const button of root.children) {
      const on = button.dataset.value === String(value);
      button.classList.toggle("iv-on", on);
      button.setAttribute("aria-pressed", String(on));
    }
  };
  return { root, show };
}

/** A share as it is said beside a control: three digits are too many for what follows the pointer. */
export function about(value) {
  if (value == null || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  const sign = value < 0 ? "−" : "";
  if (size >= 0.9995) return size > 1.0005 ? `${sign}${Math.round(100 * size)}${PER_CENT}` : `${sign}${size === 1 ? "100" : ">99.9"}${PER_CENT}`;
  if (size === 0) return `0${PER_CENT}`;
  if (size < 0.0005) return value < 0 ? `>−0.1${PER_CENT}` : `<0.1${PER_CENT}`;
  const fine = 100 * size < 9.95 || 100 * size >= 99.5;
  return `${sign}${fine ? (100 * size).toFixed(1) : Math.round(100 * size)}${PER_CENT}`;
}

/** A share, or where two runs are compared its change in points of per cent. */
export const shareText = (value, signed) => (signed && value > 0 ? `+${about(value)}` : about(value));

/** A canvas of that size in CSS pixels, cleared; its context draws in CSS pixels. */
export function sized(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, tall] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== wide || canvas.height !== tall) {
    Object.assign(canvas, { width: wide, height: tall });
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  }
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, wide, tall);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

export const clip = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
