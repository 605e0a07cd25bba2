/** Volumes with fewer voxels, for the picture in 3D: on a screen nobody sees the difference, and a computer without a GPU does. */

import { niftiHeader } from "./nifti.js";
import { through } from "./volume.js";

const MOST_VOXELS = 2 ** 22; // 161 along each axis

/**
 * A NIfTI file of a volume, of each second or third voxel along its finest axes where there are too many.
 * @param {import("./volume.js").Volume} volume
 * @param {number} longest the most voxels along an axis
 */
export async function reduced(volume, longest) {
  const every = everyOf(volume, longest);
  const first = every.map((step) => step >> 1);
  const voxels = await picked(volume, every, first);
  const { matrix, spacing, sizes, slope, intercept } = volume;
  const origin = through(matrix, first);
  const axes = [0, 1, 2].map((axis) => matrix.map((row) => row[axis] / spacing[axis]));
  const header = niftiHeader({
    dimensions: triple(counts(sizes, every)),
    spacing: triple(spacing.map((mm, axis) => mm * every[axis])),
    axes: axes.map(([right, front, up]) => [-right, -front, up]),
    origin: [-origin[0], -origin[1], origin[2]],
    voxels,
    scaling: [slope, intercept],
    window: null,
  });
  return new File([header, voxels], "reduced.nii");
}

/** Of how many voxels along each axis one is taken. @param {import("./volume.js").Volume} volume @param {number} longest */
function everyOf({ sizes, spacing }, longest) {
  const every = [1, 1, 1];
  for (;;) {
    const now = counts(sizes, every);
    const tooLong = now.findIndex((count) => count > longest);
    if (tooLong < 0 && now[0] * now[1] * now[2] <= MOST_VOXELS) return every;
    const finest = [0, 1, 2]
      .filter((axis) => now[axis] > 1)
      .reduce((one, other) => (every[other] * spacing[other] < every[one] * spacing[one] ? other : one));
    every[tooLong < 0 ? finest : tooLong] += 1;
  }
}

/** @param {number[]} sizes @param {number[]} every */
function counts(sizes, every) {
  return sizes.map((count, axis) => Math.ceil(count / every[axis]));
}

/** @param {number[]} numbers @returns {[number, number, number]} */
function triple([x, y, z]) {
  return [x, y, z];
}

/** Take voxels, a plane at a time, so that the page goes on. @param {import("./volume.js").Volume} volume @param {number[]} every @param {number[]} first */
async function picked({ voxels, sizes, steps, start }, every, first) {
  const places = counts(sizes, every).map((count, axis) =>
    Int32Array.from(
      { length: count },
      (_, at) => Math.min(at * every[axis] + first[axis], sizes[axis] - 1) * steps[axis],
    ),
  );
  const Kind = /** @type {any} */ (voxels instanceof Float64Array ? Float32Array : voxels.constructor);
  /** @type {import("./volume.js").Voxels & ArrayBufferView<ArrayBuffer>} */
  const taken = new Kind(places[0].length * places[1].length * places[2].length);
  let at = 0;
  for (const plane of places[2]) {
    await painted();
    for (const row of places[1]) {
      const from = start + plane + row;
      for (const column of places[0]) {
        taken[at] = voxels[from + column];
        at += 1;
      }
    }
  }
  return taken;
}

/** Let the browser show what was drawn, and take what was clicked. */
export function painted() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel(); // a timer would rest longer each time
    port1.onmessage = () => {
      port1.close();
      resolve(undefined);
    };
    port2.postMessage(null);
  });
}
