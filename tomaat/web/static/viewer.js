/** Volumes in three planes and in 3D, with labels over them: NiiVue, and the controls around it. */

import { fill, make } from "./dom.js";
import { picker, seriesIn, shownFile, shownSeries, shownZip, unreadable } from "./files.js";
import { inDigits, saidBy } from "./words.js";

/**
 * @typedef {import("./files.js").Shown} Shown
 * @typedef {{name: string, file: File, labels?: import("./result.js").Label[]}} Overlay
 */

const LAYOUTS = { all: "All", axial: "Axial", coronal: "Coronal", sagittal: "Sagittal", render: "3D" };
const AXES = [
  { name: "Left to right", below: "L", above: "R" },
  { name: "Back to front", below: "P", above: "A" },
  { name: "Feet to head", below: "I", above: "S" },
]; // NiiVue's: RAS
const OPACITY = 0.5;
const SAME_WITHIN_MM = 0.01;
const OPTIONS = {
  backColor: [0, 0, 0, 1],
  crosshairColor: [0.36, 0.78, 0.87, 0.9],
  crosshairGap: 6,
  crosshairWidthUnit: "percent",
  fontColor: [0.8, 0.86, 0.88, 1],
  showAllOrientationMarkers: true,
  dragAndDropEnabled: false,
  isRadiologicalConvention: true,
  sagittalNoseLeft: true, // as radiologists look at it, and as the result's own picture has it
  loadingText: "",
  multiplanarPadPixels: 12,
  logLevel: "error",
  scrollRequiresFocus: true, // scrolling the page does not get stuck in the picture
  viewModeHotKey: "", // there is a button for it
  clipPlaneHotKey: "",
};

/** @type {Promise<any> | undefined} */
let bundle;

/** NiiVue, which is fetched when it is needed first; it is no module and leaves its names with the window. */
function niivue() {
  bundle ??= import("./vendor/niivue-0.69.0/niivue.umd.js").then(() => /** @type {any} */ (globalThis).niivue);
  return bundle;
}

/**
 * Show volumes, one at a time: with overlays the first that was sent at first, else the first that was made.
 * @param {Shown[]} sent as far as the page still has them
 * @param {Shown[]} made
 * @param {Overlay[]} overlays
 * @param {AbortSignal} signal ends it when another view is shown
 */
