/** NiiVue, which draws volumes in 3D: it is fetched when it is needed first, set up, and draws on a canvas of its own. */

const OPTIONS = {
  backColor: [0, 0, 0, 1],
  fontColor: [0.8, 0.86, 0.88, 1],
  dragAndDropEnabled: false,
  interactive: false, // the page's own mouse and keys move it
  isResizeCanvas: false,
  loadingText: "",
  logLevel: "error",
};

/** @type {Promise<NiiVueBundle> | undefined} */
let bundle;

/** The bundle, which is no module and leaves its names with the window. */
function niivue() {
  bundle ??= import("./vendor/niivue-0.69.0/niivue.umd.js").then(() => globalThis.niivue);
  return bundle;
}

/** Volumes in 3D on a canvas that is not on the page. */
export class Solid {
  /** @param {NiiVue} nv @param {WebGL2RenderingContext} gl @param {HTMLCanvasElement} canvas */
  constructor(nv, gl, canvas) {
    this.nv = nv;
    this.gl = gl;
    this.canvas = canvas;
  }

  /** Set one up; throws `Error` where the browser has no WebGL 2. */
  static async make() {
    const { Niivue } = await niivue();
    const canvas = document.createElement("canvas");
    document.createElement("div").append(canvas); // NiiVue colours what holds it
    const nv = new Niivue(OPTIONS);
    await nv.attachToCanvas(canvas);
    if (!nv.gl) throw new Error("This browser has no WebGL 2.");
    nv.gl.finish = () => {}; // nobody waits for the graphics: what is drawn is fetched when it is shown
    nv.opts.sliceType = nv.sliceTypeRender;
    return new Solid(nv, nv.gl, canvas);
  }

  /** The most voxels along an axis that can be drawn. */
  get longest() {
    return this.gl.getParameter(this.gl.MAX_3D_TEXTURE_SIZE);
  }

  /** Read images; the first lies below the others. @param {File[]} files */
  async put(files) {
    const { NVImage } = await niivue();
    const images = [];
    for (const file of files) images.push(await NVImage.loadFromFile({ file }));
    const { nv } = this;
    nv.volumes = images;
    nv.back = images[0];
    nv.overlays = images.slice(1);
  }

  /**
   * Give them their window and colours.
   * @param {{low: number, high: number} | null} window of the lowest, where that is no overlay
   * @param {Uint32Array[]} fills of the overlays, as `Looks` has them
   */
  look(window, fills) {
    const { volumes } = this.nv;
    if (window) [volumes[0].cal_min, volumes[0].cal_max] = [window.low, window.high];
    fills.forEach((colours, at) => volumes[at + (window ? 1 : 0)].setColormapLabel(mapOf(colours)));
    this.nv.updateGLVolume();
  }

  /** @param {number} width @param {number} height */
  draw(width, height) {
    const { canvas, nv } = this;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    nv.drawScene();
  }

  /** @param {number} across @param {number} up degrees */
  turn(across, up) {
    const { scene } = this.nv;
    scene.renderAzimuth += across;
    scene.renderElevation += up;
  }

  /** @param {number} factor */
  zoom(factor) {
    const { scene } = this.nv;
    scene.volScaleMultiplier = Math.min(Math.max(scene.volScaleMultiplier * factor, 0.5), 8);
  }

  /** What is seen at a point, in fractions of the lowest volume; nothing beside it. @param {{x: number, y: number}} point */
  pick({ x, y }) {
    const { nv } = this;
    const nowhere = Float32Array.of(-1, -1, -1);
    nv.scene.crosshairPos = nowhere;
    nv.mousePos = [x, y];
    nv.uiData.mouseDepthPicker = true;
    nv.drawScene();
    return nv.scene.crosshairPos === nowhere ? null : [...nv.scene.crosshairPos];
  }

  /** Give the graphics memory back; a browser has few of these. */
  release() {
    this.nv.cleanup();
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}

/** Colours as NiiVue takes them. @param {Uint32Array} colours by value, RGBA */
function mapOf(colours) {
  const bytes = new Uint8Array(colours.buffer);
  const values = [...colours.keys()];
  const [R, G, B, A] = [0, 1, 2, 3].map((channel) => values.map((value) => bytes[4 * value + channel]));
  return { R, G, B, A, I: values, labels: values.map(() => "") };
}
