/** Volumes in three planes and in 3D, with labels over them: the picture, and the controls around it. */

import { fill, make } from "./dom.js";
import { seriesIn, shownFile, shownSeries, shownZip, unreadable } from "./files.js";
import { attach, gridOf, loadImage, sameGrid, withinLabels } from "./niivue.js";
import * as controls from "./viewer-controls.js";
import { inDigits, saidBy } from "./words.js";

/**
 * @typedef {import("./files.js").Shown} Shown
 * @typedef {{name: string, file: File, labels?: import("./result.js").Label[]}} Overlay
 * @typedef {ReturnType<typeof makeParts>} Parts
 */

const OPACITY = 0.5;

/**
 * Show volumes, one at a time: with overlays the first that fits under them, else the first that was made.
 * @param {Shown[]} sent
 * @param {Shown[]} made
 * @param {Overlay[]} overlays
 * @param {AbortSignal} signal ends it when another view is shown
 */
export function makeViewer(sent, made, overlays, signal) {
  const parts = makeParts();
  /** The values of the labels that are hidden, by overlay. @type {Map<string, Set<number>>} */
  const hidden = new Map();
  const started = start();

  return {
    element: parts.element,
    /** Hide some labels of an overlay. @param {string} name @param {Set<number>} values */
    async hide(name, values) {
      hidden.set(name, new Set(values));
      const viewer = await started;
      viewer?.paint(name);
    },
  };

  async function start() {
    try {
      const picture = await attach(parts.canvas, signal);
      if (!picture) return null;
      const viewer = new Viewer(picture, parts, { sent, made, overlays, hidden }, signal);
      await viewer.show(overlays.length ? viewer.volumes() : made.slice(0, 1));
      return viewer;
    } catch (error) {
      if (!signal.aborted) showFailure(parts, error);
      return null;
    }
  }
}

/** Which volume of a result the picture shows, with which labels, and the controls of both. */
class Viewer {
  /**
   * @param {import("./picture.js").Picture} picture
   * @param {Parts} parts
   * @param {{sent: Shown[], made: Shown[], overlays: Overlay[], hidden: Map<string, Set<number>>}} content
   * @param {AbortSignal} signal
   */
  constructor(picture, parts, { sent, made, overlays, hidden }, signal) {
    this.picture = picture;
    this.parts = parts;
    this.sent = sent;
    this.made = made;
    this.overlays = overlays;
    this.hidden = hidden;
    this.signal = signal;
    this.opacity = OPACITY;
    /** The overlays, as they were read. @type {NiiVueImage[]} */
    this.images = [];
    /** Where the service placed voxels: the grids of what it made. @type {import("./niivue.js").Grid[]} */
    this.grids = [];
    /** The volume that lies under the overlays. @type {Shown | undefined} */
    this.below = undefined;
    this.opened = false; // whether the volumes were opened again, and may be others than those that were sent
    this.fault = ""; // why the volume that was asked for is not shown, or a doubt about it
    this.asked = 0; // how often a volume was asked for: the last one counts
    picture.onPlace = (place) => this.showPlace(place);
    picture.onWindow = () => this.showControls();
  }

  volumes() {
    return this.overlays.length ? [...this.sent, ...this.made] : [...this.made, ...this.sent];
  }

  /**
   * Show the first of these volumes that can be shown. Where none can, say why of the first, and leave what is shown.
   * @param {Shown[]} volumes
   */
  async show(volumes) {
    const { parts, signal, picture } = this;
    this.asked += 1;
    const mine = this.asked;
    parts.element.dataset.state = "loading";
    if (this.overlays.length && !this.images.length) {
      await this.readOverlays();
      if (signal.aborted) return;
      this.put(undefined, null); // seen alone, until the volume is there
    }
    parts.told.textContent = "Reading the volume…";
    const { volume, image, fault } = await this.firstOf(volumes);
    if (signal.aborted || mine !== this.asked) return;
    this.fault = fault;
    if (image || !picture.place) this.put(volume, image);
    parts.element.dataset.state = "ready";
    this.showControls();
    picture.tell();
  }

  /** Show volumes that were chosen. @param {Shown[]} volumes */
  async choose(volumes) {
    try {
      await this.show(volumes);
    } catch (error) {
      if (!this.signal.aborted) showFailure(this.parts, error);
    }
  }

  async readOverlays() {
    for (const { file, name, labels } of this.overlays) {
      const image = await loadImage(file, this.picture.largest);
      this.picture.paint(image, labels ?? [], this.hidden.get(name) ?? new Set());
      this.grids.push(gridOf(image));
      this.images.push(image);
    }
  }

  /** @param {Shown[]} volumes @returns {Promise<{volume?: Shown, image: NiiVueImage | null, fault: string}>} */
  async firstOf(volumes) {
    let why = "";
    for (const volume of volumes) {
      const { image, fault } = await this.read(volume);
      if (image || this.signal.aborted) return { volume, image, fault };
      why ||= fault;
    }
    return { image: null, fault: why };
  }

