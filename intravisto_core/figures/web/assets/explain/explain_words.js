/** The first section: the words as chips, arcs from those that the heads look at, what hiding a word does. */
import { element, resolved, writeToken } from "../shared/base.js";
import { measurer, shape } from "../shared/image.js";
import { addButton, writeText } from "./explain_band.js";

const LABELS = 104;
const OUT = 96;
const ARROW = 26;
const GAP = 4;
const FOLDED = 30;
const LABEL_EDGES = 14;
const WIDEST = 104;
const NARROWEST = 38;
const BRIEF = 56;
const CHIP = { size: 13.5, weight: 650, edges: 14 }; // of a word's letters, and px beside them
const ARC_TOP = 12;
const ARC_STEP = 19;
const LEAST_STROKE = 1.5;
const MOST_STROKE = 8;
const STRONGEST = 0.84;

/** Opens another page at a word's column; words of a page by itself lead nowhere. */
function chipOf(card, parent, column) {
  const link = card.data.links && column.position != null;
  const chip = element(link ? "button" : "span", `iv-word iv-${column.kind}`, parent);
  if (link) {
    chip.type = "button";
    chip.dataset.at = `word-${column.position}`;
    chip.addEventListener("click", () => card.send({ do: "open", to: "heatmap", position: column.position, row: card.data.top }));
  }
  const where = column.position == null ? "" : `position ${column.position} ${column.token}: `;
  chip.title = `${where}${column.about}${link ? ". Click: its column in the heatmap" : ""}`;
  return chip;
}

function drawArcs(svg, data, centre, height) {
  const largest = Math.max(...data.arcs.map((arc) => arc.value));
  const last = data.columns.length - 1;
  const places = data.arcs.map((arc) => ({ arc, at: data.columns.findIndex((c) => c.position === arc.position) })).filter(({ at }) => at >= 0);
  return places
    .sort((a, b) => a.at - b.at)
    .map(({ arc, at }, inner) => {
      const up = ARC_TOP + ARC_STEP * inner;
      const from = centre(at);
      const to = centre(last) + 8 - 13 * inner;
      const bend = Math.min(40, (to - from) / 2);
      const d = `M${from} ${height}C${from} ${up},${from + 0.35 * bend} ${up},${from + bend} ${up}L${to - bend} ${up}C${to - 0.35 * bend} ${up},${to} ${up},${to} ${height}`;
      shape("path", { d, class: "iv-arc", "stroke-width": Math.max(LEAST_STROKE, (MOST_STROKE * arc.value) / largest) }, svg);
      return { arc, up, middle: (from + to) / 2, room: to - from - 0.7 * bend };
    });
}

/**
 * Widths of the columns: all words as wide, where each can be read so; else each as wide as it needs, and more where
 * there is room. Words that do not fit then are scrolled.
 */
function layWords(columns, room, measure) {
  const isGap = ({ kind }) => kind === "gap";
  const needed = columns.map((c) => (isGap(c) ? 0 : Math.max(NARROWEST, Math.min(WIDEST, chipWidth(c.token, measure)))));
  const gaps = columns.filter(isGap).length;
  const n = columns.length - gaps;
  const each = Math.min(WIDEST, (room - gaps * (FOLDED + GAP)) / n - GAP);
  const spare = Math.max(0, each - needed.reduce((sum, width) => sum + width, 0) / n);
  const even = each >= Math.max(...needed);
  return columns.map((c, i) => (isGap(c) ? FOLDED : even ? each : Math.min(WIDEST, needed[i] + spare)));
}

function chipWidth(token, measure) {
  return Math.ceil(measure(token, CHIP.size, CHIP.weight)) + CHIP.edges;
}

