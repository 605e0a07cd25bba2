/** Keys over the picture: all that the mouse can do. */

import { announce } from "./dom.js";

const ZOOM = 1.25;
const TURN = 5; // degrees
const PAN = 12; // parts of the volume

/** @typedef {import("./picture.js").Picture} Picture */

/**
 * @typedef {object} Acts what other parts of the viewer do
 * @property {() => void} help
 * @property {() => void} save
 * @property {() => void} fill the screen
 * @property {() => void} style
 * @property {(direction: 1 | -1) => void} step to the next slice with a label
 * @property {() => void} ruler
 * @property {() => void} removeRulers
 * @property {(layout: import("./picture.js").Layout) => void} layout
 */

/** For the line of help. */
export const KEYS = /** @type {const} */ ([
  ["Wheel", "the slices of the plane under the mouse; over the picture in 3D, nearer and farther"],
  ["Left button", "the cross hair, or as chosen above; in 3D it turns"],
  ["Right button", "the window: to the right wider, upwards a higher level"],
  ["Shift and left button, middle button", "moves the picture"],
  ["Ctrl and wheel, two fingers", "zoom"],
  ["Double click in 3D", "the cross hair goes to what is seen there"],
  ["Page up, Page down", "slices; Home and End the last and the first"],
  ["Arrows", "the cross hair in its plane; with Shift they move the picture, in 3D they turn it"],
  ["P", "the next plane for these keys"],
  ["N, B", "the next and the previous slice with a label"],
  ["+, −, 0", "zoom, and the whole planes"],
  ["[, ], comma, full stop", "the window narrower and wider, its level lower and higher"],
  ["M", "a ruler's start and end at the cross hair, in one slice; Delete removes all rulers"],
  ["O", "labels filled, outlined, or both"],
  ["X", "the cross hair hidden and shown"],
  ["1 to 5", "all planes, axial, coronal, sagittal, 3D"],
  ["S, F, ?", "save the picture, full screen, this help"],
]);
const LAYOUTS = /** @type {const} */ (["all", "axial", "coronal", "sagittal", "render"]);
const WAYS = /** @type {Record<string, [number, number]>} */ ({
  ArrowLeft: [1, 0],
  ArrowRight: [-1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
}); // along the plane's axes, which run against the picture's

/** @param {Picture} picture @param {Acts} acts */
export function listenToKeys(picture, acts) {
  picture.canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !picture.place) return;
    const act = actOf(event, picture, acts);
    if (!act) return;
    event.preventDefault();
    act();
  });
}

/**
 * @param {KeyboardEvent} event
 * @param {Picture} picture
 * @param {Acts} acts
 * @returns {(() => void) | undefined}
 */
function actOf({ key, shiftKey }, picture, acts) {
  const [plane] = picture.planes;
  if (WAYS[key]) return () => move(picture, plane, WAYS[key], shiftKey);
  const slices = plane && slicesOf(picture, plane.across)[key];
  if (slices) return slices;
  const layout = LAYOUTS[Number(key) - 1];
  if (layout) return () => acts.layout(layout);
  /** @type {Record<string, () => void>} */
  const others = {
    "+": () => picture.zoom(ZOOM, plane ? undefined : tileOf3d(picture)),
    "=": () => picture.zoom(ZOOM, plane ? undefined : tileOf3d(picture)),
    "-": () => picture.zoom(1 / ZOOM, plane ? undefined : tileOf3d(picture)),
    0: () => picture.showWhole(),
    "[": () => picture.changeWindow(0.9, 0),
    "]": () => picture.changeWindow(1 / 0.9, 0),
    ",": () => picture.changeWindow(1, -0.05),
    ".": () => picture.changeWindow(1, 0.05),
    "?": acts.help,
    b: () => acts.step(-1),
    delete: acts.removeRulers,
    f: acts.fill,
    m: acts.ruler,
    n: () => acts.step(1),
    o: acts.style,
    p: () => nextPlane(picture),
    s: acts.save,
    x: () => picture.setCross(!picture.hasCross),
  };
  return others[key.toLowerCase()];
}

/** @param {Picture} picture @param {number} axis @returns {Record<string, () => void>} */
function slicesOf(picture, axis) {
  return {
    PageUp: () => picture.step(axis, 1),
    PageDown: () => picture.step(axis, -1),
    Home: () => picture.step(axis, picture.sizes[axis]),
    End: () => picture.step(axis, -picture.sizes[axis]),
  };
}

/**
 * @param {Picture} picture
 * @param {import("./slices.js").Plane | undefined} plane
 * @param {[number, number]} way
 * @param {boolean} isPan
 */
function move(picture, plane, [across, up], isPan) {
  if (!plane) return picture.turn(TURN * -across, TURN * -up);
  const [x, y] = plane.axes;
  if (isPan) {
    const from = picture.sizes.map(() => 0);
    const to = [...from];
    to[x] = (across * picture.sizes[x]) / PAN;
    to[y] = (up * picture.sizes[y]) / PAN;
    return picture.pan(from, to);
  }
  return picture.step(across ? x : y, across || up);
}

/** @param {Picture} picture */
function nextPlane(picture) {
  const names = /** @type {const} */ (["axial", "coronal", "sagittal"]);
  const shown = names.flatMap((name) => picture.planes.find((plane) => plane.name === name) ?? []);
  const next = shown[(shown.indexOf(picture.active) + 1) % shown.length];
  if (!next) return;
  picture.setActive(next);
  announce(`The keys move the ${next.name} plane.`);
}

/** @param {Picture} picture */
function tileOf3d(picture) {
  return picture.tileAt({ x: 0, y: 0 });
}
