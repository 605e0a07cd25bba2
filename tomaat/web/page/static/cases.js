/** The cases among many files: each volume, and each DICOM study, becomes a ticket of its own. */

import { extensionOf, lookThrough } from "./files.js";

export const MOST_CASES = 200; // that the page sends at once; the command line sends any number

/** @typedef {import("./files.js").Series} Series */
/** @typedef {(file: File) => string[]} PathOf gives a file's path, part by part */

/**
 * @typedef {object} Case one file, or one series
 * @property {string} label tells it from the others: its path below the folder that all lie in
 * @property {boolean} wanted whether it is sent
 * @property {File} [single]
 * @property {Series} [series] of the study the one that is sent
 * @property {Series[]} choices all of its study, the largest first
 */

/**
 * The volumes and the studies among files. Of a study the largest series is sent, unless somebody chooses another one.
 * @param {File[]} files
 * @param {string[]} extensions of volumes
 * @param {boolean} takesDicom
 * @returns {Promise<{cases: Case[], series: Series[], leftOut: string[], doubtful: string[]}>}
 */
export async function casesIn(files, extensions, takesDicom) {
  const pathOf = pathsOf(files);
  const isVolume = (/** @type {File} */ file) => !file.name.startsWith(".") && extensionOf(file.name, extensions);
  const others = files.filter((file) => !isVolume(file));
  const found = takesDicom ? await lookThrough(others) : { series: [], leftOut: [], doubtful: [] };
  const volumes = files
    .filter(isVolume)
    .map((single) => ({ label: pathOf(single).join("/"), wanted: true, single, choices: [] }));
  const cases = [...volumes, ...studies(found.series, pathOf)];
  tellApart(cases);
  cases.sort((one, other) => one.label.localeCompare(other.label, "en", { numeric: true }));
  if (found.series.length) return { cases, ...found };
  const names = others.filter(({ name }) => !name.startsWith(".")).map((file) => pathOf(file).join("/"));
  return { cases, series: [], leftOut: names, doubtful: [] }; // without DICOM no file is an image that is broken
}

/** A case of each study; series that do not name theirs are of one where they lie in one folder. @param {Series[]} found the largest first @param {PathOf} pathOf @returns {Case[]} */
function studies(found, pathOf) {
  const byStudy = grouped(found, ({ study, images }) => study || folderOf(images, pathOf));
  return byStudy.map((choices) => {
    const [series] = choices;
    const folder = folderOf(
      choices.flatMap(({ images }) => images),
      pathOf,
    );
    return { label: folder || series.about, wanted: true, series, choices };
  });
}

/** Tell cases of one label apart: by the dates of their studies, and by numbers where these are the same. @param {Case[]} cases */
function tellApart(cases) {
  for (const alike of labelledAlike(cases)) {
    for (const each of alike) if (each.series?.date) each.label += ` ${each.series.date}`;
  }
  for (const alike of labelledAlike(cases)) alike.forEach((each, place) => (each.label += ` (${place + 1})`));
}

/** @param {Case[]} cases */
function labelledAlike(cases) {
  return grouped(cases, ({ label }) => label).filter((alike) => alike.length > 1);
}

/** @template T @param {T[]} things @param {(thing: T) => string} keyOf @returns {T[][]} */
function grouped(things, keyOf) {
  /** @type {Map<string, T[]>} */
  const groups = new Map();
  for (const thing of things) groups.set(keyOf(thing), [...(groups.get(keyOf(thing)) ?? []), thing]);
  return [...groups.values()];
}

/** The folder in which all of some files lie. @param {File[]} files @param {PathOf} pathOf */
function folderOf([first, ...others], pathOf) {
  let shared = pathOf(first).slice(0, -1);
  for (const other of others) {
    const path = pathOf(other);
    const end = shared.findIndex((part, place) => part !== path[place]);
    if (end >= 0) shared = shared.slice(0, end);
  }
  return shared.join("/");
}

/** The paths of files, below the folder that was chosen or dropped if that is one folder. @param {File[]} files @returns {PathOf} */
function pathsOf(files) {
  const whole = (/** @type {File} */ file) => (file.webkitRelativePath || file.name).split("/");
  const [root] = whole(files[0]);
  const inOne = files.every((file) => whole(file).length > 1 && whole(file)[0] === root);
  return inOne ? (file) => whole(file).slice(1) : whole;
}
