/** Draws slices, cross hair, rulers and words on a canvas. It keeps what it made of a slice, until that changes. */

import { filled, greysOf, labelsOf, outlinesOf } from "./slices.js";
import { boxOf, pointOf } from "./tiles.js";
import { inMm } from "./words.js";

const CROSS = "rgb(92 199 222 / 90%)";
const CROSS_GAP = 11; // around the place, so that it is seen
const WORDS = "rgb(204 219 224)";
const ACTIVE = "rgb(120 220 240)";
const RULER = "rgb(255 221 87)";
const FONT = 12;
const LINE = 1.5; // an outline's width
const BLACK = "#000";

/**
 * @typedef {import("./slices.js").Plane} Plane
 * @typedef {import("./tiles.js").Tile} Tile
 * @typedef {import("./volume.js").Volume} Volume
 * @typedef {{from: number[], to: number[], mm: number, plane: Plane, index: number}} Ruler places in voxels from the corner
 *
 * @typedef {object} Scene
 * @property {Volume | null} below
 * @property {Volume[]} overlays
 * @property {Volume} shape whose voxels the planes are of
 * @property {import("./looks.js").Looks} looks
 * @property {number} looksVersion grows when labels look otherwise
 * @property {{low: number, high: number}} window
 * @property {import("./tiles.js").View} view
 * @property {number[]} voxel
 * @property {boolean} hasCross
 * @property {Plane | null} active the plane that the keys move, where it is to be told
 * @property {Ruler[]} rulers
 */

