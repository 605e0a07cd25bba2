/** The labels of a segmentation that is not shown in the viewer: colour, name, volume. */

import { make } from "./dom.js";
import { inDigits } from "./words.js";

/** @typedef {import("./result.js").Label} Label */

/** @param {string} name @param {Label[]} labels */
export function makeLegend(name, labels) {
  const lines = labels.map((label) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, make("span", {}, swatchOf(label), label.name)),
      make("td", {}, amountOf(label)),
      make("td", {}, inDigits(label.voxels)),
    ),
  );
  return makeTable(name, ["Label", "Volume", "Voxels"], lines);
}

/** A table of labels. @param {string} name @param {string[]} titles of its columns @param {HTMLElement[]} lines */
export function makeTable(name, titles, lines) {
  const head = make("tr", {}, ...titles.map((title) => make("th", { scope: "col" }, title)));
  return make(
    "table",
    { class: "legend" },
    make("caption", {}, name),
    make("thead", {}, head),
    make("tbody", {}, ...lines),
  );
}

/** @param {Label} label */
export function swatchOf({ color }) {
  const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
  swatch.style.backgroundColor = `rgb(${color.join(" ")})`;
  return swatch;
}

/** A label's volume in words. @param {Label} label */
export function amountOf({ ml }) {
  return `${inDigits(ml, ml < 100 ? 3 : 4)} ml`;
}
