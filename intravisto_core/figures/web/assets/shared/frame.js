/**
 * What the large pictures share: a frame with one scroller and a line under it; size, theme and selection that it is
 * told of; keys and pointer; saving. A picture extends it with `lay` (all anew), `point`, `pick` and `key` (the user's
 * acts), `follow` (a choice made elsewhere), `reveal`, `showSelection`, `place` and `toSvg`.
 */
import { announce, bus, element, resolved } from "./base.js";
import { saveSvg, withName } from "./image.js";

const EDGE = 8;
const KEY_PAUSE = 140;
let made = 0;

/** The buttons that save the picture, on a page that has no menu for it. more: "both.svg" saves two pictures as one. */
export function drawExport(foot, more = []) {
  const actions = element("span", "iv-item", foot);
  for (const format of ["svg", "png", ...more]) {
    const [kind, both] = format.toUpperCase().split(".").reverse();
    const button = element("button", "iv-export", actions, both ? `both ${kind}` : kind);
    button.type = "button";
    button.title = both ? `Save both pictures as one ${kind}` : `Save the whole picture as ${kind}`;
    button.dataset.format = format;
  }
}

export class Frame {
  constructor(root, role, canvas) {
    this.number = made++;
    this.data = null;
    this.selected = null;
    this.send = () => {};
    root.replaceChildren();
    this.frame = element("div", "iv-frame", root);
    this.opening = element("div", "iv-window", this.frame);
    this.scroller = element("div", "iv-scroller", this.opening);
    this.scroller.tabIndex = 0;
    this.scroller.setAttribute("role", role);
    this.canvas = element("div", canvas, this.scroller);
    this.foot = element("div", "iv-foot", this.frame);
    this.listen();
  }

  listen() {
    const { scroller, canvas, frame } = this;
    scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    scroller.addEventListener("keydown", (event) => this.data && this.key(event));
    canvas.addEventListener("mousemove", (event) => this.data && this.point(event));
    canvas.addEventListener("mouseleave", () => this.away());
    canvas.addEventListener("click", (event) => this.click(event));
    this.foot.addEventListener("click", ({ target }) => target.dataset.format && this.save(target.dataset.format));
    // The theme's colours are style variables: the end of the frame's (instant) transition tells of a new theme.
    frame.addEventListener("transitionend", ({ target }) => target === frame && this.data && this.recolour());
    this.onSave = ({ detail }) => this.data && this.saveAsked(detail.format);
    this.onSelect = ({ detail }) => detail.from !== this && this.heard(detail);
    this.onResize = () => this.resized();
    this.resizes = new ResizeObserver(this.onResize);
  }

  mount() {
    bus.addEventListener("select", this.onSelect);
    bus.addEventListener("save", this.onSave);
    this.resizes.observe(this.frame);
    window.addEventListener("resize", this.onResize);
  }

  unmount() {
    bus.removeEventListener("select", this.onSelect);
    bus.removeEventListener("save", this.onSave);
    this.resizes.disconnect();
    window.removeEventListener("resize", this.onResize);
    this.hover.hide();
  }

  load(data) {
    this.data = data;
    this.selected = null;
    this.lay();
    if (bus.selection) this.heard(bus.selection);
  }

  // size and theme

  /** What is left beside scroll bars, where the browser gives them room: else one of them would bring the other. */
  room() {
    const bar = this.measureBar();
    this.scroller.style.setProperty("--iv-scrollbar", `${bar}px`);
    const height = parseFloat(resolved(this.scroller, "max-height")) || 600;
    return { width: Math.max(0, this.frame.clientWidth - bar), height: height - bar };
  }

  /** How wide a scroll bar of this picture is, in px; 0 where it lies over what is scrolled. */
  measureBar() {
    const probe = element("div", "iv-scroller", this.opening);
    probe.style.cssText = "position: absolute; visibility: hidden; width: 60px; height: 60px; overflow: scroll";
    const bar = probe.offsetWidth - probe.clientWidth;
    probe.remove();
    return bar;
  }

  /** Lay out again if the frame or the window has another size now. */
  resized() {
    if (!this.data) return;
    const { width, height } = this.room();
    if (width === this.size.width && height === this.size.height) return;
    this.lay();
    this.reveal();
  }

  recolour() {
    this.lay();
  }

  scrolled() {
    this.hover.hide();
    this.shadeEdges();
  }

  shadeEdges() {
    const { scrollTop, scrollLeft, clientWidth, clientHeight, scrollWidth, scrollHeight } = this.scroller;
    const { classList } = this.frame;
    classList.toggle("iv-more-left", scrollLeft > 0);
    classList.toggle("iv-more-above", scrollTop > 0);
    classList.toggle("iv-more-right", scrollLeft + clientWidth < scrollWidth - EDGE);
    classList.toggle("iv-more-below", scrollTop + clientHeight < scrollHeight - EDGE);
  }

  // pointing and choosing

  away() {
    this.hover.hide();
  }

  click(event) {
    if (!this.data) return;
    this.scroller.focus({ preventScroll: true });
    this.pick(event);
  }

  /** Select, as the user wished. */
  choose(selected, how) {
    this.selected = selected;
    this.reveal();
    this.showSelection();
    this.report(how);
  }

  clear() {
    this.hover.hide();
    this.choose(null, "clear");
  }

  /** A choice that was made elsewhere, unless it is of another trace. */
  heard(choice) {
    if (!this.data || (choice.rev && this.data.rev && choice.rev !== this.data.rev)) return;
    this.follow(choice);
  }

  /** Tell the others at once, and the server; keys that come fast are told when they pause. */
  report(how) {
    const place = { ...this.place(), how, rev: this.data.rev };
    const { n } = announce(place, this);
    clearTimeout(this.pause);
    this.pause = setTimeout(() => this.send({ ...place, n }), how === "key" ? KEY_PAUSE : 0);
  }

  /** Saving as the menu of the page asks for it. */
  saveAsked(format) {
    this.save(format);
  }

  async save(format) {
    await this.offer(this.toSvg(), format, this.data.fileName);
  }

  /** A picture as a file, which says whose model it is of. */
  async offer(drawn, format, name) {
    await saveSvg(withName(drawn, this.data.model, this.frame), format, name);
  }
}
