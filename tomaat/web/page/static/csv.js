/** A table of tickets as CSV, with the columns and the cells of the command line's (tomaat/client/table.py). */

const COLUMNS = ["label", "service", "ticket", "state"];
const MARK = "\ufeff"; // tells a spreadsheet that it is UTF-8
const DIGITS = 10; // of a number
/** A spreadsheet takes a cell that begins so for a formula, and may run it; some take signs of full width, too. */
const FORMULA = /^ *[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n]/;

/**
 * @typedef {object} Row
 * @property {string} label
 * @property {string} service
 * @property {number | null} ticket
 * @property {string} state
 * @property {Record<string, number>} volumes in ml, by output and label: `brain: left`
 */

/** The labels of all rows, in the order in which they come. @param {Row[]} rows */
export function namesIn(rows) {
  return [...new Set(rows.flatMap(({ volumes }) => Object.keys(volumes)))];
}

/** The volume in ml of each label in a result.json. @param {import("./result.js").Manifest} manifest */
export function volumesOf({ outputs }) {
  /** @type {Record<string, number>} */
  const volumes = {};
  for (const { name, labels = [] } of outputs) {
    for (const label of labels) volumes[`${name}: ${label.name}`] = label.ml;
  }
  return volumes;
}

/** @param {Row[]} rows */
export function csvOf(rows) {
  const names = namesIn(rows);
  const head = [...COLUMNS, ...names.map((name) => `${name} (ml)`)];
  const lines = rows.map(({ label, service, ticket, state, volumes }) => [
    ...[label, service, ticket === null ? "" : String(ticket), state],
    ...names.map((name) => (name in volumes ? String(Number(volumes[name].toPrecision(DIGITS))) : "")),
  ]);
  return MARK + [head, ...lines].map((line) => `${line.map(cell).join(",")}\r\n`).join("");
}

/** @param {string} text */
function cell(text) {
  const harmless = FORMULA.test(text) ? `'${text}` : text;
  return `"${harmless.replaceAll('"', '""')}"`; // some spreadsheets part cells by semicolons
}
