/** The picture in 3D: made when it is wanted first, of fewer voxels than there are, and drawn anew only when it looks otherwise. */

import { Solid } from "./niivue.js";
import { reduced } from "./reduce.js";
import { saidBy } from "./words.js";

const SMALL_VOXELS = 2 ** 24; // a head of 256 voxels along each axis; a CT has more, and is shown in 3D once somebody asks
const REST_MS = 120; // without a change, before it is coloured anew

/**
 * @typedef {import("./volume.js").Volume} Volume
 * @typedef {import("./looks.js").Looks} Looks
 * @typedef {{low: number, high: number}} Window
 */

export class SolidView {
  /** @type {Solid | null} */
  #solid = null;
  #onChange;
  #signal;
  /** @type {{below: Volume | null, overlays: Volume[], looks: Looks, window: Window} | null} */
  #content = null;
  #wanted = false;
  #ready = false;
  /** @type {Promise<void>} */
  #making = Promise.resolve();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #version = 0; // of what is seen
  #kept = { key: "", copy: document.createElement("canvas") };

  /** @param {() => void} onChange @param {AbortSignal} signal */
  constructor(onChange, signal) {
    this.#onChange = onChange;
    this.#signal = signal;
    this.isSmall = true;
    this.isBehind = false; // whether it is to look otherwise, and does not yet
    this.fault = "";
    signal.addEventListener("abort", () => {
      clearTimeout(this.#timer);
      this.#solid?.release();
    });
  }

  /**
   * @param {Volume | null} below
   * @param {Volume[]} overlays
   * @param {Looks} looks
   * @param {Window} window
   */
  show(below, overlays, looks, window) {
    const { sizes } = below ?? overlays[0];
    this.isSmall = sizes[0] * sizes[1] * sizes[2] <= SMALL_VOXELS;
    this.#content = { below, overlays, looks, window };
    this.#ready = false;
    if (this.isSmall || this.#wanted) this.#start();
  }

  /** Make it, where it is not made yet. */
  want() {
    if (this.#wanted || this.#ready || this.isSmall) return;
    this.#wanted = true;
    this.#start();
  }

  /** Wait until it is made, where that has begun. */
  settled() {
    return this.#making;
  }

  /** Colour it as it is to look by now, once that rests. @param {Looks} looks @param {Window} window */
  look(looks, window) {
    if (!this.#content) return;
    Object.assign(this.#content, { looks, window });
    if (!this.#ready) return;
    clearTimeout(this.#timer);
    this.isBehind = true;
    this.#timer = setTimeout(() => {
      this.#colour();
      this.#onChange();
    }, REST_MS);
  }

  /** What stands in its place, of some pixels; a sentence where it cannot be seen. @param {number} width @param {number} height */
  drawn(width, height) {
    const solid = this.#solid;
    if (this.fault) return `There is no picture in 3D: ${this.fault}`;
    if (!this.#ready || !solid) return "The picture in 3D is being made…";
    const { copy } = this.#kept;
    const key = [width, height, this.#version].join();
    if (this.#kept.key !== key) {
      solid.draw(width, height);
      [copy.width, copy.height] = [width, height];
      copy.getContext("2d")?.drawImage(solid.canvas, 0, 0);
      this.#kept.key = key;
    }
    return copy;
  }

  /** @param {number} across @param {number} up degrees */
  turn(across, up) {
    this.#solid?.turn(across, up);
    this.#seeAnew();
  }

  /** @param {number} factor */
  zoom(factor) {
    this.#solid?.zoom(factor);
    this.#seeAnew();
  }

  /** @param {{x: number, y: number}} point of its tile */
  pick(point) {
    return this.#ready ? this.#solid?.pick(point) : null;
  }

  #seeAnew() {
    this.#version += 1;
    this.#onChange();
  }

  #start() {
    const content = this.#content;
    const isNow = () => content === this.#content && !this.#signal.aborted;
    const before = this.#making;
    this.#making = (async () => {
      await before;
      await painted(); // the planes first
      if (!content || !isNow()) return;
      try {
        const solid = (this.#solid ??= await Solid.make());
        if (this.#signal.aborted) return solid.release();
        const { below, overlays } = content;
        const volumes = below ? [below, ...overlays] : overlays;
        await solid.put(volumes.map((volume) => reduced(volume, solid.longest)));
        if (!isNow()) return;
        this.#ready = true;
        this.#colour();
      } catch (error) {
        this.fault = saidBy(error);
      }
      if (isNow()) this.#onChange();
    })();
  }

  #colour() {
    if (!this.#content || !this.#solid) return;
    const { below, overlays, looks, window } = this.#content;
    const fills = overlays.map((_, at) => looks.fillsOf(at, "fill"));
    this.#solid.look(below && window, fills);
    this.isBehind = false;
    this.#version += 1;
  }
}

/** Let the browser show what was drawn. */
function painted() {
  return new Promise((resolve) => setTimeout(resolve));
}
