/**
 * A DICOM series as a volume to look at: images → slices, in order along their normal → a NIfTI file in memory.
 *
 * It is for series that the server took, so what the server refuses (docs/protocol.md) is not looked for again. Images
 * that are compressed are not read here.
 */

import { readElements, textOf } from "./dicom.js";
import { niftiHeader } from "./nifti.js";

const PLAIN = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"]; // implicit and explicit, little-endian
const ROWS = 0x00280010;
const COLUMNS = 0x00280011;
const BITS_ALLOCATED = 0x00280100;
const BITS_STORED = 0x00280101;
const PIXEL_REPRESENTATION = 0x00280103; // 1: signed
const POSITION = 0x00200032;
const ORIENTATION = 0x00200037;
const PIXEL_SPACING = 0x00280030; // between rows, between columns
const THICKNESS = 0x00180050;
const WINDOW_CENTER = 0x00281050;
const WINDOW_WIDTH = 0x00281051;
const INTERCEPT = 0x00281052;
const SLOPE = 0x00281053;
const PIXELS = 0x7fe00010;
const COMPRESSED = "The images of this DICOM series are compressed, and this page cannot unpack them.";
const OTHER_KIND = "The images of this DICOM series are not of a kind that this page can show.";

/** @typedef {Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array | Float32Array} Voxels */
/** @typedef {[number, number, number]} Vector */

/** @type {Record<string, (buffer: ArrayBuffer) => Voxels>} */
const VOXELS = {
  "8 unsigned": (buffer) => new Uint8Array(buffer),
  "8 signed": (buffer) => new Int8Array(buffer),
  "16 unsigned": (buffer) => new Uint16Array(buffer),
  "16 signed": (buffer) => new Int16Array(buffer),
  "32 unsigned": (buffer) => new Uint32Array(buffer),
  "32 signed": (buffer) => new Int32Array(buffer),
};

/**
 * @typedef {object} Slice one image
 * @property {Voxels} voxels row by row, as they are stored
 * @property {number} slope
 * @property {number} intercept
 * @property {number} columns
 * @property {number} rows
 * @property {number[]} axes along a row, then along a column: unit vectors, LPS
 * @property {number[]} position of the first voxel's centre, mm, LPS
 * @property {number[]} spacing between rows, between columns, mm
 * @property {number} thickness mm
 * @property {[number, number] | null} window centre and width
 */

/**
 * Make a NIfTI file of a series; throws `Error` with a sentence where it cannot be shown.
 * @param {Blob[]} images
 * @returns {Promise<File>}
 */
export async function volumeOf(images) {
  /** @type {Slice[]} */
  const slices = [];
  for (const image of images) slices.push(readSlice(await image.arrayBuffer()));
  const [first] = slices;
  if (slices.some(({ rows, columns }) => rows !== first.rows || columns !== first.columns)) throw new Error(OTHER_KIND);
  const alongI = unit(first.axes.slice(0, 3));
  const alongK = unit(cross(alongI, first.axes.slice(3)));
  const alongJ = cross(alongK, alongI);
  const depth = (/** @type {Slice} */ slice) => dot(slice.position, alongK);
  slices.sort((one, other) => depth(one) - depth(other));
  const [lowest, highest] = [slices[0], slices[slices.length - 1]];
  const gap = slices.length > 1 ? (depth(highest) - depth(lowest)) / (slices.length - 1) : first.thickness;
  const [betweenRows, betweenColumns] = first.spacing;
  const alike = slices.every(
    ({ slope, intercept, voxels }) =>
      slope === first.slope && intercept === first.intercept && voxels.constructor === first.voxels.constructor,
  );
  const parts = slices.map((slice) => (alike ? slice.voxels : rescaled(slice)));
  const header = niftiHeader({
    dimensions: [first.columns, first.rows, slices.length],
    spacing: [betweenColumns, betweenRows, gap],
    axes: [alongI, alongJ, alongK],
    origin: lowest.position,
    voxels: parts[0],
    scaling: alike ? [first.slope, first.intercept] : [1, 0],
    window: slices[slices.length >> 1].window,
  });
  return new File([header, .../** @type {BlobPart[]} */ (parts)], "series.nii");
}

/** @param {ArrayBuffer} file @returns {Slice} */
function readSlice(file) {
  const { syntax, values } = readElements(file, PIXELS) ?? { syntax: "", values: new Map() };
  if (!PLAIN.includes(syntax)) throw new Error(COMPRESSED);
  const [rows, columns, allocated, stored, signed] = [
    ROWS,
    COLUMNS,
    BITS_ALLOCATED,
    BITS_STORED,
    PIXEL_REPRESENTATION,
  ].map((tag) => wholeOf(values.get(tag)));
  const [axes, position, spacing] = [ORIENTATION, POSITION, PIXEL_SPACING].map((tag) => numbersOf(values.get(tag)));
  const [thickness, slope, intercept, center, width] = [THICKNESS, SLOPE, INTERCEPT, WINDOW_CENTER, WINDOW_WIDTH].map(
    (tag) => numbersOf(values.get(tag))[0],
  );
  const pixels = /** @type {Uint8Array | undefined} */ (values.get(PIXELS));
  const read = VOXELS[`${allocated} ${signed ? "signed" : "unsigned"}`];
  const bytes = (rows * columns * allocated) / 8;
  const whole = pixels && pixels.length >= bytes && pixels.length <= bytes + 1; // not colour, not several frames
  if (!read || !whole || axes.length !== 6 || position.length !== 3 || spacing.length !== 2) {
    throw new Error(OTHER_KIND);
  }
  const voxels = read(pixels.slice(0, bytes).buffer);
  if (stored < allocated) keepBits(voxels, stored, Boolean(signed));
  const window = width > 0 ? /** @type {[number, number]} */ ([center, width]) : null;
  return {
    voxels,
    slope: slope ?? 1,
    intercept: intercept ?? 0,
    rows,
    columns,
    axes,
    position,
    spacing,
    thickness,
    window,
  };
}

/** Drop what lies in the bits that a voxel does not use. @param {Voxels} voxels @param {number} bits @param {boolean} signed */
function keepBits(voxels, bits, signed) {
  const unused = 32 - bits;
  for (let at = 0; at < voxels.length; at += 1) {
    voxels[at] = signed ? (voxels[at] << unused) >> unused : (voxels[at] << unused) >>> unused;
  }
}

/** @param {Slice} slice */
function rescaled({ voxels, slope, intercept }) {
  return Float32Array.from(voxels, (value) => value * slope + intercept);
}

/** @param {Uint8Array | undefined} value */
function wholeOf(value) {
  return value?.length === 2 ? value[0] + 256 * value[1] : NaN;
}

/** Decimal strings. @param {Uint8Array | undefined} value */
function numbersOf(value) {
  const text = textOf(value);
  return text ? text.split("\\").map(Number) : [];
}

/** @param {number[]} one @param {number[]} other */
function dot(one, other) {
  return one[0] * other[0] + one[1] * other[1] + one[2] * other[2];
}

/** @param {number[]} one @param {number[]} other @returns {Vector} */
function cross(one, other) {
  return [
    one[1] * other[2] - one[2] * other[1],
    one[2] * other[0] - one[0] * other[2],
    one[0] * other[1] - one[1] * other[0],
  ];
}

/** @param {number[]} vector @returns {Vector} */
function unit(vector) {
  const length = Math.hypot(...vector);
  return [vector[0] / length, vector[1] / length, vector[2] / length];
}
