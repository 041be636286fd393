/** Reading what figures/web/payload.py packed: a JSON header, then little-endian arrays that the header lists. */

const VIEWS = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array };
const NOT_A_NUMBER = 0xffff;

/** A number of three significant digits from 16 bits: sign, exponent + 20, mantissa. */
function decimal(code) {
  if (code === NOT_A_NUMBER) return NaN;
  const size = Number(`${code & 1023}e${((code >> 10) & 31) - 22}`);
  return code & 0x8000 ? -size : size;
}

/** The grid: the header's fields, and cells by their index `row · columns + column`. */
export class GridData {
  constructor(bytes) {
    const given = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes.buffer ?? bytes);
    const aligned = given.byteOffset % 4 ? given.slice() : given;
    const { buffer, byteOffset } = aligned;
    const length = new DataView(buffer, byteOffset).getUint32(0, true);
    Object.assign(this, JSON.parse(new TextDecoder().decode(aligned.subarray(4, 4 + length))));
    this.data = {};
    let at = byteOffset + 4 + length;
    for (const { name, type, size } of this.arrays) {
      at = Math.ceil(at / 4) * 4;
      this.data[name] = new VIEWS[type](buffer, at, size);
      at += this.data[name].byteLength;
    }
    this.height = this.rows.length;
    this.width = this.columns.length;
  }

  /** Text of the k-th listed token of a cell; "" where there is none. */
  token(cell, k = 0) {
    return this.vocabulary[this.data.ids[cell * this.listed + k]];
  }

  /** Probability, change of logit or coefficient of the k-th listed token (`this.listing` says which). */
  number(cell, k = 0) {
    return decimal(this.data.numbers[cell * this.listed + k]);
  }

  suppressedToken(cell, k) {
    return this.vocabulary[this.data.suppressed_ids[cell * this.suppressed + k]];
  }

  suppressedNumber(cell, k) {
    return decimal(this.data.suppressed_numbers[cell * this.suppressed + k]);
  }

  /** What the cell is coloured by; NaN where it has no such value. */
  value(cell) {
    return this.data.value[cell];
  }

  /** A side number (entropy, attention, mlp) to three digits; undefined where the payload has none of that name. */
  side(name, cell) {
    return this.data[name] && decimal(this.data[name][cell]);
  }

  /** Which table won under the max-probability lens: "in", "out" or "". */
  winner(cell) {
    return this.data.winner ? ["", "in", "out"][this.data.winner[cell]] : "";
  }

  isBlank(cell) {
    return this.data.ids[cell * this.listed] === 0;
  }

  /** Step of the colour scale, or -1 where there is nothing to colour. */
  step(cell) {
    const along = this.log ? (v) => Math.log(Math.max(v, Number.MIN_VALUE)) : (v) => v;
    const low = along(this.low);
    const t = (along(this.value(cell)) - low) / (along(this.high) - low);
    return Number.isNaN(t) ? -1 : Math.round(255 * Math.min(1, Math.max(0, t)));
  }
}
