/** The third section: a map of layer × heads and MLP, and the parts that add or take most, with what they write. */
import { element, writeToken } from "../shared/base.js";
import { shape } from "../shared/image.js";
import { addButton, writeText } from "./explain_band.js";

const MAP_HEIGHT = 302;
const MAP_WIDTH = 150;
const LEFT = 22;
const HEAD_LINE = 14;
const MLP = 20;
const BETWEEN = 6;
const TALLEST = 24;
const WIDEST = 16;
const POWER = 0.8;

const colourOf = (scale, value, largest) => scale[Math.round(127.5 * (1 + Math.sign(value) * Math.min(1, Math.abs(value) / largest) ** POWER))].fill;

function drawMap(card, parent) {
  const { who } = card.data;
  const wide = Math.min(WIDEST, (MAP_WIDTH - MLP - BETWEEN) / who.heads);
  const tall = Math.min(TALLEST, (MAP_HEIGHT - HEAD_LINE) / who.layers);
  const gap = tall > 6 && wide > 6 ? 1 : 0;
  const x = (head) => (head < 0 ? LEFT + wide * who.heads + BETWEEN : LEFT + wide * head);
  const y = (layer) => HEAD_LINE + tall * (who.layers - 1 - layer);
  const width = LEFT + wide * who.heads + BETWEEN + MLP + 3;
  const svg = shape("svg", { width, height: HEAD_LINE + tall * who.layers + 3, class: "iv-map", role: "img", "aria-label": "what every head and MLP adds; the list beside it names the largest" }, parent);
  const every = [1, 5, 10, 20].find((step) => step * tall >= 14) ?? 40;
  const last = who.layers - 1;
  for (let layer = 0; layer <= last; layer++) {
    if (layer !== last && (layer % every || (last - layer) * tall < 12)) continue;
    shape("text", { x: LEFT - 4, y: y(layer) + tall / 2 + 4, class: "iv-scale iv-end" }, svg, String(layer));
  }
  const some = [1, 2, 4, 8, 16, 32].find((step) => step * wide >= 12) ?? 64;
  for (let head = 0; head < who.heads; head += some) shape("text", { x: x(head) + wide / 2, y: 10, class: "iv-scale iv-middle" }, svg, String(head));
  shape("text", { x: x(-1) + MLP / 2, y: 10, class: "iv-scale iv-middle" }, svg, "MLP");
  for (const part of who.parts) {
    const cell = shape("rect", { x: x(part.head), y: y(part.layer), width: (part.head < 0 ? MLP : wide) - gap, height: tall - gap, fill: colourOf(card.scales.part, part.value, who.scale) }, svg);
    cell.addEventListener("click", () => card.choose(part.part));
    shape("title", {}, cell, `${part.name} ${part.number}`);
  }
  const chosen = who.parts.find(({ part }) => part === card.chosen);
  if (!chosen) return;
  const box = { x: x(chosen.head) - 2, y: y(chosen.layer) - 2, width: (chosen.head < 0 ? MLP : wide) + 4 - gap, height: tall + 4 - gap, fill: "none" };
  shape("rect", { ...box, class: "iv-around" }, svg);
  shape("rect", { ...box, class: "iv-chosen" }, svg);
}

function addBar(cell, value, largest) {
  const bar = element("span", "iv-adds", cell);
  const fill = element("i", value < 0 ? "iv-less" : "", bar);
  const size = Math.min(1, Math.abs(value) / largest);
  fill.style.cssText = value < 0 ? `right:62%;width:${38 * size}%` : `left:38%;width:${62 * size}%`;
}

function addLooks(cell, part) {
  if (part.looks == null) return element("span", "iv-quiet", cell, "–");
  if (part.at == null || part.looks === "itself") element("span", "iv-quiet", cell, part.looks);
  else writeToken(element("span", "", cell), part.looks);
  if (part.weight) element("span", "iv-weight", cell, part.weight);
  return cell;
}

function addWrites(cell, words) {
  if (!words) return element("span", "iv-quiet", cell, "–");
  cell.title = `${words.words.map(({ text }) => text).join(" ")}: ${words.about}`;
  if (!words.words.length) return element("span", "iv-quiet", cell, "no plain words");
  element("span", words.down ? "iv-down-sign" : "iv-up-sign", cell, words.down ? "▼" : "▲");
  for (const { text, hit } of words.words) writeToken(element("span", `iv-writes${hit ? " iv-hit" : ""}${words.muted ? " iv-quiet" : ""}`, cell), text);
  return cell;
}

/** Words that do not fit go, and none is cut; the looked-for word is the last to go. */
function keepWholeWords(cell) {
  const end = cell.getBoundingClientRect().right - parseFloat(getComputedStyle(cell).paddingRight);
  for (;;) {
    const words = [...cell.querySelectorAll(".iv-writes")];
    if (words.length < 2 || words.at(-1).getBoundingClientRect().right <= end + 0.5) return;
    (words.filter((word) => !word.classList.contains("iv-hit")).at(-1) ?? words.at(-1)).remove();
  }
}

