/** A field for a volume: a file, or a folder of DICOM images, dropped or chosen; or many, for a ticket each. */

import { makeCaseList } from "./case-list.js";
import { casesIn, MOST_CASES } from "./cases.js";
import { fill, make } from "./dom.js";
import { dropped, extensionOf, MOST_FILES, picker, shownFile, shownSeries, shownZip, unreadable } from "./files.js";
import { twoPlaces } from "./nifti-places.js";
import { counted, inBytes, inDigits } from "./words.js";

/** @typedef {import("./files.js").Series} Series */
/** @typedef {import("./cases.js").Case} Case */

const MOST_DOUBTFUL = 5; // files that a fault names
const MOST_LEFT_OUT = 500; // that are named

/** The control of an input of the type `volume`. */
export class VolumeField {
  /** @param {import("./shapes.d.ts").Input} input @param {boolean} takesMany whether several volumes become a ticket each */
  constructor(input, takesMany) {
    this.input = input;
    this.takesMany = takesMany;
    this.extensions = input.extensions ?? [];
    this.takesDicom = this.extensions.includes(".zip");
    /** The content: a series, or one file. @type {Series | null} */
    this.series = null;
    /** @type {File | null} */
    this.single = null;
    /** The choice between a NIfTI's two places, where it names two. @type {HTMLSelectElement | null} */
    this.form = null;
    /** Or the cases of a cohort. @type {Case[]} */
    this.cases = [];
    this.fault = "";
    this.taken = 0; // how often something was chosen: a look through a folder that was given up changes nothing

    const take = (/** @type {File[]} */ files) => this.take(files);
    const file = picker(`input-${input.id}`, "Choose a file", { multiple: this.takesDicom || takesMany }, take);
    const folder = picker(
      `folder-${input.id}`,
      this.takesDicom ? "Choose a DICOM folder" : "Choose a folder",
      { webkitdirectory: true },
      take,
    );
    const choosing = make("div", { class: "choosing" }, ...file, ...(this.takesDicom || takesMany ? folder : []));
    this.target = file[0];
    this.told = make("p", { class: "chosen", role: "status" });
    this.remove = make("button", { type: "button", class: "quiet", onclick: () => this.removeAll() }, "Remove");
    this.which = make("div", { class: "which" });
    this.number = make("input", { id: `volume-${input.id}`, type: "number", min: "1", step: "1" });
    const numbered = "Its volume, by number, where a refusal lists several:";
    this.numbered = make("div", { class: "which" }, make("label", { for: this.number.id }, numbered), this.number);
    this.element = make("div", { class: "drop" }, choosing, this.told, this.remove, this.which, this.numbered);
    this.show(null, null);
    acceptDrops(this.element, (transfer) => this.takeDropped(transfer));
  }

  /** @returns {import("./fields.js").Read} */
  read() {
    const { input, cases, fault } = this;
    if (fault) {
      this.told.textContent = ""; // it is told below the field from now on
      return { fault };
    }
    if (cases.length) {
      const read = wantedOf(cases).map((each) => ({ of: each, read: this.readOne(each) }));
      if (!read.length) return { fault: "Choose at least one of the volumes." };
      return { cases: read, isDicom: read.every(({ read: { isDicom } }) => isDicom) };
    }
    const { series, single } = this;
    if (!series && !single) return input.required ? { fault: "A file is needed." } : {};
    const read = this.readOne({ series: series ?? undefined, single: single ?? undefined });
    if (read.isDicom) return { ...read, ...this.chosen() };
    return this.form?.value ? { ...read, value: { form: this.form.value } } : read;
  }

  /** @param {Pick<Case, "series" | "single">} content @returns {import("./fields.js").Read} */
  readOne({ series, single }) {
    const { input, extensions } = this;
    if (series) {
      const { images } = series;
      const digits = String(images.length).length; // names in the order of the images, which the server repeats
      const name = (/** @type {number} */ place) => `file-${input.id}/${String(place + 1).padStart(digits, "0")}.dcm`;
      const members = images.map((data, place) => ({ name: name(place), data }));
      return { members, volume: shownSeries(series), isDicom: true };
    }
    if (!single) return {};
    const extension = extensionOf(single.name, extensions);
    if (!extension) return { fault: `${single.name}: the name must end in ${extensions.join(", ")}.` };
    const isDicom = extension === ".zip";
    return {
      members: [{ name: `file-${input.id}${extension}`, data: single }],
      volume: isDicom ? shownZip(single) : shownFile(single),
      isDicom,
    };
  }

