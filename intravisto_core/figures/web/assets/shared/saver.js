/** Two buttons of the export menu: the picture of the page is drawn anew as a file by the script that drew it. */
import { askToSave, element, rootOf } from "./base.js";

const KINDS = {
  png: "The whole picture as pixels, twice its size on screen",
  svg: "The whole picture as shapes, to edit and print",
};

export default function ({ parentElement }) {
  const root = rootOf(parentElement, "iv-saver");
  root.replaceChildren();
  for (const [format, title] of Object.entries(KINDS)) {
    const button = element("button", "", root, format.toUpperCase());
    button.type = "button";
    button.title = title;
    button.dataset.format = format;
    button.addEventListener("click", () => askToSave(format));
  }
}
