/** Pictures as files: pieces of SVG with plain colours, PNG from it, and the way to the user's disk. */
import { channels, element, resolved } from "./base.js";

const SVG = "http://www.w3.org/2000/svg";
const MOST_PIXELS = 16000;

export function shape(name, attributes, parent, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text != null) made.textContent = text;
  parent?.append(made);
  return made;
}

/** Shortens texts to a width, remembering what it found. */
export function shortener(font) {
  const context = document.createElement("canvas").getContext("2d");
  context.font = font;
  const known = new Map();
  return (text, room) => {
    const key = `${room} ${text}`;
    if (known.has(key)) return known.get(key);
    let characters = [...text];
    while (characters.length > 1 && context.measureText(characters.join("")).width > room) {
      characters = [...characters.slice(0, characters.at(-1) === "…" ? -2 : -1), "…"];
    }
    known.set(key, characters.join(""));
    return known.get(key);
  };
}

/** Measures texts in a font of the page, which a file may be read without. */
export function measurer(family) {
  const context = document.createElement("canvas").getContext("2d");
  const known = new Map();
  return (text, size = 13, weight = 400) => {
    const key = `${size} ${weight} ${text}`;
    context.font = `${weight} ${size}px ${family}`;
    if (!known.has(key)) known.set(key, context.measureText(text).width);
    return known.get(key);
  };
}

/** Attributes that give a text this width in whatever font it is drawn. */
export function fixedWidth(width) {
  return width > 0 ? { textLength: width.toFixed(1), lengthAdjust: "spacingAndGlyphs" } : {};
}

/** A colour of the theme as plain rgb(), which every reader of SVG knows. */
export function paint(frame, name) {
  const probe = element("span", "", frame);
  probe.style.color = `var(--iv-${name})`;
  const rgb = channels(resolved(probe, "color")).map(Math.round);
  probe.remove();
  return `rgb(${rgb.join(", ")})`;
}

/** The text of an SVG file as a PNG, `scale` times its size where the browser can hold that. */
async function asPng(svg, scale = 2) {
  const image = new Image();
  const address = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  try {
    image.src = address;
    await image.decode();
  } finally {
    URL.revokeObjectURL(address);
  }
  const factor = Math.min(scale, MOST_PIXELS / Math.max(image.width, image.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.floor(image.width * factor);
  canvas.height = Math.floor(image.height * factor);
  const context = canvas.getContext("2d");
  context.scale(factor, factor);
  context.drawImage(image, 0, 0);
  return new Promise((done) => canvas.toBlob(done));
}

const NAME_LINE = 20;

/** The text of an SVG file with the name of the model in a line of its own at the bottom. */
export function withName(svg, name, frame) {
  if (!name) return svg;
  const root = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
  const [width, height] = ["width", "height"].map((side) => Number(root.getAttribute(side)));
  shape("rect", { y: height, width, height: NAME_LINE, fill: paint(frame, "paper") }, root);
  shape("text", { x: 10, y: height + 13, "font-size": 11, fill: paint(frame, "muted") }, root, name);
  root.setAttribute("height", height + NAME_LINE);
  root.setAttribute("viewBox", `0 0 ${width} ${height + NAME_LINE}`);
  return new XMLSerializer().serializeToString(root);
}

/** Offer the text of an SVG file to the user, as "svg" or "png". name: of the file, without its ending. */
export async function saveSvg(svg, format, name) {
  const blob = format === "png" ? await asPng(svg) : new Blob([svg], { type: "image/svg+xml" });
  download(blob, `${name}.${format}`);
}

function download(blob, name) {
  const link = element("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
