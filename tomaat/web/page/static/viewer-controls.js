/** The controls around a viewer's picture: sliders, choices, volume, place. */

import { make } from "./dom.js";
import { picker } from "./files.js";
import { inMm } from "./words.js";

/** @typedef {import("./files.js").Shown} Shown */

/** @typedef {import("./picture.js").Picture} Picture */

const AXES = [
  { name: "Left to right", below: "L", above: "R" },
  { name: "Back to front", below: "P", above: "A" },
  { name: "Feet to head", below: "I", above: "S" },
]; // the picture's: RAS

/**
 * One of a few, seen side by side.
 * @template {string} Value
 * @param {string} name
 * @param {string} title
 * @param {readonly (readonly [Value, string])[]} options
 * @param {Value} chosen
 * @param {(value: Value) => void} onChoose
 */
export function choice(name, title, options, chosen, onChoose) {
  const buttons = options.map(([value, text]) => {
    const id = `${name}-${value}`;
    const box = make("input", { type: "radio", name, class: "unseen", id, checked: value === chosen });
    box.addEventListener("change", () => onChoose(value));
    return [box, make("label", { class: "button", for: id }, text)];
  });
  return make("fieldset", { class: "choice" }, make("legend", { class: "unseen" }, title), ...buttons.flat());
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
  const box = make("select", { id: "volume" }, none, ...options);
  box.addEventListener("change", () => onChoose(volumes[Number(box.value)]));
  return make("div", { class: "control" }, make("label", { for: "volume" }, "Volume"), box);
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

/** A slider along each axis, from voxel to voxel. @param {Picture} picture */
export function placeControls(picture) {
  const { place, sizes } = picture;
  if (!place) return [];
  return AXES.map(({ name }, axis) => {
    const move = (/** @type {number} */ value) => {
      picture.moveTo((picture.place ?? place).voxel.map((number, along) => (along === axis ? value : number)));
    };
    const inText = () => inPlace(picture.place ?? place, axis);
    return slider(name, place.voxel[axis], { low: 0, high: sizes[axis] - 1, step: 1 }, inText, move, `place-${axis}`);
  });
}

/** Let the sliders follow the cross hair. @param {Element} panel @param {import("./picture.js").Place} place */
export function followPlace(panel, place) {
  AXES.forEach((_, axis) => {
    const box = /** @type {HTMLInputElement | null} */ (panel.querySelector(`#place-${axis}`));
    if (!box) return;
    box.value = String(place.voxel[axis]);
    showAmount(box, inPlace(place, axis));
  });
}

/** A place, such as `12.0 mm R, 3.1 mm A, 40.5 mm S`. @param {import("./picture.js").Place} place */
export function placeText(place) {
  return AXES.map((_, axis) => inPlace(place, axis)).join(", ");
}

/** @param {import("./picture.js").Place} place @param {number} axis */
function inPlace({ mm, spacing }, axis) {
  return `${inMm(Math.abs(mm[axis]), spacing)} ${mm[axis] < 0 ? AXES[axis].below : AXES[axis].above}`;
}

/**
 * @param {string} name
 * @param {number} value
 * @param {{low: number, high: number, step: number}} range
 * @param {(value: number) => string} inText
 * @param {(value: number) => void} onChange
 * @param {string} [id]
 */
export function slider(name, value, { low, high, step }, inText, onChange, id = `slider-${name.toLowerCase()}`) {
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
export function showAmount(box, text) {
  box.setAttribute("aria-valuetext", text);
  box.nextElementSibling?.replaceChildren(text);
}
