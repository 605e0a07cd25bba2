/** The labels of a segmentation: colour, name, volume; each can be hidden. */

import { make } from "./dom.js";
import { inDigits } from "./words.js";

/**
 * @param {string} name
 * @param {import("./result.js").Label[]} labels
 * @param {((hidden: Set<number>) => void) | null} onChange hides them; nothing where they are not shown
 */
export function makeLegend(name, labels, onChange) {
  /** @type {Set<number>} */
  const hidden = new Set();
  const lines = labels.map((label) => {
    const id = `label-${name}-${label.value}`.replaceAll(" ", "-");
    const box = make("input", { type: "checkbox", id, checked: true });
    box.addEventListener("change", () => {
      if (box.checked) hidden.delete(label.value);
      else hidden.add(label.value);
      onChange?.(hidden);
    });
    const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.backgroundColor = `rgb(${label.color.join(" ")})`;
    return make(
      "tr",
      {},
      make(
        "th",
        { scope: "row" },
        onChange && box,
        make(onChange ? "label" : "span", { for: onChange && id }, swatch, label.name),
      ),
      make("td", {}, `${inDigits(label.ml, label.ml < 100 ? 3 : 4)} ml`),
      make("td", {}, inDigits(label.voxels)),
    );
  });
  const head = make(
    "tr",
    {},
    ...[onChange ? "Shown" : "Label", "Volume", "Voxels"].map((title) => make("th", { scope: "col" }, title)),
  );
  return make(
    "table",
    { class: "legend" },
    make("caption", {}, name),
    make("thead", {}, head),
    make("tbody", {}, ...lines),
  );
}
