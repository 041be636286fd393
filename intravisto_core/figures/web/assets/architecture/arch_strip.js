/** Beside a fold, a row for each repetition: what it says, its time, or what was measured there; many are a grid. */
import { printable } from "../shared/base.js";
import { shape } from "../shared/image.js";
import { probability, share, significant } from "../shared/numbers.js";
import { GRID_FROM, GRID_WIDE, SQUARE } from "./arch_layout.js";
import { kindOf } from "./arch_strip_kinds.js";
import { time } from "./arch_words.js";

const CELL = 17;
const MOST_CELLS = 14;
const AFTER = 3; // cells after the selected position
const BAR = 62;
const NAME = 20;
const SAID = 62;
// of a summary: words, which of its numbers, and whether they have a sign
const COLUMNS = [["mean", 0, true], ["spread", 1, false], ["least", 2, true], ["largest", 3, true], ["zeros", 4, false]];
const COLUMN = 46;
const READABLE = 11;
const BINS_WIDE = 120;

const lettering = (step) => `font-size: ${Math.min(11.5, Math.max(7, step)).toFixed(1)}px`;

/** The positions that have cells, the last ones or those around the selected one; and whose word stands beside them. */
function windowOf(show, fold, kind) {
  const path = show.model.membersOf(fold).find((each) => kind.read(each));
  const { length } = kind.read(path);
  const first = kind.first?.(path) ?? 0;
  const n = Math.min(length, MOST_CELLS);
  const wanted = show.position == null ? length - 1 : show.position - first;
  const at = wanted >= 0 && wanted < length ? wanted : length - 1;
  return { n, length, at, first, start: Math.min(length - n, Math.max(0, at - n + 1 + AFTER)) };
}

/** How wide the strip of a fold is; 0 where there is nothing to show. */
export function stripWidth(show, fold) {
  if (fold.repeat >= GRID_FROM) return GRID_WIDE * SQUARE + 16;
  const kind = kindOf(show, fold);
  const cells = () => Math.max(100, windowOf(show, fold, kind).n * CELL + (kind.form === "says" ? SAID : 10));
  const wide = { time: () => BAR + 14, says: cells, sizes: cells, summary: () => COLUMNS.length * COLUMN + 10, histogram: () => BINS_WIDE + 10 };
  return NAME + wide[kind.form]();
}

export function drawStrip(drawing, group, box, x, y, bottom) {
  const { show } = drawing;
  const { fold } = box;
  const times = show.model.timesOf(fold);
  if (fold.repeat >= GRID_FROM) return drawGrid(drawing, group, times, x, y - 16, "", fold);
  const kind = kindOf(show, fold);
  let { title } = kind;
  if (kind.form === "says" || kind.form === "sizes") {
    const { start, n, length, first } = windowOf(show, fold, kind);
    if (n < length) title += `, ${first + start} to ${first + start + n - 1} of ${first + length}`;
  }
  if (kind.form === "summary") title = "";
  shape("text", { x: x + NAME, y: y - 6, class: "iv-class" }, group, times.some((us) => us != null) ? title : "not run yet");
  const step = Math.min(22, Math.max(5, (bottom - y) / fold.repeat));
  const peak = Math.max(1, ...times.map((us) => us ?? 0));
  const members = show.model.membersOf(fold);
  const every = Math.ceil(9 / step);
  const rows = members.map((path, k) => {
    const row = shape("g", { class: `iv-line${k === fold.chosen ? " iv-chosen" : ""}`, "data-k": k }, group);
    const top = y + k * step;
    shape("rect", { x, y: top, width: box.fold.stripWide ?? NAME + BAR, height: step, class: "iv-catch" }, row);
    if (k % every === 0 || k === fold.chosen) {
      const name = fold.period > 1 ? `${fold.names[k * fold.period]}…` : fold.names[k];
      shape("text", { x: x + NAME - 5, y: top + step * 0.5 + 4, class: "iv-class iv-end", style: lettering(step) }, row, name);
    }
    row.addEventListener("click", (event) => {
      event.stopPropagation();
      drawing.acts.choose(fold, k);
    });
    return { row, path, top, k };
  });
  const write = { says: writeSays, sizes: writeSizes, time: writeTime, summary: writeSummary, histogram: writeHistogram }[kind.form];
  const wide = write(drawing, fold, rows, { x: x + NAME, step, peak, times, kind });
  const { top } = rows[fold.chosen];
  shape("rect", { x: x + NAME - 2, y: top - 1, width: wide + 3, height: step + 1, class: "iv-chosen-line" }, rows[fold.chosen].row);
}