function addDetail(card, body, part) {
  const row = element("tr", "iv-detail", body);
  const cell = element("td", "", row);
  cell.colSpan = 5;
  const line = element("div", "iv-doing", cell);
  const place = { kind: part.kind, layer: part.layer, head: part.head, row: part.layer + 1 };
  if (card.data.links) {
    if (part.kind === "head") addButton(line, "Attention", "Where this head looks, and why", `look-${part.part}`, () => card.send({ do: "open", to: "attention", key: part.at ?? null, ...place }));
    const name = part.kind === "head" ? "Attribution" : "Heatmap";
    const to = part.kind === "head" ? "attribution" : "part";
    addButton(line, name, part.kind === "head" ? "This head among all parts" : "What this MLP wrote, in the heatmap", `open-${part.part}`, () => card.send({ do: "open", to, ...place }));
    addButton(line, "Test this", "Is it so on other prompts, and more than chance does?", `test-${part.part}`, () => card.send({ do: "test", ...place }));
    addButton(line, "Ablate", "Run again without what it writes here: a plain edit", `ablate-${part.part}`, () => card.send({ do: "ablate", ...place }));
  }
  element("span", "iv-quiet", line, part.aside);
}

function addRow(card, body, part, largest) {
  const { who, words } = card.data;
  const on = part.part === card.chosen;
  const row = element("tr", `iv-row${on ? " iv-on" : ""}`, body);
  row.tabIndex = 0;
  row.dataset.at = `part-${part.part}`;
  row.setAttribute("aria-expanded", String(on));
  element("td", part.kind === "head" ? "iv-attention-name" : "iv-mlp-name", row, part.name);
  const adds = element("td", "", row);
  addBar(adds, part.value, largest);
  adds.append(part.number);
  addLooks(element("td", "", row), part);
  addWrites(element("td", "", row), who.words[part.part]);
  element("td", "iv-num", row, part.without || (words.tested && who.words[part.part] ? "…" : "–"));
  row.addEventListener("click", () => card.choose(on ? null : part.part));
  row.addEventListener("keydown", (event) => move(card, event, row));
  if (on) addDetail(card, body, part);
}

function move(card, event, row) {
  if (event.target !== row) return;
  if (event.key === "Enter" || event.key === " ") row.click();
  else if (event.key === "Escape") card.choose(null);
  else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const rows = [...row.parentElement.querySelectorAll(".iv-row")];
    rows[rows.indexOf(row) + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
  } else return;
  event.preventDefault();
}

export function drawWho(card, parent) {
  const { data } = card;
  const { who } = data;
  const part = element("div", "iv-part iv-who", parent);
  const head = element("h3", "", part);
  element("span", "iv-count", head, "3");
  head.append(" Who adds to it");
  writeText(element("small", "", head), who.about);
  const both = element("div", "iv-beside", part);
  drawMap(card, both);
  const table = element("table", "iv-table", both);
  const columns = element("colgroup", "", table);
  for (const kind of ["name", "adds", "looks", "writes", "without"]) element("col", `iv-col-${kind}`, columns);
  const top = element("tr", "", element("thead", "", table));
  for (const name of ["part", "adds", "looks at", "writes ▲, pushes down ▼", "without it"]) {
    const cell = element("th", name === "without it" ? "iv-num" : "", top, name);
    cell.scope = "col";
  }
  const body = element("tbody", "", table);
  const byNumber = new Map(who.parts.map((each) => [each.part, each]));
  const shown = [...who.rows];
  if (card.chosen != null && !shown.includes(card.chosen)) shown.push(card.chosen);
  const parts = shown.map((number) => byNumber.get(number)).filter(Boolean);
  const largest = Math.max(...parts.map(({ value }) => Math.abs(value)), 1e-9);
  for (const each of parts) addRow(card, body, each, largest);
  for (const cell of body.querySelectorAll(".iv-row td:nth-child(4)")) keepWholeWords(cell);
  const rest = who.total - parts.reduce((sum, { value }) => sum + value, 0);
  const last = element("tr", "iv-others", body);
  element("td", "iv-quiet", last, `${(who.others - parts.length).toLocaleString("en-US")} others`).title = "All other parts together: heads, MLPs, embeddings, biases";
  const adds = element("td", "", last);
  element("span", "iv-adds iv-none", adds);
  adds.append(`${rest < 0 ? "−" : "+"}${Math.abs(rest).toPrecision(3)}`);
  const sums = element("td", "iv-quiet", last);
  sums.colSpan = 2;
  sums.textContent = `sum ${who.sum}: ${who.sums}`;
  sums.title = sums.textContent;
  element("td", "iv-num iv-quiet", last, data.words.now);
}
