/**
 * Reads volumes beside the page, which goes on meanwhile: a CT takes seconds. NiiVue's bundle has the readers; it is no module
 * and leaves its names with the worker.
 */

import "./vendor/niivue-0.69.0/niivue.umd.js";
import { listen } from "./workers.js";

const HEADER_BYTES = 65_536; // of a MetaImage, at most
const NIFTI_HEADER_BYTES = 352; // at least
const SKIPS = /^(?:line|byte) ?skip:[ \t]*(?!0[ \t]*\r?$)\S/im; // of an NRRD
const UNREADABLE = "This page cannot read it.";
const BIG_ENDIAN = /^[ \t]*(?:BinaryData|Element)ByteOrderMSB[ \t]*=[ \t]*true[ \t]*(?=\r?$)/im;
const QUIET = { logLevel: "error", forceDevicePixelRatio: 1 };
/** By NIfTI's code. @type {Record<number, new (bytes: ArrayBuffer) => ArrayLike<number | bigint>>} */
const WHOLE_NUMBERS = { 8: Int32Array, 768: Uint32Array, 1024: BigInt64Array };

const { Niivue, NVImage } = globalThis.niivue;
new Niivue(QUIET); // which is where its log is told to be still
readLastVoxels();

/** @typedef {import("./volume.js").Read} Read */

listen(async ({ file, isLabels }) => {
  const answer = await readVolume(file, isLabels);
  return { answer, transfer: [answer.voxels.buffer] };
});

/**
 * Read a volume; throws `Error` with a sentence where NiiVue cannot, or does not find a value for each voxel.
 * @param {File} file
 * @param {boolean} isLabels whether to count them
 * @returns {Promise<Read>}
 */
async function readVolume(file, isLabels) {
  const image = await NVImage.loadFromFile({ file: await withKnownByteOrder(file) }).catch(() => null);
  const stored = image?.hdr.dims.slice(1, 4);
  if (!stored || image?.img.length !== stored[0] * stored[1] * stored[2]) throw new Error(UNREADABLE);
  if (!(await isFound(file, image))) throw new Error(UNREADABLE);
  const { img: voxels, hdr, permRAS: order } = image;
  const slope = hdr.scl_slope || 1;
  const intercept = hdr.scl_inter || 0;
  const ends = rangeOf(voxels).map((value) => value * slope + intercept);
  const [least, most] = [Math.min(...ends), Math.max(...ends)];
  const found = [image.cal_min, image.cal_max];
  const isWindow = found.every(Number.isFinite) && found[0] < found[1]; // of infinite values NiiVue makes none
  const [low, high] = isWindow ? found : [least, most];
  return {
    ...{ voxels, stored, order, slope, intercept, low, high, least, most },
    ownWindow: hdr.cal_max > hdr.cal_min,
    affine: hdr.affine.map((row) => [...row]),
    counts: isLabels ? countsOf(voxels, stored, order) : null,
  };
}

/** Set the last voxel of whole numbers of 32 and 64 bits, which NiiVue leaves at 0; and note how many bytes the voxels had. */
function readLastVoxels() {
  const { init } = NVImage.prototype;
  NVImage.prototype.init = function (...given) {
    const Kind = WHOLE_NUMBERS[this.hdr?.datatypeCode];
    init.apply(this, given);
    this.storedBytes = given[given.length - 1]?.byteLength;
    if (!Kind || !this.img) return;
    const stored = new Kind(given[given.length - 1]); // in this computer's byte order by now
    this.img[this.img.length - 1] = Number(stored[stored.length - 1]);
  };
}

/**
 * Whether NiiVue took the voxels from where they are. It believes a NIfTI which says that they begin within the header, and
 * passes an NRRD's `byte skip` over. The service finds them by the file's length.
 * @param {File} file
 * @param {NiiVueImage} image
 */
async function isFound(file, { hdr, storedBytes }) {
  const name = file.name.toLowerCase();
  if (/\.nii(?:\.gz)?$/.test(name)) return hdr.vox_offset >= NIFTI_HEADER_BYTES;
  if (!name.endsWith(".nrrd")) return true;
  const header = new TextDecoder("latin1").decode(await file.slice(0, hdr.vox_offset).arrayBuffer());
  return !SKIPS.test(header) || file.size === hdr.vox_offset + storedBytes;
}

/** A MetaImage in NiiVue's words: it knows one of two names of the byte order, and `True`, not `true`. @param {File} file */
async function withKnownByteOrder(file) {
  if (!file.name.toLowerCase().endsWith(".mha")) return file;
  const text = new TextDecoder("latin1").decode(await file.slice(0, HEADER_BYTES).arrayBuffer());
  const found = BIG_ENDIAN.exec(text.slice(0, text.indexOf("ElementDataFile")));
  if (!found) return file;
  const rest = file.slice(found.index + found[0].length);
  return new File([file.slice(0, found.index), "BinaryDataByteOrderMSB = True", rest], file.name);
}

/** The least and the most of the finite values. @param {import("./volume.js").Voxels} voxels */
function rangeOf(voxels) {
  let [least, most] = [Infinity, -Infinity];
  for (let at = 0; at < voxels.length; at += 1) {
    const value = voxels[at];
    if (value < least && value !== -Infinity) least = value;
    if (value > most && value !== Infinity) most = value;
  }
  return least <= most ? [least, most] : [0, 0];
}

/**
 * How many voxels of each label each plane has, across each axis of RAS.
 * @param {import("./volume.js").Voxels} voxels
 * @param {number[]} stored
 * @param {number[]} order
 */
function countsOf(voxels, stored, order) {
  const [columns, rows, planes] = stored;
  /** @type {Map<number, Uint32Array[]>} by label, along i, j, k */
  const found = new Map();
  let [last, counts] = [0, /** @type {Uint32Array[]} */ ([])];
  let at = 0;
  for (let plane = 0; plane < planes; plane += 1) {
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1, at += 1) {
        const label = voxels[at];
        if (!label) continue;
        if (label !== last) {
          counts = found.get(label) ?? stored.map((size) => new Uint32Array(size));
          found.set(label, counts);
          last = label;
        }
        counts[0][column] += 1;
        counts[1][row] += 1;
        counts[2][plane] += 1;
      }
    }
  }
  for (const [label, along] of found) {
    found.set(
      label,
      order.map((axis) => (axis < 0 ? along[-axis - 1].slice().reverse() : along[axis - 1])),
    );
  }
  return found;
}
