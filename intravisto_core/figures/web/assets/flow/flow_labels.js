/** Which nodes of a flow are labelled, and where the texts have room beside their bars. */

const LEAST_MASS = 0.03;
const LONGEST = 116;
const GAP = 8; // px, room for the outline of a selected node
const LEADING = 0.85; // of a row: the largest text
const WIDE = 12; // px of a bar that can carry its label above it

/** Whether a node's token is told: it is heavy, a start, or says another token than the node above it. */
function worth(data, node, above) {
  if (data.starting.has(node.index) || Math.abs(node.mass) >= LEAST_MASS) return true;
  return !above || data.top(above) !== data.top(node);
}

function textOf(data, node) {
  const token = data.top(node);
  return data.labels === "positions" && node.kind === "block" ? `${node.position} ${token}` : token;
}

function overlaps(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

/** [{ node, text, x, y, anchor, size }], the heaviest first; what has no room is left out. */
export function labelsOf(layout, shorten, widthOf) {
  const { data } = layout;
  if (data.labels === "none") return [];
  const blocks = new Map(data.nodes.filter(({ kind }) => kind === "block").map((node) => [node.id, node]));
  const wanted = data.nodes.filter((node) => {
    if (!data.top(node)) return false;
    if (node.kind !== "block") return data.labels === "all" && Math.abs(node.mass) >= LEAST_MASS;
    return worth(data, node, blocks.get(`block.${node.row + 1}.${node.position}`));
  });
  const heavy = (node) => Math.abs(node.mass) + (node.kind === "block" ? 10 : 0) + (data.starting.has(node.index) ? 10 : 0);
  wanted.sort((a, b) => heavy(b) - heavy(a));
  const taken = data.nodes
    .filter(({ at }) => at.width > 8 || at.dot)
    .map(({ at }) => ({ x: at.x, y: at.y - at.thick / 2, width: at.width, height: at.thick }));
  const placed = [];
  for (const node of wanted) {
    const room = Math.max(10, LEADING * layout.pitch);
    const size = Math.min(room, node.kind === "block" ? data.textSize : Math.round(0.85 * data.textSize));
    const text = shorten(textOf(data, node), LONGEST);
    const width = widthOf(text) * (size / data.textSize);
    const box = { y: node.at.y - 0.55 * size, width: width + 2, height: 1.1 * size };
    const left = { ...box, x: node.at.x - GAP - width };
    const right = { ...box, x: node.at.x + node.at.width + GAP };
    const above = { ...box, x: node.at.x + (node.at.width - width) / 2, y: node.at.y - node.at.thick / 2 - 1.15 * size };
    const sides = node.kind === "attention" ? [right, left] : [left, right];
    if (node.at.width > WIDE) sides.push(above);
    const fits = (side) => side.x >= GAP && side.x + width <= layout.width && side.y >= 0;
    const found = sides.find((side) => fits(side) && !taken.some((other) => overlaps(side, other)));
    if (!found) continue;
    taken.push(found);
    const end = found === left;
    placed.push({ node, text, size, x: end ? found.x + width : found.x, y: found.y + box.height / 2, end });
  }
  return placed;
}