export class Painter {
  #context;
  /** What was made for a key, of each plane and layer. @type {Map<string, {key: string, made: any}>} */
  #kept = new Map();

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.#context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    this.ratio = 1; // pixels of the canvas for one of the page
  }

  /** Forget what was made of other volumes. */
  forget() {
    this.#kept.clear();
  }

  clear() {
    this.#context.fillStyle = BLACK;
    this.#context.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** @param {Tile} tile @param {Scene} scene */
  slice(tile, scene) {
    const context = this.#context;
    const plane = /** @type {Plane} */ (tile.plane);
    const box = boxOf(tile, scene.shape, scene.view);
    context.save();
    context.beginPath();
    context.rect(tile.left, tile.top, tile.width, tile.height);
    context.clip();
    const place = /** @type {const} */ ([box.left, box.top, box.width, box.height]);
    context.imageSmoothingEnabled = true;
    if (scene.below) context.drawImage(this.#greys(plane, scene, scene.below), ...place);
    context.imageSmoothingEnabled = false; // a label ends where its voxel does
    scene.overlays.forEach((labels, at) => {
      const { fill, lines } = this.#labels(plane, scene, labels, at);
      context.drawImage(fill, ...place);
      this.#outline(lines, scene.looks.linesOf(at), matrixOf(box, plane, scene.shape));
    });
    if (scene.hasCross) this.#cross(tile, scene, box);
    for (const ruler of scene.rulers) {
      if (ruler.plane === plane && ruler.index === scene.voxel[plane.across]) this.#ruler(tile, scene, ruler);
    }
    this.#words(tile, plane, scene);
    context.restore();
  }

  /** The picture in 3D, or why there is none. @param {Tile} tile @param {HTMLCanvasElement | string} solid */
  solid(tile, solid) {
    if (typeof solid === "string") this.#say(solid, tile.left + tile.width / 2, tile.top + tile.height / 2, "center");
    else this.#context.drawImage(solid, tile.left, tile.top, tile.width, tile.height);
  }

  /**
   * @template Made
   * @param {string} name
   * @param {unknown[]} key
   * @param {() => Made} make
   * @returns {Made}
   */
  #keep(name, key, make) {
    const found = this.#kept.get(name);
    const now = key.join();
    if (found?.key === now) return found.made;
    const made = make();
    this.#kept.set(name, { key: now, made });
    return made;
  }

  /** @param {Plane} plane @param {Scene} scene @param {Volume} below */
  #greys(plane, { voxel, window: { low, high } }, below) {
    const index = voxel[plane.across];
    return this.#keep(`${plane.name} below`, [index, low, high], () =>
      onCanvas(greysOf(below, plane, index, low, high)),
    );
  }

  /** @param {Plane} plane @param {Scene} scene @param {Volume} labels @param {number} at */
  #labels(plane, { voxel, shape, looks, looksVersion }, labels, at) {
    const index = voxel[plane.across];
    const width = shape.sizes[plane.axes[0]];
    const found = this.#keep(`${plane.name} ${at}`, [index], () => labelsOf(labels, shape, plane, index));
    const fill = this.#keep(`${plane.name} ${at} fill`, [index, looksVersion], () =>
      onCanvas(filled(found, width, looks.fillsOf(at))),
    );
    const lines = this.#keep(`${plane.name} ${at} lines`, [index], () => outlinesOf(found, width));
    return { fill, lines };
  }

  /** @param {Map<number, Path2D>} lines @param {Map<number, string>} colours by label @param {DOMMatrix} matrix */
  #outline(lines, colours, matrix) {
    const context = this.#context;
    context.lineWidth = LINE * this.ratio;
    context.lineCap = "round";
    for (const [label, path] of lines) {
      const colour = colours.get(label);
      if (!colour) continue;
      const placed = new Path2D();
      placed.addPath(path, matrix);
      context.strokeStyle = colour;
      context.stroke(placed);
    }
  }

  /** @param {Tile} tile @param {Scene} scene @param {import("./tiles.js").Box} box */
  #cross(tile, { shape, view, voxel }, { left, top, width, height }) {
    const { x, y } = pointOf(tile, shape, view, middleOf(voxel));
    const gap = CROSS_GAP * this.ratio;
    const context = this.#context;
    context.fillStyle = CROSS;
    const thick = Math.max(1, Math.round(this.ratio));
    const bar = (/** @type {number[]} */ [one, two, right, bottom]) => {
      if (right > one && bottom > two) context.fillRect(one, two, right - one, bottom - two);
    };
    const [column, row] = [Math.round(x - thick / 2), Math.round(y - thick / 2)];
    bar([left, row, x - gap, row + thick]);
    bar([x + gap, row, left + width, row + thick]);
    bar([column, top, column + thick, y - gap]);
    bar([column, y + gap, column + thick, top + height]);
  }

  /** @param {Tile} tile @param {Scene} scene @param {Ruler} ruler */
  #ruler(tile, { shape, view }, { from, to, mm }) {
    const [one, other] = [from, to].map((place) => pointOf(tile, shape, view, place));
    const context = this.#context;
    context.strokeStyle = RULER;
    context.lineWidth = LINE * this.ratio;
    context.beginPath();
    context.moveTo(one.x, one.y);
    context.lineTo(other.x, other.y);
    context.stroke();
    for (const { x, y } of [one, other]) {
      context.beginPath();
      context.arc(x, y, 3 * this.ratio, 0, 2 * Math.PI);
      context.stroke();
    }
    this.#say(inMm(mm, shape.spacing), other.x + 8 * this.ratio, other.y - 8 * this.ratio, "left", RULER);
  }

  /** The sides of the patient at a tile's edges, and its slice. @param {Tile} tile @param {Plane} plane @param {Scene} scene */
  #words({ left, top, width, height }, plane, { voxel, shape, active }) {
    const edge = 10 * this.ratio;
    const [middle, centre] = [left + width / 2, top + height / 2];
    const [start, end, above, below] = plane.ends;
    this.#say(start, left + edge, centre, "left");
    this.#say(end, left + width - edge, centre, "right");
    this.#say(above, middle, top + edge, "center");
    this.#say(below, middle, top + height - edge, "center");
    const slice = `${plane.name} ${voxel[plane.across] + 1} / ${shape.sizes[plane.across]}`;
    const isNarrow = left + 2 * edge + this.#context.measureText(slice).width > middle; // the letter would read as a digit
    this.#say(slice, left + edge, top + (isNarrow ? 2.6 : 1) * edge, "left", plane === active ? ACTIVE : WORDS);
  }

  /**
   * @param {string} text
   * @param {number} x
   * @param {number} y
   * @param {CanvasTextAlign} align
   * @param {string} [colour]
   */
  #say(text, x, y, align, colour = WORDS) {
    const context = this.#context;
    context.font = `${FONT * this.ratio}px system-ui, sans-serif`;
    context.textAlign = align;
    context.textBaseline = "middle";
    context.lineWidth = 3 * this.ratio;
    context.strokeStyle = BLACK;
    context.strokeText(text, x, y); // to be read over anything
    context.fillStyle = colour;
    context.fillText(text, x, y);
  }
}

/** A voxel's middle, in voxels from the volume's corner. @param {number[]} voxel */
function middleOf(voxel) {
  return voxel.map((number) => number + 0.5);
}

/** From a slice's pixels to the picture. @param {import("./tiles.js").Box} box @param {Plane} plane @param {Volume} shape */
function matrixOf({ left, top, width, height }, { axes: [x, y] }, { sizes }) {
  return new DOMMatrix([width / sizes[x], 0, 0, height / sizes[y], left, top]);
}

/** @param {ImageData} image */
function onCanvas(image) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.putImageData(image, 0, 0);
  return canvas;
}
