/** The picture as a file: a copy of what is drawn, with the colours and fonts that the page gives it. */
import { resolved } from "../shared/base.js";
import { paint, saveSvg, shape, withName } from "../shared/image.js";

const KEPT = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-size", "font-weight", "text-anchor"];
const MARGIN = 14;

export async function savePicture(picture, format) {
  const name = `architecture-${picture.data.name.replace(/[^\w.-]+/g, "-") || "module"}`;
  await saveSvg(pictureText(picture), format, name);
}

/** All of the picture as the text of an SVG file. */
function pictureText({ view, box, root, data }) {
  const [width, height] = [Math.ceil(box.w + 2 * MARGIN), Math.ceil(box.h + 8 + 2 * MARGIN)];
  const svg = shape("svg", { xmlns: "http://www.w3.org/2000/svg", width, height, viewBox: `0 0 ${width} ${height}` });
  svg.setAttribute("font-family", resolved(root, "font-family").replaceAll('"', "'"));
  shape("rect", { width, height, fill: paint(root, "paper") }, svg);
  const copy = view.world.cloneNode(true);
  const [from, to] = [view.world.querySelectorAll("*"), copy.querySelectorAll("*")];
  from.forEach((each, i) => {
    const style = getComputedStyle(each);
    for (const name of KEPT) to[i].setAttribute(name, style.getPropertyValue(name));
    to[i].removeAttribute("class");
  });
  copy.setAttribute("transform", `translate(${MARGIN} ${MARGIN})`);
  svg.append(copy);
  return withName(new XMLSerializer().serializeToString(svg), data.name, root);
}
