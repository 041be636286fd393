/** The inside of one box: which row everything stands in, which links go past, and where that all is. */

const PAD = 12;
const ROW_GAP = 16;
const SIDE_GAP = 12;
const LANE = 15;
const WIDEST = 900; // what did not run is wrapped at that width
const IN = "in";
const OUT = "out";

/** Fills a box with its items: places, links, axis, width, height. flow: of the module whose code it is, or null. */
export function arrangeFlow(box, items, flow, header, layout) {
  const graph = readFlow(items, flow, box.node?.path ?? "", layout);
  const rows = flow ? rankItems(graph) : items.map((item) => [item]);
  for (const [k, row] of rows.entries()) for (const item of row) item.row = k;
  routeLinks(graph, rows);
  orderRows(graph, rows);
  rows.push(...wrap(graph.idle));
  placeRows(box, graph, rows, header);
  return box;
}

/** Items and links of a flow. Main links join what computes; supplies stand beside. */
function readFlow(items, flow, scope, layout) {
  const graph = { items: [...items], main: [], side: [], idle: [], lanes: 0 };
  if (!flow) return graph;
  const owners = new Map();
  for (const item of items) {
    for (const node of item.box.fold?.body ?? [item.box.node]) owners.set(node.path, item);
  }
  const at = flow.nodes.map((node) => {
    const [name, kind] = node;
    if (kind === "i") return name.includes(".") ? null : IN;
    if (kind === "o") return OUT;
    if (kind === "f") return add(graph, { box: layout.operation(node) });
    if (kind === "p") return add(graph, { box: layout.parameter(name, scope), supply: true });
    const [path, again] = name.split("@");
    const item = owners.get(path) ?? null;
    return again && item?.box.kind === "module" ? add(graph, { box: layout.again(item.box.node) }) : item;
  });
  const order = new Map();
  at.forEach((item) => item && !order.has(item) && order.set(item, order.size));
  const known = new Set();
  for (const [a, b, kind] of flow.links) {
    const [from, to] = [at[a], at[b]];
    const key = `${order.get(from)} ${order.get(to)} ${kind}`;
    if (!from || !to || from === to || known.has(key)) continue;
    known.add(key);
    const link = { from, to, kind, back: from !== IN && to !== OUT && order.get(from) > order.get(to) };
    (kind === "m" ? graph.main : graph.side).push(link);
  }
  const used = new Set([...graph.main, ...graph.side].flatMap((link) => [link.from, link.to]));
  graph.items = graph.items.filter((item) => used.has(item)).sort((a, b) => order.get(a) - order.get(b));
  graph.idle = items.filter((item) => !used.has(item));
  for (const item of graph.items) {
    const out = (list) => list.some((link) => link.from === item);
    if (out(graph.side) && !out(graph.main)) item.supply = true;
  }
  return graph;
}

function add(graph, item) {
  graph.items.push(item);
  return item;
}

/** Rows by the longest way; a supply stands in the row of what it comes from, else of what it goes to. */
function rankItems(graph) {
  const rank = new Map();
  const forward = graph.main.filter((link) => !link.back);
  const middle = graph.items.filter((item) => !item.supply);
  for (const item of middle) {
    const before = forward.filter((link) => link.to === item && rank.has(link.from));
    rank.set(item, Math.max(0, ...before.map((link) => rank.get(link.from) + 1)));
  }
  for (const item of graph.items.filter((each) => each.supply)) {
    const from = forward.find((link) => link.to === item && rank.has(link.from));
    const to = graph.side.filter((link) => link.from === item && rank.has(link.to)).map((link) => rank.get(link.to));
    rank.set(item, from ? rank.get(from.from) : Math.min(Infinity, ...to) === Infinity ? 0 : Math.min(...to));
    for (const link of graph.main) if (link.to === item) link.beside = true;
  }
  const rows = [];
  for (const item of graph.items) (rows[rank.get(item)] ??= []).push(item);
  return rows.filter(Boolean);
}

const goesPast = (link) => link.from === IN || link.from.box.label === "+";

