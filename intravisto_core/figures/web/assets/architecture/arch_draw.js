/** Boxes, operations and links as SVG. Colours are the theme's, by style classes. */
import { printable } from "../shared/base.js";
import { shape } from "../shared/image.js";
import { drawGrid, drawStrip } from "./arch_strip.js";
import { count, shapeText, time } from "./arch_words.js";

const RADIUS = 7;

export class Drawing {
  /** show: what the picture shows (model, selection, scales, which strip); acts: select, toggle, choose. */
  constructor(show, acts) {
    Object.assign(this, { show, acts });
  }

  draw(box) {
    const world = shape("g", { class: "iv-world" });
    this.inside(world, box, 0, 8, 0);
    return world;
  }

  any(parent, item, x, y, depth) {
    const { box } = item;
    if (box.kind === "operation") this.operation(parent, box, x, y);
    else if (box.kind === "again" || box.kind === "parameter") this.small(parent, box, x, y);
    else if (box.kind === "fold") this.fold(parent, box, x, y, depth);
    else this.module(parent, box, x, y, depth, item.idle);
  }

  operation(parent, box, x, y) {
    const group = shape("g", { class: `iv-op${box.failed ? " iv-failed" : ""}` }, parent);
    shape("rect", { x, y, width: box.w, height: box.h, rx: 11 }, group);
    shape("text", { x: x + box.w / 2, y: y + 15.5, class: "iv-op-name" }, group, box.label);
    const n = `${box.calls} call${box.calls === 1 ? "" : "s"} of ${box.functions.split(" ").join(", ")}`;
    shape("title", {}, group, `${box.name}: ${n}, outside of any module${box.failed ? "\nThe run failed here" : ""}`);
  }

  small(parent, box, x, y) {
    const again = box.kind === "again";
    const group = shape("g", { class: again ? "iv-again" : "iv-own" }, parent);
    shape("rect", { x, y, width: box.w, height: box.h, rx: 5 }, group);
    shape("text", { x: x + box.w / 2, y: y + box.h / 2 + 4, class: "iv-middle" }, group, again ? `${box.node.name} again` : box.label);
    shape("title", {}, group, again ? `${box.node.path}, called once more` : `parameter ${box.name}, used outside of the module that holds it`);
    if (again) group.addEventListener("click", (event) => this.select(event, box.node));
  }

  select(event, node) {
    event.stopPropagation();
    this.acts.select(node);
  }

  /** The group of a node, that answers to clicks. key: what opens and closes. */
  group(parent, node, key, kind) {
    const { selected, failed, model } = this.show;
    const path = node ? model.pathOf(node) : "";
    const classes = ["iv-node", kind];
    if (node && node === selected) classes.push("iv-on");
    if (node && failed != null && path === failed && node.parent) classes.push("iv-failed");
    const group = shape("g", { class: classes.join(" "), "data-path": node?.path ?? "" }, parent);
    if (node) group.addEventListener("click", (event) => this.select(event, node));
    group.addEventListener("dblclick", (event) => {
      event.stopPropagation();
      if (key) this.acts.toggle(key);
    });
    return group;
  }

