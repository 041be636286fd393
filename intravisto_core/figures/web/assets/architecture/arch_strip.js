/** Beside a fold, a row for each repetition: its time, the size of its output, or what it says; many are a grid. */
import { printable } from "../shared/base.js";
import { shape } from "../shared/image.js";
import { probability, significant } from "../shared/numbers.js";
import { GRID_FROM, GRID_WIDE, SQUARE } from "./arch_layout.js";
import { time } from "./arch_words.js";

const CELL = 17;
const MOST_CELLS = 14;
const AFTER = 3; // cells after the selected position
const BAR = 62;
const NAME = 20;
const SAID = 62;

const lettering = (step) => `font-size: ${Math.min(11.5, Math.max(7, step)).toFixed(1)}px`;

/** What a strip can show of a fold, the most telling first: [name, label]. */
export function stripKinds(model, folds) {
  const has = (test) => folds.some((fold) => fold.repeat < GRID_FROM && model.membersOf(fold).some(test));
  const kinds = [];
  if (has((path) => model.data.says[path])) kinds.push(["says", "what each says"]);
  if (has((path) => model.size(path))) kinds.push(["size", "size of output"]);
  if (!model.data.timeless && folds.some((fold) => model.timesOf(fold).some((us) => us != null))) kinds.push(["time", "time"]);
  return kinds;
}

/** What is shown of this fold, since not all have all. */
function kindOf(show, fold) {
  const path = show.model.membersOf(fold)[0];
  if (show.strip === "says" && show.model.data.says[path]) return "says";
  if (show.strip !== "time" && show.model.size(path)) return "size";
  return "time";
}

/** The positions that have cells, the last ones or those around the selected one; and whose word stands beside them. */
function windowOf(show, fold) {
  const path = show.model.membersOf(fold)[0];
  const { length } = kindOf(show, fold) === "says" ? show.model.data.says[path] : show.model.size(path);
  const n = Math.min(length, MOST_CELLS);
  const at = show.position != null && show.position < length ? show.position : length - 1;
  return { n, length, at, start: Math.min(length - n, Math.max(0, at - n + 1 + AFTER)) };
}

const cellsOf = (show, fold) => windowOf(show, fold).n;

/** How wide the strip of a fold is; 0 where there is nothing to show. */
export function stripWidth(show, fold) {
  if (fold.repeat >= GRID_FROM) return GRID_WIDE * SQUARE + 16;
  const kind = kindOf(show, fold);
  if (kind === "time") return NAME + BAR + 14;
  return NAME + Math.max(100, cellsOf(show, fold) * CELL + (kind === "says" ? SAID : 10));
}

export function drawStrip(drawing, group, box, x, y, bottom) {
  const { show } = drawing;
  const { fold } = box;
  const times = show.model.timesOf(fold);
  if (fold.repeat >= GRID_FROM) return drawGrid(drawing, group, times, x, y - 16, "", fold);
  const kind = kindOf(show, fold);
  const { timeless } = show.model.data;
  let title = { says: "what each says", size: "size of each output", time: timeless ? "choose one" : "time of each" }[kind];
  if (kind !== "time") {
    const { start, n, length } = windowOf(show, fold);
    if (n < length) title += `, ${start} to ${start + n - 1} of ${length}`;
  }
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
  const write = { says: writeSays, size: writeSizes, time: writeTime }[kind];
  const wide = write(drawing, fold, rows, { x: x + NAME, step, peak, times });
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

function writeSizes(drawing, fold, rows, { x, step }) {
  const { model, scales } = drawing.show;
  const { n, start, at } = windowOf(drawing.show, fold);
  const sizes = rows.map(({ path }) => model.size(path) ?? []);
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

function writeSays(drawing, fold, rows, { x, step }) {
  const { model, scales } = drawing.show;
  const { n, start, at } = windowOf(drawing.show, fold);
  for (const { row, top, path } of rows) {
    const said = model.data.says[path] ?? [];
    for (let j = 0; j < n; j++) {
      const j0 = start + j;
      const [token, p] = said[j0] ?? ["", 0];
      const cell = shape("rect", { x: x + j * CELL, y: top, width: CELL - 1, height: Math.max(2, step - 1), rx: 1, fill: scales.says[Math.round(255 * p)].fill }, row);
      shape("title", {}, cell, `after ${path}, ${reads(model, j0)}: ${printable(token)} ${probability(p)}`);
    }
    const [token, p] = said[at] ?? ["", 0];
    const short = [...printable(token)].slice(0, 8).join("");
    shape("text", { x: x + n * CELL + 4, y: top + step * 0.5 + 4, style: lettering(step), opacity: 0.5 + 0.5 * p, class: "iv-said" }, row, short);
  }
  markColumn(rows, x, step, at - start);
  return n * CELL - 1;
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
