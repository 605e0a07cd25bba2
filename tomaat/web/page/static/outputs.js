/** Values, arrays and texts as tables and plots. */

import { make } from "./dom.js";
import { readNpy } from "./npy.js";
import { makePlot } from "./plot.js";
import { inBytes, inDigits } from "./words.js";

const MOST_LINES = 100; // of a table
const MOST_COLUMNS = 20;
const SHORT = 8; // numbers that still read as a line
const LARGEST_BYTES = 65 * 1024 ** 2; // of an array: as many of the largest numbers as are read, and a header
const MOST_CHARACTERS = 20_000; // of a text file

/**
 * A JSON value: a table for lists and objects, a plot for many numbers, a text for the rest.
 * @param {any} value
 * @param {number} [depth]
 * @returns {Node}
 */
export function makeValue(value, depth = 0) {
  if (value === null) return document.createTextNode("none");
  if (typeof value === "number") return make("span", { class: "figure" }, inDigits(value));
  if (typeof value === "boolean") return document.createTextNode(value ? "yes" : "no");
  if (typeof value === "string") return make("span", { class: "text" }, value);
  if (!Object.keys(value).length) return document.createTextNode("none");
  if (depth > 3) return document.createTextNode(JSON.stringify(value));
  if (!Array.isArray(value)) {
    const lines = Object.entries(value).slice(0, MOST_LINES);
    return makeTable(
      null,
      lines.map(([name, part]) => [name, makeValue(part, depth + 1)]),
      Object.keys(value).length,
    );
  }
  if (value.length && value.every((part) => typeof part === "number")) {
    return value.length <= SHORT
      ? document.createTextNode(value.map((part) => inDigits(part)).join(", "))
      : makeNumbers(value);
  }
  const rows = value.slice(0, MOST_LINES);
  if (rows.length && rows.every(Array.isArray)) {
    const cells = rows.map((row) =>
      row.slice(0, MOST_COLUMNS).map((/** @type {any} */ part) => makeValue(part, depth + 2)),
    );
    return makeTable(null, cells, value.length, widest(rows));
  }
  if (rows.length && rows.every((row) => row && typeof row === "object")) {
    const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
    const columns = names.slice(0, MOST_COLUMNS);
    const cells = rows.map((row) => columns.map((column) => (column in row ? makeValue(row[column], depth + 2) : "")));
    return makeTable(columns, cells, value.length, names.length);
  }
  return makeTable(
    null,
    rows.map((part) => [makeValue(part, depth + 1)]),
    value.length,
  );
}

/** A .npy file; throws `RangeError` for one that is not shown. @param {Blob} content @returns {Promise<Node>} */
export async function makeArray(content) {
  if (content.size > LARGEST_BYTES) throw new RangeError(`It has ${inBytes(content.size)}, more than this page reads.`);
  const { shape, values } = readNpy(await content.arrayBuffer());
  if (shape.length === 0) return makeValue(values[0]);
  if (shape.length === 1) return values.length <= SHORT ? makeValue([...values]) : makeNumbers(values);
  const about = make("p", { class: "hint" }, `${shape.join(" × ")} numbers, ${rangeOf(values)}.`);
  if (shape.length !== 2 || shape[1] > MOST_COLUMNS) return about;
  const [rows, columns] = shape;
  const lines = Array.from({ length: Math.min(rows, MOST_LINES) }, (_, row) =>
    [...values.subarray(row * columns, (row + 1) * columns)].map((value) => inDigits(value)),
  );
  return make("div", {}, about, makeTable(null, lines, rows));
}

/** The beginning of a text file; comma- or tab-separated values as a table. @param {Blob} content @param {string} extension */
export async function makeTextFile(content, extension) {
  const text = await content.slice(0, MOST_CHARACTERS).text();
  const isCut = content.size > MOST_CHARACTERS;
  const cut = isCut && make("p", { class: "hint" }, "Only its beginning is shown.");
  const whole = isCut ? text.slice(0, text.lastIndexOf("\n") + 1) : text; // no value that was cut off
  const separator = { csv: ",", tsv: "\t" }[extension];
  if (separator && whole && !text.includes('"')) {
    const rows = whole
      .trimEnd()
      .split(/\r?\n/)
      .map((line) => line.split(separator));
    const [head, ...lines] = rows.map((row) => row.slice(0, MOST_COLUMNS));
    const shown = lines.slice(0, MOST_LINES);
    return make("div", {}, makeTable(head, shown, isCut ? shown.length : lines.length, widest(rows)), cut);
  }
  return make("div", {}, make("pre", { tabindex: 0 }, text), cut);
}

/** @param {ArrayLike<number>} values */
function makeNumbers(values) {
  if (!Array.prototype.some.call(values, Number.isFinite)) {
    return make("p", { class: "hint" }, `${inDigits(values.length)} numbers, none of them finite.`);
  }
  return make(
    "figure",
    { class: "plot" },
    makePlot(values),
    make("figcaption", {}, `${inDigits(values.length)} numbers, ${rangeOf(values)}.`),
  );
}

/** @param {ArrayLike<number>} values */
function rangeOf(values) {
  let [low, high, sum, count] = [Infinity, -Infinity, 0, 0];
  for (let at = 0; at < values.length; at += 1) {
    if (!Number.isFinite(values[at])) continue;
    low = Math.min(low, values[at]);
    high = Math.max(high, values[at]);
    sum += values[at];
    count += 1;
  }
  return count ? `${inDigits(low)} to ${inDigits(high)}, mean ${inDigits(sum / count, 4)}` : "none of them finite";
}

/** @param {ArrayLike<any>[]} rows */
function widest(rows) {
  return rows.reduce((most, { length }) => Math.max(most, length), 0);
}

/**
 * @param {string[] | null} head
 * @param {(string | Node)[][]} lines
 * @param {number} all how many lines there are, of which these are the first
 * @param {number} [columns] likewise
 */
function makeTable(head, lines, all, columns = 0) {
  const rows = lines.map((cells) =>
    make(
      "tr",
      {},
      ...cells.map((cell, place) => make(!head && place === 0 && cells.length === 2 ? "th" : "td", {}, cell)),
    ),
  );
  const table = make(
    "table",
    {},
    head && make("thead", {}, make("tr", {}, ...head.map((title) => make("th", { scope: "col" }, title)))),
    make("tbody", {}, ...rows),
  );
  const cut = [
    all > lines.length && `The first ${lines.length} of ${inDigits(all)}.`,
    columns > MOST_COLUMNS && `The first ${MOST_COLUMNS} of ${inDigits(columns)} columns.`,
  ];
  return make("div", { class: "table" }, table, ...cut.map((text) => text && make("p", { class: "hint" }, text)));
}
