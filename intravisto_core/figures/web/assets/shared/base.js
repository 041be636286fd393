/** What every picture shares: the selection bus, small DOM helpers, token text as literal text. */
import { keepPresses } from "./presses.js";

/**
 * Grid, strip and panel of one page hear each other here at once, without the server. `selection` is the latest
 * one; `n` numbers the user's acts, so that a late answer of the server never overrides a newer click.
 */
export const bus = (window.__intravisto ??= Object.assign(new EventTarget(), { selection: null, n: 0 }));
if (!bus.presses) {
  bus.presses = true;
  keepPresses();
}

/** Tell everyone of a choice that the user made here; returns it with its number. */
export function announce(selection, from) {
  bus.n += 1;
  bus.selection = { ...selection, n: bus.n };
  bus.dispatchEvent(new CustomEvent("select", { detail: { ...bus.selection, from } }));
  return bus.selection;
}

/** Take over what the server says is selected, unless the user has moved on since. */
export function heed(selection, force = false) {
  if (!selection || (!force && (selection.n ?? 0) < bus.n)) return;
  bus.n = Math.max(bus.n, selection.n ?? 0);
  bus.selection = selection;
  bus.dispatchEvent(new CustomEvent("select", { detail: { ...selection, from: "server" } }));
}

/** Tell the token strip how much each position of a trace has: { rev, masses }, or null for nothing. */
export function weigh(weights) {
  bus.weights = weights;
  bus.dispatchEvent(new CustomEvent("weigh", { detail: weights }));
}

/** Have the large picture of this page saved; format "png" or "svg". */
export function askToSave(format) {
  bus.dispatchEvent(new CustomEvent("save", { detail: { format } }));
}

export function element(tag, className, parent, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text != null) made.textContent = text;
  parent?.append(made);
  return made;
}

/** The component's own root in what Streamlit, or a plain page, hands over. */
export function rootOf(parentElement, className) {
  return parentElement.querySelector(`.${className}`) ?? element("div", className, parentElement);
}

/** Characters that XML cannot hold, and lone surrogates, as visible stand-ins. */
export function printable(text) {
  return String(text)
    .toWellFormed()
    .replace(/[\u0000-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(/[\u007f-\u009f\ufffe\uffff]/g, (c) => (c === "\u007f" ? "\u2421" : "\ufffd"));
}

/** A token as text, never as markup; its leading spaces are dimmed. */
export function writeToken(target, text) {
  const [, spaces, rest] = /^(␣*)([^]*)$/.exec(text);
  target.replaceChildren();
  if (spaces) element("span", "iv-space", target, spaces);
  target.append(rest);
  return target;
}

/** The value of a style property as the browser resolved it. */
export function resolved(target, property) {
  return getComputedStyle(target).getPropertyValue(property).trim();
}

/** [r, g, b] of a resolved colour, which browsers give as rgb(), or as color(srgb …) where it was mixed. */
export function channels(colour) {
  const numbers = (colour.match(/[\d.]+(e-?\d+)?/g) ?? [255, 255, 255]).map(Number);
  return colour.startsWith("color(") ? numbers.slice(0, 3).map((v) => 255 * v) : numbers.slice(0, 3);
}
