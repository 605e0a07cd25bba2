/** Files that were chosen or dropped: folders, DICOM series, and the volumes that are shown of them. */

import { HEAD_BYTES, isClutter, sortOut } from "./beside-images.js";
import { headOf } from "./dicom.js";
import { volumeOf } from "./dicom-volume.js";
import { make } from "./dom.js";
import { saidBy } from "./words.js";
import { unzip } from "./zip.js";

export const MOST_FILES = 20_000; // in which a series is looked for; a server takes far fewer images

/**
 * @typedef {{about: string, study: string, date: string, images: File[]}} Series
 * @typedef {{name: string, label?: string, open: () => Promise<File>}} Shown a volume that can be looked at, with its case's label; `open` throws the reason why not
 */

/** A series to look at. @param {Series} series @returns {Shown} */
export function shownSeries({ about, images }) {
  return { name: about, open: () => volumeOf(images) };
}

/** A zip archive of one series to look at. @param {File} archive @returns {Shown} */
export function shownZip(archive) {
  return { name: archive.name, open: async () => openSeries(await unzip(archive)) };
}

/** @param {File[]} files */
async function openSeries(files) {
  const [largest] = await seriesIn(files);
  if (!largest) throw new Error("There is no DICOM image in it.");
  return volumeOf(largest.images);
}

/** Say that a file or a folder cannot be read. @param {unknown} error */
export function unreadable(error) {
  return `A file cannot be read: ${saidBy(error)}`;
}

/** A file to look at. @param {File} file @returns {Shown} */
export function shownFile(file) {
  return { name: file.name, open: async () => file };
}

/**
 * A button that lets files be chosen, the same ones again too: a box for its label to name, and the label.
 * @param {string} id
 * @param {string} text
 * @param {Record<string, boolean>} kind
 * @param {(files: File[]) => void} onFiles
 */
export function picker(id, text, kind, onFiles) {
  const box = make("input", { type: "file", class: "unseen", id, ...kind });
  box.addEventListener("change", () => {
    const files = [...(box.files ?? [])];
    box.value = "";
    if (files.length) onFiles(files);
  });
  return [box, make("label", { class: "button", for: id }, text)];
}

/** The series among files: `lookThrough`, for what was sent already. @param {File[]} files */
export async function seriesIn(files) {
  return (await lookThrough(files)).series;
}

/**
 * The DICOM images among files, by their series, the largest first; the names of the files that are no images; and the
 * names of those that may be images that are broken. Images that do not name their series in a way that is read here are
 * taken for one series if they lie in one folder. The index of an export (PS3.10, section 8) is no image.
 * @param {File[]} files
 */
export async function lookThrough(files) {
  /** @type {Map<string, Series>} */
  const found = new Map();
  /** @type {import("./beside-images.js").Named[]} */
  const heads = [];
  /** @type {string[]} */
  const cut = [];
  const path = (/** @type {File} */ file) => file.webkitRelativePath || file.name;
  for (const file of [...files].sort((one, other) => path(one).localeCompare(path(other), "en", { numeric: true }))) {
    if (isClutter(path(file))) continue;
    heads.push({ name: path(file), head: new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer()) });
    const head = await headOf(file);
    if (!head) continue;
    if (head.cut && !head.uid) {
      cut.push(path(file));
      continue;
    }
    const which = head.uid || path(file).replace(/[^/]*$/, "");
    const series = found.get(which) ?? {
      about: head.about || "A series without a name",
      study: head.study,
      date: head.date,
      images: [],
    };
    series.images.push(file);
    found.set(which, series);
  }
  const series = [...found.values()].sort((one, other) => other.images.length - one.images.length);
  const { leftOut, doubtful } = sortOut(heads);
  return { series, leftOut, doubtful: [...doubtful, ...cut] };
}

/**
 * The files that were dropped, those in folders too.
 * @param {DataTransfer | null} transfer
 */
export async function dropped(transfer) {
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

/** A file that knows its path, as those of a chosen folder do. @param {FileSystemFileEntry} entry @returns {Promise<File>} */
async function fileOf(entry) {
  const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
  return Object.defineProperty(file, "webkitRelativePath", { value: entry.fullPath.slice(1) });
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
