/** Volumes in three planes and in 3D, with labels over them: the picture, and the controls around it. */

import { mayPass } from "./api.js";
import { announce, fill, make } from "./dom.js";
import { seriesIn, shownFile, shownSeries, shownZip, unreadable } from "./files.js";
import { largestSlice, nextSlice } from "./label-places.js";
import { Looks } from "./looks.js";
import { Picture } from "./picture.js";
import { readVolume } from "./reading.js";
import { chooseLayout, makeBar, makeHelp } from "./viewer-bar.js";
import * as controls from "./viewer-controls.js";
import { Hand } from "./viewer-hand.js";
import { listenToKeys } from "./viewer-keys.js";
import { LabelPanel } from "./viewer-labels.js";
import { followWindow, seenAtFirst, windowControls, windowText } from "./viewer-window.js";
import { mostLabelled, sameGrid, through, voxelNear } from "./volume.js";
import { inDigits, inMm, saidBy } from "./words.js";
import { NotLoaded } from "./workers.js";

/**
 * @typedef {import("./files.js").Shown} Shown
 * @typedef {import("./result.js").Label} Label
 * @typedef {import("./volume.js").Volume} Volume
 * @typedef {{name: string, file: File, labels?: Label[]}} Overlay
 * @typedef {ReturnType<typeof makeParts>} Parts
 */

const SAVED_AS = "tomaat-view.png"; // names no patient

/**
 * Show volumes, one at a time: with overlays the first that fits under them, else the first that was made.
 * @param {Shown[]} sent
 * @param {Shown[]} made
 * @param {Overlay[]} overlays
 * @param {AbortSignal} signal ends it when another view is shown
 */
export function makeViewer(sent, made, overlays, signal) {
  const viewer = new Viewer({ sent, made, overlays }, signal);
  void viewer.choose(overlays.length ? viewer.volumes() : made);
  return viewer.parts.element;
}

/** Which volume of a result the picture shows, with which labels, and the controls of both. */
class Viewer {
  /**
   * @param {{sent: Shown[], made: Shown[], overlays: Overlay[]}} content
   * @param {AbortSignal} signal
   */
  constructor({ sent, made, overlays }, signal) {
    this.sent = sent;
    this.made = made;
    this.overlays = overlays;
    this.signal = signal;
    this.parts = makeParts();
    this.looks = new Looks(overlays.map(({ labels }) => labels ?? []));
    this.picture = new Picture(this.parts.canvas, this.looks, signal);
    /** The overlays, as they were read. @type {Volume[]} */
    this.images = [];
    /** Where the service placed voxels: the grids of what it made. @type {import("./volume.js").Grid[]} */
    this.grids = [];
    /** The volume that lies under the overlays. @type {Shown | undefined} */
    this.below = undefined;
    this.opened = false; // whether the volumes were opened again, and may be others than those that were sent
    this.fault = ""; // why the volume that was asked for is not shown, or a doubt about it
    this.asked = 0; // how often a volume was asked for, or files were opened: the last one counts
    /** The label that was gone to last. @type {Label | null} */
    this.chosen = null;
    this.reading = false; // whether a volume was asked for, and is not there yet
    /** The volumes that cannot be shown for a reason that may pass. @type {Shown[] | null} */
    this.again = null;
    this.listen();
  }

  /** Put the bar, the labels and the help in their places, and connect mouse, keys and picture. */
  listen() {
    const { picture, parts, overlays, looks } = this;
    const hand = new Hand(picture, () => this.showRulers());
    const acts = {
      help: () => this.toggleHelp(),
      save: () => void this.save(),
      fill: () => void this.fillScreen(),
      style: () => labels.nextStyle(),
      step: (/** @type {1 | -1} */ direction) => this.step(direction),
      ruler: () => this.markRuler(),
      removeRulers: () => this.removeRulers(),
      layout: (/** @type {import("./picture.js").Layout} */ layout) => chooseLayout(bar, layout),
    };
    const bar = makeBar(picture, (tool) => (hand.tool = tool), acts);
    const labels = new LabelPanel(
      overlays.map(({ name }) => name),
      looks,
      {
        onLook: () => picture.paint(),
        onGo: (overlay, label) => this.goTo(overlay, label),
        onStep: acts.step,
      },
    );
    this.labels = labels;
    parts.bar.replaceWith(bar);
    if (overlays.length) parts.labels.replaceWith(labels.element);
    listenToKeys(picture, acts);
    parts.help.addEventListener("keydown", ({ key }) => {
      if (key === "Escape" || key === "?") this.toggleHelp();
    });
    picture.onPlace = (place) => this.showPlace(place);
    picture.onWindow = () => this.showWindow();
  }

