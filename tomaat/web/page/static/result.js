/** A result, to be looked at: volumes, labels, values, arrays, files. */

import { Refused, result, Unreachable, volumeAsRead } from "./api.js";
import { announce, fill, make } from "./dom.js";
import { shownFile } from "./files.js";
import { makeArray, makeTextFile, makeValue } from "./outputs.js";
import { makeLegend } from "./legend.js";
import { OF_NETWORK, ownTexts } from "./own-texts.js";
import { sentWith } from "./store.js";
import { gunzip } from "./streams.js";
import { untar } from "./tar.js";
import { makeViewer } from "./viewer.js";
import { inBytes, inPlainWords, inSeconds, saidBy } from "./words.js";

const PICTURES = /** @type {Record<string, string>} */ ({
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gif: "image/gif",
  webp: "image/webp",
  svg: "image/svg+xml",
});
const TEXTS = ["txt", "csv", "tsv", "json", "md", "log"];

/** @typedef {import("./files.js").Shown} Shown */

/**
 * @typedef {object} Output a line of result.json
 * @property {string} name
 * @property {"volume" | "labels" | "array" | "file" | "text" | "json"} type
 * @property {string} [file]
 * @property {string} [nifti] the same labels for a viewer, beside a DICOM Segmentation
 * @property {any} [value]
 * @property {string} [preview]
 * @property {Label[]} [labels]
 *
 * @typedef {{value: number, name: string, voxels: number, ml: number, color: [number, number, number]}} Label
 *
 * @typedef {object} Manifest result.json
 * @property {string} service
 * @property {string} version
 * @property {string} [intended_use]
 * @property {string} [licence]
 * @property {string} [reference]
 * @property {string} [contact]
 * @property {string | null} weights_sha256
 * @property {Record<string, string>} inputs
 * @property {{detail: string}[]} [remarks] on how the inputs were read
 * @property {Output[]} outputs
 * @property {string} compute_source
 * @property {Record<string, number>} timings_seconds
 */

/**
 * Fetch a result and show it.
 * @param {import("./api.js").Reference} ticket
 * @param {import("./shapes.d.ts").Status} status
 * @param {AbortSignal} signal ends it when another view is shown
 * @param {{onDownload: (link: HTMLElement) => void, onGone: (why: string) => void}} hooks take the link that saves the
 * archive, or the reason why there is none any more
 */
export function makeResult(ticket, status, signal, hooks) {
  const told = make("p", {}, "Fetching the result…");
  const bar = make("progress", { max: 1, "aria-label": "Fetching the result" });
  const element = make("section", { class: "result", "aria-label": "Result" }, told, bar);
  void fetchAndShow();
  return element;

  async function fetchAndShow() {
    try {
      const archive = await result(ticket, showBytes, signal);
      hooks.onDownload(makeDownload(archive));
      const files = await untar(await gunzip(archive));
      signal.throwIfAborted(); // the links that are made from here on end with the view
      /** @type {Manifest} */
      const manifest = JSON.parse((await files.get("result.json")?.text()) ?? "");
      const shown = await makeOutputs(manifest, files, volumesSent(ticket, manifest, signal), linkTo, signal);
      fill(element, makeRemarks(manifest), ...shown, makeAbout(manifest));
      announce("The result is shown.");
    } catch (error) {
      if (!signal.aborted) showTrouble(error);
    }
  }

  /** An address for a blob, which ends with the view. @param {Blob} blob */
  function linkTo(blob) {
    signal.throwIfAborted();
    const address = URL.createObjectURL(blob);
    signal.addEventListener("abort", () => URL.revokeObjectURL(address));
    return address;
  }

  /** @param {Blob} archive */
  function makeDownload(archive) {
    const attributes = {
      class: "button main",
      href: linkTo(archive),
      download: `${status.service}-${status.id}.tar.gz`,
    };
    return make("a", attributes, `Download (${inBytes(archive.size)})`);
  }

  /** @param {number} bytes @param {number} allBytes 0 where a proxy does not tell */
  function showBytes(bytes, allBytes) {
    told.textContent = `Fetching the result: ${inBytes(bytes)}${allBytes ? ` of ${inBytes(allBytes)}` : ""}`;
    if (allBytes) bar.value = bytes / allBytes;
  }

  /** @param {unknown} error */
  function showTrouble(error) {
    if (error instanceof Refused && error.kind === "expired") {
      element.remove();
      hooks.onGone(error.message);
      return;
    }
    const known = error instanceof Refused || error instanceof Unreachable;
    const text = known ? inPlainWords(error.message) : `The result cannot be shown: ${saidBy(error)}`;
    const again = make(
      "button",
      { type: "button", onclick: () => element.replaceWith(makeResult(ticket, status, signal, hooks)) },
      "Try again",
    );
    fill(element, make("p", { class: "trouble", role: "alert" }, text), again);
  }
}

