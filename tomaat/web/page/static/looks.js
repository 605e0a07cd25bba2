/** How labels look: which are shown, how opaque, filled, outlined, or both. */

/** @typedef {import("./result.js").Label} Label */

/** @typedef {"both" | "fill" | "outline"} Style */

const OPACITY = 0.5;
const OUTLINE = 2; // how much more opaque an outline is than what it surrounds

export class Looks {
  /** @param {Label[][]} labels of each overlay */
  constructor(labels) {
    this.labels = labels;
    this.opacity = OPACITY;
    /** @type {Style} */
    this.style = "both";
    /** The one label that is shown alone. @type {Label | null} */
    this.only = null;
    /** @type {Set<Label>} */
    this.hidden = new Set();
    /** How opaque labels are beside the others, from 0 to 1. @type {Map<Label, number>} */
    this.opacities = new Map();
    this.alone = false; // whether no volume lies below: then they are as opaque as can be
  }

  /** @param {Label} label */
  isShown(label) {
    return this.only ? this.only === label : !this.hidden.has(label);
  }

  /** @param {Label} label from 0 to 1 */
  alphaOf(label) {
    return this.isShown(label) ? (this.alone ? 1 : this.opacity) * (this.opacities.get(label) ?? 1) : 0;
  }

  /**
   * Colours of an overlay's labels by their values, as pixels of an `ImageData`.
   * @param {number} overlay
   * @param {Style} [style]
   */
  fillsOf(overlay, style = this.style) {
    const labels = this.labels[overlay];
    const colours = new Uint8ClampedArray(4 * (1 + Math.max(0, ...labels.map(({ value }) => value))));
    if (style !== "outline") {
      for (const label of labels) colours.set([...label.color, 255 * this.alphaOf(label)], 4 * label.value);
    }
    return new Uint32Array(colours.buffer);
  }

  /** The outlines' colours of an overlay by the labels' values. @param {number} overlay @returns {Map<number, string>} */
  linesOf(overlay) {
    if (this.style === "fill") return new Map();
    const shown = this.labels[overlay].filter((label) => this.alphaOf(label) > 0);
    return new Map(
      shown.map((label) => [
        label.value,
        `rgb(${label.color.join(" ")} / ${Math.min(1, OUTLINE * this.alphaOf(label))})`,
      ]),
    );
  }
}
