/** NiiVue, which draws volumes: it is fetched when it is needed first, set up, and given images. */

const SAME_WITHIN_MM = 0.01;
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
 * @returns {Promise<NiiVue | null>} nothing where another view is shown already
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
  return nv;
}

/** @param {File} file @param {number} opacity */
export async function loadImage(file, opacity) {
  const { NVImage } = await niivue();
  return NVImage.loadFromFile({ file, name: nameOf(file), opacity });
}

/** NiiVue reads the format from a name's end; it knows `.nrrd`, not `.seg.nrrd`. @param {File} file */
function nameOf(file) {
  return file.name.toLowerCase().replace(/\.seg\.nrrd$/, ".nrrd");
}

/**
 * Give labels their colours, and hide some.
 * @param {NiiVueImage} image
 * @param {import("./result.js").Label[]} labels
 * @param {Set<number>} hidden their values
 */
export function colour(image, labels, hidden) {
  image.setColormapLabel({
    R: [0, ...labels.map(({ color }) => color[0])],
    G: [0, ...labels.map(({ color }) => color[1])],
    B: [0, ...labels.map(({ color }) => color[2])],
    A: [0, ...labels.map(({ value }) => (hidden.has(value) ? 0 : 255))],
    I: [0, ...labels.map(({ value }) => value)],
    labels: ["", ...labels.map(({ name }) => name)],
  });
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
  return [0, 1, 2].map((axis) =>
    [...index, 1].reduce((sum, number, column) => sum + hdr.affine[axis][column] * number, 0),
  );
}

/** Whether two images have the same voxels' places. @param {NiiVueImage} one @param {NiiVueImage} other */
export function sameGrid(one, other) {
  const places = (/** @type {NiiVueImage} */ { hdr }) => [...hdr.dims.slice(1, 4), ...hdr.affine.flat()];
  const [here, there] = [places(one), places(other)];
  return here.every((number, at) => Math.abs(number - there[at]) < SAME_WITHIN_MM);
}
