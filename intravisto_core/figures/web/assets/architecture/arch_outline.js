/** The tree as a list, the picture's equivalent in text: a bar for parameters and one for time; and the search over it. */
import { element, printable } from "../shared/base.js";
import { count, time } from "./arch_words.js";

export class Outline {
  constructor(root, acts) {
    this.acts = acts;
    const head = element("div", "iv-outline-head", root);
    this.box = element("input", "iv-search", head);
    Object.assign(this.box, { type: "search", placeholder: "path or class", ariaLabel: "Search modules by path or class" });
    this.hits = element("div", "iv-hits", head);
    this.hits.hidden = true;
    const titles = element("div", "iv-titles", root);
    element("span", "", titles, "module");
    element("span", "", titles, "size, time");
    this.list = element("div", "iv-lines", root);
    this.list.role = "tree";
    this.list.ariaLabel = "Modules";
    this.box.addEventListener("input", () => this.search());
    this.box.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter") this.hits.querySelector("button")?.click();
      if (event.key === "Escape") this.clear();
    });
    // the list goes where the search is left, and comes again with the box; a press on it leaves the box focused
    this.hits.addEventListener("mousedown", (event) => event.preventDefault());
    head.addEventListener("focusout", ({ relatedTarget }) => head.contains(relatedTarget) || (this.hits.hidden = true));
    this.box.addEventListener("focus", () => this.box.value && this.search());
  }

  clear() {
    this.box.value = "";
    this.hits.hidden = true;
  }

  search() {
    const { model } = this;
    const found = model.search(this.box.value);
    this.hits.replaceChildren();
    this.hits.hidden = !this.box.value.trim();
    if (!found.length) element("div", "iv-none-found", this.hits, "no path and no class has this");
    for (const [path, cls] of found) {
      const hit = element("button", "", this.hits, printable(path || model.root.name));
      hit.type = "button";
      element("em", "", hit, cls);
      hit.addEventListener("click", () => {
        this.clear();
        this.acts.go(path);
      });
    }
  }

  draw(show) {
    const { model } = show;
    this.model = model;
    this.show = show;
    const top = this.list.scrollTop;
    this.list.replaceChildren();
    this.whole = Math.max(1, model.timeOf(model.root));
    this.walk(model.root, 0);
    this.list.scrollTop = top;
    const on = this.list.querySelector(".iv-on");
    if (on && show.selected !== this.seen) on.scrollIntoView({ block: "nearest" });
    this.seen = show.selected;
  }

  walk(node, depth) {
    const { model, open } = this.show;
    const has = node.children.length > 0;
    const total = node.total * node.times;
    const name = node.fold ? node.fold.names[node.fold.chosen * node.fold.period + node.place] : node.name;
    const line = this.line(depth, name, node.cls, total, model.timeOf(node));
    line.dataset.path = node.path;
    line.title = `${model.pathOf(node) || model.root.name}\n${count(total)} parameters, ${time(model.timeOf(node)) || "not run"}`;
    if (node === this.show.selected) line.classList.add("iv-on");
    if (model.data.run && !node.called && !has) line.classList.add("iv-idle");
    if (has) this.sign(line, open.has(node.path), node.path);
    line.addEventListener("click", () => this.acts.select(node));
    line.addEventListener("dblclick", () => has && this.acts.toggle(node.path));
    if (!open.has(node.path)) return;
    for (const child of node.children) {
      if (child.isFold) this.fold(child, depth + 1);
      else this.walk(child, depth + 1);
    }
  }

  fold(fold, depth) {
    const { model, open } = this.show;
    const total = fold.body.reduce((sum, node) => sum + node.total * node.times, 0);
    const us = fold.body.reduce((sum, node) => sum + model.timeOf(node), 0);
    const line = this.line(depth, `×${fold.repeat}`, `${fold.names[0]} … ${fold.names.at(-1)}`, total, us);
    this.sign(line, open.has(fold.key), fold.key);
    line.addEventListener("click", () => this.acts.toggle(fold.key));
    if (open.has(fold.key)) for (const node of fold.body) this.walk(node, depth + 1);
  }

  line(depth, name, cls, total, us) {
    const line = element("div", "iv-module", this.list);
    line.role = "treeitem";
    line.ariaLevel = depth + 1;
    line.style.paddingLeft = `${8 + depth * 12}px`;
    const words = element("span", "iv-words", line);
    element("i", "iv-toggle", words);
    words.append(printable(name));
    element("em", "", words, cls);
    const bars = element("span", "iv-bars", line);
    const wide = (part, whole) => `${Math.min(100, (100 * part) / whole)}%`;
    element("b", "", bars).style.width = total ? `max(1px, ${wide(total, Math.max(1, this.model.root.total))})` : "0";
    element("b", "", bars).style.width = wide(us, this.whole);
    return line;
  }

  sign(line, open, key) {
    line.ariaExpanded = String(open);
    const sign = line.querySelector(".iv-toggle");
    sign.textContent = open ? "▾" : "▸";
    sign.addEventListener("click", (event) => {
      event.stopPropagation();
      this.acts.toggle(key);
    });
  }
}