export function makeViewer(sent, made, overlays, signal) {
  const canvas = make("canvas", {
    tabindex: 0,
    role: "application",
    "aria-label": "The volume. The sliders below move through it.",
  });
  const told = make("p", { class: "place" }, "Loading the viewer…");
  const controls = make("div", { class: "controls" });
  const stage = make("div", { class: "stage" }, canvas);
  const element = make("div", { class: "viewer", "data-state": "loading" }, stage, told, controls);
  /** @type {Map<string, Set<number>>} */
  const hidden = new Map();
  /** @type {any} */
  let nv = null;
  let opacity = OPACITY;
  /** @type {Shown | undefined} */
  let below;
  let opened = false; // whether the volumes were opened again, and may be others than those that were sent
  let fault = ""; // why the volume that was asked for is not shown
  let layoutChosen = false; // with the place to look at, at the first volume; it stays when another one is shown
  let asked = 0; // how often a volume was asked for: the last one counts
  const started = start();

  return {
    element,
    /** Hide some labels of an overlay. @param {string} name @param {Set<number>} values */
    async hide(name, values) {
      hidden.set(name, new Set(values));
      await started;
      if (element.dataset.state !== "ready") return;
      for (const overlay of overlays.filter((each) => each.name === name)) colour(overlay);
      nv.updateGLVolume();
    },
  };

  async function start() {
    try {
      const { Niivue, SHOW_RENDER, MULTIPLANAR_TYPE } = await niivue();
      if (signal.aborted) return;
      const crosshairWidth = canvas.clientWidth < 500 ? 1 : 0.5; // so that it is as wide as a pixel
      const options = {
        ...OPTIONS,
        crosshairWidth,
        multiplanarShowRender: SHOW_RENDER.ALWAYS,
        multiplanarLayout: MULTIPLANAR_TYPE.GRID,
      };
      nv = new Niivue(options);
      await nv.attachToCanvas(canvas);
      if (!nv.gl) throw new Error("This browser has no WebGL 2.");
      if (signal.aborted) return release();
      signal.addEventListener("abort", release);
      nv.onLocationChange = showPlace;
      nv.onIntensityChange = showControls;
      await show(volumes()[0]);
    } catch (error) {
      showFailure(error);
    }
  }

  function volumes() {
    return overlays.length ? [...sent, ...made] : [...made, ...sent];
  }

  /** Give the graphics memory back; a browser has few of these. */
  function release() {
    nv.cleanup();
    nv.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  /** Show a volume, or none, under the overlays; where it cannot be read, say so and leave what is shown. @param {Shown} [volume] */
  async function show(volume) {
    asked += 1;
    const mine = asked;
    element.dataset.state = "loading";
    told.textContent = "Reading the volume…";
    fault = "";
    const image = volume && (await read(volume));
    if (signal.aborted || mine !== asked) return;
    if (image || !nv.volumes.length) await put(image, volume);
    if (signal.aborted || mine !== asked) return;
    element.dataset.state = "ready";
    showControls();
    nv.createOnLocationChange();
  }

  /** @param {Shown} volume */
  async function read(volume) {
    try {
      return await load(await volume.open(), 1);
    } catch (error) {
      fault = `${volume.name} is not shown: ${saidBy(error)}`;
      return null;
    }
  }

  /** @param {any} image @param {Shown | undefined} volume which it is */
  async function put(image, volume) {
    if (!image && !overlays.length) throw new Error(fault);
    const images = [];
    for (const { file } of overlays) images.push(await load(file, image ? opacity : 1));
    if (signal.aborted) return;
    below = image ? volume : undefined;
    while (nv.volumes.length) nv.removeVolume(nv.volumes[0]);
    if (image) nv.addVolume(image);
    for (const each of images) nv.addVolume(each);
    for (const overlay of overlays) colour(overlay);
    nv.updateGLVolume();
    if (layoutChosen) return;
    layoutChosen = true;
    nv.setSliceType(nv.sliceTypeMultiplanar);
    const place = images.length ? withinLabels(images[0]) : null;
    if (place) nv.scene.crosshairPos = nv.mm2frac(place);
  }

  /** @param {File} file @param {number} opaque */
  async function load(file, opaque) {
    const { NVImage } = await niivue();
    return NVImage.loadFromFile({ file, name: nameOf(file), opacity: opaque });
  }

  /** @param {Overlay} overlay */
  function colour(overlay) {
    const image = nv.volumes[nv.volumes.length - overlays.length + overlays.indexOf(overlay)];
    const labels = overlay.labels ?? [];
    const off = hidden.get(overlay.name) ?? new Set();
    image.setColormapLabel({
      R: [0, ...labels.map(({ color }) => color[0])],
      G: [0, ...labels.map(({ color }) => color[1])],
      B: [0, ...labels.map(({ color }) => color[2])],
      A: [0, ...labels.map(({ value }) => (off.has(value) ? 0 : 255))],
      I: [0, ...labels.map(({ value }) => value)],
      labels: ["", ...labels.map(({ name }) => name)],
    });
  }

  /** Make the controls anew; the focus stays where it was, or goes to the picture. */
  function showControls() {
    const focused = controls.contains(document.activeElement) && document.activeElement?.id;
    fill(controls, layoutControl(), ...volumeControls(), ...windowControls(), opacityControl(), ...placeControls());
    if (focused) (document.getElementById(focused) ?? canvas).focus({ preventScroll: true });
  }

  function layoutControl() {
    const types = {
      all: nv.sliceTypeMultiplanar,
      axial: nv.sliceTypeAxial,
      coronal: nv.sliceTypeCoronal,
      sagittal: nv.sliceTypeSagittal,
      render: nv.sliceTypeRender,
    };
    const buttons = Object.entries(LAYOUTS).map(([key, name]) => {
      const type = types[/** @type {keyof typeof types} */ (key)];
      const box = make("input", {
        type: "radio",
        name: "layout",
        class: "unseen",
        id: `layout-${key}`,
        checked: nv.opts.sliceType === type,
      });
      box.addEventListener("change", () => nv.setSliceType(type));
      return [box, make("label", { class: "button", for: box.id }, name)];
    });
    return make("fieldset", { class: "layouts" }, make("legend", { class: "unseen" }, "View"), ...buttons.flat());
  }

  /** Which volume lies under the labels, and what is to be said of it. */
  function volumeControls() {
    const other = opened && below && sent.includes(below) && !sameGrid(nv.volumes[0], nv.volumes[1]);
    const doubt =
      other && "It lies on another grid than the labels: it is not the volume that was sent, or not all of it.";
    return [
      below || volumes().length > 1 ? volumeChoice() : null,
      (fault || doubt) && make("p", { class: "fault", role: "status" }, fault || doubt),
      overlays.length > 0 && (!below || !sent.length || fault || doubt) ? openControl() : null,
    ];
  }

  function volumeChoice() {
    const choices = volumes();
    if (choices.length === 1) return make("p", { class: "hint" }, choices[0].name);
    const choice = make(
      "select",
      { id: "volume" },
      ...choices.map((volume, place) => make("option", { value: place, selected: volume === below }, volume.name)),
    );
    choice.addEventListener("change", () => show(choices[Number(choice.value)]).catch(showFailure));
    return make("div", { class: "control" }, make("label", { for: "volume" }, "Volume"), choice);
  }

  /** The volume that was sent is kept only while the page is open: it can be opened again, and does not leave the computer. */
  function openControl() {
    const open = async (/** @type {File[]} */ files) => {
      try {
        const series = await seriesIn(files);
        const [file] = files;
        sent = series.length
          ? series.map(shownSeries)
          : [file.name.toLowerCase().endsWith(".zip") ? shownZip(file) : shownFile(file)];
      } catch (error) {
        if (signal.aborted) return;
        fault = unreadable(error);
        return showControls();
      }
      opened = true;
      await show(sent[0]).catch(showFailure);
    };
    return make(
      "div",
      { class: "open" },
      !below &&
        !fault &&
        make("p", { class: "hint" }, "Only the labels are here: the page has no volume to lay them over."),
      make(
        "div",
        { class: "choosing" },
        ...picker("open-volume", "Open the volume", { multiple: true }, open),
        ...picker("open-folder", "Open a DICOM folder", { webkitdirectory: true }, open),
      ),
    );
  }

  function windowControls() {
    const [volume] = nv.volumes;
    if (!below || !(volume.global_max > volume.global_min)) return [];
    const range = volume.global_max - volume.global_min;
    const step = 10 ** Math.floor(Math.log10(range / 200));
    const set = (/** @type {number} */ width, /** @type {number} */ level) => {
      volume.cal_min = level - width / 2;
      volume.cal_max = level + width / 2;
      nv.updateGLVolume();
    };
    const width = () => volume.cal_max - volume.cal_min;
    const level = () => (volume.cal_max + volume.cal_min) / 2;
    return [
      slider("Window", width(), step, range, step, (value) => set(value, level()), shortly),
      slider("Level", level(), volume.global_min, volume.global_max, step, (value) => set(width(), value), shortly),
    ];
  }

  function opacityControl() {
    if (!overlays.length) return null;
    return slider(
      "Opacity",
      below ? opacity : 1,
      0,
      1,
      0.05,
      (value) => {
        opacity = value;
        for (let place = nv.volumes.length - overlays.length; place < nv.volumes.length; place += 1) {
          nv.setOpacity(place, value);
        }
      },
      (value) => `${Math.round(100 * value)} %`,
    );
  }

  function placeControls() {
    return AXES.map(({ name }, axis) => {
      const count = nv.volumes[0].dimsRAS[axis + 1];
      return slider(
        name,
        nv.scene.crosshairPos[axis],
        0,
        1,
        1 / Math.max(1, count),
        (value) => {
          nv.scene.crosshairPos[axis] = value;
          nv.drawScene();
          nv.createOnLocationChange();
        },
        () => inPlace(nv.frac2mm(nv.scene.crosshairPos)[axis], axis),
        `place-${axis}`,
      );
    });
  }

  /** Where the cross hair is, and what is there. @param {any} location */
  function showPlace(location) {
    const place = AXES.map((_, axis) => inPlace(location.mm[axis], axis)).join(", ");
    const values = location.values.map((/** @type {any} */ { value }, /** @type {number} */ at) => {
      const overlay = overlays[at - (location.values.length - overlays.length)];
      if (overlay) return overlay.labels?.find((label) => label.value === Math.round(value))?.name;
      return `value ${inDigits(value)}`;
    });
    told.textContent = [place, ...values.filter(Boolean)].join(" · ");
    AXES.forEach((_, axis) => {
      const box = /** @type {HTMLInputElement | null} */ (controls.querySelector(`#place-${axis}`));
      if (!box) return;
      box.value = String(location.frac[axis]);
      box.setAttribute("aria-valuetext", inPlace(location.mm[axis], axis));
    });
  }

  /** @param {unknown} error */
  function showFailure(error) {
    if (signal.aborted) return;
    element.dataset.state = "failed";
    stage.hidden = true;
    fill(controls);
    told.textContent = `The volumes cannot be shown here: ${saidBy(error)} They are in the download.`;
  }
}

/** A place along an axis, such as `12.0 mm R`. @param {number} mm @param {number} axis */
function inPlace(mm, axis) {
  return `${Math.abs(mm).toFixed(1)} mm ${mm < 0 ? AXES[axis].below : AXES[axis].above}`;
}

/**
 * A place to look at first: where each plane has the most labelled voxels. RAS, mm; nothing without labels.
 * @param {any} image NiiVue's
 */
function withinLabels({ img: voxels, hdr }) {
  const sizes = hdr.dims.slice(1, 4);
  const counts = sizes.map((/** @type {number} */ size) => new Uint32Array(size));
  const [columns, rows, planes] = sizes;
  let at = 0;
  for (let plane = 0; plane < planes; plane += 1) {
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1, at += 1) {
        if (!voxels[at]) continue;
        counts[0][column] += 1;
        counts[1][row] += 1;
        counts[2][plane] += 1;
      }
    }
  }
  const index = counts.map((/** @type {Uint32Array} */ count) => count.indexOf(Math.max(...count)));
  if (!counts[0][index[0]]) return null;
  return [0, 1, 2].map((axis) =>
    [...index, 1].reduce((sum, number, column) => sum + hdr.affine[axis][column] * number, 0),
  );
}

