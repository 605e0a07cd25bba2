/**
 * A volume as it is drawn: its voxels as they lie in the file, and the way from a place to them. Places are voxels along the
 * volume's own axes in the order left to right, back to front, feet to head (RAS), and mm of the patient (RAS too).
 */

const SAME_WITHIN_VOXELS = 0.125; // the reader itself moves a voxel by up to a tenth, to make axes square
const CORNERS = [0, 1, 2, 3, 4, 5, 6, 7].map((corner) => [corner & 1, (corner >> 1) & 1, corner >> 2]);

/**
 * @typedef {Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array | Float32Array | Float64Array} Voxels
 * @typedef {Map<number, Uint32Array[]>} Counts for each label, how many of its voxels each plane has, across each axis
 *
 * @typedef {object} Read what the worker reads of a file
 * @property {Voxels} voxels i fastest
 * @property {number[]} stored how many along i, j, k
 * @property {number[][]} affine from i, j, k to mm
 * @property {number[]} order for each axis of RAS the stored axis, from 1; negative where it runs the other way
 * @property {number} slope of a voxel's value
 * @property {number} intercept
 * @property {number} low the window's ends
 * @property {number} high
 * @property {boolean} ownWindow whether the file has one
 * @property {number} least the values' range
 * @property {number} most
 * @property {Counts | null} counts of labels
 *
 * @typedef {object} Volume
 * @property {Voxels} voxels
 * @property {number[]} sizes how many along each axis of RAS
 * @property {number[]} spacing mm along each axis of RAS
 * @property {number[]} steps from a voxel to the next along each axis of RAS, in `voxels`
 * @property {number} start the first voxel's place in `voxels`
 * @property {number[][]} matrix from voxels to mm: three rows of four
 * @property {Grid} grid
 * @property {number} slope
 * @property {number} intercept
 * @property {number} low
 * @property {number} high
 * @property {boolean} ownWindow
 * @property {number} least
 * @property {number} most
 * @property {Counts | null} counts
 */

/** @param {Read} read @returns {Volume} */
export function volumeFrom({ stored, affine, order, ...rest }) {
  const strides = [1, stored[0], stored[0] * stored[1]];
  const axes = order.map((axis) => ({ at: Math.abs(axis) - 1, back: axis < 0 }));
  const ends = axes.map(({ at, back }) => (back ? stored[at] - 1 : 0));
  const matrix = [0, 1, 2].map((row) => {
    const columns = axes.map(({ at, back }) => (back ? -1 : 1) * affine[row][at]);
    return [...columns, axes.reduce((sum, { at }, axis) => sum + affine[row][at] * ends[axis], affine[row][3])];
  });
  return {
    ...rest,
    sizes: axes.map(({ at }) => stored[at]),
    spacing: [0, 1, 2].map((axis) => Math.hypot(...matrix.map((row) => row[axis]))),
    steps: axes.map(({ at, back }) => (back ? -strides[at] : strides[at])),
    start: axes.reduce((sum, { at }, axis) => sum + ends[axis] * strides[at], 0),
    matrix,
    grid: gridOf(stored, affine),
  };
}

/** The patient's mm of a voxel, or of a place between voxels. @param {number[][]} matrix @param {number[]} voxel */
export function through(matrix, voxel) {
  return matrix.map(([x, y, z, t]) => x * voxel[0] + y * voxel[1] + z * voxel[2] + t);
}

/** The way back of three rows of four. @param {number[][]} matrix */
export function inverse(matrix) {
  const [[a, b, c, p], [d, e, f, q], [g, h, i, r]] = matrix;
  const rows = [
    [e * i - f * h, c * h - b * i, b * f - c * e],
    [f * g - d * i, a * i - c * g, c * d - a * f],
    [d * h - e * g, b * g - a * h, a * e - b * d],
  ];
  const determinant = a * rows[0][0] + b * rows[1][0] + c * rows[2][0];
  return rows
    .map((row) => row.map((number) => number / determinant))
    .map(([x, y, z]) => [x, y, z, -(x * p + y * q + z * r)]);
}

/** The way from one volume's voxels to another one's. @param {Volume} from @param {Volume} to */
export function between(from, to) {
  const back = inverse(to.matrix);
  return back.map(([x, y, z, t]) =>
    [0, 1, 2, 3].map(
      (column) =>
        x * from.matrix[0][column] + y * from.matrix[1][column] + z * from.matrix[2][column] + (column === 3 ? t : 0),
    ),
  );
}

/** Whether a way leads from each voxel to the one of the same number: it is straight, so the corners tell. @param {number[][]} way @param {number[]} sizes */
export function isSame(way, sizes) {
  return CORNERS.every((corner) => {
    const voxel = corner.map((end, axis) => end * (sizes[axis] - 1));
    return through(way, voxel).every((number, axis) => Math.abs(number - voxel[axis]) < 0.5);
  });
}

/** The value of a voxel; nothing outside. @param {Volume} volume @param {number[]} voxel */
export function valueAt({ voxels, sizes, steps, start, slope, intercept }, voxel) {
  if (voxel.some((number, axis) => !(number >= 0 && number < sizes[axis]))) return NaN;
  return voxels[voxel.reduce((sum, number, axis) => sum + number * steps[axis], start)] * slope + intercept;
}

/** The voxel at a place, which may lie outside. @param {Volume} volume @param {number[]} mm */
export function voxelAtMm({ matrix }, mm) {
  return through(inverse(matrix), mm).map(Math.round);
}

/** The nearest voxel to a place. @param {Volume} volume @param {number[]} mm */
export function voxelNear(volume, mm) {
  return voxelAtMm(volume, mm).map((number, axis) => within(number, volume.sizes[axis]));
}

/** @param {number} number @param {number} count */
export function within(number, count) {
  return Math.min(Math.max(number, 0), count - 1);
}

/** The place to look at first: where each plane has the most labelled voxels; nothing without labels. @param {Volume} volume */
export function mostLabelled({ counts, sizes, matrix }) {
  if (!counts?.size) return null;
  const voxel = sizes.map((size, axis) => {
    const sums = new Uint32Array(size);
    for (const perAxis of counts.values()) perAxis[axis].forEach((count, plane) => (sums[plane] += count));
    return sums.indexOf(Math.max(...sums));
  });
  return through(matrix, voxel);
}

/**
 * Where each voxel of an image is: how many there are along i, j, k, and the corners of them all, RAS, mm. The order counts: a
 * mirrored volume has its voxels at the same places, and other voxels there.
 * @param {number[]} sizes
 * @param {number[][]} affine
 */
function gridOf(sizes, affine) {
  const corners = CORNERS.map((corner) =>
    through(
      affine.slice(0, 3),
      corner.map((end, axis) => end * sizes[axis] - 0.5),
    ),
  );
  return { sizes, corners };
}

/** @typedef {ReturnType<typeof gridOf>} Grid */

/** Whether two images have their voxels at the same places. @param {Grid} one @param {Grid} other */
export function sameGrid(one, other) {
  const [first, ...ends] = [0, 1, 2, 4].map((corner) => one.corners[corner]);
  const voxelMm = Math.min(...ends.map((end, axis) => distance(first, end) / one.sizes[axis]));
  const limit = SAME_WITHIN_VOXELS * voxelMm;
  return (
    one.sizes.every((count, axis) => count === other.sizes[axis]) &&
    one.corners.every((corner, at) => distance(corner, other.corners[at]) < limit)
  );
}

/** @param {number[]} one @param {number[]} other */
export function distance(one, other) {
  return Math.hypot(...one.map((number, axis) => number - other[axis]));
}
