/** What was measured at one side of a module: numbers, bars, a strip by position, or a picture. */
import { element, printable } from "../shared/base.js";
import { shape } from "../shared/image.js";
import { probability, share, significant } from "../shared/numbers.js";

const SUMMARY = ["mean", "standard deviation", "least", "largest", "zeros", "no numbers"];
const TITLES = { summary: "statistics", size: "size by position", histogram: "histogram", matrix: "picture", tokens: "top tokens", attention: "attention" };
const WIDE = 250;
const HIGH = 70;

/** acts: remove(), and turn([x, y, spread]) of a picture. */
export function drawMeasured(root, found, show, acts) {
  const where = found.statistic === "attention" ? "" : ` of the ${found.what}`;
  const head = element("h4", "", root, TITLES[found.statistic] + where);
  if (found.now) element("small", "iv-now", head, found.statistic === "size" || found.statistic === "tokens" ? "so far" : "newest token");
  if (found.attached) {
    const button = element("button", "iv-button", head, "remove");
    button.type = "button";
    button.addEventListener("click", acts.remove);
  }
  const box = element("div", `iv-measured iv-of-${found.statistic}`, root);
  ({ summary, size, histogram, matrix, tokens, attention })[found.statistic](box, found, show);
  if (found.statistic === "matrix" && found.attached && !found.now) chooseAxes(root, found, acts.turn);
}

function summary(box, { values }) {
  const list = element("dl", "", box);
  values.forEach((value, i) => {
    element("dt", "", list, SUMMARY[i]);
    element("dd", "", list, SUMMARY[i] === "zeros" ? share(value) : significant(value));
  });
}

function size(box, { values }, { model, scales }) {
  const peak = Math.max(1e-12, ...values.slice(values.length > 1 ? 1 : 0).map((v) => v ?? 0));
  box.style.gridTemplateColumns = `repeat(${values.length}, minmax(1px, 1fr))`;
  values.forEach((value, j) => {
    const cell = element("i", "", box);
    cell.style.background = scales.size[Math.round(255 * Math.min(1, ((value ?? 0) / peak) * 0.95))].fill;
    const token = model.data.run?.tokens[j];
    cell.title = `position ${j}${token ? ` ‘${token}’` : ""}: ${significant(value)}`;
  });
}

function histogram(box, { values, edges }) {
  const svg = shape("svg", { width: "100%", viewBox: `0 0 ${WIDE} ${HIGH + 14}` }, box);
  const peak = Math.max(1, ...values);
  const step = WIDE / values.length;
  values.forEach((n, i) => {
    const high = (HIGH * n) / peak;
    const bar = shape("rect", { x: i * step, y: HIGH - high, width: step - 1, height: high, class: "iv-column" }, svg);
    shape("title", {}, bar, `${significant(edges[i])} to ${significant(edges[i + 1])}: ${n}`);
  });
  shape("text", { x: 0, y: HIGH + 12, class: "iv-class" }, svg, significant(edges[0]));
  shape("text", { x: WIDE, y: HIGH + 12, class: "iv-class iv-end" }, svg, significant(edges.at(-1)));
}

/** A row a position: what it reads, and the likeliest tokens there. */
function tokens(box, { values, read, first }, { model }) {
  const table = element("table", "", box);
  values.forEach((row, j) => {
    const line = element("tr", "", table);
    const at = first + j;
    element("th", "", line, printable(model.data.run?.tokens[at] ?? String(at))).title = `position ${at}`;
    row.forEach((p, k) => {
      const cell = element("td", "", line, read[j][k]);
      cell.style.opacity = 0.65 + 0.35 * (p ?? 0);
      cell.title = `${read[j][k]} ${probability(p ?? 0)}`;
    });
  });
}

/** The heads side by side, or their mean where they do not fit. */
function attention(box, found, show) {
  const peaks = found.values.map((panel) => Math.max(1e-12, ...panel.flat().map((v) => v ?? 0)));
  paint(box, found.values, (value, k) => show.scales.size[Math.round(255 * Math.sqrt(Math.max(0, value) / peaks[k]))].fill, (k) => `${found.mean ? "mean" : `head ${k}`}; largest ${share(peaks[k])}`);
  const [heads, queries, keys] = found.shape.slice(-3);
  const [high, wide] = [found.values[0].length, found.values[0][0]?.length ?? 0];
  const what = found.mean ? `mean of ${found.mean} heads` : found.values.length < heads ? `heads 0 to ${found.values.length - 1} of ${heads}` : `${heads} heads`;
  const cut = high < queries || wide < keys ? `, the first ${high} × ${wide} of ${queries} × ${keys}` : "";
  element("small", "iv-muted", box, `${what}: queries down, keys across${cut}`);
}

/** Which dimension goes where; what is chosen at one place leaves another. */
function chooseAxes(root, { axes, shape: sizes }, turn) {
  const line = element("div", "iv-axes", root);
  const boxes = ["right", "down", "side by side"].map((name, i) => {
    const label = element("label", "", line, name);
    const box = element("select", "", label);
    if ((i === 2 && sizes.length < 4) || (i === 1 && sizes.length < 2)) box.add(new Option("–", ""));
    sizes.forEach((size, axis) => box.add(new Option(`${axis} (${size})`, axis)));
    box.value = axes[i] ?? "";
    box.dataset.axis = ["x", "y", "spread"][i];
    return box;
  });
  const read = (box) => (box.value === "" ? null : Number(box.value));
  boxes.forEach((box, i) =>
    box.addEventListener("change", () => {
      const chosen = boxes.map(read);
      chosen.forEach((axis, j) => {
        if (j !== i && axis !== null && axis === chosen[i]) chosen[j] = axes[i];
      });
      turn(chosen);
    }),
  );
  const averaged = sizes.map((_, axis) => axis).filter((axis) => !axes.includes(axis) && sizes[axis] > 1);
  if (averaged.length) element("small", "iv-muted", root, `mean over dimension ${averaged.join(", ")}`);
}

function matrix(box, { values, axes, shape: sizes }, { scales }) {
  const peak = Math.max(1e-12, ...values.flat(2).map((v) => Math.abs(v ?? 0)));
  const fill = (value) => scales.signed[Math.round(127.5 * (1 + value / peak))].fill;
  const title = (k) => `${values.length > 1 ? `${k} of dimension ${axes[2]}, ` : ""}to the right dimension ${axes[0]}, down dimension ${axes[1] ?? "–"}; largest ${significant(peak)}`;
  paint(box, values, fill, title);
  const drawn = [values[0][0]?.length ?? 0, values[0].length, values.length];
  const cut = ["to the right", "down", "side by side"].flatMap((where, i) => {
    const all = sizes[axes[i]] ?? 1;
    return drawn[i] < all ? [`${drawn[i]} of ${all} ${where}`] : [];
  });
  if (cut.length) element("small", "iv-muted iv-cut", box, `the first ${cut.join(", ")}`);
}

/** Each panel as pixels. fill(value, panel), title(panel). */
function paint(box, values, fill, title) {
  for (const [k, panel] of values.entries()) {
    const canvas = element("canvas", "", box);
    canvas.width = panel[0]?.length ?? 1;
    canvas.height = panel.length;
    const context = canvas.getContext("2d");
    panel.forEach((row, y) =>
      row.forEach((value, x) => {
        context.fillStyle = fill(value ?? 0, k);
        context.fillRect(x, y, 1, 1);
      }),
    );
    canvas.title = title(k);
  }
}