export function drawWords(card) {
  const { data, scales } = card;
  const words = data.words;
  const part = element("div", "iv-part iv-words", card.card);
  const head = element("h3", "", part);
  element("span", "iv-count", head, "1");
  head.append(" Which words it uses");
  element("small", "", head, words.about);
  drawProgress(card, head);
  const measure = measurer(resolved(card.card, "font-family"));
  const room = part.clientWidth - 34;
  const labels = room < 760 ? 84 : LABELS;
  const out = Math.max(Math.min(OUT, Math.max(80, room / 10)), Math.min(WIDEST, chipWidth(data.target, measure)));
  const widths = layWords(words.columns, room - labels - out - ARROW, measure);
  const starts = widths.map((_, i) => labels + widths.slice(0, i).reduce((sum, each) => sum + each + GAP, 0));
  const scroller = element("div", "iv-sideways", part);
  const whole = labels + widths.reduce((sum, each) => sum + each + GAP, 0) + ARROW + out;
  const field = element("div", "iv-field", scroller);
  field.style.width = `${Math.max(whole, 1)}px`;
  const centre = (i) => starts[i] + widths[i] / 2;
  const height = words.arcs.length ? ARC_TOP + ARC_STEP * (words.arcs.length - 1) + 30 : 8;
  const svg = shape("svg", { width: whole, height, class: "iv-arcs", "aria-hidden": true }, field);
  for (const { arc, up, middle, room: most } of drawArcs(svg, words, centre, height)) {
    const label = element("span", "iv-label", field);
    label.style.cssText = `left:${middle}px;top:${up}px`;
    const text = arc.texts.find((each) => measure(`${each} ${arc.number}`, 12.5, 650) + LABEL_EDGES <= most) ?? "";
    writeText(element("b", "", label), text);
    label.append(` ${arc.number}`);
    label.title = `${arc.texts[0]} ${arc.number}`;
  }
  const grid = element("div", "iv-chips", field);
  grid.style.gridTemplateColumns = `${labels - GAP}px ${widths.map((each) => `${each}px`).join(" ")} ${ARROW - GAP}px ${out}px`;
  // words that are scrolled go under it, as their numbers do
  element("span", "iv-line iv-corner", grid);
  for (const column of words.columns) {
    const chip = chipOf(card, grid, column);
    writeToken(chip, column.token);
    if (column.kind !== "word") continue;
    const { fill, ink } = scales.word[Math.round(255 * (0.04 + STRONGEST * column.shade ** 1.3))];
    chip.style.background = fill;
    chip.style.color = ink;
  }
  element("span", "iv-arrow", grid, "→");
  const said = element(data.links ? "button" : "span", "iv-word iv-said", grid);
  writeToken(said, data.target);
  said.title = `says ${data.target}`;
  if (data.links) {
    said.type = "button";
    said.dataset.at = "said";
    said.addEventListener("click", () => card.send({ do: "open", to: "heatmap", row: data.top }));
  }
  drawLine(grid, words.shareName, words.columns.map((c) => ({ text: c.share, quiet: c.kind !== "word" })), { text: "" });
  const hidden = words.columns.map((c, i) => ({ text: (widths[i] < BRIEF && c.brief) || c.hidden || "", strong: c.halves, quiet: !c.halves }));
  if (words.tested) drawLine(grid, words.hiddenName, hidden, { text: words.now, strong: true });
  keepScroll(card, scroller);
  const columns = starts.map((start, i) => ({ start: start - labels, end: start + widths[i], cells: grid.querySelectorAll(`:scope > :nth-child(${widths.length + 3}n + ${i + 2})`) }));
  showWhole(scroller, columns);
  scroller.addEventListener("scroll", () => showWhole(scroller, columns), { passive: true });
}

/** A column that is in sight in part only is not shown: half of a number is another number. */
function showWhole({ scrollLeft, clientWidth }, columns) {
  for (const { start, end, cells } of columns) {
    const whole = start >= scrollLeft - 2 && end <= scrollLeft + clientWidth + 2;
    for (const cell of cells) cell.style.visibility = whole ? "" : "hidden";
  }
}

/** Words that do not fit are scrolled: at first to the end, where the prediction stands, then as the reader left them. */
function keepScroll(card, scroller) {
  scroller.classList.toggle("iv-over", scroller.scrollWidth > scroller.clientWidth);
  scroller.scrollLeft = card.scrolled ?? scroller.scrollWidth;
  scroller.addEventListener("scroll", () => (card.scrolled = scroller.scrollLeft));
}

/** How far the tests are, which fill the last line and column of the card, and a way to end them. */
function drawProgress(card, parent) {
  const { progress } = card.data;
  if (!progress) return;
  const { done, total, stopped } = progress;
  const line = element("span", "iv-progress", parent);
  const bar = element("span", "iv-done", line);
  element("i", "", bar).style.width = `${total ? (100 * done) / total : 0}%`;
  element("span", "", line, stopped ? `stopped after ${done} of ${total} tests` : total ? `test ${done} of ${total}` : "tests wait");
  if (stopped) addButton(line, "Go on", "Make the tests that are left", "resume", () => card.send({ do: "resume" }));
  else addButton(line, "Stop", "Leave it at the tests that are made", "stop", () => card.send({ do: "stop" }));
}

function drawLine(grid, name, cells, end) {
  writeText(element("span", "iv-line", grid), name);
  for (const { text, strong, quiet } of cells) element(strong ? "b" : "span", `iv-cell-text${quiet ? " iv-quiet" : ""}`, grid, text);
  element("span", "", grid);
  element(end.strong ? "b" : "span", "iv-cell-text", grid, end.text);
}