  /**
   * Read a volume. One that was sent may be read here by other rules than the service's, so its grid is compared with what
   * the service made: labels never lie over voxels in which they were not found.
   * @param {Shown} volume
   * @returns {Promise<{image: NiiVueImage | null, fault: string}>}
   */
  async read(volume) {
    const { name } = volume;
    let image;
    try {
      image = await loadImage(await volume.open(), this.picture.largest);
    } catch (error) {
      return { image: null, fault: `${name} is not shown: ${saidBy(error)}` };
    }
    const grid = gridOf(image);
    const isMade = this.made.includes(volume);
    if (isMade && !this.overlays.length) this.grids.push(grid);
    if (isMade || this.grids.some((each) => sameGrid(each, grid))) return { image, fault: "" };
    return this.overlays.length ? { image: null, fault: this.misfit(name) } : { image, fault: doubt(name) };
  }

  /** Why a volume is not shown under the labels, and what to do. @param {string} name */
  misfit(name) {
    const other = this.opened ? " It may be another volume than the one that was sent, or a part of it." : "";
    return (
      `${name} is not shown: this page finds it on another grid than the labels, which would lie over the wrong ` +
      `voxels.${other} The picture below shows them in place. To see both here, send the volume as NIfTI, saved by 3D ` +
      `Slicer for example.`
    );
  }

  /** @param {Shown | undefined} volume @param {NiiVueImage | null} image */
  put(volume, image) {
    const { picture, images } = this;
    if (!image && !images.length) throw new Error(this.fault);
    this.below = volume;
    picture.setOpacity(images, image ? this.opacity : 1);
    const first = picture.place ? null : images.map(withinLabels).find(Boolean);
    picture.show(image ? [image, ...images] : images, first ?? null);
  }

  /** Colour an overlay as `hidden` has it by now. @param {string} name */
  paint(name) {
    this.overlays.forEach((overlay, at) => {
      if (overlay.name !== name) return;
      this.picture.paint(this.images[at], overlay.labels ?? [], this.hidden.get(name) ?? new Set());
    });
  }

  /** @param {number} value */
  setOpacity(value) {
    this.opacity = value;
    this.picture.setOpacity(this.images, value);
  }

  /** Make the controls anew; the focus stays where it was, or goes to the picture. */
  showControls() {
    const { picture, below, overlays } = this;
    const { panel, canvas } = this.parts;
    const focused = panel.contains(document.activeElement) && document.activeElement?.id;
    fill(
      panel,
      controls.layoutControl(picture),
      ...this.volumeControls(),
      ...(below ? controls.windowControls(picture) : []),
      overlays.length > 0 && controls.opacityControl(below ? this.opacity : 1, (value) => this.setOpacity(value)),
      ...controls.placeControls(picture),
    );
    if (focused) (document.getElementById(focused) ?? canvas).focus({ preventScroll: true });
  }

  /** The choice of the volume under the labels, a fault of it, and buttons that open another one. */
  volumeControls() {
    const { below, sent, overlays, fault } = this;
    const volumes = this.volumes();
    const opens = overlays.length > 0 && (!below || !sent.includes(below) || fault);
    return [
      (below || volumes.length > 1) && controls.volumeChoice(volumes, below, (volume) => this.choose([volume])),
      fault && make("p", { class: "fault", role: "status" }, fault),
      opens && controls.openControl(!below && !fault, (files) => this.open(files)),
    ];
  }

  /** Open the volume that was sent again. @param {File[]} files */
  async open(files) {
    try {
      const series = await seriesIn(files);
      const [file] = files;
      const shown = file.name.toLowerCase().endsWith(".zip") ? shownZip(file) : shownFile(file);
      this.sent = series.length ? series.map(shownSeries) : [shown];
    } catch (error) {
      if (this.signal.aborted) return;
      this.fault = unreadable(error);
      this.showControls();
      return;
    }
    this.opened = true;
    await this.choose(this.sent);
  }

  /** Tell the cross hair's place, and the values or labels there. @param {import("./picture.js").Place} place */
  showPlace(place) {
    const { parts, overlays } = this;
    const values = place.values.map((value, at) => {
      const overlay = overlays[at - (place.values.length - overlays.length)];
      if (overlay) return overlay.labels?.find((label) => label.value === Math.round(value))?.name;
      return `value ${inDigits(value)}`;
    });
    parts.told.textContent = [controls.placeText(place.mm), ...values.filter(Boolean)].join(" · ");
    controls.followPlace(parts.panel, place);
  }
}

/** @param {string} name */
function doubt(name) {
  return `${name} lies on another grid than the result: the same place in both may be another place in the patient.`;
}

function makeParts() {
  const canvas = make("canvas", {
    tabindex: 0,
    role: "application",
    "aria-label": "The volume. The sliders below move through it.",
  });
  const told = make("p", { class: "place" }, "Loading the viewer…");
  const panel = make("div", { class: "controls" });
  const stage = make("div", { class: "stage" }, canvas);
  const element = make("div", { class: "viewer", "data-state": "loading" }, stage, told, panel);
  return { element, canvas, stage, told, panel };
}

/** @param {Parts} parts @param {unknown} error */
function showFailure({ element, stage, told, panel }, error) {
  element.dataset.state = "failed";
  stage.hidden = true;
  fill(panel);
  told.textContent = `The volumes cannot be shown here: ${saidBy(error)} They are in the download.`;
}
