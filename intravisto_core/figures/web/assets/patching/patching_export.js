/** The blocks of a grid as one SVG file: what is on the page, with the scale under it. */
import { shape } from "../shared/image.js";
import { drawLabels, drawPlane, layOut } from "./patching_blocks.js";

const LABEL = 34;
const GAP = 20;
const HEAD = 44;
const FOOT = 34;

export function toSvg(picture) {
  const { data, colours, scale } = picture;
  const { row, sizes } = layOut(picture);
  const { family } = picture.withFamily();
  const planes = data.blocks.map((block) => ({ block, plane: drawPlane(picture, block, row, sizes.get(block.key)) }));
  const sideOf = (plane, side) => Number(plane.getAttribute(side));
  const width = Math.max(520, planes.reduce((sum, { plane }) => sum + LABEL + sideOf(plane, "width") + GAP, GAP));
  const tall = Math.max(...planes.map(({ plane }) => sideOf(plane, "height")));
  const height = HEAD + tall + FOOT;
  const svg = shape("svg", { xmlns: "http://www.w3.org/2000/svg", width, height, viewBox: `0 0 ${width} ${height}`, "font-size": 12, "font-family": family });
  shape("rect", { width, height, fill: colours.paper }, svg);
  shape("text", { x: 10, y: 18, "font-weight": 650, "font-size": 13.5, fill: colours.ink }, svg, data.title);
  let x = 6;
  for (const { block, plane } of planes) {
    const labels = shape("g", { transform: `translate(${x} ${HEAD})` }, svg);
    drawLabels(picture, labels, block, row, LABEL - 6);
    const own = shape("g", { transform: `translate(${x + LABEL} ${HEAD})` }, svg);
    shape("text", { x: 2, y: -7, "font-weight": 650, fill: colours.ink }, own, block.name);
    own.append(...plane.childNodes);
    x += LABEL + sideOf(plane, "width") + GAP;
  }
  for (const box of svg.querySelectorAll(".iv-differ")) {
    for (const [name, value] of Object.entries({ fill: colours.accent, "fill-opacity": 0.13, stroke: colours.accent })) box.setAttribute(name, value);
  }
  const y = HEAD + tall + 20;
  for (let k = 0; k < 40; k++) shape("rect", { x: 10 + 3 * k, y: y - 9, width: 3.2, height: 9, fill: scale[Math.round((255 * k) / 39)].fill }, svg);
  shape("text", { x: 138, y, "font-size": 11, fill: colours.muted }, svg, [data.scaleText, data.floorText && `hatched: ${data.floorText}`].filter(Boolean).join(" · "));
  return new XMLSerializer().serializeToString(svg);
}
