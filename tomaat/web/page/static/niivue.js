/** NiiVue, which draws volumes: it is fetched when it is needed first, set up, and reads images. */

import { Picture } from "./picture.js";

const SAME_WITHIN_VOXELS = 0.125; // the reader itself moves a voxel by up to a tenth, to make axes square
const HEADER_BYTES = 65_536; // of a MetaImage, at most
const BIG_ENDIAN = /^[ \t]*(?:BinaryData|Element)ByteOrderMSB[ \t]*=[ \t]*true[ \t]*(?=\r?$)/im;
const CORNERS = [0, 1, 2, 3, 4, 5, 6, 7].map((corner) => [corner & 1, (corner >> 1) & 1, corner >> 2]);
const OPTIONS = {
  backColor: [0, 0, 0, 1],
  crosshairColor: [0.36, 0.78, 0.87, 0.9],
  crosshairGap: 6,
  crosshairWidthUnit: "percent",
  fontColor: [0.8, 0.86, 0.88, 1],
  showAllOrientationMarkers: true,
  dragAndDropEnabled: false,
  isRadiologicalConvention: true,
  sagittalNoseLeft: true, // as radiologists look at it, and as the result's own picture has it
  loadingText: "",
  multiplanarPadPixels: 12,
  logLevel: "error",
  isForceMouseClickToVoxelCenters: true,
  scrollRequiresFocus: true, // scrolling the page does not get stuck in the picture
  viewModeHotKey: "", // there is a button for it
  clipPlaneHotKey: "",
};

/** @type {Promise<NiiVueBundle> | undefined} */
let bundle;

/** The bundle, which is no module and leaves its names with the window. */
function niivue() {
  bundle ??= import("./vendor/niivue-0.69.0/niivue.umd.js").then(() => globalThis.niivue);
  return bundle;
}

/**
 * Let NiiVue draw on a canvas, until another view is shown; throws `Error` where the browser has no WebGL 2.
 * @param {HTMLCanvasElement} canvas
 * @param {AbortSignal} signal
 * @returns {Promise<Picture | null>} nothing where another view is shown already
 */
export async function attach(canvas, signal) {
  const { Niivue, SHOW_RENDER, MULTIPLANAR_TYPE } = await niivue();
  if (signal.aborted) return null;
  const nv = new Niivue({
    ...OPTIONS,
    crosshairWidth: canvas.clientWidth < 500 ? 1 : 0.5, // so that it is as wide as a pixel
    multiplanarShowRender: SHOW_RENDER.ALWAYS,
    multiplanarLayout: MULTIPLANAR_TYPE.GRID,
  });
  await nv.attachToCanvas(canvas);
  const { gl } = nv;
  if (!gl) throw new Error("This browser has no WebGL 2.");
  /** Give the graphics memory back; a browser has few of these. */
  const release = () => {
    nv.cleanup();
    gl.getExtension("WEBGL_lose_context")?.loseContext();
  };
  if (signal.aborted) {
    release();
    return null;
  }
  signal.addEventListener("abort", release);
  return new Picture(nv);
}

/**
 * Read an image; throws `Error` with a sentence where NiiVue cannot, or does not find a value for each voxel.
 * @param {File} file
 * @param {number} largest the most voxels along an axis that can be drawn
 */
export async function loadImage(file, largest) {
  const { NVImage } = await niivue();
  const image = await NVImage.loadFromFile({ file: await withKnownByteOrder(file) }).catch(() => null);
  const sizes = image?.hdr.dims.slice(1, 4);
  if (!sizes || image?.img.length !== sizes[0] * sizes[1] * sizes[2]) throw new Error("This page cannot read it.");
  if (Math.max(...sizes) > largest) {
    throw new Error(`It has more than the ${largest} voxels along an axis that can be drawn on this computer.`);
  }
  return image;
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

/**
 * A place to look at first: where each plane has the most labelled voxels. RAS, mm; nothing without labels.
 * @param {NiiVueImage} image
 */
export function withinLabels({ img: voxels, hdr }) {
  const sizes = hdr.dims.slice(1, 4);
  const counts = sizes.map((size) => new Uint32Array(size));
  const [columns, rows, planes] = sizes;
  let at = 0;
  for (let plane = 0; plane < planes; plane += 1) {
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1, at += 1) {
        if (!voxels[at]) continue;
        counts[0][column] += 1;
        counts[1][row] += 1;
        counts[2][plane] += 1;
      }
    }
  }
  const index = counts.map((count) => count.indexOf(Math.max(...count)));
  if (!counts[0][index[0]]) return null;
  return placeOf(hdr.affine, index);
}

/** @param {number[][]} affine @param {number[]} index of a voxel: i, j, k */
function placeOf(affine, index) {
  return [0, 1, 2].map((axis) => [...index, 1].reduce((sum, number, column) => sum + affine[axis][column] * number, 0));
}

/**
 * Where each voxel of an image is: how many there are along i, j, k, and the corners of them all, RAS, mm. The order counts: a
 * mirrored volume has its voxels at the same places, and other voxels there.
 * @param {NiiVueImage} image
 */
export function gridOf({ hdr }) {
  const sizes = hdr.dims.slice(1, 4);
  const corners = CORNERS.map((corner) =>
    placeOf(
      hdr.affine,
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
  const within = SAME_WITHIN_VOXELS * voxelMm;
  return (
    one.sizes.every((count, axis) => count === other.sizes[axis]) &&
    one.corners.every((corner, at) => distance(corner, other.corners[at]) < within)
  );
}

/** @param {number[]} one @param {number[]} other */
function distance(one, other) {
  return Math.hypot(...one.map((number, axis) => number - other[axis]));
}
