/** Carries what the attention page asked for to it: each packet under its key; { selection, goal } to the page itself. */
import { bus } from "../shared/base.js";
import { forgetPackets, unpackPacket } from "./attention_codes.js";

const MOST_BYTES = 3_000_000;

export default function ({ data }) {
  const packet = unpackPacket(data);
  const packets = (bus.packets ??= new Map());
  if (packets.get(packet.name)?.key === packet.key) return;
  packets.delete(packet.name);
  packets.set(packet.name, packet);
  forgetPackets(packets, MOST_BYTES, new Set([packet.name]));
  bus.dispatchEvent(new CustomEvent("packet", { detail: packet }));
}
