/**
 * Archives as POSIX.1-1988 has them (ustar): blocks of 512 bytes, a header and a file's bytes in turn, two empty ones at
 * the end. Files stay blobs, which are read when the archive is.
 */

const BLOCK = 512;
const LARGEST_BYTES = 8 ** 11 - 1; // the most that 11 octal digits hold
const LONGEST_NAME = 100;

/**
 * Pack files.
 * @param {{name: string, data: Blob}[]} members
 * @returns {Blob}
 */
export function tar(members) {
  const parts = members.flatMap(({ name, data }) => [header(name, data.size), data, new Uint8Array(-data.size & 511)]);
  return new Blob([...parts, new Uint8Array(2 * BLOCK)]);
}

/**
 * Take an archive apart; only files count.
 * @param {Blob} archive
 * @returns {Promise<Map<string, Blob>>}
 */
export async function untar(archive) {
  /** @type {Map<string, Blob>} */
  const files = new Map();
  let at = 0;
  while (at + BLOCK <= archive.size) {
    const block = new Uint8Array(await archive.slice(at, at + BLOCK).arrayBuffer());
    if (block.every((byte) => byte === 0)) return files;
    const { name, size, isFile } = readHeader(block);
    const end = at + BLOCK + size;
    if (end > archive.size) throw new RangeError(`The archive ends within ${name}.`);
    if (isFile) files.set(name, archive.slice(at + BLOCK, end));
    at = end + (-size & 511);
  }
  throw new RangeError("The archive is cut off.");
}

/** @param {string} name @param {number} size */
function header(name, size) {
  const encoded = new TextEncoder().encode(name);
  if (encoded.length > LONGEST_NAME) throw new RangeError(`${name}: longer than ${LONGEST_NAME} bytes.`);
  if (size > LARGEST_BYTES) throw new RangeError(`${name}: larger than ${LARGEST_BYTES} bytes.`);
  const block = new Uint8Array(BLOCK);
  block.set(encoded, 0);
  write(block, 100, octal(0o644, 7)); // mode
  write(block, 108, octal(0, 7)); // user
  write(block, 116, octal(0, 7)); // group
  write(block, 124, octal(size, 11));
  write(block, 136, octal(0, 11)); // time: the same files make the same archive
  write(block, 148, "        "); // the checksum is made with blanks in its place
  write(block, 156, "0"); // a regular file
  write(block, 257, "ustar\0" + "00");
  write(block, 148, octal(sum(block), 6) + "\0 ");
  return block;
}

/** @param {Uint8Array} block */
function readHeader(block) {
  const written = parseInt(text(block, 148, 8), 8);
  const blanked = block.slice();
  write(blanked, 148, "        ");
  if (written !== sum(blanked)) throw new RangeError("The archive is broken: a header's checksum is wrong.");
  const prefix = text(block, 257, 5) === "ustar" ? text(block, 345, 155) : "";
  return {
    name: (prefix ? `${prefix}/` : "") + text(block, 0, 100),
    size: parseInt(text(block, 124, 12), 8),
    isFile: block[156] === 0x30 || block[156] === 0,
  };
}

/** @param {Uint8Array} block */
function sum(block) {
  return block.reduce((total, byte) => total + byte, 0);
}

/** @param {number} value @param {number} digits */
function octal(value, digits) {
  return value.toString(8).padStart(digits, "0");
}

/** @param {Uint8Array} block @param {number} at @param {string} ascii */
function write(block, at, ascii) {
  for (let place = 0; place < ascii.length; place += 1) block[at + place] = ascii.charCodeAt(place);
}

/** @param {Uint8Array} block @param {number} at @param {number} length */
function text(block, at, length) {
  const field = block.subarray(at, at + length);
  const end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
}