/** Whether two of NiiVue's images have the same voxels' places. @param {any} one @param {any} other */
function sameGrid(one, other) {
  const places = (/** @type {any} */ { hdr }) => [...hdr.dims.slice(1, 4), ...hdr.affine.flat()];
  const [here, there] = [places(one), places(other)];
  return here.every((number, at) => Math.abs(number - there[at]) < SAME_WITHIN_MM);
}

/** @param {number} value */
function shortly(value) {
  return inDigits(value, 4);
}

/** NiiVue reads the format from a name's end; it knows `.nrrd`, not `.seg.nrrd`. @param {File} file */
function nameOf(file) {
  return file.name.toLowerCase().replace(/\.seg\.nrrd$/, ".nrrd");
}

/**
 * @param {string} name
 * @param {number} value
 * @param {number} low
 * @param {number} high
 * @param {number} step
 * @param {(value: number) => void} onChange
 * @param {(value: number) => string} inText
 * @param {string} [id]
 */
function slider(
  name,
  value,
  low,
  high,
  step,
  onChange,
  inText,
  id = `slider-${name.toLowerCase().replaceAll(" ", "-")}`,
) {
  const box = make("input", { type: "range", id, min: low, max: high, step });
  box.value = String(value);
  const told = make("span", { class: "amount" }, inText(value));
  const tell = () => {
    told.textContent = inText(box.valueAsNumber);
    box.setAttribute("aria-valuetext", told.textContent);
  };
  box.addEventListener("input", () => {
    onChange(box.valueAsNumber);
    tell();
  });
  box.setAttribute("aria-valuetext", told.textContent);
  return make("div", { class: "control" }, make("label", { for: id }, name), box, told);
}
