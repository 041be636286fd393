/** The packets of the attention page as they come: sizes in 16 bits, and keys of rows as rises of one byte and more. */
import { unpackArrays } from "../shared/packed.js";

// same as attention_payload.py
const SMALLEST = 1e-6; // the smallest size that a code stands for
const DECADES = 8;
const CODES = 32766;
const UNKNOWN = -32768;

/** Sizes from 1e-6 to 100 by their codes, on a logarithmic scale (a step is .06 %); 0 is 0. */
const SIZES = Float32Array.from({ length: 65536 }, (_, n) => {
  const code = n < 32768 ? n : n - 65536;
  if (code === UNKNOWN) return NaN;
  return code ? Math.sign(code) * SMALLEST * 10 ** ((DECADES * (Math.abs(code) - 1)) / CODES) : 0;
});

export const decodeSize = (code) => SIZES[code & 0xffff];

/** A packet with its arrays: those that its header calls coded as numbers, rows with `starts` and `keys`. */
export function unpackPacket(bytes) {
  const packet = unpackArrays(bytes);
  const { data } = packet;
  for (const [name, unit] of Object.entries(packet.coded ?? {})) data[name] &&= Float32Array.from(data[name], (code) => unit * decodeSize(code));
  if (data.rises) Object.assign(data, readRises(data.counts, data.rises));
  packet.bytes = bytes.byteLength;
  return packet;
}

/** Let packets go, the oldest first, until the others have no more bytes than that. kept: names of those that stay. */
export function forgetPackets(packets, most, kept = new Set()) {
  let sum = 0;
  for (const { bytes } of packets.values()) sum += bytes;
  for (const [name, { bytes }] of packets) {
    if (sum <= most) return;
    if (kept.has(name)) continue;
    packets.delete(name);
    sum -= bytes;
  }
}

/** counts: how many keys each row has; rises: how far each is from the one before, seven bits a byte, the low ones first. */
function readRises(counts, rises) {
  const starts = new Uint32Array(counts.length + 1);
  for (let row = 0; row < counts.length; row += 1) starts[row + 1] = starts[row] + counts[row];
  const keys = new Uint32Array(starts[counts.length]);
  let from = 0;
  for (let row = 0; row < counts.length; row += 1) {
    let key = 0;
    for (let at = starts[row]; at < starts[row + 1]; at += 1) {
      let [byte, shift] = [0, 0];
      do {
        byte = rises[from];
        key += (byte & 127) << shift;
        from += 1;
        shift += 7;
      } while (byte & 128);
      keys[at] = key;
    }
  }
  return { starts, keys };
}
