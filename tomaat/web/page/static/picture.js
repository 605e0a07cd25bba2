/**
 * What is drawn: volumes, the place of the cross hair, window, opacity, colours, layout. Only this module changes what NiiVue
 * shows, and each change ends in `#draw`: so the picture is never behind what the page says of it.
 *
 * NiiVue's planes are planes of voxels, in an oblique volume too. A place is a voxel of the lowest volume, along its own axes in
 * the order left to right, back to front, feet to head; and that voxel's centre in the patient's mm.
 */

const LOWEST = 0;
const IN_THE_PATIENT = true; // else NiiVue means mm along the volume's own axes
const SLICE_TYPES = /** @type {const} */ ({
  all: "sliceTypeMultiplanar",
  axial: "sliceTypeAxial",
  coronal: "sliceTypeCoronal",
  sagittal: "sliceTypeSagittal",
  render: "sliceTypeRender",
});

/**
 * @typedef {keyof typeof SLICE_TYPES} Layout
 *
 * @typedef {object} Place
 * @property {number[]} voxel
 * @property {number[]} mm RAS
 * @property {number[]} values of each volume there, the lowest first
 */

export class Picture {
  #nv;

  /** @param {NiiVue} nv */
  constructor(nv) {
    this.#nv = nv;
    /** @type {Layout} */
    this.layout = "all";
    /** @type {Place | null} */
    this.place = null;
    /** @type {(place: Place) => void} */
    this.onPlace = () => {};
    this.onWindow = () => {};
    nv.onLocationChange = (location) => this.#tell(location);
    nv.onIntensityChange = () => this.onWindow();
  }

  /** How many voxels the lowest volume has along each axis. */
  get sizes() {
    return this.#nv.volumes[LOWEST].dimsRAS.slice(1, 4);
  }

  /** The most voxels along an axis that the graphics of this computer can draw. */
  get largest() {
    const { gl } = this.#nv;
    return gl ? gl.getParameter(gl.MAX_3D_TEXTURE_SIZE) : 0;
  }

  /** The lowest volume's window, and its values' range. */
  get window() {
    const { cal_min, cal_max, global_min, global_max } = this.#nv.volumes[LOWEST];
    return { low: cal_min, high: cal_max, least: global_min, most: global_max };
  }

  /**
   * Show other images, the first below the others. The place stays, as far as it lies within the lowest one.
   * @param {NiiVueImage[]} images
   * @param {number[] | null} mm the place to look at where there was none yet, RAS; null: the middle
   */
  show(images, mm) {
    const nv = this.#nv;
    while (nv.volumes.length) nv.removeVolume(nv.volumes[LOWEST]);
    for (const image of images) nv.addVolume(image);
    const look = this.place?.mm ?? mm;
    this.#look(look ? nv.mm2frac(look, LOWEST, IN_THE_PATIENT) : [0.5, 0.5, 0.5]);
  }

  /** Tell the place again. */
  tell() {
    if (this.place) this.onPlace(this.place);
  }

  /** Move the cross hair. @param {number[]} voxel */
  moveTo(voxel) {
    this.#look(this.#centreOf(voxel));
  }

  /** @param {number} low @param {number} high */
  setWindow(low, high) {
    const volume = this.#nv.volumes[LOWEST];
    volume.cal_min = low;
    volume.cal_max = high;
    this.#draw(true);
  }

  /** @param {NiiVueImage[]} images @param {number} opacity */
  setOpacity(images, opacity) {
    for (const image of images) image.opacity = opacity;
    this.#draw(true);
  }

  /**
   * Give labels their colours, and hide some.
   * @param {NiiVueImage} image
   * @param {import("./result.js").Label[]} labels
   * @param {Set<number>} hidden their values
   */
  paint(image, labels, hidden) {
    image.setColormapLabel({
      R: [0, ...labels.map(({ color }) => color[0])],
      G: [0, ...labels.map(({ color }) => color[1])],
      B: [0, ...labels.map(({ color }) => color[2])],
      A: [0, ...labels.map(({ value }) => (hidden.has(value) ? 0 : 255))],
      I: [0, ...labels.map(({ value }) => value)],
      labels: ["", ...labels.map(({ name }) => name)],
    });
    this.#draw(true);
  }

  /** @param {Layout} layout */
  setLayout(layout) {
    this.layout = layout;
    this.#nv.opts.sliceType = this.#nv[SLICE_TYPES[layout]];
    this.#draw();
  }

  /** @param {ArrayLike<number>} fractions of the lowest volume */
  #look(fractions) {
    this.#nv.scene.crosshairPos = Float32Array.from(fractions);
    this.#draw();
  }

  /**
   * Draw what was changed, and tell the place.
   * @param {boolean} [layers] whether the volumes look otherwise: they are coloured anew, and then drawn
   */
  #draw(layers = false) {
    const nv = this.#nv;
    if (!nv.volumes.length) return; // it is drawn with the first ones
    if (layers) nv.updateGLVolume();
    else nv.drawScene();
    nv.createOnLocationChange();
  }

  /** Tell a place once it is the centre of a voxel: a plane between two would show both. @param {NiiVueLocation} location */
  #tell({ mm, frac, values }) {
    const { sizes } = this;
    const voxel = sizes.map((count, axis) => Math.min(Math.max(Math.floor(frac[axis] * count), 0), count - 1));
    if (this.#centreOf(voxel).some((centre, axis) => centre !== frac[axis])) {
      this.moveTo(voxel);
      return;
    }
    this.place = { voxel, mm: [...mm].slice(0, 3), values: values.map(({ value }) => value) };
    this.onPlace(this.place);
  }

  /** @param {number[]} voxel */
  #centreOf(voxel) {
    return Float32Array.from(this.sizes, (count, axis) => (voxel[axis] + 0.5) / count);
  }
}
