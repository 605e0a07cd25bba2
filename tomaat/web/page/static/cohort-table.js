/** The table of a cohort, whose rows stay in place while their words change: what has the focus keeps it. */

import { namesIn } from "./csv.js";
import { arrange, make, redraw } from "./dom.js";
import { ticketPlace } from "./links.js";
import { STATES } from "./states.js";
import { inDigits } from "./words.js";

/** @typedef {import("./csv.js").Row & {token?: string, why?: string}} Line a ticket, or a case that was refused and why */

/** Make the table; `show` draws its lines. */
export function makeCohortTable() {
  const head = make("tr");
  const body = make("tbody");
  const attributes = { class: "table", tabindex: "0", role: "region", "aria-label": "Table of the volumes" };
  const element = make("div", attributes, make("table", {}, make("thead", {}, head), body));
  /** By their tickets' tokens, or by their places. @type {Map<string | number, HTMLElement>} */
  let rows = new Map();
  return {
    element,
    /** @param {Line[]} lines */
    show(lines) {
      const names = namesIn(lines);
      const heads = ["Label", "State", ...names.map((name) => `${name} (ml)`)];
      redraw(head, heads, () => heads.map((text) => make("th", { scope: "col" }, text)));
      const before = rows;
      rows = new Map();
      for (const [place, line] of lines.entries()) {
        const key = line.token ?? place;
        const row = before.get(key) ?? make("tr", {}, make("th", { scope: "row" }), make("td"));
        showLine(row, line, names);
        rows.set(key, row);
      }
      arrange(body, [...rows.values()]);
    },
  };
}

/** @param {HTMLElement} row @param {Line} line @param {string[]} names */
function showLine(row, { label, ticket, token, state, volumes, why }, names) {
  const [name, stand, ...figures] = row.children;
  redraw(name, label, () => [
    ticket === null || !token ? label : make("a", { href: ticketPlace({ id: ticket, token }) }, label),
  ]);
  stand.className = `state ${state}`;
  stand.textContent = why ? `Refused: ${why}` : (STATES[state] ?? state);
  for (const figure of figures) figure.remove();
  row.append(...names.map((each) => make("td", { class: "figure" }, each in volumes ? inDigits(volumes[each]) : "")));
}