function writeTime(drawing, fold, rows, { x, step, peak, times }) {
  for (const { row, top, k, path } of rows) {
    const { timeless } = drawing.show.model.data;
    if (times[k] != null && !timeless) shape("rect", { x, y: top, width: Math.max(1, (BAR * times[k]) / peak), height: Math.max(2, step - 1), rx: 1, class: "iv-time" }, row);
    shape("title", {}, row, times[k] == null ? `${path}: not called in this run` : timeless ? path : `${path}: ${time(times[k])}`);
  }
  return BAR;
}

function writeSizes(drawing, fold, rows, { x, step, kind }) {
  const { model, scales } = drawing.show;
  const { n, start, at } = windowOf(drawing.show, fold, kind);
  const sizes = rows.map(({ path }) => kind.read(path) ?? []);
  // the first position is often a hundred times as large: it is clipped
  const peak = Math.max(1e-12, ...sizes.flatMap((row) => row.slice(row.length > 1 ? 1 : 0).map((v) => v ?? 0)));
  for (const { row, top, k, path } of rows) {
    for (let j = 0; j < n; j++) {
      const j0 = start + j;
      const value = sizes[k][j0];
      const fill = value == null ? "none" : scales.size[Math.round(255 * Math.min(1, (value / peak) * 0.95))].fill;
      const cell = shape("rect", { x: x + j * CELL, y: top, width: CELL - 1, height: Math.max(2, step - 1), rx: 1, fill }, row);
      shape("title", {}, cell, `${path}, ${reads(model, j0)}: ${significant(value)}`);
    }
  }
  markColumn(rows, x, step, at - start);
  return n * CELL - 1;
}

/** A frame around the cells of the selected position. */
function markColumn(rows, x, step, j) {
  const { row, top } = rows.at(-1);
  const first = rows[0].top;
  shape("rect", { x: x + j * CELL - 1, y: first - 1, width: CELL + 1, height: top - first + step + 1, class: "iv-chosen-line" }, row);
}

function reads(model, j) {
  const token = model.data.run?.tokens[j];
  return token ? `position ${j} ‘${token}’` : `position ${j}`;
}

function writeSays(drawing, fold, rows, { x, step, kind }) {
  const { model, scales } = drawing.show;
  const { n, start, at, first } = windowOf(drawing.show, fold, kind);
  for (const { row, top, path } of rows) {
    const said = kind.read(path) ?? [];
    for (let j = 0; j < n; j++) {
      const j0 = start + j;
      const [token, p] = said[j0] ?? ["", 0];
      const cell = shape("rect", { x: x + j * CELL, y: top, width: CELL - 1, height: Math.max(2, step - 1), rx: 1, fill: scales.says[Math.round(255 * p)].fill }, row);
      shape("title", {}, cell, `after ${path}, ${reads(model, first + j0)}: ${printable(token)} ${probability(p)}`);
    }
    const [token, p] = said[at] ?? ["", 0];
    const short = [...printable(token)].slice(0, 8).join("");
    shape("text", { x: x + n * CELL + 4, y: top + step * 0.5 + 4, style: lettering(step), opacity: 0.5 + 0.5 * p, class: "iv-said" }, row, short);
  }
  markColumn(rows, x, step, at - start);
  return n * CELL - 1;
}

