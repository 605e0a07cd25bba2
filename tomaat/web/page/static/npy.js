/** Arrays as numpy writes them (.npy, format versions 1 to 3). */

import { counted } from "./words.js";

const MOST_NUMBERS = 8 * 1024 ** 2; // each takes eight bytes here, whatever it takes in the file

/** @type {Record<string, (buffer: ArrayBuffer) => ArrayLike<number | bigint>>} */
const READERS = {
  b1: (buffer) => new Uint8Array(buffer),
  i1: (buffer) => new Int8Array(buffer),
  u1: (buffer) => new Uint8Array(buffer),
  i2: (buffer) => new Int16Array(buffer),
  u2: (buffer) => new Uint16Array(buffer),
  i4: (buffer) => new Int32Array(buffer),
  u4: (buffer) => new Uint32Array(buffer),
  i8: (buffer) => new BigInt64Array(buffer),
  u8: (buffer) => new BigUint64Array(buffer),
  f2: (buffer) => Float64Array.from(new Uint16Array(buffer), half),
  f4: (buffer) => new Float32Array(buffer),
  f8: (buffer) => new Float64Array(buffer),
};

/**
 * @typedef {object} NumpyArray
 * @property {number[]} shape
 * @property {string} type numpy's, such as `f4`
 * @property {Float64Array} values row by row, the last axis fastest
 */

/**
 * Read an array; throws `RangeError` where it is none, has no real numbers, or too many.
 * @param {ArrayBuffer} buffer
 * @returns {NumpyArray}
 */
export function readNpy(buffer) {
  const bytes = new Uint8Array(buffer);
  const view = new DataView(buffer);
  if (buffer.byteLength < 10 || bytes[0] !== 0x93 || new TextDecoder().decode(bytes.subarray(1, 6)) !== "NUMPY") {
    throw new RangeError("This is no .npy file.");
  }
  const long = bytes[6] >= 2;
  const start = long ? 12 : 10;
  const length = long ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder().decode(bytes.subarray(start, start + length));
  const [, order, type] = /'descr':\s*'([<>|=])(\w+)'/.exec(header) ?? [];
  const fortran = /'fortran_order':\s*True/.test(header);
  const shape = (/'shape':\s*\(([^)]*)\)/.exec(header)?.[1] ?? "")
    .split(",")
    .filter((part) => part.trim())
    .map(Number);
  const read = READERS[type];
  if (!read) throw new RangeError(`Arrays of the type ${type ?? "in this file"} are not shown.`);
  const count = shape.reduce((product, size) => product * size, 1);
  if (count > MOST_NUMBERS) throw new RangeError(`It has ${counted(count, "number")}, more than this page reads.`);
  const width = Number(type.slice(1));
  const data = bytes.slice(start + length, start + length + count * width);
  if (data.length < count * width) throw new RangeError("The .npy file is cut off.");
  if (order === ">") swap(data, width);
  const stored = Float64Array.from(/** @type {ArrayLike<number>} */ (read(data.buffer)), Number);
  return { shape, type, values: fortran ? transposed(stored, shape) : stored };
}

/** IEEE 754's half precision. @param {number} bits */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

/** @param {Uint8Array} data @param {number} width */
function swap(data, width) {
  for (let at = 0; at < data.length; at += width) data.subarray(at, at + width).reverse();
}

/** From the first axis fastest to the last. @param {Float64Array} stored @param {number[]} shape */
function transposed(stored, shape) {
  const values = new Float64Array(stored.length);
  const index = shape.map(() => 0);
  for (let at = 0; at < stored.length; at += 1) {
    let place = 0;
    for (let axis = 0; axis < shape.length; axis += 1) place = place * shape[axis] + index[axis];
    values[place] = stored[at];
    for (let axis = 0; axis < shape.length; axis += 1) {
      index[axis] += 1;
      if (index[axis] < shape[axis]) break;
      index[axis] = 0;
    }
  }
  return values;
}
