/** Where labels are: a label's largest slice, and the slices that have one. */

import { labelsOf } from "./slices.js";
import { through } from "./volume.js";

/** @typedef {import("./volume.js").Volume} Volume */
/** @typedef {import("./slices.js").Plane} Plane */

/**
 * A place in a label, in its largest slice: the voxel of it that is nearest to its middle there. RAS, mm; nothing where it has
 * no voxels.
 * @param {Volume} volume the labels
 * @param {number} value
 * @param {Plane} plane
 */
export function largestSlice(volume, value, plane) {
  const counts = volume.counts?.get(value)?.[plane.across];
  if (!counts) return null;
  const index = counts.indexOf(Math.max(...counts));
  const [x, y] = plane.axes;
  const [width, height] = [volume.sizes[x], volume.sizes[y]];
  const slice = labelsOf(volume, volume, plane, index);
  const found = [...slice.keys()].filter((at) => slice[at] === value).map((at) => [at % width, Math.floor(at / width)]);
  const middle = [0, 1].map((axis) => found.reduce((sum, point) => sum + point[axis], 0) / found.length);
  const far = (/** @type {number[]} */ [column, row]) => Math.hypot(column - middle[0], row - middle[1]);
  const [column, row] = found.reduce((one, other) => (far(other) < far(one) ? other : one));
  const voxel = [0, 0, 0];
  voxel[x] = width - 1 - column;
  voxel[y] = height - 1 - row;
  voxel[plane.across] = index;
  return through(volume.matrix, voxel);
}

/**
 * The next slice with one of some labels, from another one; nothing where there is none in that direction.
 * @param {Volume} volume the labels
 * @param {number[]} values
 * @param {number} axis which the slices cut
 * @param {number} from
 * @param {1 | -1} direction
 */
export function nextSlice(volume, values, axis, from, direction) {
  const counts = values.flatMap((value) => volume.counts?.get(value) ?? []).filter((_, at) => at % 3 === axis);
  for (let index = from + direction; index >= 0 && index < volume.sizes[axis]; index += direction) {
    if (counts.some((perSlice) => perSlice[index] > 0)) return index;
  }
  return null;
}
