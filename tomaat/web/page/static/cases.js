/** The cases among many files: each volume, and each DICOM study, becomes a ticket of its own. */

import { extensionOf, lookThrough } from "./files.js";

export const MOST_CASES = 200; // that the page sends at once; the command line sends any number

/** @typedef {import("./files.js").Series} Series */

/**
 * @typedef {object} Case one file, or one series
 * @property {string} label tells it from the others: its path below the folder that was chosen
 * @property {string} about
 * @property {File} [single]
 * @property {Series} [series]
 */

/**
 * The volumes and the studies among files. Of a study the largest series counts.
 * @param {File[]} files
 * @param {string[]} extensions of volumes
 * @param {boolean} takesDicom
 * @returns {Promise<{cases: Case[], series: Series[], leftOut: string[], doubtful: string[]}>}
 */
export async function casesIn(files, extensions, takesDicom) {
  const isVolume = (/** @type {File} */ file) => !file.name.startsWith(".") && extensionOf(file.name, extensions);
  const others = files.filter((file) => !isVolume(file));
  const found = takesDicom ? await lookThrough(others) : { series: [], leftOut: [], doubtful: [] };
  const volumes = files.filter(isVolume).map((single) => ({ label: pathOf(single).join("/"), about: "", single }));
  const cases = [...volumes, ...studies(found.series)];
  cases.sort((one, other) => one.label.localeCompare(other.label, "en", { numeric: true }));
  if (found.series.length) return { cases, ...found };
  const names = others.filter(({ name }) => !name.startsWith(".")).map((file) => pathOf(file).join("/"));
  return { cases, series: [], leftOut: names, doubtful: [] }; // without DICOM no file is an image that is broken
}

/** A case of each study. @param {Series[]} found the largest first @returns {Case[]} */
function studies(found) {
  /** @type {Map<string, Series[]>} */
  const byStudy = new Map();
  for (const series of found) byStudy.set(series.study, [...(byStudy.get(series.study) ?? []), series]);
  return [...byStudy.values()].map((all) => {
    const [largest] = all;
    const about = all.length > 1 ? `${largest.about}, the largest of ${all.length} series` : largest.about;
    return { label: folderOf(all.flatMap(({ images }) => images)) || largest.about, about, series: largest };
  });
}

/** The folder in which all of some files lie, below the one that was chosen. @param {File[]} files */
function folderOf([first, ...others]) {
  let shared = pathOf(first).slice(0, -1);
  for (const other of others) {
    const path = pathOf(other);
    const end = shared.findIndex((part, place) => part !== path[place]);
    if (end >= 0) shared = shared.slice(0, end);
  }
  return shared.join("/");
}

/** A file's path below the folder that was chosen. @param {File} file */
function pathOf(file) {
  const parts = (file.webkitRelativePath || file.name).split("/");
  return parts.length > 1 ? parts.slice(1) : parts;
}
