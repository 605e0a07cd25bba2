/**
 * What is shown: volumes, the place of the cross hair, window, looks of labels, layout, view, rulers. Only this module changes
 * that, and each change ends in `#draw`: so the picture is never behind what the page says of it.
 *
 * Planes are planes of voxels, in an oblique volume too. A place is a voxel of the volume below, or of the first labels, along
 * its own axes in the order left to right, back to front, feet to head; and that voxel's centre in the patient's mm.
 */

import { Painter } from "./painter.js";
import { PLANES } from "./slices.js";
import { SolidView } from "./solid-view.js";
import { isWithin, placeAt, tilesOf, voxelAt, wholeView } from "./tiles.js";
import { distance, through, valueAt, voxelAtMm, voxelNear, within } from "./volume.js";

const MOST_ZOOM = 40;
const NARROWEST = 4096; // of the values' range to a window

/**
 * @typedef {import("./tiles.js").Layout} Layout
 * @typedef {import("./tiles.js").Tile} Tile
 * @typedef {import("./volume.js").Volume} Volume
 * @typedef {import("./slices.js").Plane} Plane
 * @typedef {{x: number, y: number}} Point of the canvas, in its pixels
 *
 * @typedef {object} Place
 * @property {number[]} voxel
 * @property {number[]} mm RAS
 * @property {number[]} spacing of the voxels, mm
 * @property {number[]} values of the volume below, where there is one, and of each overlay
 */

