/** The columns of a drawing over tokens: where room is short, runs in which nothing is drawn are folded. */

const ENOUGH = 62; // px of a column: with that much for each, nothing is folded
const EMPTY = 0.45; // width of a column without nodes, where room is short
const GAP = 16; // px of a folded run

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

/** Runs of at least two columns that nothing is drawn in: where each begins, and how many they are. */
function emptyRuns(columns, used) {
  const runs = [];
  columns.forEach(({ position }, i) => {
    if (used.has(position)) return;
    const last = runs.at(-1);
    if (last && last.first + last.length === i) last.length += 1;
    else runs.push({ first: i, length: 1 });
  });
  return runs.filter(({ length }) => length > 1);
}

/**
 * used: positions that something is drawn at. room: px for all columns. least, most: px of one. start: where the first
 * begins. wide: least width of a column, however much must be scrolled; with it nothing is folded. Gives the place of each position, the width of
 * a column, and where the last one ends.
 */
export function layColumns(columns, used, room, { least, most, start = 0, wide = 0, scale = 1 }) {
  const short = Math.max(room / columns.length, wide) < ENOUGH;
  const weights = columns.map(({ position }) => (!short || used.has(position) ? 1 : EMPTY));
  const runs = short ? emptyRuns(columns, used) : [];
  for (const { first, length } of runs) weights.fill(0, first, first + length);
  const free = Math.min(most, (room - GAP * runs.length) / Math.max(1, sum(weights)));
  const column = Math.max(least, wide, free) * scale;
  const folded = new Map(runs.map(({ first, length }) => [first, length]));
  const places = new Map();
  let x = start;
  columns.forEach(({ position }, i) => {
    const width = folded.has(i) ? GAP : weights[i] * column;
    places.set(position, { left: x, width, middle: x + width / 2, skipped: folded.get(i) ?? 0 });
    x += width;
  });
  return { places, column, end: x };
}
