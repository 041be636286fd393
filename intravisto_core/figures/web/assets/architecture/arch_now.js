/** Carries what is measured in a run that goes on to the picture: { calls, outputs }; at its end, that there is no more. */
import { bus } from "../shared/base.js";

const tell = (detail) => bus.dispatchEvent(new CustomEvent("measured", { detail }));

export default function ({ data }) {
  tell(data);
  return () => tell(null);
}
