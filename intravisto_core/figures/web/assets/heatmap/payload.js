/** The grid as figures/web/payload.py packed it. */
import { unpackArrays } from "../shared/packed.js";

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
    Object.assign(this, unpackArrays(bytes));
    this.height = this.rows.length;
    this.width = this.columns.length;
    this.awaited = new Set(this.awaited);
    const places = [this.rows.map(({ row }) => row), this.columns.map(({ position }) => position)];
    /** The same for pictures of the same cells of one trace. */
    this.places = `${this.rev}|${places.join("|")}`;
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

  /** Whether the columns of that index are still being decoded. */
  isAwaited(column) {
    return this.awaited.has(column);
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
