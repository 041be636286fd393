/** One module in words: what it is made of, what it was given and gave, what was measured, how to hook it. */
import { element, printable } from "../shared/base.js";
import { share } from "../shared/numbers.js";
import { drawMeasured } from "./arch_measured.js";
import { bytes, count, shapeText, time } from "./arch_words.js";

const MOST_ITEMS = 12;

export function drawDetail(root, show, acts) {
  const { model, selected: node } = show;
  const call = model.callOf(node);
  const path = model.pathOf(node);
  root.replaceChildren();
  element("h3", "", root, printable(path || model.root.name));
  element("div", "iv-class-line", root, node.cls + (node.times > 1 ? ` · one of ${node.times}` : ""));
  const list = element("dl", "", root);
  const row = (name) => {
    element("dt", "", list, printable(name));
    return element("dd", "", list);
  };
  writeSize(row, node, model);
  for (const tensor of node.tensors ?? []) writeTensor(row(tensor[0]), tensor, model.deviceOf(node));
  if (node.same) row("the same module as").append(node.same);
  if (node.built) row("built with").append(node.built);
  writeRun(row, call, model, path);
  for (const what of ["output", "input"]) {
    for (const each of model.measured(path, what)) {
      drawMeasured(root, each, show, {
        remove: () => acts.detach(path, each),
        turn: (axes) => acts.turn(path, what, axes),
      });
    }
  }
  if (model.data.attach && path) writeAttach(root, model, node, acts);
  writeCode(root, model, path, call);
}

function writeSize(row, node, model) {
  const total = node.total * node.times;
  const cell = row("parameters");
  cell.append(node.total.toLocaleString("en-US") + (node.times > 1 ? ` (${count(total)} in all)` : ""));
  if (!model.root.total) return;
  const part = total / model.root.total;
  element("i", "", element("div", "iv-share", cell)).style.width = `${100 * Math.min(1, part)}%`;
  element("small", "", cell, `${share(part)} of the model`);
  row("in memory").append(bytes(node.bytes * node.times));
}

function writeTensor(cell, [, sizes, dtype, device, n, kind, quantised, shared], otherDevice) {
  cell.append(`${sizes.join(" × ") || "one number"} ${dtype}`);
  const more = [kind === "buffer" ? "buffer" : "", quantised, bytes(n), otherDevice ?? device];
  element("small", "", cell, more.filter(Boolean).join(" · "));
  if (shared) element("small", "iv-shared", cell, `shared with ${shared.join(", ")}`);
}

function writeRun(row, call, model, path) {
  const { run } = model.data;
  if (!call) {
    if (!run) row("run").append("nothing was run yet");
    else row("run").append("not called in this run");
    return;
  }
  const input = row("input");
  call.in.slice(0, MOST_ITEMS).forEach(([name, shape]) => writeShape(element("div", "", input), shape, /^\d+$/.test(name) ? "" : name));
  if (call.in.length > MOST_ITEMS) element("small", "", input, `and ${call.in.length - MOST_ITEMS} more`);
  if (!call.in.length) input.append("nothing");
  const output = row("output");
  if (call.out == null && run.failed != null) output.append("none: the run failed inside");
  else writeShape(element("div", "", output), call.out, "");
  const often = call.n === 1 ? "" : ` in ${call.n} calls`;
  if (!model.data.timeless) row("time").append(`${time(call.us)}${often}`);
  else if (often) row("calls").append(String(call.n));
  row("order").append(`call ${call.order + 1} of ${run.ran}`);
  if (run.failed === path) element("div", "iv-error", row("failed"), run.error);
}

/** A shape as a tree, the dimension that counts tokens marked. */
function writeShape(parent, shape, name, depth = 0) {
  if (name) parent.append(`${name}: `);
  if (shape == null || typeof shape === "string") {
    parent.append(shape ?? "nothing");
  } else if (Array.isArray(shape)) {
    const [dtype, sizes, tokens] = shape;
    if (!sizes.length) parent.append("one number");
    sizes.forEach((size, i) => {
      if (i) parent.append(" × ");
      const made = element(i === tokens ? "b" : "span", i === tokens ? "iv-tokens" : "", parent, String(size));
      if (i === tokens) made.title = "as many as the text has tokens";
    });
    element("small", "", parent, ` ${dtype}`);
  } else {
    element("span", "iv-container", parent, shape.kind);
    for (const [item, inner] of shape.items.slice(0, MOST_ITEMS)) {
      const line = element("div", "iv-item-line", parent);
      writeShape(line, inner, item, depth + 1);
    }
    if (shape.items.length > MOST_ITEMS) element("div", "iv-item-line", parent, `and ${shape.items.length - MOST_ITEMS} more`);
  }
}

