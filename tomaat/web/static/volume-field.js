/** A field for a volume: a file, or a folder of DICOM images, dropped or chosen. */

import { fill, make } from "./dom.js";
import { dropped, MOST_FILES, picker, seriesIn, shownFile, shownSeries, shownZip, unreadable } from "./files.js";
import { counted, inBytes } from "./words.js";

/**
 * @param {import("./shapes.d.ts").Input} input
 * @returns {import("./fields.js").Control}
 */
export function volumeField(input) {
  const extensions = input.extensions ?? [];
  const takesDicom = extensions.includes(".zip");
  /** What is sent: a series, or one file. @type {import("./files.js").Series | null} */
  let series = null;
  /** @type {File | null} */
  let single = null;
  let fault = "";
  let taken = 0; // how often something was chosen: a look through a folder that was given up changes nothing

  const told = make("p", { class: "chosen", role: "status" });
  const remove = make("button", { type: "button", class: "quiet", onclick: removeAll }, "Remove");
  const choosing = make(
    "div",
    { class: "choosing" },
    ...picker(`input-${input.id}`, "Choose a file", { multiple: takesDicom }, take),
  );
  if (takesDicom) {
    choosing.append(...picker(`folder-${input.id}`, "Choose a DICOM folder", { webkitdirectory: true }, take));
  }
  const which = make("div", { class: "which" });
  const target = /** @type {HTMLElement} */ (choosing.firstElementChild);
  const zone = make("div", { class: "drop" }, choosing, told, remove, which);
  show(null, null);

  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    try {
      const files = await dropped(event.dataTransfer);
      if (files.length) await take(files);
    } catch (error) {
      await take([]);
      show(null, null, unreadable(error));
    }
  });

  return {
    element: zone,
    target,
    read() {
      if (fault) {
        told.textContent = ""; // it is told below the field from now on
        return { fault };
      }
      if (series) {
        const { images } = series;
        const digits = String(images.length).length; // names in the order of the images, for what the server says of them
        const name = (/** @type {number} */ place) => `file-${input.id}/${String(place + 1).padStart(digits, "0")}.dcm`;
        return {
          members: images.map((data, place) => ({ name: name(place), data })),
          volume: shownSeries(series),
          isDicom: true,
        };
      }
      if (!single) return input.required ? { fault: "A file is needed." } : {};
      const extension = extensionOf(single.name, extensions);
      if (!extension) return { fault: `${single.name}: the name must end in ${extensions.join(", ")}.` };
      const isDicom = extension === ".zip";
      return {
        members: [{ name: `file-${input.id}${extension}`, data: single }],
        volume: isDicom ? shownZip(single) : shownFile(single),
        isDicom,
      };
    },
    fill(/** @type {{file: File, about: string}} */ { file, about }) {
      void take([file]);
      fill(which, make("p", { class: "hint" }, about));
    },
  };

  function removeAll() {
    void take([]);
    target.focus(); // the button is gone
  }

  /** @param {File[]} files */
  async function take(files) {
    taken += 1;
    const mine = taken;
    const visible = files.filter((file) => !file.name.startsWith(".")); // no .DS_Store
    fill(which);
    if (takesDicom && files.length > MOST_FILES) {
      show(null, null, `More than ${counted(MOST_FILES, "file")}: choose the folder of one series.`);
    } else if (
      takesDicom &&
      (visible.length > 1 || (visible.length === 1 && !extensionOf(visible[0].name, extensions)))
    ) {
      show(null, null, "", `Looking through ${counted(visible.length, "file")}…`);
      try {
        const found = await seriesIn(visible);
        if (mine === taken) showSeries(found, visible);
      } catch (error) {
        if (mine === taken) show(null, null, unreadable(error));
      }
    } else if (visible.length > 1) {
      show(null, null, `One file is needed, not ${visible.length}.`);
    } else {
      show(null, visible[0] ?? null);
    }
  }

  /** Offer the series that were found, the one with the most images first. @param {import("./files.js").Series[]} found @param {File[]} files */
  function showSeries(found, files) {
    if (!found.length) {
      const ends = extensions.join(", ");
      show(
        null,
        null,
        files.length === 1
          ? `${files[0].name} is no DICOM image, and does not end in ${ends}.`
          : `None of these ${counted(files.length, "file")} is a DICOM image.`,
      );
      return;
    }
    show(found[0], null);
    if (found.length === 1) {
      fill(which, make("p", { class: "hint" }, found[0].about));
      return;
    }
    const id = `series-${input.id}`;
    const choice = make(
      "select",
      { id },
      ...found.map(({ about, images }, place) =>
        make("option", { value: place }, `${about}, ${counted(images.length, "image")}`),
      ),
    );
    choice.addEventListener("change", () => show(found[Number(choice.value)], null));
    fill(which, make("label", { for: id }, `${found.length} series are in it; the one to send:`), choice);
  }

  /**
   * @param {import("./files.js").Series | null} chosenSeries
   * @param {File | null} chosenFile
   * @param {string} [wrong]
   * @param {string} [text] what is told meanwhile
   */
  function show(chosenSeries, chosenFile, wrong = "", text = "") {
    series = chosenSeries;
    single = chosenFile;
    fault = wrong || text; // what is still looked through cannot be sent
    const files = series?.images ?? (single ? [single] : []);
    const bytes = files.reduce((sum, file) => sum + file.size, 0);
    const what = series ? counted(files.length, "image") : single?.name;
    const empty = takesDicom ? "or drop a file or a folder here" : "or drop a file here";
    told.textContent = files.length ? `${what}, ${inBytes(bytes)}` : text || wrong || empty;
    told.classList.toggle("wrong", Boolean(wrong));
    remove.hidden = !files.length && !wrong;
    zone.classList.toggle("filled", files.length > 0);
    zone.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

/**
 * The longest of the ends that a name has, in lower case as the server wants it.
 * @param {string} name
 * @param {string[]} extensions
 */
export function extensionOf(name, extensions) {
  return extensions
    .filter((extension) => name.toLowerCase().endsWith(extension))
    .sort((one, other) => other.length - one.length)[0];
}