/**
 * The volumes that were sent, as the service read them. Where it does not keep them, or cannot be reached, those that the
 * page still has, which it reads by rules of its own.
 * @param {import("./api.js").Reference} ticket
 * @param {Manifest} manifest
 * @param {AbortSignal} signal
 * @returns {Shown[]}
 */
function volumesSent(ticket, { inputs = {} }, signal) {
  const kept = sentWith(ticket);
  const ids = Object.keys(inputs).flatMap((file) => /^file-([^.]+)/.exec(file)?.[1] ?? []);
  return ids.map((id) => {
    const here = kept.get(id);
    const open = async () => {
      try {
        return await volumeAsRead(ticket, id, signal);
      } catch (error) {
        if (!here || signal.aborted) throw error;
        return here.open();
      }
    };
    return { name: `Sent: ${here?.name ?? inWords(id)}`, open };
  });
}

/**
 * @param {Manifest} manifest
 * @param {Map<string, Blob>} files
 * @param {Shown[]} sent
 * @param {(blob: Blob) => string} linkTo
 * @param {AbortSignal} signal
 */
async function makeOutputs({ outputs }, files, sent, linkTo, signal) {
  const shown = [];
  const has = (/** @type {Output} */ output) => output.file !== undefined && files.has(output.file);
  const volumes = outputs.filter((output) => (output.type === "volume" || output.type === "labels") && has(output));
  if (volumes.length) shown.push(await attempt("The volumes", () => makeVolumes(volumes, files, sent, linkTo, signal)));
  const values = outputs.filter((output) => output.type === "json" || output.type === "text");
  if (values.length) {
    const lines = values.map(async ({ name, value }) => [
      make("dt", {}, inWords(name)),
      make("dd", {}, await attempt(inWords(name), () => makeValue(value))),
    ]);
    shown.push(section("Values", make("dl", { class: "values" }, ...(await Promise.all(lines)).flat())));
  }
  for (const output of outputs.filter((each) => each.type === "array" && has(each))) {
    const content = /** @type {Blob} */ (files.get(/** @type {string} */ (output.file)));
    shown.push(section(inWords(output.name), await attempt(inWords(output.name), () => makeArray(content))));
  }
  for (const output of outputs.filter((each) => each.type === "file" && has(each))) {
    const name = /** @type {string} */ (output.file);
    const content = await attempt(inWords(output.name), () =>
      makeFile(output, /** @type {Blob} */ (files.get(name)), linkTo),
    );
    if (content) shown.push(section(inWords(output.name), content));
  }
  const all = outputs.filter(has).flatMap(({ file = "", nifti = "" }) => (files.has(nifti) ? [file, nifti] : [file]));
  if (all.length) shown.push(section("Files", makeFiles(all, files, linkTo)));
  return shown;
}

/**
 * Show an output; where it cannot be shown, say why, and let the others be shown.
 * @template {Node | null} Made
 * @param {string} name
 * @param {() => Made | Promise<Made>} show
 * @returns {Promise<Made | HTMLElement>}
 */
async function attempt(name, show) {
  try {
    return await show();
  } catch (error) {
    return make("p", { class: "hint" }, `${name} cannot be shown here; see the download. ${saidBy(error)}`);
  }
}

/**
 * @param {Output[]} outputs
 * @param {Map<string, Blob>} files
 * @param {Shown[]} sent
 * @param {(blob: Blob) => string} linkTo
 * @param {AbortSignal} signal
 */
