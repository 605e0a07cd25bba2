/**
 * The picture in 3D: made by a worker when it is wanted first, of fewer voxels than there are, and drawn anew only when it looks
 * otherwise. Without a GPU that takes seconds; the last picture stands until then.
 */

import { painted, reduced } from "./reduce.js";
import { saidBy } from "./words.js";
import { Beside } from "./workers.js";

const SMALL_VOXELS = 2 ** 24; // a head of 256 voxels along each axis; a CT has more, and is shown in 3D once somebody asks
const REST_MS = 120; // without a change, before it is coloured anew

/**
 * @typedef {import("./volume.js").Volume} Volume
 * @typedef {import("./looks.js").Looks} Looks
 * @typedef {{low: number, high: number}} Window
 */

export class SolidView {
  /** @type {Beside | null} */
  #solid = null;
  #longest = 0; // the most voxels along an axis that can be drawn
  #onChange;
  #signal;
  /** @type {{below: Volume | null, overlays: Volume[], looks: Looks, window: Window} | null} */
  #content = null;
  #wanted = false;
  #ready = false;
  /** @type {Promise<void>} */
  #making = Promise.resolve();
  /** @type {Promise<void> | null} */
  #drawing = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #changes = 0; // of window and colours
  #coloured = 0; // of these, how many it has
  #version = 0; // of what is seen
  #kept = { key: "", copy: document.createElement("canvas") };

  /** @param {() => void} onChange @param {AbortSignal} signal */
  constructor(onChange, signal) {
    this.#onChange = onChange;
    this.#signal = signal;
    this.isSmall = true;
    this.isBehind = false; // whether what stands there is to look otherwise, and does not yet
    this.fault = "";
    signal.addEventListener("abort", () => {
      clearTimeout(this.#timer);
      this.#solid?.end(); // which gives the graphics memory back
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

  /** Wait until it is made and drawn, where that has begun. */
  settled() {
    return this.#making;
  }

  /** Colour it as it is to look by now, once that rests. @param {Looks} looks @param {Window} window */
  look(looks, window) {
    if (!this.#content) return;
    Object.assign(this.#content, { looks, window });
    if (!this.#ready) return;
    clearTimeout(this.#timer);
    this.#changes += 1;
    this.#timer = setTimeout(() => void this.#colour(), REST_MS);
  }

  /** What stands in its place, of some pixels; a sentence where it cannot be seen. @param {number} width @param {number} height */
  drawn(width, height) {
    this.isBehind = false;
    if (this.fault) return `There is no picture in 3D: ${this.fault}`;
    const { copy, key: last } = this.#kept;
    const key = [width, height, this.#version].map(Math.round).join();
    this.isBehind = !this.#ready || this.#coloured !== this.#changes || last !== key;
    if (this.#ready && last !== key) this.#drawing ??= this.#draw(width, height, key);
    return this.#ready && last ? copy : "The picture in 3D is being made…";
  }

  /** @param {number} across @param {number} up degrees */
  turn(across, up) {
    this.#seeAnew({ act: "turn", across, up });
  }

  /** @param {number} factor */
  zoom(factor) {
    this.#seeAnew({ act: "zoom", factor });
  }

  /** @param {{x: number, y: number}} point of its tile @returns {Promise<number[] | null>} */
  async pick(point) {
    return this.#ready ? this.#solid?.ask({ act: "pick", ...point }) : null;
  }

  /** @param {Record<string, any>} change */
  #seeAnew(change) {
    if (!this.#ready) return;
    void this.#solid?.ask(change);
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
        await this.#put(content);
        if (!isNow()) return;
        this.#ready = true;
        await this.#colour();
      } catch (error) {
        this.fault = saidBy(error);
        this.#onChange();
      }
      await this.#drawing;
    })();
  }

  /** @param {{below: Volume | null, overlays: Volume[]}} content */
  async #put({ below, overlays }) {
    if (!this.#solid) {
      this.#solid = new Beside("solid");
      this.#longest = await this.#solid.ask({ act: "make" });
    }
    const volumes = below ? [below, ...overlays] : overlays;
    const files = [];
    for (const volume of volumes) files.push(await reduced(volume, this.#longest));
    this.#kept.key = "";
    await this.#solid.ask({ act: "put", files });
  }

  async #colour() {
    if (!this.#content || !this.#solid) return;
    const { below, overlays, looks, window } = this.#content;
    const changes = this.#changes;
    await this.#solid.ask({
      act: "look",
      window: below && window,
      fills: overlays.map((_, at) => looks.fillsOf(at, "fill")),
    });
    this.#coloured = changes;
    this.#version += 1;
    this.#onChange();
  }

  /** @param {number} width @param {number} height @param {string} key */
  async #draw(width, height, key) {
    try {
      /** @type {ImageBitmap} */
      const picture = await this.#solid?.ask({ act: "draw", width: Math.round(width), height: Math.round(height) });
      const { copy } = this.#kept;
      [copy.width, copy.height] = [picture.width, picture.height];
      copy.getContext("2d")?.drawImage(picture, 0, 0);
      picture.close();
      this.#kept.key = key;
    } catch (error) {
      this.fault = saidBy(error);
    }
    this.#drawing = null;
    if (!this.#signal.aborted) this.#onChange();
  }
}
