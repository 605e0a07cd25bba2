/** The controls around a viewer's picture: layout, volume, window and level, opacity, place. */

import { make } from "./dom.js";
import { picker } from "./files.js";
import { inDigits } from "./words.js";

/** @typedef {import("./files.js").Shown} Shown */

const LAYOUTS = { all: "All", axial: "Axial", coronal: "Coronal", sagittal: "Sagittal", render: "3D" };
const AXES = [
  { name: "Left to right", below: "L", above: "R" },
  { name: "Back to front", below: "P", above: "A" },
  { name: "Feet to head", below: "I", above: "S" },
]; // NiiVue's: RAS

/** @param {NiiVue} nv */
export function layoutControl(nv) {
  const types = {
    all: nv.sliceTypeMultiplanar,
    axial: nv.sliceTypeAxial,
    coronal: nv.sliceTypeCoronal,
    sagittal: nv.sliceTypeSagittal,
    render: nv.sliceTypeRender,
  };
  const buttons = Object.entries(LAYOUTS).map(([key, name]) => {
    const type = types[/** @type {keyof typeof types} */ (key)];
    const id = `layout-${key}`;
    const checked = nv.opts.sliceType === type;
    const box = make("input", { type: "radio", name: "layout", class: "unseen", id, checked });
    box.addEventListener("change", () => nv.setSliceType(type));
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
  const choice = make("select", { id: "volume" }, ...options);
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

/** Window and level of the volume; nothing where all its voxels are alike. @param {NiiVue} nv */
export function windowControls(nv) {
  const [volume] = nv.volumes;
  const range = volume.global_max - volume.global_min;
  if (!(range > 0)) return [];
  const step = 10 ** Math.floor(Math.log10(range / 200));
  const set = (/** @type {number} */ width, /** @type {number} */ level) => {
    volume.cal_min = level - width / 2;
    volume.cal_max = level + width / 2;
    nv.updateGLVolume();
  };
  const width = () => volume.cal_max - volume.cal_min;
  const level = () => (volume.cal_max + volume.cal_min) / 2;
  const limits = { low: volume.global_min, high: volume.global_max, step };
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

/** A slider along each axis. @param {NiiVue} nv */
export function placeControls(nv) {
  return AXES.map(({ name }, axis) => {
    const step = 1 / Math.max(1, nv.volumes[0].dimsRAS[axis + 1]);
    const move = (/** @type {number} */ value) => {
      nv.scene.crosshairPos[axis] = value;
      nv.drawScene();
      nv.createOnLocationChange();
    };
    const inText = () => inPlace(nv.frac2mm(nv.scene.crosshairPos)[axis], axis);
    return slider(name, nv.scene.crosshairPos[axis], { low: 0, high: 1, step }, move, inText, `place-${axis}`);
  });
}

/** Let the sliders follow the cross hair. @param {Element} controls @param {NiiVueLocation} location */
export function followPlace(controls, { mm, frac }) {
  AXES.forEach((_, axis) => {
    const box = /** @type {HTMLInputElement | null} */ (controls.querySelector(`#place-${axis}`));
    if (!box) return;
    box.value = String(frac[axis]);
    box.setAttribute("aria-valuetext", inPlace(mm[axis], axis));
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
  const told = make("span", { class: "amount" }, inText(value));
  box.addEventListener("input", () => {
    onChange(box.valueAsNumber);
    told.textContent = inText(box.valueAsNumber);
    box.setAttribute("aria-valuetext", told.textContent);
  });
  box.setAttribute("aria-valuetext", inText(value));
  return make("div", { class: "control" }, make("label", { for: id }, name), box, told);
}
