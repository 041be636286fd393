/**
 * Where everything stands: boxes in boxes, data from top to bottom. A row is a step of the longest way from the input;
 * what goes past a row runs in a gutter at the left where it is the stream or the input, else through the row.
 */
import { arrangeFlow } from "./arch_rows.js";

const LEAF = 30;
const HEADER = 27;
const FOLD_HEADER = 42;
const OPERATION = 22;
export const GRID_FROM = 64; // as many siblings are a grid of squares
export const GRID_WIDE = 16;
export const SQUARE = 10;
// of up to so many siblings each has a row beside the fold that can be read
const LEGIBLE_ROWS = 40;
const STRIP_ROW = 12;

export class Layout {
  /** text(words, size, weight): its width. strip(fold): how wide the strip beside a fold is. */
  constructor(model, open, text, strip) {
    Object.assign(this, { model, open, text, strip });
    this.box = this.inside({ kind: "module", node: model.root, open: true, isRoot: true }, model.root, 6);
  }

  /** The children that are drawn in a module's box: those of what is no call itself, as lists are, in place of it. */
  entries(node) {
    const found = [];
    for (const child of node.children) {
      const names = !child.isFold && /^(ModuleList|ModuleDict)$/.test(child.cls);
      const list = !child.isFold && !child.called && child.children.length && (child.reached || names);
      if (list) found.push(...this.entries(child).map((entry) => ({ list: child, ...entry })));
      else found.push({ entry: child });
    }
    return found;
  }

  of({ entry, list }, scope) {
    return entry.isFold ? this.fold(entry, list, scope) : this.module(entry, scope);
  }

  /** What a module is called in the box of another one. */
  label(node, scope) {
    return scope?.path && node.path.startsWith(`${scope.path}.`) ? node.path.slice(scope.path.length + 1) : node.path;
  }

  module(node, scope) {
    const name = node.fold ? node.cls : this.label(node, scope);
    const box = { kind: "module", node, name, open: this.open.has(node.path) && node.children.length > 0 };
    const tag = node.fold ? "" : node.cls;
    box.tag = node.same ? `${tag} · same as ${node.same}` : node.tensors?.some((t) => t[7]) ? `${tag} · shared` : tag;
    const wide = this.text(name, 13, 600) + this.text(box.tag, 11.5) + 30 + (node.children.length ? 16 : 0);
    if (!box.open) return Object.assign(box, { w: Math.max(104, wide), h: LEAF });
    this.inside(box, node, HEADER);
    this.widen(box, wide + 60);
    const n = this.experts(node);
    if (n) {
      box.grid = { n, x: box.w, y: HEADER + 8 };
      box.w += GRID_WIDE * SQUARE + 16;
      box.h = Math.max(box.h, HEADER + 44 + Math.ceil(n / GRID_WIDE) * SQUARE);
    }
    return box;
  }

  /** How many experts a module holds in one tensor. */
  experts(node) {
    return this.model.callOf(node)?.routed?.length ?? 0;
  }

  fold(fold, list, scope) {
    const isOpen = this.open.has(fold.key);
    const single = fold.body.length === 1 ? fold.body[0] : null;
    const box = { kind: "fold", fold, node: single, list, open: isOpen };
    const where = list ? `${this.label(list, list.parent)} ` : "";
    const each = fold.body.reduce((sum, node) => sum + node.total, 0);
    box.caption = `${where}${fold.names[0]} … ${fold.names.at(-1)} · ${fold.body.map((n) => n.cls).join(", ")}`;
    box.each = each;
    const head = this.text(box.caption, 11.5) + 150;
    const many = fold.repeat >= GRID_FROM;
    const side = isOpen || many ? this.strip(fold) : 0;
    if (!isOpen) {
      const rows = many ? Math.ceil(fold.repeat / GRID_WIDE) * SQUARE + 18 : 0;
      const strip = many ? { stripX: 12, stripY: FOLD_HEADER + 12 } : {};
      return Object.assign(box, { w: Math.max(head, side + 24), h: FOLD_HEADER + rows - 6, ...strip });
    }
    if (single?.children.length) this.inside(box, single, FOLD_HEADER);
    else this.insideFold(box, fold, scope.flow);
    box.stripX = box.w;
    box.stripY = FOLD_HEADER + 14;
    box.w = Math.max(box.w + side + 10, head);
    const rows = many ? Math.ceil(fold.repeat / GRID_WIDE) * SQUARE : Math.min(fold.repeat, LEGIBLE_ROWS) * STRIP_ROW;
    box.h = Math.max(box.h, FOLD_HEADER + rows + 28);
    return box;
  }

  /** The bodies of a period, joined as they are in the code around them. */
  insideFold(box, fold, flow) {
    const items = fold.body.map((node) => ({ box: this.module(node, null) }));
    const at = fold.body.map((node) => flow?.nodes.findIndex(([name]) => name === node.path) ?? -1);
    const links = (flow?.links ?? []).filter(([a, b]) => at.includes(a) && at.includes(b)).map(([a, b, kind]) => [at.indexOf(a) + 1, at.indexOf(b) + 1, kind]);
    const nodes = [["input", "i"], ...fold.body.map((node) => [node.path, "m"]), ["output", "o"]];
    const ends = [[0, 1, "m"], [fold.body.length, fold.body.length + 1, "m"]];
    arrangeFlow(box, items, fold.body[0].called ? { nodes, links: [...links, ...ends] } : null, FOLD_HEADER, this);
  }

  inside(box, node, header) {
    const items = this.entries(node).map((entry) => ({ box: this.of(entry, node) }));
    return arrangeFlow(box, items, node.flow ?? null, header, this);
  }

  /** At least that wide, with what is inside in the middle. */
  widen(box, least) {
    const by = (least - box.w) / 2;
    if (by <= 0) return;
    box.w = least;
    for (const item of box.items) item.x += by;
    box.axis += by;
    box.gutter += by;
  }

  operation([name, , failed, label, functions, calls]) {
    const round = label.length <= 2;
    const w = round ? OPERATION : this.text(label, 12.5, 600) + 26;
    return { kind: "operation", name, label, functions, calls, failed, w, h: OPERATION };
  }

  again(node) {
    return { kind: "again", node, w: this.text(`${node.name} again`, 11.5) + 22, h: 24 };
  }

  parameter(name, scope) {
    const short = name.startsWith(`${scope}.`) ? name.slice(scope.length + 1) : name;
    return { kind: "parameter", name, label: short, w: this.text(short, 11.5) + 18, h: 22 };
  }
}