/** Links over more than one row: the stream and the input take a lane at the left, others a free place in each row. */
function routeLinks(graph, rows) {
  const start = (link) => (link.from === IN ? -1 : link.from.row);
  const end = (link) => (link.to === OUT ? rows.length : link.to.row);
  const ends = [];
  const long = graph.main.filter((link) => !link.beside && !link.back && end(link) - start(link) > 1);
  for (const link of long.filter((l) => goesPast(l) && !(l.from === IN && l.to === OUT))) {
    let lane = ends.findIndex((last) => last <= start(link));
    if (lane < 0) lane = ends.push(0) - 1;
    ends[lane] = end(link);
    link.lane = lane;
    link.stream = link.to !== OUT && link.to.box.label === "+";
  }
  for (const link of long.filter((l) => !goesPast(l))) {
    link.via = [];
    for (let k = start(link) + 1; k < end(link); k++) {
      const gap = { dummy: true, box: { w: 8, h: 0 }, row: k };
      rows[k].push(gap);
      link.via.push(gap);
    }
  }
  graph.lanes = ends.length;
}

/** In each row from left to right as what they come from stands above; supplies last. */
function orderRows(graph, rows) {
  const before = new Map();
  const join = (from, to) => from !== IN && to !== OUT && before.set(to, [...(before.get(to) ?? []), from]);
  for (const link of graph.main) {
    const way = [link.from, ...(link.via ?? []), link.to];
    if (link.lane == null) for (let i = 1; i < way.length; i++) join(way[i - 1], way[i]);
  }
  rows.forEach((row, k) => {
    const place = (item) => {
      if (item.supply) return 9;
      const above = (before.get(item) ?? []).filter((other) => other.row === k - 1);
      const at = above.map((other) => rows[k - 1].indexOf(other) / rows[k - 1].length);
      return at.length ? at.reduce((a, b) => a + b) / at.length : 0.5;
    };
    const places = new Map(row.map((item) => [item, place(item)]));
    row.sort((a, b) => places.get(a) - places.get(b));
  });
}

function wrap(items) {
  const rows = [];
  let wide = Infinity;
  for (const item of items) {
    item.idle = true;
    if (wide + item.box.w > WIDEST) {
      rows.push([]);
      wide = 0;
    }
    rows.at(-1).push(item);
    wide += item.box.w + SIDE_GAP;
  }
  return rows;
}

const span = (items) => items.reduce((sum, item) => sum + item.box.w + SIDE_GAP, -SIDE_GAP);
const axisOf = (items) => (items.length === 1 && items[0].box.axis ? items[0].box.axis : span(items) / 2);

function placeRows(box, graph, rows, header) {
  const parts = rows.map((row) => ({
    middle: row.filter((item) => !item.supply),
    supplies: row.filter((item) => item.supply),
  }));
  const left = Math.max(0, ...parts.map(({ middle }) => axisOf(middle)));
  const right = Math.max(
    0,
    ...parts.map(({ middle, supplies }) => {
      const own = middle.length ? span(middle) - axisOf(middle) : 0;
      return own + (supplies.length ? span(supplies) + 2 * SIDE_GAP : 0);
    }),
  );
  const gutter = graph.lanes * LANE;
  const axis = PAD + gutter + left;
  const entered = graph.main.some((link) => link.from === IN);
  let y = header + (entered ? 13 : 3);
  rows.forEach((row, k) => {
    const { middle, supplies } = parts[k];
    const high = Math.max(...row.map((item) => item.box.h));
    let x = axis - (middle.length ? axisOf(middle) : 0);
    for (const item of [...middle, ...supplies]) {
      if (item.supply) x += SIDE_GAP;
      Object.assign(item, { x, y: y + (high - item.box.h) / 2 });
      if (item.dummy) Object.assign(item, { y, h: high });
      x += item.box.w + SIDE_GAP;
    }
    y += high + ROW_GAP;
  });
  Object.assign(box, {
    items: rows.flat(),
    links: graph.main,
    supplies: graph.side,
    axis,
    gutter: PAD,
    header,
    w: gutter + left + right + 2 * PAD,
    h: y - ROW_GAP + (rows.length ? 14 : 0),
  });
}
