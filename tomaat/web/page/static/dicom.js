/** The elements of a DICOM file, and what its head says of the series that it belongs to (DICOM PS3.5, section 7, and PS3.10). */

import { isBare } from "./beside-images.js";

const HEAD_BYTES = 64 * 1024; // the series is named early in a file
const LONG = ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]; // lengths of 32 bits
const OPEN = 0xffffffff; // a length that is told by what ends it
const IMPLICIT = "1.2.840.10008.1.2";
const EXPLICIT = "1.2.840.10008.1.2.1";
const UNREAD = ["1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"]; // big-endian; deflated
const CHARACTERS = 0x00080005;
const STUDY_DATE = 0x00080020;
const MODALITY = 0x00080060;
const DESCRIPTION = 0x0008103e;
const SYNTAX = 0x00020010;
const STUDY = 0x0020000d;
const UID = 0x0020000e;
const NUMBER = 0x00200011;
const ITEM = 0xfffee000;
const ITEM_ENDS = 0xfffee00d;
const SEQUENCE_ENDS = 0xfffee0dd;

/**
 * @typedef {object} Head what a file says of its series
 * @property {string} uid empty where the file does not tell, or not in a way that is read here
 * @property {string} study the UID of its study; empty likewise
 * @property {string} date of its study, YYYY-MM-DD; empty likewise
 * @property {string} about number, description and modality, as far as they are told
 * @property {boolean} cut the file ends before an image could
 *
 * @typedef {object} Elements
 * @property {string} syntax the UID of the transfer syntax
 * @property {Map<number, Uint8Array>} values by their tags; of sequences none
 * @property {boolean} ended no element stands beyond the last one that was wanted
 */

/**
 * Read a file's head.
 * @param {Blob} file
 * @returns {Promise<Head | null>} nothing where it is no DICOM file
 */
export async function headOf(file) {
  const elements = readElements(await file.slice(0, HEAD_BYTES).arrayBuffer(), NUMBER);
  if (!elements) return null;
  const { values, ended } = elements;
  const utf8 = textOf(values.get(CHARACTERS)).includes("ISO_IR 192");
  const [number, description, modality] = [NUMBER, DESCRIPTION, MODALITY].map((tag) => textOf(values.get(tag), utf8));
  const date = textOf(values.get(STUDY_DATE));
  const about = [number && `${number}:`, description, modality && `(${modality})`].filter(Boolean).join(" ");
  return {
    uid: textOf(values.get(UID)),
    study: textOf(values.get(STUDY)),
    date: /^\d{8}$/.test(date) ? `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}` : "",
    about,
    cut: ended && file.size <= HEAD_BYTES,
  };
}

/**
 * Read a file's elements up to the tag `last`; where it is cut off or broken, those in front of the fault.
 * @param {ArrayBuffer} file
 * @param {number} last
 * @returns {Elements | null} nothing where it is no DICOM file
 */
export function readElements(file, last) {
  const view = new DataView(file);
  const named = view.byteLength >= 132 && view.getUint32(128) === 0x4449434d; // "DICM"
  if (!named && !isBare(new Uint8Array(file, 0, Math.min(8, file.byteLength)))) return null;
  /** @type {Map<number, Uint8Array>} */
  const values = new Map();
  let syntax = "";
  let ended = true;
  try {
    const end = walk(view, named ? 132 : 0, false, (tag) => tag >>> 16 > 2, values);
    const kind = String.fromCharCode(view.getUint8(end + 4), view.getUint8(end + 5));
    syntax = textOf(values.get(SYNTAX)) || (/[A-Z]{2}/.test(kind) ? EXPLICIT : IMPLICIT);
    ended =
      !UNREAD.includes(syntax) && walk(view, end, syntax === IMPLICIT, (tag) => tag > last, values) >= file.byteLength;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return { syntax, values, ended };
}

/**
 * Go from element to element, keep the values, and return where the first one stands that is beyond.
 * @param {DataView} view
 * @param {number} at
 * @param {boolean} implicit whether elements leave out what type they are
 * @param {(tag: number) => boolean} beyond
 * @param {Map<number, Uint8Array>} values
 */
function walk(view, at, implicit, beyond, values) {
  while (at < view.byteLength) {
    const tag = tagAt(view, at);
    if (beyond(tag)) return at;
    const { start, length } = extent(view, at, implicit);
    if (length === OPEN) {
      at = skipSequence(view, start, implicit);
    } else {
      values.set(tag, new Uint8Array(view.buffer, start, Math.min(length, view.byteLength - start)));
      at = start + length;
    }
  }
  return at;
}

/** Where a sequence of unknown length ends. @param {DataView} view @param {number} at @param {boolean} implicit @returns {number} */
function skipSequence(view, at, implicit) {
  for (;;) {
    const tag = tagAt(view, at);
    const length = view.getUint32(at + 4, true);
    at += 8;
    if (tag === SEQUENCE_ENDS) return at;
    if (tag !== ITEM) throw new RangeError("A sequence holds something that is no item.");
    at = length === OPEN ? walk(view, at, implicit, (inner) => inner === ITEM_ENDS, new Map()) + 8 : at + length;
  }
}

/** Where an element's value stands. @param {DataView} view @param {number} at @param {boolean} implicit */
function extent(view, at, implicit) {
  if (implicit) return { start: at + 8, length: view.getUint32(at + 4, true) };
  const type = String.fromCharCode(view.getUint8(at + 4), view.getUint8(at + 5));
  if (LONG.includes(type)) return { start: at + 12, length: view.getUint32(at + 8, true) };
  return { start: at + 8, length: view.getUint16(at + 6, true) };
}

/** @param {DataView} view @param {number} at */
function tagAt(view, at) {
  return ((view.getUint16(at, true) << 16) | view.getUint16(at + 2, true)) >>> 0;
}

/** @param {Uint8Array | undefined} value @param {boolean} [utf8] */
export function textOf(value, utf8 = false) {
  return new TextDecoder(utf8 ? "utf-8" : "latin1")
    .decode(value)
    .replace(/[\0 ]+$/, "")
    .trim();
}
