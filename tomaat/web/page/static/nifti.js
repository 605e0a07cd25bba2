/** The header of a NIfTI-1 file (nifti1.h of the NIfTI Data Format Working Group, 2007), in front of its voxels. */

const HEADER_BYTES = 348;
const VOXELS_AT = 352; // behind four bytes that announce no extension
const MM = 2;
const SCANNER = 1; // the affine leads to the scanner's mm
const TYPES = /** @type {Record<string, number>} */ ({
  Uint8Array: 2,
  Int16Array: 4,
  Int32Array: 8,
  Float32Array: 16,
  Int8Array: 256,
  Uint16Array: 512,
  Uint32Array: 768,
});

/**
 * @param {object} volume
 * @param {[number, number, number]} volume.dimensions i, j, k; i is the fastest
 * @param {[number, number, number]} volume.spacing mm
 * @param {[number, number, number][]} volume.axes unit vectors along i, j, k, LPS
 * @param {number[]} volume.origin the first voxel's centre, mm, LPS
 * @param {ArrayBufferView} volume.voxels whose type counts
 * @param {[number, number]} volume.scaling slope and intercept
 * @param {[number, number] | null} volume.window centre and width
 * @returns {ArrayBuffer}
 */
export function niftiHeader({ dimensions, spacing, axes, origin, voxels, scaling, window }) {
  const view = new DataView(new ArrayBuffer(VOXELS_AT));
  const whole = (/** @type {number} */ at, /** @type {number} */ value) => view.setInt16(at, value, true);
  const real = (/** @type {number} */ at, /** @type {number} */ value) => view.setFloat32(at, value, true);
  const { name } = voxels.constructor;
  view.setInt32(0, HEADER_BYTES, true);
  [3, ...dimensions, 1, 1, 1, 1].forEach((count, place) => whole(40 + 2 * place, count));
  whole(70, TYPES[name]);
  whole(72, 8 * /** @type {any} */ (voxels).BYTES_PER_ELEMENT);
  [1, ...spacing].forEach((mm, place) => real(76 + 4 * place, mm));
  real(108, VOXELS_AT);
  real(112, scaling[0]);
  real(116, scaling[1]);
  view.setUint8(123, MM);
  if (window) {
    real(124, window[0] + window[1] / 2);
    real(128, window[0] - window[1] / 2);
  }
  whole(254, SCANNER);
  [-1, -1, 1].forEach((toRas, row) => {
    axes.forEach((axis, column) => real(280 + 16 * row + 4 * column, toRas * axis[row] * spacing[column]));
    real(280 + 16 * row + 12, toRas * origin[row]);
  });
  view.setUint32(344, 0x6e2b3100); // "n+1"
  return view.buffer;
}
