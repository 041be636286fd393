/** What a head does, beside the pointer. */
import { element } from "../shared/base.js";
import { ORDER } from "./attention_colours.js";
import { about } from "./attention_parts.js";
import { weightsOfQuery } from "./attention_query.js";
import { scoreText } from "./attention_scores.js";
import { nameOfHead } from "./attention_heads.js";

const LISTED = 0.02; // a kind of target with less is left out
const PICTURE = 120;

export class HeadTip {
  constructor(root, state, scores) {
    Object.assign(this, { state, scores });
    this.root = element("div", "iv-tip", root);
    this.root.popover = "manual";
  }

  hide() {
    if (this.root.matches(":popover-open")) this.root.hidePopover();
    this.shown = null;
  }

  show(head, { clientX, clientY }) {
    if (head !== this.shown) this.write(head);
    this.shown = head;
    if (!this.root.matches(":popover-open")) this.root.showPopover();
    const { offsetWidth, offsetHeight } = this.root;
    const left = clientX + 16 + offsetWidth > window.innerWidth ? clientX - offsetWidth - 12 : clientX + 16;
    Object.assign(this.root.style, { left: `${left}px`, top: `${Math.max(6, Math.min(window.innerHeight - offsetHeight - 6, clientY - 20))}px` });
  }

  write(head) {
    const { state, scores, root } = this;
    const { base } = state;
    root.replaceChildren();
    const title = element("div", "", root);
    element("b", "", title, nameOfHead(head, base.heads));
    this.writeLink(title, head);
    this.writePlace(head);
    this.writePicture(head);
    const kinds = ORDER.map((id) => ({ ...base.classes.find((each) => each.id === id), value: scores.value(`target ${id}`, head) }));
    for (const { id, name, value } of kinds) {
      if (value < LISTED) continue;
      const line = element("div", "iv-tipline", root);
      element("i", "", line).style.background = this.scheme.kinds[id];
      element("span", "", line, name);
      element("b", "", line, about(value));
    }
    element("hr", "", root);
    for (const { id, name, unit } of scores.list().filter((each) => each.of)) {
      const value = scores.value(id, head);
      if (Number.isNaN(value)) continue;
      const line = element("div", "iv-tipline", root);
      element("span", "", line, name);
      element("b", "", line, scoreText(value, unit));
    }
  }

  /** Of a page by itself: where the head's weights are, if not here. */
  writePlace(head) {
    const { offered, files, heads } = this.state.base;
    if (!offered || offered.includes(head)) return;
    element("div", "iv-said", this.root, files[nameOfHead(head, heads)] ? "A click opens the file that holds its weights." : "This file does not hold its weights.");
  }

  writeLink(title, head) {
    const { state } = this;
    if (state.map !== "link") return;
    const read = weightsOfQuery(state, state.query);
    if (!read) return;
    const weight = read.at(head, state.linkedKey());
    title.append(` · this link ${weight || !read.least ? about(weight) : `<${about(read.least)}`}`);
  }

  writePicture(head) {
    const { pictures } = this;
    if (!pictures) return;
    const canvas = element("canvas", "", this.root);
    Object.assign(canvas, { width: pictures.side, height: pictures.side });
    Object.assign(canvas.style, { width: `${PICTURE}px`, height: `${PICTURE}px` });
    canvas.getContext("2d").drawImage(pictures, 0, head * pictures.side, pictures.side, pictures.side, 0, 0, pictures.side, pictures.side);
  }
}
