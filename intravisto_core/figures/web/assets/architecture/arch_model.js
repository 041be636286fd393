/** The tree of modules as the picture walks it: nodes, folds with the repetition that is chosen, and their numbers. */

/** The last part of a path. */
const lastPart = (path) => path.slice(path.lastIndexOf(".") + 1);

export class ArchModel {
  constructor(data) {
    this.data = data;
    this.nodes = [];
    this.folds = [];
    this.byPath = new Map();
    this.setOutputs(data.outputs);
    this.root = this.take(data.tree, null, null, 0, 1);
    this.root.name = data.name;
    const leaves = this.nodes.filter((node) => !node.children.length);
    this.mostParameters = Math.max(1, ...leaves.map((node) => node.total * node.times));
  }

  /** What was measured; of what is given twice the later one holds. */
  setOutputs(outputs) {
    this.outputs = new Map();
    for (const each of outputs) {
      const key = `${each.path}\n${each.what}`;
      const others = (this.outputs.get(key) ?? []).filter((other) => other.statistic !== each.statistic);
      this.outputs.set(key, [...others, each]);
    }
  }

  /** A node of the data with what stands around it. fold, place: of which fold it is drawn, and where in its period. */
  take(given, parent, fold, place, times) {
    const node = { ...given, name: lastPart(given.path), parent, fold, place, times, children: [] };
    node.depth = parent ? parent.depth + 1 : 0;
    node.top = fold?.table ? fold : (parent?.top ?? null);
    node.called = Boolean(given.call);
    this.nodes.push(node);
    this.byPath.set(node.path, node);
    node.children = (given.children ?? []).map((child) =>
      child.repeat ? this.takeFold(child, node, times) : this.take(child, node, null, 0, times),
    );
    const below = node.children.flatMap((child) => (child.isFold ? child.body : [child]));
    node.reached = node.called || below.some((each) => each.reached);
    return node;
  }

  takeFold(given, owner, times) {
    const fold = { ...given, owner, chosen: given.shown, isFold: true };
    fold.key = `${owner.path}/${given.names[0]}`;
    this.folds.push(fold);
    fold.body = given.body.map((each, place) => this.take(each, owner, fold, place, times * given.repeat));
    return fold;
  }

  /** A node's path, with the repetitions that are chosen. */
  pathOf(node) {
    if (!node.parent) return "";
    const name = node.fold ? node.fold.names[node.fold.chosen * node.fold.period + node.place] : node.name;
    const above = this.pathOf(node.parent);
    return above ? `${above}.${name}` : name;
  }

  /** The body that is drawn of the outermost fold around a node, and the way from there to it; null outside of folds. */
  placeInTop(node) {
    if (!node.top) return null;
    let body = node;
    while (body.fold !== node.top) body = body.parent;
    const start = this.pathOf(body);
    return { row: node.top.table[body.place], inner: this.pathOf(node).slice(start.length + 1) };
  }

  /** What a module did in the run, of the repetition that is chosen; null where it did not run. */
  callOf(node) {
    const place = this.placeInTop(node);
    if (!place) return node.call ?? null;
    const found = place.row[place.inner];
    const k = node.top.chosen;
    if (!found || found.us[k] == null) return null;
    const [input, output] = found.io?.[k] ?? [node.call?.in ?? [], node.call?.out];
    const order = Array.isArray(found.order) ? found.order[k] : found.order.first + k * found.order.step;
    return { us: found.us[k], order, n: found.calls?.[k] ?? 1, in: input, out: output, routed: found.routed?.[k] ?? node.call?.routed };
  }

  /** Where a tensor of a node is, of the repetition that is chosen; null where all are where the shown one is. */
  deviceOf(node) {
    const place = this.placeInTop(node);
    return place?.row[place.inner]?.device?.[node.top.chosen] ?? null;
  }

  /** Time of all repetitions together, µs. */
  timeOf(node) {
    if (this.data.timeless) return 0;
    if (!node.top) return node.call?.us ?? 0;
    if (node.allTime == null) {
      const row = this.placeInTop(node).row;
      const total = (found) => found.us.reduce((sum, us) => sum + (us ?? 0), 0);
      node.allTime = this.waysTo(node).reduce((sum, way) => sum + (row[way] ? total(row[way]) : 0), 0);
    }
    return node.allTime;
  }

  /** All ways from the body of the outermost fold to what a node stands for. */
  waysTo(node) {
    if (node.fold === node.top) return [""];
    const above = this.waysTo(node.parent);
    const names = node.fold ? node.fold.names.filter((_, i) => i % node.fold.period === node.place) : [node.name];
    return above.flatMap((way) => names.map((name) => (way ? `${way}.${name}` : name)));
  }

