/** The tokens beside a matrix: of its rows at the left, of its columns below. They stay where they are as it scrolls. */
import { clip } from "./attention_parts.js";

const NAMED = 11; // px of a cell from which every column has its name
const [LOW, HIGH] = [24, 60]; // px below the matrix: of the selected name alone, of all names

/** How much room the names of columns take. */
export const roomBelow = (unit) => (unit >= NAMED ? HIGH : LOW);

/** How much of the picture's lower end the names of columns cover. */
export const coveredBelow = (unit) => (unit >= NAMED ? HIGH : 0);

/** The largest cell with which a matrix of so many fits into a place, its names included. */
export function fittingUnit(length, width, height) {
  const unit = Math.min(width, height - HIGH) / length;
  return unit >= NAMED ? unit : Math.min(width / length, (height - LOW) / length, NAMED - 0.25);
}

/** Names of rows, as many as have room, the selected one always. x, y: the place of a position. left: where cells begin. */
export function paintNames(context, { state, unit, scheme, family }, { x, y, width, height, left }) {
  const { length, query } = state;
  const every = Math.max(1, Math.ceil(12 / unit));
  // rows under the names of columns are covered, and so are their own names
  const low = height - coveredBelow(unit);
  context.textAlign = "right";
  for (let at = Math.max(0, Math.floor(-y(0) / unit)); at < length && y(at) + unit / 2 < low; at += 1) {
    const on = at === query;
    if (!on && (at % every || Math.abs(at - query) * unit < 11)) continue;
    context.font = `${on ? 700 : 400} 11px ${family}`;
    context.fillStyle = on ? scheme.ink : scheme.muted;
    context.fillText(clip(state.label(at), 11), left - 7, y(at) + unit / 2);
  }
  paintColumns(context, { state, unit, scheme, family }, { x, y, width, height, left });
}

/** Names of columns: each where it has room, else the selected one's alone. */
function paintColumns(context, { state, unit, scheme, family }, { x, y, width, height, left }) {
  const { length, key } = state;
  const seen = x(key) + unit > left && x(key) < width;
  const below = roomBelow(unit);
  if (below === HIGH) {
    const top = Math.min(height - below, y(length));
    context.fillStyle = scheme.paper;
    context.fillRect(left - 2, top, width, below);
    const first = Math.max(0, Math.ceil((left - x(0)) / unit - 0.5));
    for (let at = first; at < length && x(at) < width; at += 1) {
      context.save();
      context.translate(x(at) + unit / 2 + 3, top + 9);
      context.rotate(-Math.PI / 3);
      context.font = `${at === key ? 700 : 400} 11px ${family}`;
      context.fillStyle = at === key ? scheme.observed : scheme.muted;
      context.fillText(clip(state.label(at), 8), 0, 0);
      context.restore();
    }
    if (seen) return;
  }
  context.font = `700 11px ${family}`;
  context.textAlign = "center";
  const name = clip(state.label(key), 14);
  const room = context.measureText(name).width / 2 + 4;
  const middle = Math.max(left + room, Math.min(width - room - 2, x(key) + unit / 2));
  const low = Math.min(height - 11, y(length) + 11);
  context.fillStyle = scheme.paper;
  context.fillRect(middle - room, low - 8, 2 * room, 16);
  context.fillStyle = scheme.observed;
  context.fillText(name, middle, low);
}