  volumes() {
    const { below, sent, made } = this;
    const all = this.overlays.length ? [...sent, ...made] : [...made, ...sent];
    return below && !all.includes(below) ? [below, ...all] : all; // it is shown until another one can be
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
    this.reading = true;
    if (this.overlays.length && !this.images.length) {
      await this.readOverlays();
      if (signal.aborted) return;
      this.put(undefined, null); // seen alone, until the volume is there
      this.showControls();
    }
    parts.told.textContent = "Reading the volume…";
    const { volume, image, fault, passing } = await this.firstOf(volumes);
    if (signal.aborted || mine !== this.asked) return;
    this.reading = false;
    this.fault = fault;
    this.again = passing ? volumes : null;
    if (image || !picture.place) this.put(volume, image);
    this.showControls();
    picture.tell();
    await picture.settled();
    if (!signal.aborted && mine === this.asked) parts.element.dataset.state = "ready";
  }

  /** Show volumes that were chosen. @param {Shown[]} volumes */
  async choose(volumes) {
    this.parts.stage.hidden = false;
    try {
      await this.show(volumes);
    } catch (error) {
      if (this.signal.aborted) return;
      const again = error instanceof NotLoaded && (() => this.choose(volumes));
      showFailure(this.parts, error, again);
    }
  }

  async readOverlays() {
    const images = [];
    for (const { file } of this.overlays) images.push(await readVolume(file, true));
    this.images = images;
    this.grids = images.map(({ grid }) => grid);
  }

  /**
   * The first that can be shown. Where none can, why the first cannot, and whether any of them may be later.
   * @param {Shown[]} volumes
   * @returns {Promise<{volume?: Shown, image: Volume | null, fault: string, passing: boolean}>}
   */
  async firstOf(volumes) {
    let [why, anyPassing] = ["", false];
    for (const volume of volumes) {
      const { image, fault, passing = false } = await this.read(volume);
      if (image || this.signal.aborted) return { volume, image, fault, passing };
      why ||= fault;
      anyPassing ||= passing;
    }
    return { image: null, fault: why, passing: anyPassing };
  }

