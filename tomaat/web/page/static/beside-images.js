/**
 * Tell what lies beside DICOM images from an image that is broken: nobody may lose a slice unheard. The server
 * (tomaat/archives/beside_images.py) and the client have the same rule, and the tests the same cases for all three.
 */

export const HEAD_BYTES = 132; // of a file that the rule looks at
const MAGIC_AT = 128;
/** How an image begins that has no preamble: an element of group 2 or 8, with its kind, or with a short length. */
const BARE = /^[\x02\x08]\0.\0([A-Z]{2}|.[\0-\x03]\0\0)/s; // eslint-disable-line no-control-regex -- DICOM is made of them
const CLUTTER = /^(.*\/)?(__MACOSX\/.*|\._[^/]*|\.DS_Store|Thumbs\.db|desktop\.ini|DICOMDIR)$/is; // of systems and exports; it is not even told
const EXTENSION = /\.([a-z][a-z0-9]{0,9})$/; // no part of a UID
/** Of DICOM images, the absent extension too, and of files whose copying did not end. */
const MAY_BE_IMAGES = [
  ...["", "dcm", "dicom", "dic", "ima"],
  ...["part", "partial", "tmp", "crdownload", "download", "filepart"],
];
/** How programs, pictures, documents and archives begin, a character for each byte. */
const OTHERS = [
  ...["MZ", "\x7fELF", "\xca\xfe\xba\xbe", "\xcf\xfa\xed\xfe", "\xce\xfa\xed\xfe", "#!"],
  ...["\x89PNG", "\xff\xd8\xff", "GIF8", "BM", "II*\0", "MM\0*", "RIFF"],
  ...["%PDF", "\xd0\xcf\x11\xe0", "bplist", "SQLite", "\xff\xfe", "\xfe\xff"],
  ...["PK\x03\x04", "\x1f\x8b", "7z\xbc\xaf", "Rar!", "BZh", "\xfd7zXZ"],
];
const NUMBERED = /^(.*?)([0-9]{1,9})([^0-9]*)$/s;
const FEWEST_NUMBERED = 3; // images that make an order of numbers
const NO_TEXT = /[\0-\x08\x0e-\x1f\x7f]/; // eslint-disable-line no-control-regex -- which make the difference

/** @typedef {{name: string, head: Uint8Array}} Named a file's path, with `/` between folders, and its first bytes */

/** Whether a file is a system's, or the index of an export. @param {string} name */
export function isClutter(name) {
  return CLUTTER.test(name);
}

/** Whether a file begins as an image without a preamble. @param {Uint8Array} head */
export function isBare(head) {
  return BARE.test(String.fromCharCode(...head.subarray(0, 8)));
}

/**
 * Name, of the files that do not begin as DICOM does, those that are left out, and those that may be broken images. A
 * file is surely no image where it has an extension, and that is neither DICOM's nor an image's here; or where it lies
 * beside no image, and begins as a text, a program, a picture, a document or an archive; or where it is empty, and its
 * number does not follow those of the images, which have no gap.
 * @param {Named[]} files
 */
export function sortOut(files) {
  const all = files
    .filter(({ name }) => !isClutter(name))
    .map(({ name, head }) => ({ name, head: String.fromCharCode(...head.subarray(0, HEAD_BYTES)) }));
  const isImage = (/** @type {{head: string}} */ { head }) => head.slice(MAGIC_AT) === "DICM" || BARE.test(head);
  const images = all.filter(isImage);
  const extensions = new Set([...MAY_BE_IMAGES, ...images.map(({ name }) => extensionOf(name))]);
  const folders = new Set(images.map(({ name }) => folderOf(name)));
  const empty = all.filter(({ head }) => !head).map(({ name }) => name);
  const apart = numberedApart(
    empty,
    images.map(({ name }) => name),
  );
  /** @type {string[]} */
  const leftOut = [];
  /** @type {string[]} */
  const doubtful = [];
  for (const { name, head } of all.filter((file) => !isImage(file))) {
    const other = OTHERS.some((start) => head.startsWith(start)) || (head && !NO_TEXT.test(head));
    const mayBe = !apart.has(name) && extensions.has(extensionOf(name)) && (folders.has(folderOf(name)) || !other);
    (mayBe ? doubtful : leftOut).push(name);
  }
  return { leftOut, doubtful };
}

/**
 * The empty files whose number does not follow on: the images of their folder are numbered without a gap.
 * @param {string[]} empty
 * @param {string[]} images
 */
function numberedApart(empty, images) {
  /** @type {Set<string>} */
  const apart = new Set();
  for (const folder of new Set(empty.map(folderOf))) {
    const here = images.filter((name) => folderOf(name) === folder).map(numberOf);
    const kinds = new Set(here.map(({ kind }) => kind));
    const run = new Set(here.map(({ number }) => number));
    const span = Math.max(...run) - Math.min(...run) + 1;
    if (kinds.size !== 1 || here.length < FEWEST_NUMBERED || run.size !== here.length || span !== here.length) continue;
    const others = empty
      .map((name) => ({ name, ...numberOf(name) }))
      .filter(({ kind }) => kinds.has(kind))
      .sort((one, other) => one.number - other.number);
    for (const { number } of [...others, ...[...others].reverse()]) {
      if ([number - 1, number, number + 1].some((near) => run.has(near))) run.add(number);
    }
    for (const { name, number } of others) if (!run.has(number)) apart.add(name);
  }
  return apart;
}

/** A name's last number, and what is around it. @param {string} name */
function numberOf(name) {
  const [, before, digits, behind] = NUMBERED.exec(name) ?? [];
  return { kind: `${before}\0${behind}`, number: Number(digits) };
}

/** @param {string} name */
function extensionOf(name) {
  return EXTENSION.exec(name.toLowerCase())?.[1] ?? "";
}

/** @param {string} name */
function folderOf(name) {
  return name.replace(/[^/]*$/, "");
}
