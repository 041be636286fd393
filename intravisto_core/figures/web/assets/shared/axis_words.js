/** The words on the axes of a drawing, where there is little room: which rows are named, how large tokens are. */

const LINE = 15; // px that a row's name takes
const SLIM = 40; // px of a column whose token is written small
const NUMBERED = 52; // px of a column with its position beside the token
const SIZES = { least: 8.5, slim: 10.5, plain: 12 }; // px of a token
const DIGIT = 6; // px of a digit of a position

/** rows: from the top; places: px of each. Every n-th row has its name, and so have the strong ones, which come first. */
export function namedRows(rows, places, pitch) {
  const step = Math.max(1, Math.ceil(LINE / pitch));
  const strong = rows.filter((row) => row.strong);
  const apart = (row, others) => others.every((other) => Math.abs(places.get(other.row) - places.get(row.row)) >= LINE);
  const named = strong.filter((row, i) => apart(row, strong.slice(0, i)));
  return rows.filter((row, i) => (row.strong ? named.includes(row) : i % step === 0 && apart(row, named)));
}

/**
 * How a token is written in a column: { numbered, size, cut }. numbered: with its position, where there is room for both.
 * size: px of the font; a word that is a little too long is written smaller. cut: whether it is too long all the same.
 */
export function fitToken(text, position, room, family) {
  const context = document.createElement("canvas").getContext("2d");
  const most = room < SLIM ? SIZES.slim : SIZES.plain;
  context.font = `${room < SLIM ? 400 : 600} ${most}px ${family}`;
  const { width } = context.measureText(text);
  const number = DIGIT * String(position).length + 3;
  const numbered = room >= NUMBERED && (number + width <= room - 4 || SIZES.least * width > most * (room - 4));
  const size = (most * (room - (room < SLIM ? 1 : 4) - (numbered ? number : 0))) / width;
  return { numbered, size: Math.min(most, Math.max(SIZES.least, size)), cut: size < SIZES.least };
}