function writeAttach(root, model, node, acts) {
  const path = model.pathOf(node);
  if (model.data.says[path]) {
    const button = element("button", "iv-button iv-go", root, "see it in the heatmap");
    button.type = "button";
    button.addEventListener("click", () => acts.openLayer(path, "heatmap"));
  }
  const layer = Object.keys(model.data.says).find((each) => path.startsWith(`${each}.`));
  if (layer && node.role === "attention") {
    const button = element("button", "iv-button iv-go", root, "see what its heads look at");
    button.type = "button";
    button.addEventListener("click", () => acts.openLayer(layer, "attention"));
  }
  element("h4", "", root, "measure in every run");
  const { paths } = model.allOf(node, true);
  const tick = (name, words) => {
    const label = element("label", "iv-all", root);
    const box = element("input", "", label);
    Object.assign(box, { type: "checkbox", name });
    label.append(words);
    return box;
  };
  const all = paths.length > 1 ? tick("all", `at all ${paths.length}`) : null;
  const input = tick("input", "of its input");
  const line = element("div", "iv-attach", root);
  for (const [statistic, label, help] of model.data.statistics) {
    if (!fits(statistic, model, node)) continue;
    const button = element("button", "iv-button", line, label);
    button.type = "button";
    button.title = help;
    button.dataset.statistic = statistic;
    button.addEventListener("click", () => {
      const what = input.checked && statistic !== "attention" ? "input" : "output";
      acts.attach(node, statistic, what, Boolean(all?.checked));
    });
  }
}

/** Tokens are read of vectors as wide as the stream or the vocabulary; attention is given by what computes it. */
function fits(statistic, model, node) {
  if (statistic === "attention") return firstTensor(model.callOf(node)?.out, 1)?.[1].length === 4;
  if (statistic !== "tokens") return true;
  const width = firstTensor(model.callOf(node)?.out, 0)?.[1].at(-1);
  return Boolean(model.data.reads?.includes(width));
}

/** A tensor of a shape tree, counted from 0, as [type, sizes, …]; null where there is none. */
function firstTensor(shape, n) {
  const listed = (each) => (Array.isArray(each) ? [each] : (each?.items ?? []).flatMap(([, item]) => listed(item)));
  return listed(shape)[n] ?? null;
}

const short = (text) => (text.length > 60 ? `${text.slice(0, 59)}…` : text);

/** A call of the whole with zeros in the shapes of the last run, in Python; null where it was given more than tensors. */
function writeCall(model) {
  const device = model.data.timeless ? ', device="meta"' : "";
  const given = (model.root.call?.in ?? []).map(([name, shape]) => {
    if (!Array.isArray(shape)) return null;
    const type = shape[0] === "float32" ? "" : `, dtype=torch.${shape[0]}`;
    const value = `torch.zeros(${shape[1].length ? shape[1].join(", ") : "()"}${type}${device})`;
    return /^\d+$/.test(name) ? value : `${name}=${value}`;
  });
  return given.length && !given.includes(null) ? `inspector.forward(${given.join(", ")})` : null;
}

function writeCode(root, model, path, call) {
  const { data } = model;
  const who = data.engine ? "engine" : "inspector";
  const text = JSON.stringify(data.run?.text || "a text");
  const zeros = data.engine || data.run?.text || !data.run ? null : writeCall(model);
  const run = data.engine ? `engine.trace(${text})` : data.run?.text || !data.run ? `inspector.forward_text(${text})` : (zeros ?? "inspector.forward(...)");
  const code = [
    ...(zeros ? ["import torch", ""] : []),
    "def seen(module, input, output):",
    `    ...  # output: ${call ? short(shapeText(call.out)) : "not known yet"}`,
    "",
    `with ${who}.hook() as hook:`,
    `    hook.post(${JSON.stringify(path)}, seen)`,
    `    ${run}`,
  ].join("\n");
  const head = element("h4", "", root, "hook");
  const button = element("button", "iv-button", head, "copy");
  button.type = "button";
  element("pre", "", root, code);
  button.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(code);
    button.textContent = "copied";
  });
}