  module(parent, box, x, y, depth, idle) {
    const { node } = box;
    const has = node.children.length > 0;
    const kind = `${box.open ? "iv-box" : "iv-leaf"}${node.role ? ` iv-${node.role}` : ""}${depth % 2 ? " iv-odd" : ""}${idle && this.show.model.data.run ? " iv-idle" : ""}`;
    const group = this.group(parent, node, has ? node.path : null, kind);
    shape("rect", { class: "iv-body", x, y, width: box.w, height: box.h, rx: box.open ? 8 : 5 }, group);
    const words = shape("text", { x: x + (box.open ? 12 : 9), y: y + (box.open ? 18 : 17) }, group);
    shape("tspan", { class: "iv-name" }, words, printable(box.name));
    shape("tspan", { class: "iv-class", dx: 6 }, words, box.tag);
    if (has) this.toggle(group, node.path, x + box.w - 14, y + 18, box.open);
    const call = this.show.model.callOf(node);
    const told = [this.show.model.pathOf(node), node.cls, `${count(node.total)} parameters${node.times > 1 ? `, ${count(node.total * node.times)} in all` : ""}`];
    told.push(call ? `${this.show.model.data.timeless ? "" : `${time(call.us)}, `}gives ${shapeText(call.out)}` : "not called in this run");
    shape("title", {}, group, told.join("\n"));
    if (!box.open) {
      const room = box.w - 18;
      const wide = node.total ? Math.min(room, Math.max(1, (room * node.total * node.times) / this.show.model.mostParameters)) : 0;
      shape("rect", { class: "iv-amount", x: x + 9, y: y + 23, width: wide, height: 3, rx: 1 }, group);
      return;
    }
    if (node.total) shape("text", { x: x + box.w - 26, y: y + 18, class: "iv-class iv-end" }, group, count(node.total * node.times));
    this.inside(group, box, x, y, depth + 1);
    if (box.grid) drawGrid(this, group, call?.routed ?? [], x + box.grid.x, y + box.grid.y, "experts in one tensor");
  }

  toggle(group, key, x, y, open) {
    const sign = shape("text", { x, y, class: "iv-sign", role: "button", "data-toggle": key }, group, open ? "−" : "+");
    sign.addEventListener("click", (event) => {
      event.stopPropagation();
      this.acts.toggle(key);
    });
  }

  fold(parent, box, x, y, depth) {
    const group = this.group(parent, box.node, box.fold.key, "iv-fold");
    for (const by of [8, 4]) shape("rect", { class: "iv-behind", x: x + by, y: y - by, width: box.w, height: box.h, rx: 8 }, group);
    shape("rect", { class: "iv-body", x, y, width: box.w, height: box.h, rx: 8 }, group);
    const times = `×${box.fold.repeat}`;
    const wide = 16 + 8 * times.length;
    shape("rect", { class: "iv-pill", x: x + 12, y: y + 9, width: wide, height: 18, rx: 9 }, group);
    shape("text", { x: x + 12 + wide / 2, y: y + 22, class: "iv-times" }, group, times);
    const words = shape("text", { x: x + wide + 20, y: y + 22, class: "iv-class" }, group, printable(box.caption));
    shape("tspan", { dx: 6 }, words, `${count(box.each)} each`);
    this.toggle(group, box.fold.key, x + box.w - 14, y + 22, box.open);
    if (box.open) this.inside(group, box, x, y, depth + 1);
    if (box.stripX != null) drawStrip(this, group, box, x + box.stripX, y + box.stripY, y + box.h - 10);
  }

  inside(parent, box, x, y, depth) {
    const group = shape("g", {}, parent);
    const places = { x, y, box };
    for (const link of box.links) if (!link.beside) this.link(group, link, places);
    for (const link of box.supplies) this.supply(group, link, places);
    for (const link of box.links) if (link.beside && link.from.x != null) this.beside(group, link, places);
    for (const item of box.items) if (!item.dummy) this.any(parent, item, x + item.x, y + item.y, depth);
  }

  /** Where an item is touched from above and below. */
  at(item, { x, y }) {
    return { x: x + item.x + (item.box.axis ?? item.box.w / 2), top: y + item.y, bottom: y + item.y + item.box.h };
  }

