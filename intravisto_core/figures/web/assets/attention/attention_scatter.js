/** All heads as points by two scores, coloured by the kind of key that each looks at most beside sinks. */
import { ORDER } from "./attention_colours.js";
import { nameOfHead } from "./attention_heads.js";
import { wholeShare } from "../shared/numbers.js";

const EDGE = { left: 58, right: 14, top: 12, bottom: 30 };
const NEAR = 12; // px from a point within which it is meant
const NAMED = 6;

/** Draws them; returns the box of each head. */
export function paintScatter(context, { state, scheme, scores, family }, width, height) {
  const [across, up] = scores.axes();
  const [wide, tall] = [width - EDGE.left - EDGE.right, height - EDGE.top - EDGE.bottom];
  const [rangeX, rangeY] = [scores.range(across), scores.range(up)];
  const x = (value) => EDGE.left + (wide * (value - rangeX[0])) / (rangeX[1] - rangeX[0]);
  const y = (value) => EDGE.top + tall * (1 - (value - rangeY[0]) / (rangeY[1] - rangeY[0]));
  paintAxes(context, { scheme, scores, across, up, rangeX, rangeY, x, y, width, height });
  const points = new Map();
  const { classes, data, heads } = state.base;
  const kindOf = (head) => ORDER.slice(0, -1).reduce((a, b) => (shareOf(data, classes, head, b) > shareOf(data, classes, head, a) ? b : a));
  for (let head = 0; head < scores.n(); head += 1) {
    const [a, b] = [scores.value(across, head), scores.value(up, head)];
    if (Number.isNaN(a) || Number.isNaN(b)) continue;
    context.beginPath();
    context.arc(x(a), y(b), 4, 0, 7);
    context.fillStyle = scheme.kinds[kindOf(head)];
    context.globalAlpha = 0.8;
    context.fill();
    context.globalAlpha = 1;
    context.strokeStyle = scheme.paper;
    context.stroke();
    points.set(head, [x(a) - 4, y(b) - 4, 8, 8]);
  }
  nameOutliers(context, points, { scheme, family, heads, scores, across, up, width });
  return points;
}

function shareOf(data, classes, head, kind) {
  return data.targets[head * classes.length + classes.findIndex(({ id }) => id === kind)];
}

function paintAxes(context, { scheme, scores, across, up, rangeX, rangeY, x, y, width, height }) {
  context.strokeStyle = scheme.rule;
  context.fillStyle = scheme.muted;
  context.textAlign = "center";
  const bottom = height - EDGE.bottom;
  const number = (value, id) => (scores.unit(id) === "share" ? wholeShare(value) : value.toPrecision(2));
  for (const t of [0, 0.5, 1]) {
    const [a, b] = [rangeX[0] + t * (rangeX[1] - rangeX[0]), rangeY[0] + t * (rangeY[1] - rangeY[0])];
    context.beginPath();
    context.moveTo(x(a), EDGE.top);
    context.lineTo(x(a), bottom);
    context.moveTo(EDGE.left, y(b));
    context.lineTo(width - EDGE.right, y(b));
    context.stroke();
    context.textAlign = t === 1 ? "right" : "center";
    context.fillText(number(a, across), x(a), bottom + 9);
    context.textAlign = "right";
    context.fillText(number(b, up), EDGE.left - 4, y(b) + (t === 1 ? 4 : 0));
  }
  const name = (id) => scores.list().find((each) => each.id === id).name;
  context.textAlign = "center";
  context.fillText(`${name(across)} →`, (EDGE.left + width - EDGE.right) / 2, bottom + 21);
  context.save();
  context.translate(EDGE.left - 46, (EDGE.top + bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.fillText(`${name(up)} →`, 0, 0);
  context.restore();
}

/** The heads that stand out most on either axis have their names beside them, where no other name is in the way. */
function nameOutliers(context, points, { scheme, family, heads, scores, across, up, width }) {
  const by = (id) => [...points.keys()].sort((a, b) => scores.value(id, b) - scores.value(id, a)).slice(0, NAMED);
  const taken = [];
  context.fillStyle = scheme.ink;
  context.font = `11px ${family}`;
  for (const head of new Set([...by(across), ...by(up)])) {
    const [left, top] = points.get(head);
    const name = nameOfHead(head, heads);
    const room = context.measureText(name).width + 4;
    const at = left + 12 + room > width ? left - room : left + 12;
    if (taken.some(([x, y, w]) => Math.abs(y - top) < 11 && at < x + w && x < at + room)) continue;
    taken.push([at, top, room]);
    context.textAlign = "left";
    context.fillText(name, at, top + 4);
  }
}

/** The head whose point is nearest to the pointer. */
export function scatterAt(points, x, y) {
  let [best, least] = [null, NEAR];
  for (const [head, [left, top]] of points ?? []) {
    const far = Math.hypot(left + 4 - x, top + 4 - y);
    if (far < least) [best, least] = [head, far];
  }
  return best;
}
