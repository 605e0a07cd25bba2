/** The files of a zip archive (PKWARE's APPNOTE 6.3). */

import { collect } from "./streams.js";

const END = 0x06054b50;
const END_BYTES = 22;
const LONGEST_COMMENT = 0xffff;
const ENTRY = 0x02014b50;
const BEYOND = 0xffffffff; // a place or a size that only zip64 tells
const STORED = 0;
const DEFLATED = 8;

/**
 * Take an archive apart; throws `Error` with a sentence for one that is not read here.
 * @param {Blob} archive
 * @returns {Promise<File[]>}
 */
export async function unzip(archive) {
  const tail = new DataView(await archive.slice(-(END_BYTES + LONGEST_COMMENT)).arrayBuffer());
  let at = tail.byteLength - END_BYTES;
  while (at >= 0 && tail.getUint32(at, true) !== END) at -= 1;
  if (at < 0) throw new Error("This is no zip archive, or a part of one.");
  const size = tail.getUint32(at + 12, true);
  const start = tail.getUint32(at + 16, true);
  if (size === BEYOND || start === BEYOND) throw new Error("This zip archive is too large to be shown.");
  const directory = new DataView(await archive.slice(start, start + size).arrayBuffer());
  const files = [];
  for (let place = 0; place + 46 <= directory.byteLength && directory.getUint32(place, true) === ENTRY;) {
    const [name, extra, comment] = [28, 30, 32].map((field) => directory.getUint16(place + field, true));
    const path = new TextDecoder().decode(new Uint8Array(directory.buffer, place + 46, name));
    if (!path.endsWith("/")) files.push(await readEntry(archive, directory, place, path));
    place += 46 + name + extra + comment;
  }
  return files;
}

/** @param {Blob} archive @param {DataView} directory @param {number} place @param {string} path */
async function readEntry(archive, directory, place, path) {
  const method = directory.getUint16(place + 10, true);
  const size = directory.getUint32(place + 20, true);
  const start = directory.getUint32(place + 42, true);
  const encrypted = directory.getUint16(place + 8, true) & 1;
  if (size === BEYOND || start === BEYOND || encrypted || (method !== STORED && method !== DEFLATED)) {
    throw new Error("This zip archive is packed in a way that this page does not read.");
  }
  const head = new DataView(await archive.slice(start, start + 30).arrayBuffer());
  const from = start + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const packed = archive.slice(from, from + size);
  const content =
    method === STORED ? packed : await collect(packed.stream().pipeThrough(new DecompressionStream("deflate-raw")));
  return new File([content], path);
}
