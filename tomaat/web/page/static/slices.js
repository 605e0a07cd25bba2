/**
 * Slices of volumes: which voxels a plane shows, their greys, their labels and the labels' outlines.
 *
 * A slice is seen as radiologists look at it: the patient's right on the left, the face on the left, the head at the top. So
 * each axis of RAS runs against the picture's.
 */

import { between, isSame } from "./volume.js";

/** @typedef {import("./volume.js").Volume} Volume */

/**
 * @typedef {object} Plane
 * @property {"axial" | "coronal" | "sagittal"} name
 * @property {number} across the axis that it cuts
 * @property {[number, number]} axes from the picture's right to its left, and from its bottom to its top
 * @property {[string, string, string, string]} ends left, right, top, bottom
 */

export const PLANES = /** @type {{axial: Plane, coronal: Plane, sagittal: Plane}} */ ({
  axial: { name: "axial", across: 2, axes: [0, 1], ends: ["R", "L", "A", "P"] },
  coronal: { name: "coronal", across: 1, axes: [0, 2], ends: ["R", "L", "S", "I"] },
  sagittal: { name: "sagittal", across: 0, axes: [1, 2], ends: ["A", "P", "S", "I"] },
});

/**
 * A slice's greys.
 * @param {Volume} volume
 * @param {Plane} plane
 * @param {number} index
 * @param {number} low the window's ends
 * @param {number} high
 */
export function greysOf({ voxels, sizes, steps, start, slope, intercept }, { across, axes }, index, low, high) {
  const [width, height] = axes.map((axis) => sizes[axis]);
  const [along, down] = axes.map((axis) => steps[axis]);
  const image = new ImageData(width, height);
  const { data } = image; // rounds, and keeps what is outside of 0 to 255 at its ends
  const gain = 255 / Math.max(high - low, Number.MIN_VALUE);
  const [factor, offset] = [slope * gain, (intercept - low) * gain];
  const first = start + index * steps[across] + (height - 1) * down + (width - 1) * along;
  for (let row = 0, at = 0; row < height; row += 1) {
    for (let column = 0, from = first - row * down; column < width; column += 1, at += 4, from -= along) {
      const grey = voxels[from] * factor + offset;
      data[at] = grey;
      data[at + 1] = grey;
      data[at + 2] = grey;
      data[at + 3] = 255;
    }
  }
  return image;
}

/**
 * The labels of a slice of another volume: of each voxel the label that is nearest to its centre.
 * @param {Volume} labels
 * @param {Volume} volume whose slice it is
 * @param {Plane} plane
 * @param {number} index
 */
export function labelsOf(labels, volume, { across, axes: [x, y] }, index) {
  const { voxels, sizes, steps, start, slope, intercept } = labels;
  const [width, height] = [volume.sizes[x], volume.sizes[y]];
  const found = new Int32Array(width * height);
  const way = between(volume, labels);
  if (isSame(way, volume.sizes) && `${sizes}` === `${volume.sizes}`) {
    const first = start + index * steps[across] + (height - 1) * steps[y] + (width - 1) * steps[x];
    for (let row = 0, at = 0; row < height; row += 1) {
      for (let column = 0, from = first - row * steps[y]; column < width; column += 1, at += 1, from -= steps[x]) {
        found[at] = Math.round(voxels[from] * slope + intercept);
      }
    }
    return found;
  }
  for (let row = 0, at = 0; row < height; row += 1) {
    const voxel = [0, 0, 0];
    voxel[x] = width - 1;
    voxel[y] = height - 1 - row;
    voxel[across] = index;
    const [i, j, k] = way.map(([a, b, c, d]) => a * voxel[0] + b * voxel[1] + c * voxel[2] + d + 0.5);
    for (let column = 0; column < width; column += 1, at += 1) {
      const one = Math.floor(i - column * way[0][x]);
      const two = Math.floor(j - column * way[1][x]);
      const three = Math.floor(k - column * way[2][x]);
      if (one < 0 || two < 0 || three < 0 || one >= sizes[0] || two >= sizes[1] || three >= sizes[2]) continue;
      found[at] = Math.round(voxels[start + one * steps[0] + two * steps[1] + three * steps[2]] * slope + intercept);
    }
  }
  return found;
}

/** Colours of a slice's labels. @param {Int32Array} labels @param {number} width @param {Uint32Array} colours by label, RGBA */
export function filled(labels, width, colours) {
  const image = new ImageData(width, labels.length / width);
  const pixels = new Uint32Array(image.data.buffer);
  for (let at = 0; at < labels.length; at += 1) {
    if (labels[at] > 0 && labels[at] < colours.length) pixels[at] = colours[labels[at]];
  }
  return image;
}

/** The lines around a slice's labels, along the voxels' edges. @param {Int32Array} labels @param {number} width */
export function outlinesOf(labels, width) {
  /** @type {Map<number, Path2D>} */
  const lines = new Map();
  const height = labels.length / width;
  /** @param {number} label @param {number[]} line */
  const add = (label, [x, y, right, bottom]) => {
    if (!label) return;
    const path = lines.get(label) ?? new Path2D();
    path.moveTo(x, y);
    path.lineTo(right, bottom);
    lines.set(label, path);
  };
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) {
      const label = labels[row * width + column];
      const before = column ? labels[row * width + column - 1] : 0;
      const above = row ? labels[(row - 1) * width + column] : 0;
      if (label !== before) for (const one of [label, before]) add(one, [column, row, column, row + 1]);
      if (label !== above) for (const one of [label, above]) add(one, [column, row, column + 1, row]);
      if (column === width - 1) add(label, [width, row, width, row + 1]);
      if (row === height - 1) add(label, [column, height, column + 1, height]);
    }
  }
  return lines;
}
