/** The two places that a NIfTI's header may name, by the rules of tomaat/headers/nifti.py, for a choice between them. */

import { firstBytes } from "./streams.js";

const PLACE_WITHIN = 0.1; // of the smallest spacing: places that differ by less are one
const LONGEST_QUATERNION = 1.01;
const MM_OF = /** @type {Record<number, number>} */ ({ 1: 1000, 3: 0.001 }); // metres and micrometres; all else is mm
/** Where the versions have their fields; nifti1.h and nifti2.h, nifti.nimh.nih.gov. */
const LAYOUTS = [
  {
    ...{ bytes: 348, magicAt: 344, magic: "n+1\0", real: 4 },
    ...{ dim: 40, pixdim: 76, units: 123, codes: 252, quaternion: 256, rows: 280 },
  },
  {
    ...{ bytes: 540, magicAt: 4, magic: "n+2\0", real: 8 },
    ...{ dim: 16, pixdim: 104, units: 500, codes: 344, quaternion: 352, rows: 400 },
  },
];
const HEAD_BYTES = 540;

/**
 * @typedef {{origin: number[], steps: number[][]}} Grid RAS, mm
 * @typedef {{counts: "sform" | "qform", other: "sform" | "qform", apartMm: number}} Places the one that counts where nobody
 * chooses, the other one, and how far a voxel's centre lies from one to the other, at most
 */

/** The places of a file, if its header names two that differ. @param {Blob} file @returns {Promise<Places | null>} */
export async function twoPlaces(file) {
  const header = readHeader(await firstBytes(file, HEAD_BYTES));
  if (!header || !(header.codes.sform > 0 && header.codes.qform > 0)) return null;
  const [sform, qform] = [sformOf(header), qformOf(header)];
  const lengths = sform.steps.map((step) => Math.hypot(...step));
  const apartMm = farthestApart(sform, qform, header.dimensions);
  const usable = header.usable && Math.min(...lengths, ...header.spacing) > 0;
  if (!usable || !(apartMm > PLACE_WITHIN * Math.min(...lengths))) return null;
  const byCode = header.codes.sform >= header.codes.qform;
  return byCode ? { counts: "sform", other: "qform", apartMm } : { counts: "qform", other: "sform", apartMm };
}

/** @param {ArrayBuffer} start */
function readHeader(start) {
  const view = new DataView(start);
  for (const layout of LAYOUTS) {
    if (start.byteLength < layout.bytes) continue;
    const magic = String.fromCharCode(...new Uint8Array(start, layout.magicAt, 4));
    const little = view.getInt32(0, true) === layout.bytes;
    if (magic === layout.magic && (little || view.getInt32(0) === layout.bytes)) return fieldsOf(view, layout, little);
  }
  return null;
}

/** @param {DataView} view @param {typeof LAYOUTS[number]} layout @param {boolean} little */
function fieldsOf(view, layout, little) {
  const first = layout.real === 4;
  const reals = (/** @type {number} */ at, /** @type {number} */ count) =>
    Array.from({ length: count }, (_, place) =>
      first ? view.getFloat32(at + 4 * place, little) : view.getFloat64(at + 8 * place, little),
    );
  const code = (/** @type {number} */ place) =>
    first ? view.getInt16(layout.codes + 2 * place, little) : view.getInt32(layout.codes + 4 * place, little);
  const size = (/** @type {number} */ place) =>
    first ? view.getInt16(layout.dim + 2 * place, little) : Number(view.getBigInt64(layout.dim + 8 * place, little));
  const units = first ? view.getUint8(layout.units) : view.getInt32(layout.units, little);
  const unit = MM_OF[units & 7] ?? 1;
  const [mirror, ...sizes] = reals(layout.pixdim, 4);
  const quaternion = reals(layout.quaternion, 6);
  const rows = reals(layout.rows, 12);
  return {
    codes: { qform: code(0), sform: code(1) },
    dimensions: [1, 2, 3].map((axis) => (axis <= size(0) ? size(axis) : 1)),
    spacing: sizes.map((mm, axis) => (axis < size(0) ? mm * unit : 1)),
    mirrored: mirror < 0,
    quaternion,
    rows,
    unit,
    usable:
      [mirror, ...quaternion, ...rows].every(Number.isFinite) &&
      Math.hypot(...quaternion.slice(0, 3)) <= LONGEST_QUATERNION,
  };
}

/** @typedef {ReturnType<typeof fieldsOf>} Header */

/** @param {Header} header @returns {Grid} */
function sformOf({ rows, unit }) {
  const column = (/** @type {number} */ place) => [0, 4, 8].map((row) => rows[row + place] * unit);
  return { origin: column(3), steps: [column(0), column(1), column(2)] };
}

/** Source: nifti1.h, "METHOD 2". @param {Header} header @returns {Grid} */
function qformOf({ quaternion, spacing, mirrored, unit }) {
  const [x, y, z] = quaternion;
  const w = Math.sqrt(Math.max(0, 1 - (x * x + y * y + z * z)));
  const length = Math.hypot(w, x, y, z);
  const [a, b, c, d] = [w, x, y, z].map((part) => part / length);
  const axes = [
    [a * a + b * b - c * c - d * d, 2 * (b * c + a * d), 2 * (b * d - a * c)],
    [2 * (b * c - a * d), a * a + c * c - b * b - d * d, 2 * (c * d + a * b)],
    [2 * (b * d + a * c), 2 * (c * d - a * b), a * a + d * d - b * b - c * c],
  ];
  const sizes = [spacing[0], spacing[1], mirrored ? -spacing[2] : spacing[2]];
  const steps = axes.map((axis, place) => axis.map((part) => part * sizes[place]));
  return { origin: quaternion.slice(3).map((part) => part * unit), steps };
}

/** How far a voxel's centre lies from one place to the other: at most at a corner. @param {Grid} one @param {Grid} other @param {number[]} dimensions */
function farthestApart(one, other, dimensions) {
  const apart = [0, 1, 2, 3, 4, 5, 6, 7].map((corner) => {
    const index = dimensions.map((count, axis) => (corner & (1 << axis) ? count - 1 : 0));
    const place = (/** @type {Grid} */ grid, /** @type {number} */ row) =>
      grid.origin[row] + index.reduce((sum, count, axis) => sum + count * grid.steps[axis][row], 0);
    return Math.hypot(...[0, 1, 2].map((row) => place(one, row) - place(other, row)));
  });
  return Math.max(...apart);
}
