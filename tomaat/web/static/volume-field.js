/** A field for a volume: a file, or a folder of DICOM images, dropped or chosen. */

import { seriesOf } from "./dicom.js";
import { fill, make } from "./dom.js";
import { counted, inBytes } from "./words.js";

const MOST_FILES = 20_000; // that are looked through; a server takes far fewer images

/** @typedef {{about: string, images: File[]}} Series */

/**
 * @param {import("./api.js").Input} input
 * @returns {import("./fields.js").Control}
 */
export function volumeField(input) {
  const extensions = input.extensions ?? [];
  const takesDicom = extensions.includes(".zip");
  /** What is sent. @type {File[]} */
  let chosen = [];
  let isSeries = false;
  let fault = "";
  let taken = 0; // how often something was chosen: a look through a folder that was given up changes nothing

  const told = make("p", { class: "chosen" });
  const remove = make("button", { type: "button", class: "quiet", onclick: () => take([]) }, "Remove");
  const choosing = make("div", { class: "choosing" }, ...picker(`input-${input.id}`, "Choose a file", { multiple: takesDicom }));
  if (takesDicom) choosing.append(...picker(`folder-${input.id}`, "Choose a DICOM folder", { webkitdirectory: true }));
  const which = make("div", { class: "which" });
  const zone = make("div", { class: "drop" }, choosing, told, remove, which);
  void take([]);

  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const files = await dropped(event.dataTransfer);
    if (files.length) await take(files);
  });

  return {
    element: zone,
    target: /** @type {HTMLElement} */ (choosing.firstElementChild),
    read() {
      if (fault) return { fault };
      if (!chosen.length) return input.required ? { fault: "A file is needed." } : {};
      if (isSeries) {
        const digits = String(chosen.length).length; // names in the order of the images, for what the server says of them
        const name = (/** @type {number} */ place) => `file-${input.id}/${String(place + 1).padStart(digits, "0")}.dcm`;
        return { members: chosen.map((data, place) => ({ name: name(place), data })) };
      }
      const [file] = chosen;
      const extension = extensionOf(file.name, extensions);
      if (!extension) return { fault: `${file.name}: the name must end in ${extensions.join(", ")}.` };
      const name = `file-${input.id}${extension}`;
      return { members: [{ name, data: file }], volume: extension === ".zip" ? undefined : file };
    },
  };

  /** @param {string} id @param {string} text @param {Record<string, boolean>} kind */
  function picker(id, text, kind) {
    const box = make("input", { type: "file", class: "unseen", id, ...kind });
    box.addEventListener("change", () => {
      const files = [...(box.files ?? [])];
      box.value = ""; // so that the same file can be chosen again
      if (files.length) void take(files);
    });
    return [box, make("label", { class: "button", for: id }, text)];
  }

  /** @param {File[]} files */
  async function take(files) {
    taken += 1;
    const mine = taken;
    const visible = files.filter((file) => !file.name.startsWith(".")); // no .DS_Store
    fill(which);
    isSeries = takesDicom && (visible.length > 1 || (visible.length === 1 && !extensionOf(visible[0].name, extensions)));
    if (isSeries) {
      show([], "", `Looking through ${counted(visible.length, "file")}…`);
      const found = await seriesIn(visible.slice(0, MOST_FILES));
      if (mine === taken) showSeries(found, visible.length);
    } else if (visible.length > 1) {
      show([], `One file is needed, not ${visible.length}.`, "");
    } else {
      show(visible, "", "");
    }
  }

  /** Offer the series that were found, the one with the most images first. @param {Series[]} found @param {number} files */
  function showSeries(found, files) {
    if (!found.length) {
      const ends = extensions.join(", ");
      show([], files === 1 ? `This is no DICOM image, and its name does not end in ${ends}.` : `None of these ${files} files is a DICOM image.`, "");
      return;
    }
    show(found[0].images, "", "");
    if (found.length === 1) {
      fill(which, make("p", { class: "hint" }, found[0].about));
      return;
    }
    const id = `series-${input.id}`;
    const choice = make("select", { id }, ...found.map((series, place) => make("option", { value: place }, `${series.about}, ${counted(series.images.length, "image")}`)));
    choice.addEventListener("change", () => show(found[Number(choice.value)].images, "", ""));
    fill(which, make("label", { for: id }, `${found.length} series are in it; the one to send:`), choice);
  }

  /** @param {File[]} files @param {string} wrong @param {string} text */
  function show(files, wrong, text) {
    chosen = files;
    fault = wrong;
    const bytes = files.reduce((sum, file) => sum + file.size, 0);
    const what = isSeries ? counted(files.length, "image") : files[0]?.name;
    const empty = takesDicom ? "or drop a file or a folder here" : "or drop a file here";
    told.textContent = files.length ? `${what}, ${inBytes(bytes)}` : text || wrong || empty;
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

/** The DICOM images among files, by their series, the largest first. @param {File[]} files @returns {Promise<Series[]>} */
async function seriesIn(files) {
  /** @type {Map<string, Series>} */
  const found = new Map();
  const path = (/** @type {File} */ file) => file.webkitRelativePath || file.name;
  for (const file of [...files].sort((one, other) => path(one).localeCompare(path(other), "en", { numeric: true }))) {
    const { uid, about } = (await seriesOf(file)) ?? {};
    if (uid === undefined) continue;
    const series = found.get(uid) ?? { about: about || "A series without a name", images: [] };
    series.images.push(file);
    found.set(uid, series);
  }
  return [...found.values()].sort((one, other) => other.images.length - one.images.length);
}

/**
 * The files that were dropped, those in folders too.
 * @param {DataTransfer | null} transfer
 */
async function dropped(transfer) {
  const entries = [...(transfer?.items ?? [])].map((item) => item.webkitGetAsEntry?.());
  if (!entries.some((entry) => entry?.isDirectory)) return [...(transfer?.files ?? [])];
  /** @type {File[]} */
  const files = [];
  const open = [...entries];
  while (open.length && files.length <= MOST_FILES) {
    const entry = open.pop();
    if (entry?.isFile) files.push(await fileOf(/** @type {FileSystemFileEntry} */ (entry)));
    else if (entry) open.push(...(await within(/** @type {FileSystemDirectoryEntry} */ (entry))));
  }
  return files;
}

/** @param {FileSystemFileEntry} entry @returns {Promise<File>} */
function fileOf(entry) {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

/** A folder's entries, which come in portions. @param {FileSystemDirectoryEntry} folder */
async function within(folder) {
  const reader = folder.createReader();
  /** @type {FileSystemEntry[]} */
  const entries = [];
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const portion = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!portion.length) return entries;
    entries.push(...portion);
  }
}
