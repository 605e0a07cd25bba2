/** Volumes in three planes and in 3D, with labels over them: NiiVue, and the controls around it. */

import { fill, make } from "./dom.js";
import { seriesIn, shownFile, shownSeries, shownZip, unreadable } from "./files.js";
import { attach, colour, loadImage, sameGrid, withinLabels } from "./niivue.js";
import * as controls from "./viewer-controls.js";
import { inDigits, saidBy } from "./words.js";

/**
 * @typedef {import("./files.js").Shown} Shown
 * @typedef {{name: string, file: File, labels?: import("./result.js").Label[]}} Overlay
 * @typedef {ReturnType<typeof makeParts>} Parts
 */

const OPACITY = 0.5;

/**
 * Show volumes, one at a time: with overlays the first that was sent at first, else the first that was made.
 * @param {Shown[]} sent as far as the page still has them
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
      viewer?.colourAgain(name);
    },
  };

  async function start() {
    try {
      const nv = await attach(parts.canvas, signal);
      if (!nv) return null;
      const viewer = new Viewer(nv, parts, { sent, made, overlays, hidden }, signal);
      await viewer.show(viewer.volumes()[0]);
      return viewer;
    } catch (error) {
      if (!signal.aborted) showFailure(parts, error);
      return null;
    }
  }
}

/** The volumes that NiiVue has on the stage, and the controls of them. */
class Viewer {
  /**
   * @param {NiiVue} nv
   * @param {Parts} parts
   * @param {{sent: Shown[], made: Shown[], overlays: Overlay[], hidden: Map<string, Set<number>>}} content
   * @param {AbortSignal} signal
   */
  constructor(nv, parts, { sent, made, overlays, hidden }, signal) {
    this.nv = nv;
    this.parts = parts;
    this.sent = sent;
    this.made = made;
    this.overlays = overlays;
    this.hidden = hidden;
    this.signal = signal;
    this.opacity = OPACITY;
    /** The volume that lies under the overlays. @type {Shown | undefined} */
    this.below = undefined;
    this.opened = false; // whether the volumes were opened again, and may be others than those that were sent
    this.fault = ""; // the reason why the volume that was asked for is not shown
    this.layoutChosen = false; // with the place to look at, at the first volume; it stays when another one is shown
    this.asked = 0; // how often a volume was asked for: the last one counts
    nv.onLocationChange = (location) => this.showPlace(location);
    nv.onIntensityChange = () => this.showControls();
  }

  volumes() {
    return this.overlays.length ? [...this.sent, ...this.made] : [...this.made, ...this.sent];
  }

  /** Show a volume, or none, under the overlays; where it cannot be read, say so and leave what is shown. @param {Shown} [volume] */
  async show(volume) {
    const { nv, parts, signal } = this;
    this.asked += 1;
    const mine = this.asked;
    parts.element.dataset.state = "loading";
    parts.told.textContent = "Reading the volume…";
    this.fault = "";
    const image = volume && (await this.read(volume));
    if (signal.aborted || mine !== this.asked) return;
    if (image || !nv.volumes.length) await this.put(image, volume);
    if (signal.aborted || mine !== this.asked) return;
    parts.element.dataset.state = "ready";
    this.showControls();
    nv.createOnLocationChange();
  }

  /** Show a volume that was chosen. @param {Shown} volume */
  async choose(volume) {
    try {
      await this.show(volume);
    } catch (error) {
      if (!this.signal.aborted) showFailure(this.parts, error);
    }
  }

  /** @param {Shown} volume */
  async read(volume) {
    try {
      return await loadImage(await volume.open(), 1);
    } catch (error) {
      this.fault = `${volume.name} is not shown: ${saidBy(error)}`;
      return null;
    }
  }

  /** @param {NiiVueImage | null | undefined} image @param {Shown | undefined} volume which it is */
  async put(image, volume) {
    const { nv, overlays } = this;
    if (!image && !overlays.length) throw new Error(this.fault);
    const images = [];
    for (const { file } of overlays) images.push(await loadImage(file, image ? this.opacity : 1));
    if (this.signal.aborted) return;
    this.below = image ? volume : undefined;
    while (nv.volumes.length) nv.removeVolume(nv.volumes[0]);
    if (image) nv.addVolume(image);
    for (const each of images) nv.addVolume(each);
    for (const overlay of overlays) this.colour(overlay);
    nv.updateGLVolume();
    if (this.layoutChosen) return;
    this.layoutChosen = true;
    nv.setSliceType(nv.sliceTypeMultiplanar);
    const place = images.length ? withinLabels(images[0]) : null;
    if (place) nv.scene.crosshairPos = nv.mm2frac(place);
  }

  /** The place of the first overlay among NiiVue's volumes. */
  firstOverlay() {
    return this.nv.volumes.length - this.overlays.length;
  }

  /** @param {Overlay} overlay */
  colour(overlay) {
    const image = this.nv.volumes[this.firstOverlay() + this.overlays.indexOf(overlay)];
    colour(image, overlay.labels ?? [], this.hidden.get(overlay.name) ?? new Set());
  }

  /** Colour an overlay as `hidden` has it by now. @param {string} name */
  colourAgain(name) {
    if (this.parts.element.dataset.state !== "ready") return;
    for (const overlay of this.overlays.filter((each) => each.name === name)) this.colour(overlay);
    this.nv.updateGLVolume();
  }

  /** @param {number} value */
  setOpacity(value) {
    this.opacity = value;
    for (let place = this.firstOverlay(); place < this.nv.volumes.length; place += 1) this.nv.setOpacity(place, value);
  }

  /** Make the controls anew; the focus stays where it was, or goes to the picture. */
  showControls() {
    const { nv, below, overlays } = this;
    const { panel, canvas } = this.parts;
    const focused = panel.contains(document.activeElement) && document.activeElement?.id;
    fill(
      panel,
      controls.layoutControl(nv),
      ...this.volumeControls(),
      ...(below ? controls.windowControls(nv) : []),
      overlays.length > 0 && controls.opacityControl(below ? this.opacity : 1, (value) => this.setOpacity(value)),
      ...controls.placeControls(nv),
    );
    if (focused) (document.getElementById(focused) ?? canvas).focus({ preventScroll: true });
  }

  /** The choice of the volume under the labels, a doubt or fault about it, and buttons that open another one. */
  volumeControls() {
    const { nv, below, sent, overlays, fault } = this;
    const volumes = this.volumes();
    const other = this.opened && below && sent.includes(below) && !sameGrid(nv.volumes[0], nv.volumes[1]);
    const doubt =
      other && "It lies on another grid than the labels: it is not the volume that was sent, or not all of it.";
    const opens = overlays.length > 0 && (!below || !sent.length || fault || doubt);
    return [
      (below || volumes.length > 1) && controls.volumeChoice(volumes, below, (volume) => this.choose(volume)),
      (fault || doubt) && make("p", { class: "fault", role: "status" }, fault || doubt),
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
    await this.choose(this.sent[0]);
  }

  /** Tell the cross hair's place, and the values or labels there. @param {NiiVueLocation} location */
  showPlace(location) {
    const { parts, overlays } = this;
    const values = location.values.map(({ value }, at) => {
      const overlay = overlays[at - (location.values.length - overlays.length)];
      if (overlay) return overlay.labels?.find((label) => label.value === Math.round(value))?.name;
      return `value ${inDigits(value)}`;
    });
    parts.told.textContent = [controls.placeText(location.mm), ...values.filter(Boolean)].join(" · ");
    controls.followPlace(parts.panel, location);
  }
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
