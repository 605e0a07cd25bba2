/** Window and level: sliders, and the windows that radiologists know by name. */

import { make } from "./dom.js";
import { showAmount, slider } from "./viewer-controls.js";
import { inDigits } from "./words.js";

/** @typedef {import("./picture.js").Picture} Picture */

/** Width and level in HU: Radiopaedia, "Windowing (CT)", https://radiopaedia.org/articles/windowing-ct (abdomen for soft tissue) */
const PRESETS = /** @type {const} */ ([
  ["Soft tissue", 400, 50],
  ["Lung", 1500, -600],
  ["Bone", 1800, 400],
  ["Brain", 80, 40],
]);
const [FAT_AND_AIR, BONE] = [-200, 300]; // HU; a CT has values beyond both
const MODALITY = /\((CT|MR|PT|NM|US|XA)\)$/; // behind the description of a DICOM series

/**
 * Whether a volume is a CT: as its series says, else by its values.
 * @param {string} name
 * @param {{least: number, most: number}} range
 */
export function isCt(name, { least, most }) {
  const [, modality] = MODALITY.exec(name) ?? [];
  return modality ? modality === "CT" : least <= FAT_AND_AIR && most >= BONE;
}

/**
 * The volume as it is seen at first: a CT in the first window with a name, unless its file has one.
 * @param {string} name
 * @param {import("./volume.js").Volume} volume
 */
export function seenAtFirst(name, volume) {
  if (volume.ownWindow || !isCt(name, volume)) return volume;
  const [[, width, level]] = PRESETS;
  return { ...volume, low: level - width / 2, high: level + width / 2 };
}

/** Window and level of the volume; nothing where all its voxels are alike. @param {Picture} picture @param {string} name */
export function windowControls(picture, name) {
  const { least, most, low, high } = picture.window;
  const range = most - least;
  if (!(range > 0)) return [];
  const step = range >= 100 ? 1 : 10 ** Math.floor(Math.log10(range / 200));
  const limits = { low: Math.floor(least / step) * step, high: most, step };
  const level = () => (picture.window.high + picture.window.low) / 2;
  const width = () => picture.window.high - picture.window.low;
  return [
    presetControl(picture, isCt(name, picture.window)),
    slider("Window", high - low, { low: step, high: range, step }, shortly, (value) =>
      setWindow(picture, value, level()),
    ),
    slider("Level", level(), limits, shortly, (value) => setWindow(picture, width(), value)),
  ];
}

/** Let the sliders follow the window. @param {Element} panel @param {Picture} picture */
export function followWindow(panel, picture) {
  const { low, high } = picture.window;
  for (const [id, value] of /** @type {const} */ ([
    ["slider-window", high - low],
    ["slider-level", (high + low) / 2],
  ])) {
    const box = /** @type {HTMLInputElement | null} */ (panel.querySelector(`#${id}`));
    if (!box) continue;
    box.value = String(value);
    showAmount(box, shortly(value));
  }
}

/** The window in words. @param {{low: number, high: number}} window */
export function windowText({ low, high }) {
  return `W ${shortly(high - low)} L ${shortly((high + low) / 2)}`;
}

/** @param {Picture} picture @param {number} width @param {number} level */
export function setWindow(picture, width, level) {
  picture.setWindow(level - width / 2, level + width / 2);
}

/** @param {Picture} picture @param {boolean} ofCt */
function presetControl(picture, ofCt) {
  const { first } = picture.window;
  const button = (/** @type {string} */ text, /** @type {number} */ width, /** @type {number} */ level) =>
    make(
      "button",
      {
        type: "button",
        title: `Window ${shortly(width)}, level ${shortly(level)}`,
        onclick: () => setWindow(picture, width, level),
      },
      text,
    );
  return make(
    "div",
    { class: "presets", role: "group", "aria-label": "Windows" },
    ...(ofCt ? PRESETS.map(([text, width, level]) => button(text, width, level)) : []),
    button("As at first", first.high - first.low, (first.high + first.low) / 2),
  );
}

/** @param {number} value */
function shortly(value) {
  return inDigits(value, 4);
}