/** A cell for each number of a summary, coloured within its column. */
function writeSummary(drawing, fold, rows, { x, step, kind }) {
  const { scales } = drawing.show;
  const group = rows[0].row.parentNode;
  COLUMNS.forEach(([word, place, signed], column) => {
    const left = x + column * COLUMN;
    shape("text", { x: left, y: rows[0].top - 6, class: "iv-class" }, group, word);
    const values = rows.map(({ path }) => kind.read(path)?.[place] ?? null);
    const peak = Math.max(1e-12, ...values.map((value) => Math.abs(value ?? 0)));
    rows.forEach(({ row, top, path }, k) => {
      const value = values[k];
      const scale = signed ? scales.signed[Math.round(127.5 * (1 + (value ?? 0) / peak))] : scales.size[Math.round((255 * (value ?? 0)) / peak)];
      const told = place === 4 ? share(value ?? 0) : significant(value);
      const cell = shape("g", {}, row);
      shape("rect", { x: left, y: top, width: COLUMN - 2, height: Math.max(2, step - 1), rx: 1, fill: value == null ? "none" : scale.fill }, cell);
      shape("title", {}, cell, `${path}, ${kind.title}: ${word} ${told}`);
      if (step >= READABLE && value != null) shape("text", { x: left + 4, y: top + step * 0.5 + 3.5, style: `font-size: 10px; fill: ${scale.ink}` }, cell, told);
    });
  });
  return COLUMNS.length * COLUMN - 2;
}

/** A histogram as a line of shades, each from its own least to its own largest value. */
function writeHistogram(drawing, fold, rows, { x, step, kind }) {
  const { scales } = drawing.show;
  for (const { row, top, path } of rows) {
    const found = kind.read(path);
    if (!found) continue;
    const { values, edges } = found;
    const peak = Math.max(1, ...values);
    const wide = BINS_WIDE / values.length;
    values.forEach((n, i) => {
      const fill = scales.size[Math.round(255 * Math.sqrt(n / peak))].fill;
      const bin = shape("rect", { x: x + i * wide, y: top, width: wide, height: Math.max(2, step - 1), fill }, row);
      shape("title", {}, bin, `${path}, ${significant(edges[i])} to ${significant(edges[i + 1])}: ${n}`);
    });
  }
  return BINS_WIDE;
}

/** A square for each of many: how many tokens went there, or how long it took. */
export function drawGrid(drawing, group, values, x, y, what, fold = null) {
  const peak = Math.max(1, ...values.map((v) => v ?? 0));
  const ran = values.filter(Boolean).length;
  shape("text", { x, y: y + 12, class: "iv-class" }, group, fold ? `${ran} ran` : `×${values.length} ${what}, ${ran} ran`);
  const scale = drawing.show.scales[fold ? "time" : "routed"];
  values.forEach((value, k) => {
    const fill = value ? scale[Math.round(255 * (0.3 + (0.65 * value) / peak))].fill : "none";
    const place = { x: x + (k % GRID_WIDE) * SQUARE, y: y + 20 + Math.floor(k / GRID_WIDE) * SQUARE };
    const chosen = fold && k === fold.chosen ? " iv-chosen-line" : "";
    const square = shape("rect", { ...place, width: SQUARE - 1, height: SQUARE - 1, rx: 1, fill, class: `iv-square${value ? "" : " iv-none"}${chosen}` }, group);
    const told = fold ? (value ? time(value) : "not called in this run") : `${value ?? 0} choices of tokens`;
    shape("title", {}, square, `${fold ? fold.names[k] : `expert ${k}`}: ${told}`);
    if (!fold) return;
    square.addEventListener("click", (event) => {
      event.stopPropagation();
      drawing.acts.choose(fold, k);
    });
  });
}
