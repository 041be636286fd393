/**
 * The route over a generation: one line for each generated token, with squares for the positions that came before,
 * the positions that it comes from, and the layers and heads in which it differs most from the other lines. Data: what flow_route_payload.py gives.
 */
import { announce, bus, channels, element, resolved, rootOf, writeToken } from "../shared/base.js";
import { colourScale, luminance } from "../shared/colour.js";
import { PER_CENT, share, wholeShare } from "../shared/numbers.js";

const SQUARES = 60; // in a line, at most
const NAMES = ["token", "from the text so far", "positions"];
const LAST = { alone: ["layers", "heads"], several: ["layers that differ most", "heads that differ most"] };

/** A square for each position, or for a few neighbours, whose heaviest it shows; the largest of a line is full strength. */
function squares(parent, line, data, scale, act) {
  const strip = element("div", "iv-squares", parent);
  strip.setAttribute("role", "img");
  const masses = line.sources.map((mass) => mass ?? 0);
  const most = Math.max(...masses.map(Math.abs), 1e-9);
  const together = Math.ceil(masses.length / SQUARES);
  strip.ariaLabel = `mass from ${masses.length} positions${together > 1 ? `, ${together} to a square` : ""}`;
  for (let first = 0; first < masses.length; first += together) {
    const last = Math.min(first + together, masses.length) - 1;
    let position = first;
    for (let other = first + 1; other <= last; other += 1) {
      if (Math.abs(masses[other]) > Math.abs(masses[position])) position = other;
    }
    const mass = masses[position];
    const square = element("i", mass < 0 ? "iv-negative" : "", strip);
    square.style.background = scale[Math.round(255 * Math.sqrt(Math.abs(mass) / most))].fill;
    const among = together > 1 ? `the heaviest of positions ${first} to ${last}: ` : "";
    square.title = `${among}position ${position} reads ${data.reads[position]}: ${share(line.sources[position])}`;
    square.addEventListener("click", () => act({ row: 0, position }));
  }
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
  const several = data.lines.length > 1;
  for (const name of [...NAMES, ...LAST[several ? "several" : "alone"]]) element("th", "", head, name).scope = "col";
  const body = element("tbody", "", table);
  if (several) drawCommon(body, data);
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
    const go = (layer) => () => act({ row: layer + 1, position: says });
    const layers = element("td", "", row);
    for (const each of line.layers) part(layers, each, go(each[1]));
    const heads = element("td", "", row);
    for (const each of line.heads) headOf(heads, each, go(each[0]));
  }
}

/** What all lines have in common, told once. */
function drawCommon(body, data) {
  const row = element("tr", "iv-common", body);
  const words = element("td", "", row, "all tokens, on average");
  words.colSpan = 3;
  const layers = element("td", "", row);
  for (const each of data.commonLayers) part(layers, each);
  const heads = element("td", "", row);
  for (const each of data.commonHeads) headOf(heads, each);
}

/** A share, and where it is not the usual one by how many percentage points. */
function amount(parent, mass, apart) {
  const tenths = `${(100 * Math.abs(mass)).toFixed(1)}${PER_CENT}`;
  parent.append(` · ${Math.abs(mass) < 0.0995 ? (mass < 0 && tenths !== `0.0${PER_CENT}` ? "−" : "") + tenths : wholeShare(mass)}`);
  if (apart == null) return;
  const points = 100 * apart;
  const text = `${apart < 0 ? "−" : "+"}${Math.abs(points) < 1 ? Math.abs(points).toPrecision(1) : Math.round(Math.abs(points))}`;
  element("em", apart < 0 ? "iv-less" : "iv-more", parent, text);
  parent.title = `${share(mass)}, ${text} percentage points beside the mean of all tokens`;
}

function part(parent, [kind, layer, mass, apart], act) {
  const made = chip(parent, `iv-of-${kind}`, act);
  made.append(`${kind === "mlp" ? "MLP" : "attention"} ${layer}`);
  amount(made, mass, apart);
}

function headOf(parent, [layer, index, mass, apart], act) {
  const made = chip(parent, "iv-of-attention", act);
  made.append(`L${layer}H${index}`);
  amount(made, mass, apart);
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