  /**
   * Read a volume. One that was sent may be read here by other rules than the service's, so its grid is compared with what
   * the service made: labels never lie over voxels in which they were not found.
   * @param {Shown} volume
   * @returns {Promise<{image: Volume | null, fault: string, passing?: boolean}>} `passing`: it may be shown later
   */
  async read(volume) {
    const { name } = volume;
    let image;
    try {
      image = await readVolume(await volume.open());
    } catch (error) {
      const passing = mayPass(error) || error instanceof NotLoaded;
      return { image: null, fault: `${name} is not shown: ${saidBy(error)}`, passing };
    }
    const { grid } = image;
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

  /** @param {Shown | undefined} volume @param {Volume | null} image */
  put(volume, image) {
    const { picture, images } = this;
    if (!image && !images.length) throw new Error(this.fault);
    this.below = volume;
    const first = picture.place ? null : images.map(mostLabelled).find(Boolean);
    picture.show(volume && image ? seenAtFirst(volume.name, image) : image, images, first ?? null);
  }

  /** Make the controls anew; the focus stays where it was, or goes to the picture. */
  showControls() {
    const { picture, below } = this;
    const { panel, canvas } = this.parts;
    const focused = panel.contains(document.activeElement) && document.activeElement?.id;
    fill(
      panel,
      ...this.volumeControls(),
      ...(below ? windowControls(picture, below.name) : []),
      ...controls.placeControls(picture),
      make("div", { class: "rulers" }),
    );
    this.showRulers();
    this.showWindow();
    if (focused) (document.getElementById(focused) ?? canvas).focus({ preventScroll: true });
  }

  /** The choice of the volume under the labels, a fault of it, and buttons that open another one. */
  volumeControls() {
    const { below, sent, overlays, fault, again, reading } = this;
    const volumes = this.volumes();
    const opens = overlays.length > 0 && !reading && (!below || !sent.includes(below) || fault);
    return [
      reading && make("p", { class: "hint" }, "The volume below the labels is being read."),
      (below || volumes.length > 1) && controls.volumeChoice(volumes, below, (volume) => this.choose([volume])),
      fault && make("p", { class: "fault", role: "status" }, fault),
      again && makeAgain(() => this.choose(again)),
      opens && controls.openControl(!below && !fault, (files) => this.open(files)),
    ];
  }

  /** Open the volume that was sent again. @param {File[]} files */
  async open(files) {
    const { parts } = this;
    this.asked += 1;
    const mine = this.asked;
    let sent;
    let fault = "";
    try {
      const series = await seriesIn(files);
      const [file] = files;
      const shown = file.name.toLowerCase().endsWith(".zip") ? shownZip(file) : shownFile(file);
      sent = series.length ? series.map(shownSeries) : [shown];
    } catch (error) {
      fault = unreadable(error);
    }
    if (this.signal.aborted || mine !== this.asked) return;
    if (!sent) {
      this.reading = false; // what was asked for before was given up
      this.fault = fault;
      this.showControls();
      parts.element.dataset.state = "ready";
      return;
    }
    this.opened = true;
    this.sent = sent;
    await this.choose(sent);
  }

  /** Tell the cross hair's place, and the values or labels there. @param {import("./picture.js").Place} place */
  showPlace(place) {
    const { parts, overlays } = this;
    const values = place.values.map((value, at) => {
      const overlay = overlays[at - (place.values.length - overlays.length)];
      if (overlay) return overlay.labels?.find((label) => label.value === Math.round(value))?.name;
      return `value ${inDigits(value)}`;
    });
    parts.told.textContent = [controls.placeText(place), ...values.filter(Boolean)].join(" · ");
    controls.followPlace(parts.panel, place);
  }

  showWindow() {
    const { parts, picture, below } = this;
    parts.levels.textContent = below ? windowText(picture.window) : "";
    if (below) followWindow(parts.panel, picture);
  }

  /** Go to the largest slice of a label, in the plane that is shown. @param {number} overlay @param {Label} label */
  goTo(overlay, label) {
    const { picture, images } = this;
    const { plane } = picture;
    const mm = images[overlay] && picture.place && largestSlice(images[overlay], label.value, plane);
    if (!mm) return;
    this.chosen = label;
    this.labels?.mark(label);
    picture.setActive(plane);
    picture.moveTo(voxelNear(picture.shape, mm));
    this.tellSlice(label.name, plane);
  }

  /** Go to the next slice with the label that was gone to last, or with any that is shown. @param {1 | -1} direction */
  step(direction) {
    const { picture, images, looks, chosen } = this;
    const [plane] = picture.planes;
    const { place, shape } = picture;
    if (!place || !plane) return;
    const axis = plane.across;
    const wanted = (/** @type {Label} */ label) =>
      looks.isShown(label) && (!chosen || !looks.isShown(chosen) || label === chosen);
    const found = images.flatMap((image, at) => {
      const values = looks.labels[at].filter(wanted).map(({ value }) => value);
      const voxel = voxelNear(image, place.mm);
      for (;;) {
        const index = nextSlice(image, values, axis, voxel[axis], direction);
        if (index === null) return [];
        voxel[axis] = index;
        const slice = voxelNear(shape, through(image.matrix, voxel))[axis];
        if ((slice - place.voxel[axis]) * direction > 0) return [slice]; // labels may have more slices than the volume
      }
    });
    if (!found.length) {
      announce("There is no further slice with a label in this direction.");
      return;
    }
    picture.step(axis, (direction > 0 ? Math.min(...found) : Math.max(...found)) - place.voxel[axis]);
    this.tellSlice("A label", plane);
  }

  /** @param {string} about @param {import("./slices.js").Plane} plane */
  tellSlice(about, { name, across }) {
    const { place, sizes } = this.picture;
    if (place) announce(`${about}: ${name} slice ${place.voxel[across] + 1} of ${sizes[across]}.`);
  }

  /** Begin a ruler at the cross hair, or end it there, in a plane that is shown and has both ends in one slice. */
  markRuler() {
    const { picture } = this;
    const { mark, place, planes } = picture;
    if (!place || !planes.length) return;
    const here = place.voxel.map((number) => number + 0.5);
    const plane = mark && planes.find(({ across }) => mark[across] === here[across]);
    picture.mark = plane ? null : here;
    if (plane) picture.measure(plane, mark, here, true);
    this.showRulers();
    if (plane) return;
    announce(
      `${mark ? "A ruler lies in one slice, so it begins here now" : "A ruler begins here"}. M ends it at another place.`,
    );
  }

  removeRulers() {
    this.picture.removeRulers();
    this.showRulers();
    announce("There are no rulers.");
  }

  /** List the rulers, and tell the last one. */
  showRulers() {
    const { rulers, mark, shape } = this.picture;
    const list = this.parts.panel.querySelector(".rulers");
    const lengths = rulers.map(({ mm }) => inMm(mm, shape.spacing));
    const remove = () => this.removeRulers();
    if (lengths.length) announce(`The ruler is ${lengths[lengths.length - 1]} long.`);
    if (!list) return;
    fill(
      list,
      lengths.length > 0 && make("span", {}, `Rulers: ${lengths.join(", ")}`),
      lengths.length > 0 && make("button", { type: "button", onclick: remove }, "Remove"),
      mark && make("p", { class: "hint" }, "A ruler has begun. M ends it in the same slice."),
    );
  }

  toggleHelp() {
    const { help, canvas, stage } = this.parts;
    help.hidden = !help.hidden;
    stage.querySelector("[aria-controls=viewer-help]")?.setAttribute("aria-expanded", String(!help.hidden));
    (help.hidden ? canvas : help).focus({ preventScroll: true });
  }

  async fillScreen() {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await this.parts.stage.requestFullscreen();
  }

  /** Save what is seen. */
  async save() {
    const photo = await this.picture.photo();
    if (!photo) return;
    const address = URL.createObjectURL(photo);
    make("a", { href: address, download: SAVED_AS }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000); // the browser has it by then
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
    "aria-label": "The volume. Sliders and keys move through it; the question mark lists the keys.",
    "aria-describedby": "viewer-place",
  });
  const bar = make("div");
  const labels = make("div", { hidden: true });
  const help = makeHelp(
    "Planes are planes of the volume's voxels. The picture in 3D has fewer voxels, and is made at once for volumes of up to " +
      "16.8 million; for a larger one, such as a CT, press 3D.",
  );
  const told = make("p", { class: "place", id: "viewer-place" }, "Loading the viewer…");
  const levels = make("p", { class: "levels" });
  const panel = make("div", { class: "controls" });
  const screen = make("div", { class: "screen" }, canvas, help);
  const stage = make("div", { class: "stage" }, bar, screen, make("div", { class: "foot" }, told, levels));
  const element = make("div", { class: "viewer", "data-state": "loading" }, stage, labels, panel);
  return { element, canvas, bar, labels, help, stage, told, levels, panel };
}

/** @param {() => void} onclick */
function makeAgain(onclick) {
  return make("button", { type: "button", id: "again", onclick }, "Try again");
}

/** @param {Parts} parts @param {unknown} error @param {false | (() => void)} again tries it again, where that may help */
function showFailure({ element, stage, panel }, error, again) {
  element.dataset.state = "failed";
  stage.hidden = true;
  fill(
    panel,
    make("p", { class: "fault" }, `The volumes cannot be shown here: ${saidBy(error)} They are in the download.`),
    again && makeAgain(again),
  );
}
