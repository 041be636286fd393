/** Reading what figures/web/payload.py packed: a JSON header, then little-endian arrays that the header lists. */

const VIEWS = { int16: Int16Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array };

/** The header's fields, and under `data` the arrays by name. */
export function unpackArrays(bytes) {
  const given = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes.buffer ?? bytes);
  const aligned = given.byteOffset % 4 ? given.slice() : given;
  const { buffer, byteOffset } = aligned;
  const length = new DataView(buffer, byteOffset).getUint32(0, true);
  const made = JSON.parse(new TextDecoder().decode(aligned.subarray(4, 4 + length)));
  made.data = {};
  let at = byteOffset + 4 + length;
  for (const { name, type, size } of made.arrays) {
    at = Math.ceil(at / 4) * 4;
    made.data[name] = new VIEWS[type](buffer, at, size);
    at += made.data[name].byteLength;
  }
  return made;
}