export class Picture {
  #painter;
  #solid;
  #looksVersion = 0;
  /** @type {Volume | null} */
  #below = null;
  /** @type {Volume[]} */
  #overlays = [];
  #window = { low: 0, high: 1 };
  /** @type {import("./tiles.js").View} */
  #view = { zoom: 1, centre: [0, 0, 0] };
  /** @type {import("./painter.js").Ruler[]} */
  #rulers = [];

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./looks.js").Looks} looks
   * @param {AbortSignal} signal ends it when another view is shown
   */
  constructor(canvas, looks, signal) {
    this.canvas = canvas;
    this.looks = looks;
    this.#painter = new Painter(canvas);
    this.#solid = new SolidView(() => this.#draw(), signal);
    /** @type {Layout} */
    this.layout = "all";
    /** The plane that wheel and keys move. @type {Plane} */
    this.active = PLANES.axial;
    this.hasCross = true;
    /** @type {Place | null} */
    this.place = null;
    /** Where a ruler begins that is drawn by keys. @type {number[] | null} */
    this.mark = null;
    /** @type {(place: Place) => void} */
    this.onPlace = () => {};
    this.onWindow = () => {};
    this.onLayout = () => {};
    const observer = new ResizeObserver(() => this.#draw());
    observer.observe(canvas);
    signal.addEventListener("abort", () => observer.disconnect());
  }

  /** The volume whose voxels the planes are of. */
  get shape() {
    return this.#below ?? this.#overlays[0];
  }

  /** How many voxels it has along each axis. */
  get sizes() {
    return this.shape.sizes;
  }

  /** The window of the volume below, and its values' range. */
  get window() {
    const { least, most, low, high } = /** @type {Volume} */ (this.#below);
    return { ...this.#window, least, most, first: { low, high } };
  }

  /** Why there is no picture in 3D; nothing where there is one, or may be one. */
  get no3d() {
    return this.#solid.fault;
  }

  /** Whether the picture in 3D stands beside the planes, and not only when it is asked for. */
  get has3d() {
    return this.#solid.isSmall && !this.#solid.fault;
  }

  get rulers() {
    return this.#rulers;
  }

  /** The planes that are shown, the one that wheel and keys move first. */
  get planes() {
    const shown = this.#tiles().flatMap(({ plane }) => plane ?? []);
    return [...shown].sort((one, other) => Number(other === this.active) - Number(one === this.active));
  }

  /** The plane that labels are looked for in: the one that is shown, or the axial one. */
  get plane() {
    return this.planes.length === 1 ? this.planes[0] : PLANES.axial;
  }

  /**
   * Show other volumes, one below overlays. The place stays, as far as it lies within.
   * @param {Volume | null} below
   * @param {Volume[]} overlays
   * @param {number[] | null} mm the place to look at where there was none yet, RAS; null: the middle
   */
  show(below, overlays, mm) {
    const before = this.place ? this.shape : null;
    this.#below = below;
    this.#overlays = overlays;
    this.looks.alone = !below;
    if (below) this.#window = { low: below.low, high: below.high };
    const { shape } = this;
    if (`${before?.matrix} ${before?.sizes}` !== `${shape.matrix} ${shape.sizes}`) {
      this.#view = wholeView(shape);
      this.#rulers = [];
      this.mark = null;
    }
    this.#painter.forget();
    this.#solid.show(below, overlays, this.looks, this.#window);
    const look = this.place?.mm ?? mm;
    this.moveTo(look ? voxelNear(shape, look) : shape.sizes.map((count) => Math.floor(count / 2)));
  }

  /** Wait until the picture in 3D is made, where it stands beside the planes. */
  async settled() {
    await this.#solid.settled();
  }

  /** Tell the place again. */
  tell() {
    if (this.place) this.onPlace(this.place);
  }

  /** Move the cross hair. @param {number[]} voxel */
  moveTo(voxel) {
    const { shape } = this;
    const inside = voxel.map((number, axis) => within(number, shape.sizes[axis]));
    const mm = through(shape.matrix, inside);
    const shown = [...(this.#below ? [this.#below] : []), ...this.#overlays];
    const values = shown.map((volume) => valueAt(volume, volume === shape ? inside : voxelAtMm(volume, mm)));
    this.place = { voxel: inside, mm, spacing: shape.spacing, values };
    this.#draw();
    this.onPlace(this.place);
  }

  /** Move the cross hair along an axis. @param {number} axis @param {number} voxels */
  step(axis, voxels) {
    if (this.place) this.moveTo(this.place.voxel.map((number, along) => (along === axis ? number + voxels : number)));
  }

  /** @param {number} low @param {number} high */
  setWindow(low, high) {
    this.#window = { low, high };
    this.#solid.look(this.looks, this.#window);
    this.#draw();
    this.onWindow();
  }

  /**
   * Make the window wider or narrower, and move its level by a part of its width.
   * @param {number} factor
   * @param {number} part
   */
  changeWindow(factor, part) {
    if (!this.#below) return;
    const { least, most } = this.#below;
    const { low, high } = this.#window;
    const width = Math.max((high - low) * factor, (most - least) / NARROWEST);
    const level = (high + low) / 2 + part * Math.max(high - low, (most - least) / 100);
    this.setWindow(level - width / 2, level + width / 2);
  }

  /** Draw labels as `looks` has them by now. */
  paint() {
    this.#looksVersion += 1;
    this.#solid.look(this.looks, this.#window);
    this.#draw();
  }

  /** @param {Layout} layout */
  setLayout(layout) {
    this.layout = layout;
    if (layout === "render") this.#solid.want();
    if (layout !== "all" && layout !== "render") this.active = PLANES[layout];
    this.#draw();
    this.onLayout();
  }

  /** @param {Plane} plane */
  setActive(plane) {
    if (this.active === plane) return;
    this.active = plane;
    this.#draw();
  }

  /** @param {boolean} hasCross */
  setCross(hasCross) {
    this.hasCross = hasCross;
    this.#draw();
  }

  /**
   * Zoom, so that the place at a point stays there; without one, the cross hair's place.
   * @param {number} factor
   * @param {Tile} [tile]
   * @param {Point} [point]
   */
  zoom(factor, tile, point) {
    if (!this.place) return;
    if (tile && !tile.plane) {
      this.#solid.zoom(factor);
      return;
    }
    const { zoom, centre } = this.#view;
    const next = Math.min(Math.max(zoom * factor, 1), MOST_ZOOM);
    const fixed = tile && point ? this.placeAt(tile, point) : this.place.voxel.map((number) => number + 0.5);
    const moved = centre.map((number, axis) => fixed[axis] + ((number - fixed[axis]) * zoom) / next);
    this.#view = next === 1 ? wholeView(this.shape) : { zoom: next, centre: moved };
    this.#draw();
  }

  /** Move the picture below a point, from one place to another one. @param {number[]} from @param {number[]} to */
  pan(from, to) {
    const centre = this.#view.centre.map((number, axis) => number + from[axis] - to[axis]);
    this.#view = { ...this.#view, centre: centre.map((number, axis) => within(number, this.sizes[axis] + 1)) };
    this.#draw();
  }

  /** Show the whole planes again. */
  showWhole() {
    this.#view = wholeView(this.shape);
    this.#draw();
  }

  /** Turn the picture in 3D, by degrees. @param {number} across @param {number} up */
  turn(across, up) {
    this.#solid.turn(across, up);
  }

  /** Move the cross hair to what is seen at a point of the picture in 3D. @param {Tile} tile @param {Point} point */
  async pick(tile, { x, y }) {
    const fractions = await this.#solid.pick({ x: x - tile.left, y: y - tile.top });
    if (fractions) this.moveTo(fractions.map((fraction, axis) => Math.floor(fraction * this.sizes[axis])));
  }

  /**
   * Measure between two places, in voxels from the volume's corner. A ruler lies in the slice in which it begins.
   * @param {Plane} plane
   * @param {number[]} from
   * @param {number[]} to
   * @param {boolean} isNew else the last ruler is another one now
   */
  measure(plane, from, to, isNew) {
    const end = to.map((number, axis) => (axis === plane.across ? from[axis] : number));
    const [one, other] = [from, end].map((place) =>
      through(
        this.shape.matrix,
        place.map((number) => number - 0.5),
      ),
    );
    const index = voxelAt(this.shape, from)[plane.across];
    const ruler = { from, to: end, plane, index, mm: distance(one, other) };
    this.#rulers = [...(isNew ? this.#rulers : this.#rulers.slice(0, -1)), ruler];
    this.#draw();
    return ruler;
  }

  removeLastRuler() {
    this.#rulers = this.#rulers.slice(0, -1);
    this.#draw();
  }

  removeRulers() {
    this.mark = null;
    this.#rulers = [];
    this.#draw();
  }

  /** The tile at a point. @param {Point} point */
  tileAt(point) {
    return this.#tiles().find((tile) => isWithin(tile, point));
  }

  /** The place at a point of a plane, in voxels from the volume's corner. @param {Tile} tile @param {Point} point */
  placeAt(tile, point) {
    return placeAt(tile, this.shape, this.#view, /** @type {Place} */ (this.place).voxel, point);
  }

  /** The point of the canvas at a point of the page. @param {{clientX: number, clientY: number}} event @returns {Point} */
  pointAt({ clientX, clientY }) {
    const { left, top } = this.canvas.getBoundingClientRect();
    const { ratio } = this.#painter;
    return { x: (clientX - left) * ratio, y: (clientY - top) * ratio };
  }

  /** The picture as it stands, as PNG. @returns {Promise<Blob | null>} */
  photo() {
    this.#draw();
    return new Promise((resolve) => this.canvas.toBlob(resolve, "image/png"));
  }

  #tiles() {
    return tilesOf(this.layout, this.has3d, this.canvas.width, this.canvas.height);
  }

  #draw() {
    if (!this.place) return; // it is drawn with the first volumes
    const painter = this.#painter;
    this.#fit();
    const scene = {
      ...{ below: this.#below, overlays: this.#overlays, shape: this.shape, looks: this.looks },
      ...{ looksVersion: this.#looksVersion, window: this.#window, view: this.#view, voxel: this.place.voxel },
      ...{ hasCross: this.hasCross, rulers: this.#rulers, active: this.layout === "all" ? this.active : null },
    };
    painter.clear();
    let isBehind = false;
    for (const tile of this.#tiles()) {
      if (tile.plane) {
        painter.slice(tile, scene);
      } else {
        painter.solid(tile, this.#solid.drawn(tile.width, tile.height));
        ({ isBehind } = this.#solid);
      }
    }
    this.canvas.toggleAttribute("data-behind", isBehind);
  }

  /** As many pixels as the screen has there. */
  #fit() {
    const { canvas } = this;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) =>
      Math.max(1, Math.round(side * ratio)),
    );
    this.#painter.ratio = ratio;
    if (canvas.width === width && canvas.height === height) return;
    canvas.width = width;
    canvas.height = height;
  }
}
