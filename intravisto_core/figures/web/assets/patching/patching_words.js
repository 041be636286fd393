/** Numbers of a grid as they are read: a share of the way, or a change of the metric. */
import { PER_CENT, change, nats, probability, wholeShare } from "../shared/numbers.js";

const METRICS = { logit_diff: change, probability, kl: nats };

/** A value of a cell; bare: without its unit, for the cell itself. */
export function showShort(data, value, bare = false) {
  if (value == null) return "–";
  if (data.unit === "share") return bare ? wholeShare(value).replace(PER_CENT, "") : wholeShare(value);
  if (data.metric === "probability") return bare ? wholeShare(value).replace(PER_CENT, "") : `${change(100 * value)} points`;
  if (!bare) return change(value);
  const text = Math.abs(value) >= 10 ? String(Math.round(Math.abs(value))) : Math.abs(value).toFixed(1);
  return `${value < 0 ? "−" : "+"}${text}`;
}

/** The metric itself, as it is in a run. */
export function showMetric(data, value) {
  return METRICS[data.metric](value);
}
