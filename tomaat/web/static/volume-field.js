/** A field for a volume: a file, or a folder of DICOM images, dropped or chosen. */

import { make } from "./dom.js";
import { counted, inBytes } from "./words.js";

const MOST_IMAGES = 20_000; // of a folder, which a server may refuse far earlier

/**
 * @param {import("./api.js").Input} input
 * @returns {import("./fields.js").Control}
 */
export function volumeField(input) {
  const extensions = input.extensions ?? [];
  const takesFolders = extensions.includes(".zip");
  /** @type {File[]} */
  let chosen = [];
  let isFolder = false;

  const told = make("p", { class: "chosen" });
  const remove = make("button", { type: "button", class: "quiet", onclick: () => take([], false) }, "Remove");
  const picker = make("input", { type: "file", class: "unseen" });
  const choosing = make("div", { class: "choosing" }, picker, make("label", { class: "button", for: `input-${input.id}` }, "Choose a file"));
  const zone = make("div", { class: "drop" }, choosing, told, remove);
  if (takesFolders) {
    const id = `folder-${input.id}`;
    const folderPicker = make("input", { type: "file", webkitdirectory: true, class: "unseen", id });
    folderPicker.addEventListener("change", () => {
      const files = [...(folderPicker.files ?? [])];
      folderPicker.value = "";
      if (files.length) take(files.filter(isVisible), true);
    });
    choosing.append(folderPicker, make("label", { class: "button", for: id }, "Choose a DICOM folder"));
  }

  /** @param {File[]} files @param {boolean} folder */
  function take(files, folder) {
    chosen = files;
    isFolder = folder;
    const bytes = files.reduce((sum, file) => sum + file.size, 0);
    const what = folder ? counted(files.length, "file") : files[0]?.name;
    told.textContent = files.length ? `${what}, ${inBytes(bytes)}` : takesFolders ? "or drop a file or a folder here" : "or drop a file here";
    remove.hidden = !files.length;
    zone.classList.toggle("filled", files.length > 0);
    zone.dispatchEvent(new Event("input", { bubbles: true }));
  }
  take([], false);

  picker.addEventListener("change", () => {
    const files = [...(picker.files ?? [])];
    picker.value = ""; // so that the same file can be chosen again
    if (files.length) take(files, false);
  });
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const { files, folder } = await dropped(event.dataTransfer);
    if (files.length) take(files, folder);
  });

  return {
    element: zone,
    target: picker,
    read() {
      if (!chosen.length) return input.required ? { fault: "A file is needed." } : {};
      if (isFolder || chosen.length > 1) {
        if (!takesFolders) return { fault: `One file is needed, not ${chosen.length}.` };
        if (chosen.length > MOST_IMAGES) return { fault: `${chosen.length} files are more than ${MOST_IMAGES}.` };
        return { members: chosen.map((data, place) => ({ name: `file-${input.id}/${place + 1}.dcm`, data })) };
      }
      const [file] = chosen;
      const extension = extensionOf(file.name, extensions);
      if (!extension) return { fault: `${file.name}: the name must end in ${extensions.join(", ")}.` };
      const name = `file-${input.id}${extension}`;
      return { members: [{ name, data: file }], volume: extension === ".zip" ? undefined : file };
    },
  };
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

/**
 * The files that were dropped, those in folders too.
 * @param {DataTransfer | null} transfer
 */
async function dropped(transfer) {
  const entries = [...(transfer?.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry !== null && entry !== undefined);
  const folder = entries.some((entry) => entry.isDirectory);
  if (!folder) return { files: [...(transfer?.files ?? [])], folder };
  /** @type {File[]} */
  const files = [];
  const open = [...entries];
  while (open.length && files.length <= MOST_IMAGES) {
    const entry = open.pop();
    if (entry?.isFile) files.push(await fileOf(/** @type {FileSystemFileEntry} */ (entry)));
    else if (entry) open.push(...(await within(/** @type {FileSystemDirectoryEntry} */ (entry))));
  }
  return { files: files.filter(isVisible), folder };
}

/** Whether a file is none that a system hides in each folder, such as .DS_Store. @param {File} file */
function isVisible(file) {
  return !file.name.startsWith(".");
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