  /** The name of the file, or of the folder that the images lie in. */
  name() {
    if (this.cases.length) return ""; // each has a name of its own
    const file = this.single ?? this.series?.images[0];
    return file?.webkitRelativePath.split("/")[0] || file?.name || "";
  }

  /** Which volume of the series is meant, where somebody said it. @returns {{value?: {volume: number}, fault?: string}} */
  chosen() {
    if (!this.number.validity.valid) return { fault: "The volume's number is a whole number from 1." };
    return this.number.value ? { value: { volume: this.number.valueAsNumber } } : {};
  }

  /** Choose the file of an example. @param {{file: File, about: string}} given */
  fill({ file, about }) {
    void this.take([file]);
    fill(this.which, make("p", { class: "hint" }, about));
  }

  removeAll() {
    void this.take([]);
    this.target.focus(); // the button is gone
  }

  /** Take what was dropped, unless something else is chosen while its folders are looked through. @param {DataTransfer | null} transfer */
  async takeDropped(transfer) {
    this.taken += 1;
    const mine = this.taken;
    try {
      const files = await dropped(transfer);
      if (files.length && mine === this.taken) await this.take(files);
    } catch (error) {
      if (mine !== this.taken) return;
      await this.take([]);
      this.show(null, null, unreadable(error));
    }
  }

  /** @param {File[]} files */
  async take(files) {
    this.taken += 1;
    const mine = this.taken;
    const visible = files.filter((file) => !file.name.startsWith(".")); // no .DS_Store
    fill(this.which);
    const severalTickets = this.takesMany && visible.length > 1;
    if ((this.takesDicom || severalTickets) && files.length > MOST_FILES) {
      this.show(null, null, `More than ${counted(MOST_FILES, "file")}: choose the folder of one series.`);
    } else if (severalTickets || (this.takesDicom && this.mayBeSeries(visible))) {
      this.show(null, null, "", `Looking through ${counted(files.length, "file")}…`);
      try {
        const found = await casesIn(files, this.takesMany ? this.extensions : [], this.takesDicom);
        if (mine !== this.taken) return;
        this.showFound(found, visible);
        if (this.single) await this.offerPlaces(this.single, mine);
      } catch (error) {
        if (mine === this.taken) this.show(null, null, unreadable(error));
      }
    } else if (visible.length > 1) {
      this.show(null, null, `One file is needed, not ${visible.length}.`);
    } else {
      this.show(null, visible[0] ?? null);
      if (visible.length) await this.offerPlaces(visible[0], mine);
    }
  }

  /** Let somebody choose where a NIfTI lies, if its header names two places. @param {File} file @param {number} mine */
  async offerPlaces(file, mine) {
    const places = await twoPlaces(file).catch(() => null); // the server says why it cannot be read
    if (!places || mine !== this.taken) return;
    const { counts, other, apartMm } = places;
    const id = `form-${this.input.id}`;
    this.form = make(
      "select",
      { id },
      make(
        "option",
        { value: "" },
        counts === "qform" ? "The qform, whose code is higher" : "The sform, as most programs choose",
      ),
      make("option", { value: other }, `The ${other}`),
    );
    const text = `Its header names two places, up to ${inDigits(apartMm, 3)} mm apart; the one that counts:`;
    this.which.append(make("label", { for: id }, text), this.form);
  }

  /** Whether files may be the images of a series: several, or one whose name has no end of a volume's. @param {File[]} files */
  mayBeSeries(files) {
    return files.length > 1 || (files.length === 1 && !extensionOf(files[0].name, this.extensions));
  }

  /**
   * Show the cases, where these are several; or the series, of which one is chosen; or one file.
   * @param {Awaited<ReturnType<typeof casesIn>>} found
   * @param {File[]} files
   */
  showFound({ cases, series, leftOut, doubtful }, files) {
    const [first, ...others] = cases;
    if (doubtful.length) this.refuseDoubtful(doubtful);
    else if (this.takesMany && others.length) this.showCases(cases, leftOut);
    else if (first?.single) this.showSingle(first.single, leftOut);
    else this.showSeries(series, files, leftOut);
  }

  /** @param {File} single @param {string[]} leftOut */
  showSingle(single, leftOut) {
    this.show(null, single);
    fill(this.which, leftOutOf(leftOut));
  }

  /** @param {Case[]} cases @param {string[]} leftOut */
  showCases(cases, leftOut) {
    if (cases.length > MOST_CASES) {
      this.show(
        null,
        null,
        `${counted(cases.length, "volume")} are in it; the page sends at most ${MOST_CASES} at once.`,
      );
      return;
    }
    this.show(null, null, "", "", cases);
    this.tellCases();
    const list = makeCaseList(cases, () => this.tellCases());
    fill(this.which, list, leftOutOf(leftOut));
  }

