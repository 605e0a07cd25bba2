/** The labels of a segmentation beside the picture: what each is, how it looks, and the way to it. */

import { make } from "./dom.js";
import { amountOf, makeTable, swatchOf } from "./legend.js";
import { choice, slider } from "./viewer-controls.js";
import { inDigits } from "./words.js";

/** @typedef {import("./result.js").Label} Label */

const STYLES = /** @type {const} */ ([
  ["both", "Both"],
  ["fill", "Fill"],
  ["outline", "Outlines"],
]);

/**
 * @typedef {object} Acts
 * @property {() => void} onLook labels look otherwise
 * @property {(overlay: number, label: Label) => void} onGo goes to a label's largest slice
 * @property {(direction: 1 | -1) => void} onStep goes to the next slice with a label
 */

export class LabelPanel {
  /**
   * @param {string[]} names of the overlays
   * @param {import("./looks.js").Looks} looks
   * @param {Acts} acts
   */
  constructor(names, looks, acts) {
    this.looks = looks;
    this.acts = acts;
    /** @type {{label: Label, row: HTMLElement, only: HTMLElement, name: HTMLElement}[]} */
    this.rows = [];
    this.element = make(
      "section",
      { class: "labels", "aria-label": "Labels" },
      ...names.map((name, overlay) => this.#table(name, overlay)),
      make("div", { class: "label-looks" }, this.#style(), this.#opacity(), this.#steps()),
    );
  }

  /** Mark the label that was gone to. @param {Label} chosen */
  mark(chosen) {
    for (const { label, name } of this.rows) {
      if (label === chosen) name.setAttribute("aria-current", "true");
      else name.removeAttribute("aria-current");
    }
  }

  /** Take another style, as the next in the order. */
  nextStyle() {
    const at = STYLES.findIndex(([style]) => style === this.looks.style);
    const [style] = STYLES[(at + 1) % STYLES.length];
    /** @type {HTMLInputElement | null} */ (this.element.querySelector(`#style-${style}`))?.click();
  }

  #style() {
    const { looks } = this;
    return choice("style", "Labels are drawn as", STYLES, looks.style, (style) => {
      looks.style = style;
      this.#look();
    });
  }

  #opacity() {
    const { looks } = this;
    return slider("Opacity", looks.opacity, { low: 0, high: 1, step: 0.05 }, percent, (value) => {
      looks.opacity = value;
      this.#look();
    });
  }

  #steps() {
    const step = (/** @type {string} */ text, /** @type {1 | -1} */ direction) =>
      make(
        "button",
        {
          type: "button",
          onclick: () => this.acts.onStep(direction),
          "aria-label": `${text} slice with a label`,
        },
        text,
      );
    return make(
      "div",
      { class: "steps" },
      make("span", { "aria-hidden": "true" }, "Slice with a label"),
      step("Previous", -1),
      step("Next", 1),
    );
  }

  /** @param {string} name @param {number} overlay */
  #table(name, overlay) {
    const lines = this.looks.labels[overlay].map((label) => this.#row(name, overlay, label));
    return makeTable(name, ["Shown", "Volume", "Opacity", "Alone"], lines);
  }

  /** @param {string} overlayName @param {number} overlay @param {Label} label */
  #row(overlayName, overlay, label) {
    const { looks } = this;
    const id = `label-${overlayName}-${label.value}`.replaceAll(" ", "-");
    const box = make("input", { type: "checkbox", id, checked: true, "aria-label": label.name });
    box.addEventListener("change", () => {
      if (box.checked) looks.hidden.delete(label);
      else looks.hidden.add(label);
      this.#look();
    });
    const go = () => this.acts.onGo(overlay, label);
    const name = make(
      "button",
      { type: "button", class: "quiet", disabled: !label.voxels, title: "Go to its largest slice", onclick: go },
      swatchOf(label),
      label.name,
    );
    const opacity = make("input", {
      type: "range",
      min: 0,
      max: 1,
      step: 0.05,
      "aria-label": `Opacity of ${label.name}`,
    });
    opacity.value = "1";
    opacity.addEventListener("input", () => {
      looks.opacities.set(label, opacity.valueAsNumber);
      opacity.setAttribute("aria-valuetext", percent(opacity.valueAsNumber));
      this.#look();
    });
    const only = make(
      "button",
      { type: "button", "aria-pressed": "false", "aria-label": `Only ${label.name}` },
      "Only",
    );
    only.addEventListener("click", () => {
      looks.only = looks.only === label ? null : label;
      this.#look();
    });
    const row = make(
      "tr",
      {},
      make("th", { scope: "row" }, make("div", { class: "label-name" }, box, name)),
      make("td", { title: `${inDigits(label.voxels)} voxels` }, amountOf(label)),
      make("td", {}, opacity),
      make("td", {}, only),
    );
    this.rows.push({ label, row, only, name });
    return row;
  }

  #look() {
    for (const { label, row, only } of this.rows) {
      row.classList.toggle("unshown", !this.looks.isShown(label));
      only.setAttribute("aria-pressed", String(this.looks.only === label));
    }
    this.acts.onLook();
  }
}

/** @param {number} value */
function percent(value) {
  return `${Math.round(100 * value)} %`;
}
