/**
 * Tell what lies beside DICOM images from an image that is broken: nobody may lose a slice unheard. The server
 * (tomaat/archives/beside_images.py) and the client have the same rule, and the tests the same cases for all three.
 */

export const HEAD_BYTES = 132; // of a file that the rule looks at
const MAGIC_AT = 128;
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
const NO_TEXT = /[\0-\x08\x0e-\x1f\x7f]/; // eslint-disable-line no-control-regex -- which make the difference

/** @typedef {{name: string, head: Uint8Array}} Named a file's path, with `/` between folders, and its first bytes */

/** Whether a file is a system's, or the index of an export. @param {string} name */
export function isClutter(name) {
  return CLUTTER.test(name);
}

/**
 * Name, of the files that do not begin as DICOM does, those that are left out, and those that may be broken images. A
 * file is surely no image where it has an extension, and that is neither DICOM's nor an image's here; or where it lies
 * beside no image, and begins as a text, a program, a picture, a document or an archive.
 * @param {Named[]} files
 */
export function sortOut(files) {
  const all = files
    .filter(({ name }) => !isClutter(name))
    .map(({ name, head }) => ({ name, head: String.fromCharCode(...head.subarray(0, HEAD_BYTES)) }));
  const isImage = (/** @type {{head: string}} */ { head }) => head.slice(MAGIC_AT) === "DICM";
  const images = all.filter(isImage);
  const extensions = new Set([...MAY_BE_IMAGES, ...images.map(({ name }) => extensionOf(name))]);
  const folders = new Set(images.map(({ name }) => folderOf(name)));
  /** @type {string[]} */
  const leftOut = [];
  /** @type {string[]} */
  const doubtful = [];
  for (const { name, head } of all.filter((file) => !isImage(file))) {
    const other = OTHERS.some((start) => head.startsWith(start)) || (head && !NO_TEXT.test(head));
    const mayBe = extensions.has(extensionOf(name)) && (folders.has(folderOf(name)) || !other);
    (mayBe ? doubtful : leftOut).push(name);
  }
  return { leftOut, doubtful };
}

/** @param {string} name */
function extensionOf(name) {
  return EXTENSION.exec(name.toLowerCase())?.[1] ?? "";
}

/** @param {string} name */
function folderOf(name) {
  return name.replace(/[^/]*$/, "");
}
