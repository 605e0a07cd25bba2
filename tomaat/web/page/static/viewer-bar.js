/** The bar over the picture: layout, what the left button does, and what is done with the picture as a whole; and its help. */

import { make } from "./dom.js";
import { choice } from "./viewer-controls.js";
import { KEYS } from "./viewer-keys.js";

/** @typedef {import("./picture.js").Picture} Picture */

const LAYOUTS = /** @type {const} */ ([
  ["all", "All"],
  ["axial", "Axial"],
  ["coronal", "Coronal"],
  ["sagittal", "Sagittal"],
  ["render", "3D"],
]);
const TOOLS = /** @type {const} */ ([
  ["point", "Cross hair"],
  ["window", "Window"],
  ["move", "Move"],
  ["ruler", "Ruler"],
]);

/**
 * @param {Picture} picture
 * @param {(tool: import("./viewer-hand.js").Tool) => void} onTool
 * @param {{save: () => void, fill: () => void, help: () => void}} acts
 */
export function makeBar(picture, onTool, acts) {
  const button = (/** @type {string} */ text, /** @type {() => void} */ onclick, more = {}) =>
    make("button", { type: "button", onclick, ...more }, text);
  return make(
    "div",
    { class: "bar" },
    choice("layout", "View", LAYOUTS, picture.layout, (layout) => picture.setLayout(layout)),
    choice("tool", "The left button", TOOLS, "point", onTool),
    make(
      "div",
      { class: "acts" },
      button("Whole", () => picture.showWhole(), { title: "Show the whole planes again" }),
      button("Save", acts.save, { title: "Save the picture as PNG" }),
      document.fullscreenEnabled && button("Full screen", acts.fill),
      button("?", acts.help, { "aria-label": "Help", "aria-expanded": "false", "aria-controls": "viewer-help" }),
    ),
  );
}

/** Choose another layout, as a click does. @param {Element} bar @param {import("./picture.js").Layout} layout */
export function chooseLayout(bar, layout) {
  /** @type {HTMLInputElement | null} */ (bar.querySelector(`#layout-${layout}`))?.click();
}

/** What mouse and keys do. @param {string} more about this volume */
export function makeHelp(more) {
  const lines = KEYS.map(([key, act]) => [make("dt", {}, key), make("dd", {}, act)]);
  return make(
    "section",
    { class: "help", id: "viewer-help", hidden: true, tabindex: 0, "aria-label": "Mouse and keys" },
    make("p", {}, more),
    make("dl", {}, ...lines.flat()),
  );
}
