/** The controls around a viewer's picture: layout, volume, window and level, opacity, place. */

import { make } from "./dom.js";
import { picker } from "./files.js";
import { inDigits } from "./words.js";

/** @typedef {import("./files.js").Shown} Shown */

/** @typedef {import("./picture.js").Picture} Picture */

const LAYOUTS = /** @type {const} */ ([
  ["all", "All"],
  ["axial", "Axial"],
  ["coronal", "Coronal"],
  ["sagittal", "Sagittal"],
  ["render", "3D"],
]);
const AXES = [
  { name: "Left to right", below: "L", above: "R" },
  { name: "Back to front", below: "P", above: "A" },
  { name: "Feet to head", below: "I", above: "S" },
]; // the picture's: RAS

/** @param {Picture} picture */
export function layoutControl(picture) {
  const buttons = LAYOUTS.map(([layout, name]) => {
    const id = `layout-${layout}`;
    const checked = picture.layout === layout;
    const box = make("input", { type: "radio", name: "layout", class: "unseen", id, checked });
    box.addEventListener("change", () => picture.setLayout(layout));
    return [box, make("label", { class: "button", for: id }, name)];
  });
  return make("fieldset", { class: "layouts" }, make("legend", { class: "unseen" }, "View"), ...buttons.flat());
}

/**
 * The volume to look at, one of those that can be shown.
 * @param {Shown[]} volumes
 * @param {Shown | undefined} shown
 * @param {(volume: Shown) => void} onChoose
 */
export function volumeChoice(volumes, shown, onChoose) {
  if (volumes.length === 1) return make("p", { class: "hint" }, volumes[0].name);
  const options = volumes.map((volume, place) =>
    make("option", { value: place, selected: volume === shown }, volume.name),
  );
  const none = !shown && make("option", { selected: true, disabled: true }, "None: the labels alone");
  const choice = make("select", { id: "volume" }, none, ...options);
  choice.addEventListener("change", () => onChoose(volumes[Number(choice.value)]));
  return make("div", { class: "control" }, make("label", { for: "volume" }, "Volume"), choice);
}

/**
 * Buttons that open the volume that was sent, which the page forgets when it is closed; it does not leave the computer.
 * @param {boolean} isMissing whether to say that there is none
 * @param {(files: File[]) => void} onFiles
 */
export function openControl(isMissing, onFiles) {
  return make(
    "div",
    { class: "open" },
    isMissing && make("p", { class: "hint" }, "Only the labels are here: the page has no volume to lay them over."),
    make(
      "div",
      { class: "choosing" },
      ...picker("open-volume", "Open the volume", { multiple: true }, onFiles),
      ...picker("open-folder", "Open a DICOM folder", { webkitdirectory: true }, onFiles),
    ),
  );
}

/** Window and level of the volume; nothing where all its voxels are alike. @param {Picture} picture */
export function windowControls(picture) {
  const { least, most } = picture.window;
  const range = most - least;
  if (!(range > 0)) return [];
  const step = 10 ** Math.floor(Math.log10(range / 200));
  const width = () => picture.window.high - picture.window.low;
  const level = () => (picture.window.high + picture.window.low) / 2;
  const set = (/** @type {number} */ wide, /** @type {number} */ centre) =>
    picture.setWindow(centre - wide / 2, centre + wide / 2);
  const limits = { low: least, high: most, step };
  return [
    slider("Window", width(), { low: step, high: range, step }, (value) => set(value, level()), shortly),
    slider("Level", level(), limits, (value) => set(width(), value), shortly),
  ];
}

/** @param {number} opacity @param {(value: number) => void} onChange */
export function opacityControl(opacity, onChange) {
  return slider(
    "Opacity",
    opacity,
    { low: 0, high: 1, step: 0.05 },
    onChange,
    (value) => `${Math.round(100 * value)} %`,
  );
}

/** A slider along each axis, from voxel to voxel. @param {Picture} picture */
export function placeControls(picture) {
  const { place, sizes } = picture;
  if (!place) return [];
  return AXES.map(({ name }, axis) => {
    const move = (/** @type {number} */ value) => {
      picture.moveTo((picture.place ?? place).voxel.map((number, along) => (along === axis ? value : number)));
    };
    const inText = () => inPlace((picture.place ?? place).mm[axis], axis);
    return slider(name, place.voxel[axis], { low: 0, high: sizes[axis] - 1, step: 1 }, move, inText, `place-${axis}`);
  });
}

/** Let the sliders follow the cross hair. @param {Element} panel @param {import("./picture.js").Place} place */
export function followPlace(panel, { voxel, mm }) {
  AXES.forEach((_, axis) => {
    const box = /** @type {HTMLInputElement | null} */ (panel.querySelector(`#place-${axis}`));
    if (!box) return;
    box.value = String(voxel[axis]);
    showAmount(box, inPlace(mm[axis], axis));
  });
}

/** A place, such as `12.0 mm R, 3.1 mm A, 40.5 mm S`. @param {number[]} mm RAS */
export function placeText(mm) {
  return AXES.map((_, axis) => inPlace(mm[axis], axis)).join(", ");
}

/** @param {number} mm @param {number} axis */
function inPlace(mm, axis) {
  return `${Math.abs(mm).toFixed(1)} mm ${mm < 0 ? AXES[axis].below : AXES[axis].above}`;
}

/** @param {number} value */
function shortly(value) {
  return inDigits(value, 4);
}

/**
 * @param {string} name
 * @param {number} value
 * @param {{low: number, high: number, step: number}} range
 * @param {(value: number) => void} onChange
 * @param {(value: number) => string} inText
 * @param {string} [id]
 */
function slider(name, value, { low, high, step }, onChange, inText, id = `slider-${name.toLowerCase()}`) {
  const box = make("input", { type: "range", id, min: low, max: high, step });
  box.value = String(value);
  const control = make(
    "div",
    { class: "control" },
    make("label", { for: id }, name),
    box,
    make("span", { class: "amount" }),
  );
  showAmount(box, inText(value));
  box.addEventListener("input", () => {
    onChange(box.valueAsNumber);
    showAmount(box, inText(box.valueAsNumber));
  });
  return control;
}

/** Tell a slider's amount, beside it and to screen readers. @param {HTMLInputElement} box @param {string} text */
function showAmount(box, text) {
  box.setAttribute("aria-valuetext", text);
  box.nextElementSibling?.replaceChildren(text);
}
