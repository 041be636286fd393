/** What a strip beside a fold can show of each repetition: its words, sizes, time, or whatever was measured at all of them. */
import { GRID_FROM } from "./arch_layout.js";

const LABELS = { summary: "statistics", size: "size", histogram: "histogram", tokens: "top tokens" };
const FORMS = { summary: "summary", size: "sizes", histogram: "histogram", tokens: "says" };
const MOST_ATTACHED = 6;

const says = (model) => ({ key: "says", label: "what each says", form: "says", title: "what each says", read: (path) => model.data.says[path] ?? null });
const size = (model) => ({ key: "size", label: "size of output", form: "sizes", title: "size of each output", read: (path) => model.size(path) });
const time = (model) => ({ key: "time", label: "time", form: "time", title: model.data.timeless ? "choose one" : "time of each" });

/** What was measured at several repetitions of a fold, at themselves or at the same place inside each. */
function attachedTo(model, fold) {
  const members = new Set(model.membersOf(fold));
  const found = new Map();
  for (const each of [...model.outputs.values()].flat()) {
    if (!FORMS[each.statistic]) continue;
    const parts = each.path.split(".");
    for (let n = parts.length; n > 0; n--) {
      if (!members.has(parts.slice(0, n).join("."))) continue;
      const inner = parts.slice(n).join(".");
      // sizes and words of the layers themselves have kinds of their own
      if (!inner && each.what === "output" && (each.statistic === "size" || (each.statistic === "tokens" && model.data.says[each.path]))) break;
      const key = [each.statistic, each.what, inner].join(" ");
      if (!found.has(key)) found.set(key, { each, inner, n: 0 });
      found.get(key).n += 1;
      break;
    }
  }
  return [...found].filter(([, { n }]) => n > 1).map(([key, { each, inner }]) => attached(model, key, each, inner));
}

function attached(model, key, { statistic, what }, inner) {
  const place = what === "input" ? `the input of ${inner || "each"}` : inner || "each";
  const label = `${LABELS[statistic]} of ${place}`;
  const find = (path) => model.measured(inner ? `${path}.${inner}` : path, what).find((each) => each.statistic === statistic) ?? null;
  const words = (found) => found.values.map((row, j) => [found.read[j][0], row[0] ?? 0]);
  const read = (path) => {
    const found = find(path);
    if (!found || statistic === "histogram") return found;
    return statistic === "tokens" ? words(found) : found.values;
  };
  return { key, label, form: FORMS[statistic], title: label, read, first: (path) => find(path)?.first ?? 0 };
}

/** The kinds of all folds, the most telling first: [key, label]. */
export function stripKinds(model, folds) {
  const drawn = folds.filter((fold) => fold.repeat < GRID_FROM);
  const has = (kind) => drawn.some((fold) => model.membersOf(fold).some((path) => kind.read(path)));
  const kinds = [says(model), size(model)].filter(has);
  if (!model.data.timeless && folds.some((fold) => model.timesOf(fold).some((us) => us != null))) kinds.push(time(model));
  const more = new Map(drawn.flatMap((fold) => attachedTo(model, fold)).map((kind) => [kind.key, kind]));
  return [...kinds, ...[...more.values()].slice(0, MOST_ATTACHED)].map(({ key, label }) => [key, label]);
}

/** What is shown of this fold, since not all have all. */
export function kindOf({ model, strip }, fold) {
  const members = model.membersOf(fold);
  const fits = (kind) => members.some((path) => kind.read(path));
  const [words, sizes] = [says(model), size(model)];
  if (strip === "says" && fits(words)) return words;
  const own = attachedTo(model, fold).find(({ key }) => key === strip);
  if (own) return own;
  return strip !== "time" && fits(sizes) ? sizes : time(model);
}