function makeVolumes(outputs, files, sent, linkTo, signal) {
  const named = outputs.map(({ name, labels, ...output }) => {
    const file = output.nifti && files.has(output.nifti) ? output.nifti : /** @type {string} */ (output.file);
    return { name: inWords(name), file: new File([/** @type {Blob} */ (files.get(file))], file), labels };
  });
  const overlays = named.filter(({ labels, file }) => labels && !isDicom(file));
  const made = named.filter(({ labels }) => !labels).map(({ name, file }) => ({ ...shownFile(file), name }));
  const viewer = overlays.length || made.length ? makeViewer(sent, made, overlays, signal) : null; // a volume without the labels that were found in it would mislead
  const legends = named.filter(({ file }) => isDicom(file)).map(({ name, labels = [] }) => makeLegend(name, labels));
  const unseen =
    named.some(({ file }) => isDicom(file)) &&
    make(
      "p",
      { class: "hint" },
      "DICOM Segmentations are not laid over a volume here; the picture shows both. Download it for a viewer of your own.",
    );
  const pictures = outputs.map(({ name, preview, labels = [] }) => {
    const picture = preview && files.get(preview);
    if (!picture) return null;
    const source = linkTo(new Blob([picture], { type: "image/png" }));
    const planes = labels.some(({ voxels }) => voxels > 0)
      ? "on three planes through its largest label"
      : "empty, on three planes through the middle";
    const about = `${inWords(name)}, ${planes}: axial and coronal, the patient's right on the left; sagittal, the face on the left.`;
    return make("figure", {}, make("img", { src: source, alt: about }), make("figcaption", {}, about));
  });
  return make(
    "section",
    { class: "volumes", "aria-label": "Volumes" },
    viewer,
    legends.length > 0 && make("div", { class: "beside-viewer" }, unseen, ...legends),
    ...pictures,
  );
}

/** Whether labels came back as a DICOM Segmentation. @param {File} file */
function isDicom(file) {
  return file.name.endsWith(".dcm");
}

/**
 * A file that can be looked at: a picture, or a text.
 * @param {Output} output
 * @param {Blob} content
 * @param {(blob: Blob) => string} linkTo
 */
async function makeFile(output, content, linkTo) {
  const extension = (output.file ?? "").split(".").pop()?.toLowerCase() ?? "";
  const type = PICTURES[extension];
  if (type) {
    return make("img", { class: "picture", src: linkTo(new Blob([content], { type })), alt: inWords(output.name) });
  }
  if (TEXTS.includes(extension)) return makeTextFile(content, extension);
  return null;
}

/** @param {string[]} names @param {Map<string, Blob>} files @param {(blob: Blob) => string} linkTo */
function makeFiles(names, files, linkTo) {
  const lines = names.map((name) => {
    const content = /** @type {Blob} */ (files.get(name));
    const link = make(
      "a",
      { href: linkTo(new Blob([content], { type: "application/octet-stream" })), download: name },
      name,
    );
    return make("li", {}, link, ` ${inBytes(content.size)}`);
  });
  return make("ul", { class: "files" }, ...lines);
}

/** What the server remarks on how it read the inputs. @param {Manifest} manifest */
function makeRemarks({ remarks = [] }) {
  const lines = remarks.map(({ detail }) => make("li", {}, detail));
  return lines.length > 0 && make("ul", { class: "remarks", "aria-label": "How the inputs were read" }, ...lines);
}

/** Where the result comes from. @param {Manifest} manifest */
function makeAbout(manifest) {
  /** @type {[string, string][]} */
  const facts = [
    ["Service", `${manifest.service}, version ${manifest.version}`],
    ...ownTexts({ ...manifest, version: "" }),
    ["Computed on", manifest.compute_source],
    ...Object.entries(manifest.timings_seconds ?? {}).map(
      ([what, seconds]) => /** @type {[string, string]} */ ([`Time: ${what}`, inSeconds(seconds)]),
    ),
    ...Object.entries(manifest.inputs ?? {}).map(
      ([name, hash]) => /** @type {[string, string]} */ ([`SHA-256 of ${name}`, hash]),
    ),
  ];
  if (manifest.weights_sha256) facts.push([OF_NETWORK, manifest.weights_sha256]);
  const lines = facts.map(([what, fact]) => [make("dt", {}, what), make("dd", {}, fact)]);
  return make(
    "details",
    { class: "about-result" },
    make("summary", {}, "Where it comes from"),
    make("dl", {}, ...lines.flat()),
  );
}

/** @param {string} title @param {...Node} children */
function section(title, ...children) {
  return make("section", {}, make("h2", {}, title), ...children);
}

/** An output's name as words: `slept_seconds` becomes `Slept seconds`. @param {string} name */
function inWords(name) {
  const words = name.replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}
