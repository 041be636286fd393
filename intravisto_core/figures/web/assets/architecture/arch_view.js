/** The window on the picture: wheel, drag, fit, and a small map of the whole where it is larger than the window. */
import { element } from "../shared/base.js";
import { shape } from "../shared/image.js";

const LEAST = 0.08;
const MOST = 4;
const MARGIN = 12;
const STILL = 4;
const MAP = { width: 120, height: 150 };

export class View {
  constructor(stage) {
    this.stage = stage;
    this.svg = shape("svg", { class: "iv-picture", role: "group", "aria-label": "Modules as nested boxes" }, stage);
    this.map = shape("svg", { class: "iv-map", width: MAP.width, height: MAP.height }, stage);
    this.place = null;
    this.listen();
  }

  listen() {
    this.svg.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const { left, top } = this.svg.getBoundingClientRect();
        this.zoom(Math.exp(-event.deltaY * 0.0015), event.clientX - left, event.clientY - top);
      },
      { passive: false },
    );
    this.svg.addEventListener("pointerdown", (event) => this.drag(event, this.svg, (dx, dy) => this.shift(dx, dy)));
    // the end of a drag is no click
    this.svg.addEventListener("click", (event) => this.dragged > STILL && event.stopPropagation(), { capture: true });
    this.map.addEventListener("pointerdown", (event) => {
      const jump = (at) => {
        const { left, top } = this.map.getBoundingClientRect();
        this.centre((at.clientX - left) / this.mapScale, (at.clientY - top) / this.mapScale);
      };
      jump(event);
      this.drag(event, this.map, (_dx, _dy, at) => jump(at));
    });
  }

  drag(event, target, move) {
    let [x, y] = [event.clientX, event.clientY];
    this.dragged = 0;
    const go = (at) => {
      this.dragged += Math.abs(at.clientX - x) + Math.abs(at.clientY - y);
      move(at.clientX - x, at.clientY - y, at);
      [x, y] = [at.clientX, at.clientY];
    };
    const end = () => {
      window.removeEventListener("pointermove", go);
      window.removeEventListener("pointerup", end);
    };
    window.addEventListener("pointermove", go);
    window.addEventListener("pointerup", end);
  }

  get room() {
    return { width: this.stage.clientWidth, height: this.stage.clientHeight };
  }

  /** The scale at which all of a box would be seen. */
  scaleOf(box) {
    const { width, height } = this.room;
    return Math.min((width - 2 * MARGIN) / (box.w + 12), (height - 2 * MARGIN) / (box.h + 24));
  }

  show(world, box) {
    this.world = world;
    this.box = box;
    this.svg.replaceChildren(world);
    if (!this.place) this.fit(false);
    else this.move();
  }

  /** All of it; at first no smaller than can be read, from the top. */
  fit(whole = true) {
    const { width, height } = this.room;
    const all = this.scaleOf(this.box);
    const s = Math.min(1.25, whole ? all : Math.max(all, 0.6));
    const over = this.box.h * s > height;
    this.place = { s, x: (width - this.box.w * s) / 2, y: over && !whole ? MARGIN : Math.max(MARGIN - 4, (height - (this.box.h + 16) * s) / 2) };
    this.move();
  }

  zoom(factor, x = this.room.width / 2, y = this.room.height / 2) {
    const { place } = this;
    const s = Math.min(MOST, Math.max(LEAST, place.s * factor));
    const k = s / place.s;
    Object.assign(place, { s, x: x - (x - place.x) * k, y: y - (y - place.y) * k });
    this.move();
  }

  shift(dx, dy) {
    this.place.x += dx;
    this.place.y += dy;
    this.move();
  }

  centre(x, y) {
    const { width, height } = this.room;
    Object.assign(this.place, { x: width / 2 - x * this.place.s, y: height / 2 - y * this.place.s });
    this.move();
  }

  /** Bring a group of the picture into sight, if it is not. */
  reveal(group) {
    const [a, b] = [group.getBoundingClientRect(), this.svg.getBoundingClientRect()];
    const inside = a.left >= b.left && a.right <= b.right && a.top >= b.top && a.bottom <= b.bottom;
    if (!inside) this.shift((b.left + b.right - a.left - a.right) / 2, (b.top + b.bottom - a.top - a.bottom) / 2);
  }

  move() {
    const { s, x, y } = this.place;
    this.world.setAttribute("transform", `translate(${x.toFixed(2)} ${y.toFixed(2)}) scale(${s.toFixed(4)})`);
    this.drawMap();
  }

  drawMap() {
    const { place, box, room } = this;
    const hidden = box.h * place.s <= room.height + 40 && box.w * place.s <= room.width + 40;
    this.map.style.display = hidden ? "none" : "";
    if (hidden) return;
    this.mapScale = Math.min(MAP.width / (box.w + 8), MAP.height / (box.h + 24));
    const scale = this.mapScale;
    this.map.replaceChildren();
    const rect = (x, y, w, h, name) => shape("rect", { x: x * scale, y: y * scale, width: Math.max(1, w * scale), height: Math.max(1, h * scale), class: name }, this.map);
    const walk = (outer, x, y, depth) => {
      for (const item of outer.items ?? []) {
        if (item.dummy) continue;
        rect(x + item.x, y + item.y, item.box.w, item.box.h, "iv-map-box");
        if (depth < 3) walk(item.box, x + item.x, y + item.y, depth + 1);
      }
    };
    walk(box, 0, 8, 0);
    rect(-place.x / place.s, -place.y / place.s, room.width / place.s, room.height / place.s, "iv-map-window");
  }
}

/** Buttons under the picture: [text, title, act]. */
export function addButtons(stage, buttons) {
  const bar = element("div", "iv-zoom", stage);
  for (const [text, title, act] of buttons) {
    const button = element("button", "iv-button", bar, text);
    Object.assign(button, { type: "button", title });
    button.addEventListener("click", act);
  }
}