  /** Times of the repetitions of a fold's period, µs; null where nothing ran. */
  timesOf(fold) {
    const sums = (rows) => rows.map((us) => (us.some((v) => v != null) ? us.reduce((a, b) => a + (b ?? 0), 0) : null));
    if (fold.table) {
      return sums(fold.names.slice(0, fold.repeat).map((_, k) => fold.table.map((row) => row[""]?.us[k] ?? null)));
    }
    const { row, inner } = this.placeInTop(fold.body[0]);
    const above = inner.slice(0, inner.length - lastPart(inner).length);
    const one = (name) => row[above + name]?.us[fold.body[0].top.chosen] ?? null;
    return sums(Array.from({ length: fold.repeat }, (_, k) => fold.names.slice(k * fold.period, (k + 1) * fold.period).map(one)));
  }

  /** Paths of the repetitions of a fold: of the last of each period, whose output goes on. */
  membersOf(fold) {
    const above = this.pathOf(fold.owner);
    return Array.from({ length: fold.repeat }, (_, k) => {
      const name = fold.names[(k + 1) * fold.period - 1];
      return above ? `${above}.${name}` : name;
    });
  }

  /** A node, or with `all` everything that the fold around it stands for: its paths, and what they are called. */
  allOf(node, all) {
    const path = this.pathOf(node);
    let body = node;
    while (body && !body.fold) body = body.parent;
    if (!all || !body) return { label: path, paths: [path] };
    const above = this.pathOf(body.parent);
    const start = above ? `${above}.` : "";
    const rest = path.slice(this.pathOf(body).length);
    const names = body.fold.names.filter((_, i) => i % body.fold.period === body.place);
    return { label: `${start}*${rest}`, paths: names.map((name) => `${start}${name}${rest}`) };
  }

  /** What was measured at a side of a module. */
  measured(path, what = "output") {
    return this.outputs.get(`${path}\n${what}`) ?? [];
  }

  size(path) {
    return this.measured(path).find((each) => each.statistic === "size")?.values ?? null;
  }

  /** The node that is drawn for a path, with the repetitions chosen that the path names; null where there is none. */
  find(path) {
    let node = this.root;
    const chosen = [];
    const parts = path ? path.split(".") : [];
    for (const part of parts) {
      let next = null;
      for (const child of node.children) {
        if (!child.isFold && child.name === part) next = child;
        const at = child.isFold ? child.names.indexOf(part) : -1;
        if (at >= 0) {
          next = child.body[at % child.period];
          chosen.push([child, Math.floor(at / child.period)]);
        }
      }
      if (!next) return null;
      node = next;
    }
    for (const [fold, k] of chosen) fold.chosen = k;
    return node;
  }

  /** [path, class] of what holds a text in either, at most `most`. What is folded is found by the numbers of the text. */
  search(text, most = 40) {
    const wanted = text.trim().toLowerCase();
    if (!wanted) return [];
    const kept = this.folds.map((fold) => fold.chosen);
    const numbers = wanted.match(/\d+/g) ?? [];
    const found = new Map();
    const take = (node) => found.size < most && found.set(this.pathOf(node), node.cls);
    const exact = this.find(text.trim());
    if (exact && exact !== this.root) take(exact);
    this.folds.forEach((fold, i) => (fold.chosen = kept[i]));
    for (const node of this.nodes) {
      const holds = () => this.pathOf(node).toLowerCase().includes(wanted);
      if (node.cls.toLowerCase().includes(wanted) || holds()) {
        take(node);
        continue;
      }
      const around = foldsAround(node);
      for (let from = 0; from < numbers.length && around.length; from++) {
        const fits = around.slice(0, numbers.length - from).every((fold, i) => fold.choose(numbers[from + i]));
        if (fits && holds()) take(node);
        this.folds.forEach((fold, i) => (fold.chosen = kept[i]));
      }
    }
    return [...found];
  }
}

/** The folds that a node lies in, the outermost first, each with a way to choose one of its repetitions by name. */
function foldsAround(node) {
  const found = [];
  for (let each = node; each; each = each.parent) {
    if (!each.fold) continue;
    const { fold, place } = each;
    const choose = (name) => {
      const at = fold.names.indexOf(name);
      if (at < 0 || at % fold.period !== place) return false;
      fold.chosen = Math.floor(at / fold.period);
      return true;
    };
    found.unshift({ choose });
  }
  return found;
}
