/** A payload, made from what the fields of a form hold. */

import { gzip } from "./streams.js";
import { tar } from "./tar.js";
import { inBytes } from "./words.js";

/**
 * @typedef {{name: string, data: Blob}} Member
 * @typedef {Map<string, import("./files.js").Shown>} Volumes by the ids of their inputs
 * @typedef {{main: object, members: Member[], volumes: Volumes}} Content
 * @typedef {{of: import("./cases.js").Case, content: Content}} CaseContent
 */

/**
 * Read every field; refuse those that are wrong.
 * @param {import("./fields.js").Field[]} fields
 * @param {ReturnType<typeof import("./format-field.js").makeFormatField> | null} formatField
 * @returns {(Content & {cases: CaseContent[] | null}) | null} the content of each case of a cohort; nothing where a field is wrong
 */
export function readAll(fields, formatField) {
  /** @type {Record<string, any>} */
  const inputs = {};
  /** @type {Member[]} */
  const members = [];
  /** @type {Volumes} */
  const volumes = new Map();
  /** @type {{id: string, cases: NonNullable<import("./fields.js").Read["cases"]>} | null} */
  let cohort = null;
  let right = true;
  let hasDicom = false;
  for (const field of fields) {
    const { value, members: files, volume, isDicom, cases, fault } = field.read();
    field.clear();
    if (fault) field.refuse(fault);
    right &&= !fault;
    hasDicom ||= Boolean(isDicom);
    if (value !== undefined) inputs[field.input.id] = value;
    members.push(...(files ?? []));
    if (volume) volumes.set(field.input.id, volume);
    if (cases) cohort = { id: field.input.id, cases };
  }
  const { outputs, fault } = formatField?.read(hasDicom) ?? {};
  if (!right || fault) return null;
  const main = { inputs, outputs };
  return { main, members, volumes, cases: cohort && contentsOf(main, members, cohort) };
}

/**
 * The content of each case of a cohort: its own volume, and what all of them share.
 * @param {object} main
 * @param {Member[]} members
 * @param {{id: string, cases: NonNullable<import("./fields.js").Read["cases"]>}} cohort
 * @returns {CaseContent[]}
 */
function contentsOf(main, members, { id, cases }) {
  return cases.map(({ of, read }) => {
    const volumes = new Map(read.volume ? [[id, { ...read.volume, label: of.label }]] : []);
    return { of, content: { main, members: [...members, ...(read.members ?? [])], volumes } };
  });
}

/**
 * Pack a payload, under a random name of its own: sent again, it is the same request.
 * @param {Content} content
 * @param {(bytes: number, allBytes: number) => void} onBytes
 * @param {AbortSignal} signal
 */
export async function pack({ main, members }, onBytes, signal) {
  const archive = tar([{ name: "main.json", data: new Blob([JSON.stringify(main)]) }, ...members]);
  const payload = await gzip(archive, (bytes) => onBytes(bytes, archive.size), signal);
  const random = crypto.getRandomValues(new Uint8Array(16));
  return { payload, idempotencyKey: [...random].map((byte) => byte.toString(16).padStart(2, "0")).join("") };
}

/** Refuse early a payload that the server would refuse by its size. @param {number} bytes */
export function demandSize(bytes) {
  const most = Number(document.body.dataset.largestRequestBytes);
  if (bytes > most) {
    throw new Error(`The upload has ${inBytes(bytes)} or more, packed; this server takes ${inBytes(most)}.`);
  }
}

/** The bytes that a payload has at least: a file that is compressed already does not become smaller. @param {Member[]} members */
export function leastBytes(members) {
  return members.filter(({ name }) => /\.(gz|zip)$/.test(name)).reduce((sum, { data }) => sum + data.size, 0);
}