  tellCases() {
    const wanted = wantedOf(this.cases);
    const count = wanted.length < this.cases.length ? `${wanted.length} of ${this.cases.length}` : wanted.length;
    this.told.textContent = `${count} volumes, a ticket each, ${inBytes(bytesOf(wanted.flatMap(filesOf)))}`;
  }

  /** Refuse files of which some may be images that are broken. @param {string[]} names */
  refuseDoubtful(names) {
    const what = names.length === 1 ? "1 file may be a broken image" : `${names.length} files may be broken images`;
    const remedy = "Copy the series again from its source, or choose its folder without what is no image.";
    this.show(null, null, `${what} (empty, cut, or no DICOM): ${listed(names, MOST_DOUBTFUL)}. ${remedy}`);
  }

  /**
   * Offer the series that were found, the one with the most images first, and name the files that are left out.
   * @param {Series[]} found
   * @param {File[]} files
   * @param {string[]} leftOut
   */
  showSeries(found, files, leftOut) {
    if (!found.length) {
      const none =
        files.length === 1
          ? `${files[0].name} is no DICOM image, and does not end in ${this.extensions.join(", ")}.`
          : `None of these ${counted(files.length, "file")} is a DICOM image.`;
      this.show(null, null, none);
      return;
    }
    this.show(found[0], null);
    const others = leftOutOf(leftOut);
    if (found.length === 1) {
      fill(this.which, make("p", { class: "hint" }, found[0].about), others);
      return;
    }
    const id = `series-${this.input.id}`;
    const options = found.map(({ about, images }, place) =>
      make("option", { value: place }, `${about}, ${counted(images.length, "image")}`),
    );
    const choice = make("select", { id }, ...options);
    choice.addEventListener("change", () => this.show(found[Number(choice.value)], null));
    fill(this.which, make("label", { for: id }, `${found.length} series are in it; the one to send:`), choice, others);
  }

  /**
   * @param {Series | null} series
   * @param {File | null} single
   * @param {string} [wrong]
   * @param {string} [text] told meanwhile
   * @param {Case[]} [cases] of a cohort
   */
  show(series, single, wrong = "", text = "", cases = []) {
    this.series = series;
    this.single = single;
    this.form = null;
    this.cases = cases;
    this.fault = wrong || text; // files that are still looked through cannot be sent
    const files = [{ series, single }, ...cases].flatMap(filesOf);
    const what = series ? counted(files.length, "image") : single?.name;
    const empty = this.takesDicom ? "or drop a file or a folder here" : "or drop a file here";
    this.told.textContent = files.length ? `${what}, ${inBytes(bytesOf(files))}` : text || wrong || empty;
    this.told.classList.toggle("wrong", Boolean(wrong));
    this.remove.hidden = !files.length && !wrong;
    this.element.classList.toggle("filled", files.length > 0);
    this.numbered.hidden = !series && !(single && extensionOf(single.name, this.extensions) === ".zip");
    if (this.numbered.hidden) this.number.value = "";
    this.element.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

/** @param {Case[]} cases */
function wantedOf(cases) {
  return cases.filter(({ wanted }) => wanted);
}

/** @param {{series?: Series | null, single?: File | null}} content @returns {File[]} */
function filesOf({ series, single }) {
  return series?.images ?? (single ? [single] : []);
}

/** @param {File[]} files */
function bytesOf(files) {
  return files.reduce((sum, file) => sum + file.size, 0);
}

/** Name the files that are not sent. @param {string[]} names */
function leftOutOf(names) {
  if (!names.length) return null;
  const summary = make("summary", {}, `${counted(names.length, "file")}, no DICOM, left out`);
  return make("details", { class: "hint" }, summary, listed(names, MOST_LEFT_OUT));
}

/** Names in a sentence, the first `most` of them. @param {string[]} names @param {number} most */
function listed(names, most) {
  const more = names.length > most ? ` and ${names.length - most} more` : "";
  return `${names.slice(0, most).join(", ")}${more}`;
}

/**
 * Take what is dropped on an element.
 * @param {HTMLElement} zone
 * @param {(transfer: DataTransfer | null) => Promise<void>} onDrop
 */
function acceptDrops(zone, onDrop) {
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (!zone.closest("fieldset:disabled")) void onDrop(event.dataTransfer); // of a form that is being sent
  });
}
