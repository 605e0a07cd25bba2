/**
 * Draws volumes in 3D beside the page: without a GPU a picture takes seconds. NiiVue's bundle is no module and leaves its names with
 * the worker.
 */

import "./vendor/niivue-0.69.0/niivue.umd.js";
import { listen } from "./workers.js";

const OPTIONS = {
  backColor: [0, 0, 0, 1],
  dragAndDropEnabled: false,
  forceDevicePixelRatio: 1,
  interactive: false, // the page's own mouse and keys move it
  isResizeCanvas: false,
  isOrientationTextVisible: false,
  loadingText: "",
  logLevel: "error",
};

/** @type {NiiVue} */
let nv;

/** @type {Record<string, (question: any) => Promise<any> | any>} */
const ACTS = { make, put, look, turn, zoom, pick };

listen(async ({ act, ...question }) => {
  if (act !== "draw") return { answer: await ACTS[act](question) };
  const answer = draw(question);
  return { answer, transfer: [answer] };
});

/** Set NiiVue up; gives the most voxels along an axis that can be drawn, and throws `Error` where there is no WebGL 2. */
async function make() {
  const canvas = new OffscreenCanvas(1, 1);
  Object.assign(canvas, { parentElement: { style: {} } }); // NiiVue colours what holds it
  nv = new globalThis.niivue.Niivue(OPTIONS);
  nv.initText = async () => {}; // its letters are a picture, which a worker cannot load; there are none in 3D
  await nv.attachToCanvas(canvas);
  if (!nv.gl) throw new Error("This browser has no WebGL 2.");
  nv.opts.sliceType = nv.sliceTypeRender;
  return nv.gl.getParameter(nv.gl.MAX_3D_TEXTURE_SIZE);
}

/** Read images; the first lies below the others. @param {{files: File[]}} question */
async function put({ files }) {
  const images = [];
  for (const file of files) images.push(await globalThis.niivue.NVImage.loadFromFile({ file }));
  nv.volumes = images;
  nv.back = images[0];
  nv.overlays = images.slice(1);
}

/**
 * Give them their window and colours.
 * @param {object} question
 * @param {{low: number, high: number} | null} question.window of the lowest, where that is no overlay
 * @param {Uint32Array[]} question.fills of the overlays, as `Looks` has them
 */
function look({ window, fills }) {
  const { volumes } = nv;
  if (window) [volumes[0].cal_min, volumes[0].cal_max] = [window.low, window.high];
  fills.forEach((colours, at) => volumes[at + (window ? 1 : 0)].setColormapLabel(mapOf(colours)));
  nv.updateGLVolume();
}

/** @param {{width: number, height: number}} size */
function draw({ width, height }) {
  const canvas = /** @type {OffscreenCanvas} */ (/** @type {WebGL2RenderingContext} */ (nv.gl).canvas);
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  nv.drawScene();
  return canvas.transferToImageBitmap();
}

/** @param {{across: number, up: number}} degrees */
function turn({ across, up }) {
  nv.scene.renderAzimuth += across;
  nv.scene.renderElevation += up;
}

/** @param {{factor: number}} question */
function zoom({ factor }) {
  nv.scene.volScaleMultiplier = Math.min(Math.max(nv.scene.volScaleMultiplier * factor, 0.5), 8);
}

/** What is seen at a point, in fractions of the lowest volume; nothing beside it. @param {{x: number, y: number}} point */
function pick({ x, y }) {
  const nowhere = Float32Array.of(-1, -1, -1);
  nv.scene.crosshairPos = nowhere;
  nv.mousePos = [x, y];
  nv.uiData.mouseDepthPicker = true;
  nv.drawScene();
  return nv.scene.crosshairPos === nowhere ? null : [...nv.scene.crosshairPos];
}

/** Colours as NiiVue takes them. @param {Uint32Array} colours by value, RGBA */
function mapOf(colours) {
  const bytes = new Uint8Array(colours.buffer);
  const values = [...colours.keys()];
  const [R, G, B, A] = [0, 1, 2, 3].map((channel) => values.map((value) => bytes[4 * value + channel]));
  return { R, G, B, A, I: values, labels: values.map(() => "") };
}
