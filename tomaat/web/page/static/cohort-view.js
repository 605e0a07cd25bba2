/** The table of a cohort: each of its tickets with its label, its state, and the volumes in its result. */

import { recordOf, Refused, status } from "./api.js";
import { csvOf, namesIn, volumesOf } from "./csv.js";
import { announce, make, redraw } from "./dom.js";
import { ticketPlace } from "./links.js";
import { rest } from "./rest.js";
import { isOpen, STATES } from "./states.js";
import { refusedOf, sentWith, tickets, update } from "./store.js";
import { counted, inDigits, saidBy } from "./words.js";

const ROUND_SECONDS = 2;
const MOST_ASKED = 10; // open tickets in one round: the oldest end first

/** @typedef {import("./csv.js").Row} Row */
/** @typedef {import("./store.js").KeptTicket} KeptTicket */
/** The volumes of results that were read, by the tickets' tokens. @type {Map<string, Record<string, number>>} */
const known = new Map();

/**
 * Show a cohort, and follow its tickets until all have ended.
 * @param {string} id
 * @param {AbortSignal} signal ends it when another view is shown
 */
export function makeCohortView(id, signal) {
  const table = make("div");
  const told = make("p", { class: "about" });
  const trouble = make("p", { class: "trouble", role: "status", hidden: true });
  const save = make(
    "button",
    { type: "button", class: "main", onclick: () => download(rowsOf(id)) },
    "Download as CSV",
  );
  const back = make("p", { class: "back" }, make("a", { href: "#/" }, "All services and tickets"));
  const title = make("h1", {}, rowsOf(id)[0]?.service ?? "No tickets");
  draw();
  void follow();
  return make("div", { class: "cohort" }, back, title, told, table, trouble, make("div", { class: "actions" }, save));

  async function follow() {
    while (!signal.aborted) {
      try {
        await askForAll(id, signal, draw);
        trouble.hidden = true;
        if (!membersOf(id).some(isOpen)) break;
      } catch (error) {
        if (signal.aborted) return;
        trouble.textContent = `${saidBy(error)} Asking again.`;
        trouble.hidden = false;
      }
      await rest(ROUND_SECONDS, signal);
    }
  }

  function draw() {
    const rows = rowsOf(id);
    const open = membersOf(id).filter(isOpen).length;
    const text = `${counted(rows.length, "volume")}, ${open ? `${open} of them on their way` : "all ended"}.`;
    told.textContent = text;
    if (!open) announce(text);
    redraw(table, rows, () => [makeTable(id, rows)]);
  }
}

/** The tickets of a cohort that this browser keeps, the first one first. @param {string} id */
function membersOf(id) {
  return tickets()
    .filter(({ cohort }) => cohort === id)
    .reverse();
}

/** Ask how the tickets stand, and for the volumes of those that are done. @param {string} id @param {AbortSignal} signal @param {() => void} onNews */
async function askForAll(id, signal, onNews) {
  for (const ticket of membersOf(id).filter(isOpen).slice(0, MOST_ASKED)) {
    try {
      const now = await status(ticket, { signal });
      update({ ...ticket, label: now.label, state: now.state });
    } catch (error) {
      if (!(error instanceof Refused) || error.kind !== "not-found") throw error;
      update({ ...ticket, state: "unknown" });
    }
    onNews();
  }
  for (const ticket of membersOf(id).filter(({ token, state }) => state === "succeeded" && !known.has(token))) {
    try {
      known.set(ticket.token, volumesOf(await recordOf(ticket, signal)));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      known.set(ticket.token, {}); // no longer kept, or of an archive that is sent whole only
    }
    onNews();
  }
}

/** @param {string} id @returns {(Row & {why?: string})[]} */
function rowsOf(id) {
  const sent = membersOf(id).map((ticket) => ({
    label: labelOf(ticket),
    service: ticket.service,
    ticket: ticket.id,
    state: ticket.state,
    volumes: known.get(ticket.token) ?? {},
  }));
  return [...sent, ...refusedOf(id)];
}

/** @param {KeptTicket} ticket */
function labelOf({ id, label }) {
  const [volume] = sentWith(id).values(); // where the server keeps no labels, the page still knows the file
  return label || volume?.name || `Ticket ${id}`;
}

/** @param {string} id @param {(Row & {why?: string})[]} rows */
function makeTable(id, rows) {
  const names = namesIn(rows);
  const places = new Map(membersOf(id).map((ticket) => [ticket.id, ticketPlace(ticket)]));
  const heads = ["Label", "State", ...names.map((name) => `${name} (ml)`)];
  const lines = rows.map(({ label, ticket, state, volumes, why }) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, ticket === null ? label : make("a", { href: places.get(ticket) }, label)),
      make("td", { class: `state ${state}` }, why ? `Refused: ${why}` : (STATES[state] ?? state)),
      ...names.map((name) => make("td", { class: "figure" }, name in volumes ? inDigits(volumes[name]) : "")),
    ),
  );
  const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
  const attributes = { class: "table", tabindex: "0", role: "region", "aria-label": "Table of the volumes" };
  return make("div", attributes, make("table", {}, make("thead", {}, head), make("tbody", {}, ...lines)));
}

/** @param {Row[]} rows */
function download(rows) {
  const address = URL.createObjectURL(new Blob([csvOf(rows)], { type: "text/csv" }));
  make("a", { href: address, download: `${rows[0]?.service ?? "tickets"}-volumes.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // the browser has read it by then
}
