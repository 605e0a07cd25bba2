/** Where on the picture each plane lies, and which place of the volume each of its points is. Lengths are pixels of the canvas. */

import { PLANES } from "./slices.js";
import { within } from "./volume.js";

/**
 * @typedef {"all" | "axial" | "coronal" | "sagittal" | "render"} Layout
 * @typedef {{left: number, top: number, width: number, height: number}} Box
 * @typedef {Box & {plane: import("./slices.js").Plane | null}} Tile null: the picture in 3D
 * @typedef {{zoom: number, centre: number[]}} View `centre` is a place along the volume's axes, in voxels from its corner
 * @typedef {{sizes: number[], spacing: number[]}} Shape
 */

const GAP = 2;
const MARGIN = 0.97; // of a tile that a plane fills
const HERO = 0.6; // of the picture that the axial plane takes where there is no picture in 3D

/**
 * @param {Layout} layout
 * @param {boolean} has3d
 * @param {number} width
 * @param {number} height
 * @returns {Tile[]}
 */
export function tilesOf(layout, has3d, width, height) {
  const whole = { left: 0, top: 0, width, height };
  if (layout === "render") return [{ ...whole, plane: null }];
  if (layout !== "all") return [{ ...whole, plane: PLANES[layout] }];
  const { axial, coronal, sagittal } = PLANES;
  if (has3d) {
    const [left, right] = split(width, 0.5);
    const [top, bottom] = split(height, 0.5);
    return [
      { ...left.across, ...top.down, plane: coronal },
      { ...right.across, ...top.down, plane: sagittal },
      { ...left.across, ...bottom.down, plane: axial },
      { ...right.across, ...bottom.down, plane: null },
    ];
  }
  const wide = width >= height;
  const [large, small] = split(wide ? width : height, HERO);
  const [first, second] = split(wide ? height : width, 0.5);
  const box = (/** @type {Part} */ one, /** @type {Part} */ other) =>
    wide ? { ...one.across, ...other.down } : { ...other.across, ...one.down };
  return [
    { ...whole, ...(wide ? large.across : large.down), plane: axial },
    { ...box(small, first), plane: coronal },
    { ...box(small, second), plane: sagittal },
  ];
}

/**
 * Two parts of a length, with a gap between.
 * @param {number} length
 * @param {number} share
 */
function split(length, share) {
  const end = Math.round(length * share);
  return [partOf(0, end - GAP), partOf(end + GAP, length - end - GAP)];
}

/** @param {number} start @param {number} length */
function partOf(start, length) {
  return { across: { left: start, width: length }, down: { top: start, height: length } };
}

/** @typedef {ReturnType<typeof partOf>} Part */

/** A view of the whole volume. @param {Shape} shape @returns {View} */
export function wholeView({ sizes }) {
  return { zoom: 1, centre: sizes.map((count) => count / 2) };
}

/**
 * How many pixels a voxel has along each axis of a tile's plane.
 * @param {Tile} tile
 * @param {Shape} shape
 * @param {number} zoom
 */
export function scaleOf({ width, height, plane }, { sizes, spacing }, zoom) {
  const [x, y] = /** @type {import("./slices.js").Plane} */ (plane).axes;
  const perMm = zoom * MARGIN * Math.min(width / (sizes[x] * spacing[x]), height / (sizes[y] * spacing[y]));
  return [perMm * spacing[x], perMm * spacing[y]];
}

/**
 * Where a plane's slice lies on the picture.
 * @param {Tile} tile
 * @param {Shape} shape
 * @param {View} view
 * @returns {Box}
 */
export function boxOf(tile, shape, view) {
  const [x, y] = /** @type {import("./slices.js").Plane} */ (tile.plane).axes;
  const [across, down] = scaleOf(tile, shape, view.zoom);
  return {
    left: tile.left + tile.width / 2 - (shape.sizes[x] - view.centre[x]) * across,
    top: tile.top + tile.height / 2 - (shape.sizes[y] - view.centre[y]) * down,
    width: shape.sizes[x] * across,
    height: shape.sizes[y] * down,
  };
}

/**
 * The place at a point of a tile, in voxels from the volume's corner along its axes; in the middle of the slice that is shown.
 * @param {Tile} tile
 * @param {Shape} shape
 * @param {View} view
 * @param {number[]} voxel at which the planes are
 * @param {{x: number, y: number}} point
 */
export function placeAt(tile, shape, view, voxel, { x, y }) {
  const { axes } = /** @type {import("./slices.js").Plane} */ (tile.plane);
  const box = boxOf(tile, shape, view);
  const place = voxel.map((number) => number + 0.5);
  place[axes[0]] = shape.sizes[axes[0]] * (1 - (x - box.left) / box.width);
  place[axes[1]] = shape.sizes[axes[1]] * (1 - (y - box.top) / box.height);
  return place;
}

/**
 * The point of a tile at which a place lies.
 * @param {Tile} tile
 * @param {Shape} shape
 * @param {View} view
 * @param {number[]} place
 */
export function pointOf(tile, shape, view, place) {
  const { axes } = /** @type {import("./slices.js").Plane} */ (tile.plane);
  const box = boxOf(tile, shape, view);
  return {
    x: box.left + box.width * (1 - place[axes[0]] / shape.sizes[axes[0]]),
    y: box.top + box.height * (1 - place[axes[1]] / shape.sizes[axes[1]]),
  };
}

/** The voxel at a place. @param {Shape} shape @param {number[]} place */
export function voxelAt({ sizes }, place) {
  return place.map((number, axis) => within(Math.floor(number), sizes[axis]));
}

/** @param {Box} box @param {{x: number, y: number}} point */
export function isWithin({ left, top, width, height }, { x, y }) {
  return x >= left && y >= top && x < left + width && y < top + height;
}
