/** Carries what the attention page asked for to it: each packet under its key; { selection, goal } to the page itself. */
import { bus } from "../shared/base.js";
import { unpackArrays } from "../shared/packed.js";

const KEPT = 24;

export default function ({ data }) {
  const packet = unpackArrays(data);
  const packets = (bus.packets ??= new Map());
  if (packets.get(packet.name)?.key === packet.key) return;
  packets.delete(packet.name);
  packets.set(packet.name, packet);
  while (packets.size > KEPT) packets.delete(packets.keys().next().value);
  bus.dispatchEvent(new CustomEvent("packet", { detail: packet }));
}
