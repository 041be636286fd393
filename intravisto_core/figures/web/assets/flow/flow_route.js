/**
 * The route over a generation: one line for each generated token, with a square for every position that came before,
 * and the positions, layers and heads that carry most. Data: what flow_route_payload.py gives.
 */
import { announce, bus, channels, element, resolved, rootOf, writeToken } from "../shared/base.js";
import { colourScale, luminance } from "../shared/colour.js";
import { share, wholeShare } from "../shared/numbers.js";

const NAMES = ["token", "from the text so far", "positions", "layers", "heads"];

/** A square for each position; the largest of a line is full strength. */
function squares(parent, line, data, scale, act) {
  const strip = element("div", "iv-squares", parent);
  strip.setAttribute("role", "img");
  const most = Math.max(...line.sources.map((v) => Math.abs(v ?? 0)), 1e-9);
  strip.ariaLabel = `mass from ${line.sources.length} positions`;
  line.sources.forEach((mass, position) => {
    const square = element("i", mass < 0 ? "iv-negative" : "", strip);
    square.style.background = scale[Math.round(255 * Math.sqrt(Math.abs(mass ?? 0) / most))].fill;
    square.title = `position ${position} reads ${data.reads[position]}: ${share(mass)}`;
    square.addEventListener("click", () => act({ row: 0, position }));
  });
}

function chip(parent, className, act) {
  const made = element(act ? "button" : "span", `iv-bit ${className}`, parent);
  if (act) {
    made.type = "button";
    made.addEventListener("click", act);
  }
  return made;
}

function draw(root, data, send) {
  root.replaceChildren();
  const dark = luminance(channels(resolved(root, "color"))) > 0.4;
  const scale = colourScale("residual", dark);
  const act = (choice) => {
    const place = { ...choice, how: "route", rev: data.rev };
    send({ ...place, n: announce(place, root).n });
  };
  const table = element("table", "iv-timeline", root);
  const head = element("tr", "", element("thead", "", table));
  for (const name of NAMES) element("th", "", head, name).scope = "col";
  const body = element("tbody", "", table);
  for (const line of data.lines) {
    const row = element("tr", "", body);
    row.dataset.position = line.position;
    const says = line.position - 1;
    const token = chip(element("td", "iv-came", row), "iv-said", () => act({ row: data.top, position: says, target: line.position }));
    element("small", "", token, line.position);
    writeToken(element("b", "", token), data.reads[line.position]);
    token.title = `why ${data.reads[line.position]}? Shows position ${says}, which says it`;
    squares(element("td", "iv-history", row), line, data, scale, act);
    const from = element("td", "", row);
    for (const [position, mass] of line.tops) {
      const made = chip(from, "", () => act({ row: 0, position }));
      element("small", "", made, position);
      writeToken(element("b", "", made), data.reads[position]);
      made.append(` ${wholeShare(mass)}`);
    }
    const layers = element("td", "", row);
    for (const [kind, layer, mass] of line.layers) {
      const made = chip(layers, `iv-of-${kind}`, () => act({ row: layer + 1, position: says }));
      made.append(`${kind === "mlp" ? "MLP" : "attention"} ${layer} · ${wholeShare(mass)}`);
    }
    const heads = element("td", "", row);
    for (const [layer, index, mass] of line.heads) {
      chip(heads, "iv-of-attention", () => act({ row: layer + 1, position: says })).append(`L${layer}H${index} · ${wholeShare(mass)}`);
    }
  }
}

export default function ({ data, parentElement, setStateValue }) {
  const root = rootOf(parentElement, "iv-route");
  const send = (selection) => setStateValue("selection", selection);
  const again = ({ target }) => target === root && draw(root, data, send);
  draw(root, data, send);
  const mark = ({ position, target }) => {
    for (const row of root.querySelectorAll("tr[data-position]")) {
      row.classList.toggle("iv-on", Number(row.dataset.position) === (target ?? position + 1));
    }
  };
  const follow = ({ detail }) => mark(detail);
  if (bus.selection) mark(bus.selection);
  bus.addEventListener("select", follow);
  root.addEventListener("transitionend", again);
  return () => {
    bus.removeEventListener("select", follow);
    root.removeEventListener("transitionend", again);
  };
}