  link(group, link, places) {
    const { x, y, box } = places;
    const middle = x + box.axis;
    const first = y + box.header;
    const last = y + box.h - 3;
    if (link.from === "in" && link.to === "out") return;
    if (link.back) return this.wayBack(group, link, places);
    const from = link.from === "in" ? { x: middle, bottom: first } : this.at(link.from, places);
    const to = link.to === "out" ? { x: middle, top: last } : this.at(link.to, places);
    const kind = link.stream ? "iv-link iv-stream" : "iv-link";
    if (link.lane != null) {
      const lane = x + box.gutter + 15 * link.lane;
      const side = link.to !== "out" && link.to.box.label === "+" ? link.to : null;
      const start = link.from === "in" ? from.bottom + 3 : from.bottom + 6;
      const end = side ? (to.top + y + side.y + side.box.h) / 2 : to.top - 9;
      const endX = side ? x + side.x : to.x;
      const tail = side ? "" : `V${to.top}`;
      const d = `M${from.x} ${from.bottom}V${start}H${lane + RADIUS}Q${lane} ${start} ${lane} ${start + RADIUS}V${end - RADIUS}Q${lane} ${end} ${lane + RADIUS} ${end}H${endX}${tail}`;
      shape("path", { d, class: kind }, group);
      if (side) this.arrow(group, endX, end, "right");
      else this.arrow(group, to.x, to.top);
      return;
    }
    let d = `M${from.x} ${from.bottom}`;
    let [px, py] = [from.x, from.bottom];
    const bend = (tx, ty) => {
      const half = (py + ty) / 2;
      d += Math.abs(px - tx) < 0.5 ? `V${ty}` : `C${px} ${half} ${tx} ${half} ${tx} ${ty}`;
      [px, py] = [tx, ty];
    };
    for (const gap of link.via ?? []) {
      const gx = x + gap.x + gap.box.w / 2;
      bend(gx, y + gap.y);
      d += `V${y + gap.y + gap.h}`;
      py = y + gap.y + gap.h;
    }
    bend(to.x, to.top);
    shape("path", { d, class: kind }, group);
    this.arrow(group, to.x, to.top);
  }

  /** A loop of the code: back up at the right. */
  wayBack(group, link, places) {
    const from = this.at(link.from, places);
    const to = this.at(link.to, places);
    const edge = Math.max(places.x + link.from.x + link.from.box.w, places.x + link.to.x + link.to.box.w) + 8;
    const d = `M${from.x} ${from.bottom}V${from.bottom + 5}H${edge}V${to.top - 5}H${to.x}V${to.top}`;
    shape("path", { d, class: "iv-link iv-back" }, group);
    this.arrow(group, to.x, to.top);
  }

  /** What only supplies others stands beside its source. */
  beside(group, link, places) {
    if (link.from === "in") return;
    const from = places.x + link.from.x + link.from.box.w;
    const height = places.y + link.to.y + link.to.box.h / 2;
    shape("path", { d: `M${from} ${height}H${places.x + link.to.x}`, class: "iv-link iv-dashed" }, group);
  }

  supply(group, link, places) {
    if (link.from === "in" || link.to === "out" || link.from.x == null || link.to.x == null) return;
    const [from, to] = [this.at(link.from, places), this.at(link.to, places)];
    if (link.from.row === link.to.row) {
      const height = places.y + link.from.y + link.from.box.h / 2;
      const right = link.from.x > link.to.x;
      const ends = right ? [places.x + link.from.x, places.x + link.to.x + link.to.box.w] : [places.x + link.from.x + link.from.box.w, places.x + link.to.x];
      shape("path", { d: `M${ends[0]} ${height}H${ends[1]}`, class: "iv-link iv-dashed" }, group);
      return;
    }
    const end = to.top;
    const inside = Math.min(Math.max(from.x, places.x + link.to.x + 12), places.x + link.to.x + link.to.box.w - 12);
    const half = (from.bottom + end) / 2;
    const d = end > from.bottom ? `M${from.x} ${from.bottom}C${from.x} ${half} ${inside} ${half} ${inside} ${end}` : `M${from.x} ${from.top}L${inside} ${to.bottom}`;
    shape("path", { d, class: "iv-link iv-dashed" }, group);
  }

  arrow(group, x, y, way = "down") {
    const d = way === "right" ? `M${x - 6} ${y - 3.5}L${x} ${y}L${x - 6} ${y + 3.5}` : `M${x - 3.5} ${y - 6}L${x} ${y}L${x + 3.5} ${y - 6}`;
    shape("path", { d, class: "iv-tip" }, group);
  }
}
