/** Mouse, pen and fingers over the picture. */

import { distance } from "./volume.js";

const NOTCH = 50; // of a wheel's way, in the browser's pixels, after which a slice is passed
const ZOOM = 1.002; // for a pixel of a wheel's way
const TURN = 0.6; // degrees for a pixel
const WIDER = 1.006; // the window for a pixel to the right
const HIGHER = 0.004; // its level for a pixel upwards, in parts of its width
const LEFT = 0;
const MIDDLE = 1;
const RIGHT = 2;

/**
 * @typedef {import("./picture.js").Picture} Picture
 * @typedef {import("./picture.js").Point} Point
 * @typedef {import("./tiles.js").Tile} Tile
 * @typedef {"point" | "window" | "move" | "ruler"} Tool of the left button, or of one finger
 */

export class Hand {
  /** @type {{tool: Tool | "turn", tile: Tile, last: Point, start: number[]} | null} a drag */
  #drag = null;
  /** Fingers, by their ids. @type {Map<number, Point>} */
  #fingers = new Map();
  #wheel = 0;

  /** @param {Picture} picture @param {() => void} onRuler a ruler was drawn */
  constructor(picture, onRuler) {
    this.picture = picture;
    this.onRuler = onRuler;
    /** @type {Tool} */
    this.tool = "point";
    const { canvas } = picture;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of /** @type {const} */ (["pointerup", "pointercancel"])) {
      canvas.addEventListener(end, (event) => this.#up(event));
    }
    canvas.addEventListener("wheel", (event) => this.#turnWheel(event), { passive: false });
    canvas.addEventListener("dblclick", (event) => this.#pick(event));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault()); // its button sets the window
  }

  /** @param {PointerEvent} event */
  #down(event) {
    const { picture } = this;
    const point = picture.pointAt(event);
    const tile = picture.tileAt(point);
    if (!tile || !picture.place) return;
    event.preventDefault();
    picture.canvas.focus({ preventScroll: true });
    picture.canvas.setPointerCapture(event.pointerId);
    this.#fingers.set(event.pointerId, point);
    if (this.#fingers.size > 1) {
      if (this.#drag?.tool === "ruler") picture.removeLastRuler();
      this.#drag = null; // two fingers zoom
      return;
    }
    if (tile.plane) picture.setActive(tile.plane);
    const tool = tile.plane ? this.#toolOf(event) : "turn";
    const start = tile.plane ? picture.placeAt(tile, point) : [];
    this.#drag = { tool, tile, last: point, start };
    if (tool === "point") this.#goTo(tile, point);
    if (tool === "ruler") picture.measure(planeOf(tile), start, start, true);
  }

  /** @param {PointerEvent} event @returns {Tool} */
  #toolOf({ button, shiftKey }) {
    if (button === RIGHT) return "window";
    if (button === MIDDLE || (button === LEFT && shiftKey)) return "move";
    return this.tool;
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const point = this.picture.pointAt(event);
    if (this.#fingers.size === 2 && this.#fingers.has(event.pointerId)) {
      this.#pinch(event.pointerId, point);
      return;
    }
    if (!this.#drag) return;
    const { picture } = this;
    const { tool, tile, last, start } = this.#drag;
    const [across, down] = [point.x - last.x, point.y - last.y];
    this.#drag.last = point;
    if (tool === "point") this.#goTo(tile, point);
    else if (tool === "window") picture.changeWindow(WIDER ** across, -down * HIGHER);
    else if (tool === "move") picture.pan(picture.placeAt(tile, last), picture.placeAt(tile, point));
    else if (tool === "turn") picture.turn(TURN * across, TURN * down);
    else picture.measure(planeOf(tile), start, picture.placeAt(tile, point), false);
  }

  /** @param {PointerEvent} event */
  #up(event) {
    const { picture } = this;
    this.#fingers.delete(event.pointerId);
    if (this.#drag?.tool === "ruler") {
      if (!picture.rulers.at(-1)?.mm) picture.removeLastRuler(); // a click draws none
      this.onRuler();
    }
    this.#drag = null;
  }

  /** @param {Tile} tile @param {Point} point */
  #goTo(tile, point) {
    this.picture.moveTo(this.picture.placeAt(tile, point).map(Math.floor));
  }

  /** @param {number} id @param {Point} point */
  #pinch(id, point) {
    const { picture } = this;
    const [other] = [...this.#fingers].flatMap(([finger, at]) => (finger === id ? [] : [at]));
    const before = /** @type {Point} */ (this.#fingers.get(id));
    this.#fingers.set(id, point);
    const middle = { x: (point.x + other.x) / 2, y: (point.y + other.y) / 2 };
    const tile = picture.tileAt(middle);
    if (!tile) return;
    const [now, then] = [point, before].map(({ x, y }) => distance([x, y], [other.x, other.y]));
    if (tile.plane) {
      const old = { x: (before.x + other.x) / 2, y: (before.y + other.y) / 2 };
      picture.pan(picture.placeAt(tile, old), picture.placeAt(tile, middle));
    }
    if (then > 0 && now > 0) picture.zoom(now / then, tile, middle);
  }

  /** @param {WheelEvent} event */
  #turnWheel(event) {
    const { picture } = this;
    const point = picture.pointAt(event);
    const tile = picture.tileAt(point);
    if (!tile || !picture.place) return;
    event.preventDefault();
    const way = event.deltaY || event.deltaX; // Shift turns it
    if (!tile.plane || event.ctrlKey || event.shiftKey) {
      picture.zoom(ZOOM ** -way, tile, point);
      return;
    }
    picture.setActive(tile.plane);
    this.#wheel = Math.sign(way) === Math.sign(this.#wheel) ? this.#wheel + way : way;
    const inLines = event.deltaMode !== WheelEvent.DOM_DELTA_PIXEL;
    if (!inLines && Math.abs(this.#wheel) < NOTCH) return;
    this.#wheel = 0;
    picture.step(tile.plane.across, way > 0 ? -1 : 1);
  }

  /** @param {MouseEvent} event */
  #pick(event) {
    const { picture } = this;
    const point = picture.pointAt(event);
    const tile = picture.tileAt(point);
    if (tile && !tile.plane) void picture.pick(tile, point);
  }
}

/** The plane of a tile that has one. @param {Tile} tile */
function planeOf({ plane }) {
  return /** @type {import("./slices.js").Plane} */ (plane);
}
