/** The table of a cohort: each of its tickets with its label, its state, and the volumes in its result. */

import { recordOf, Refused, status } from "./api.js";
import { csvOf, volumesOf } from "./csv.js";
import { makeCohortTable } from "./cohort-table.js";
import { announce, make } from "./dom.js";
import { rest } from "./rest.js";
import { isBeingSent } from "./send-many.js";
import { isOpen } from "./states.js";
import { onlyHere, refusedOf, sentWith, tickets, update } from "./store.js";
import { nextInTurn } from "./turns.js";
import { counted, saidBy } from "./words.js";

const ROUND_SECONDS = 2;
const MOST_ASKED = 10; // open tickets in one round: the oldest end first
const SETTLED = ["expired", "not-found"]; // it has no record any more, or is an archive that is sent whole only
const ONLY_HERE =
  "This browser's storage is full or switched off. These tickets are kept in this tab only: leave it open until the table is saved.";

/** @typedef {import("./cohort-table.js").Line} Line */
/** @typedef {import("./store.js").KeptTicket} KeptTicket */
/** The volumes of results that were read, by the tickets' tokens. @type {Map<string, Record<string, number>>} */
const known = new Map();

/**
 * Show a cohort, and follow its tickets until all have ended.
 * @param {string} id
 * @param {AbortSignal} signal ends it when another view is shown
 */
export function makeCohortView(id, signal) {
  const table = makeCohortTable();
  const told = make("p", { class: "about" });
  const kept = make("p", { class: "trouble", role: "status", hidden: true }, ONLY_HERE);
  const trouble = make("p", { class: "trouble", role: "status", hidden: true });
  const save = make(
    "button",
    { type: "button", class: "main", onclick: () => download(rowsOf(id)) },
    "Download as CSV",
  );
  const back = make("p", { class: "back" }, make("a", { href: "#/" }, "All services and tickets"));
  const title = make("h1", {}, rowsOf(id)[0]?.service ?? "No tickets");
  const turns = { states: new Set(), results: new Set() };
  draw();
  void follow();
  const actions = make("div", { class: "actions" }, save);
  return make("div", { class: "cohort" }, back, title, told, kept, table.element, trouble, actions);

  async function follow() {
    while (!signal.aborted) {
      try {
        const mayGrow = isBeingSent(id);
        await askForAll(id, turns, signal, draw);
        trouble.hidden = true;
        draw(); // others may have been sent
        if (!mayGrow && !membersOf(id).some((each) => isOpen(each) || isUnread(each))) break;
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
    const sending = isBeingSent(id) ? "; others are being sent" : "";
    const standing = open || sending ? `${open} of them on their way` : "all ended";
    const text = `${counted(rows.length, "volume")}, ${standing}${sending}.`;
    told.textContent = text;
    if (!open && !sending) announce(text);
    kept.hidden = !membersOf(id).some(onlyHere);
    table.show(rows);
  }
}

/** The tickets of a cohort that this browser keeps, the first one first. @param {string} id */
function membersOf(id) {
  return tickets()
    .filter(({ cohort }) => cohort === id)
    .reverse();
}

/** Whether the volumes in a result are to be asked for. @param {KeptTicket} ticket */
function isUnread({ token, state }) {
  return state === "succeeded" && !known.has(token);
}

/**
 * Ask how the tickets stand, and for the volumes of those that are done.
 * @param {string} id
 * @param {{states: Set<string>, results: Set<string>}} turns the tokens of the tickets that were asked for
 * @param {AbortSignal} signal
 * @param {() => void} onNews
 */
async function askForAll(id, turns, signal, onNews) {
  for (const ticket of nextInTurn(membersOf(id).filter(isOpen), turns.states, MOST_ASKED)) {
    turns.states.add(ticket.token);
    try {
      const now = await status(ticket, { signal });
      update({ ...ticket, label: now.label, state: now.state });
    } catch (error) {
      if (!(error instanceof Refused) || error.kind !== "not-found") throw error;
      update({ ...ticket, state: "unknown" });
    }
    onNews();
  }
  for (const ticket of nextInTurn(membersOf(id).filter(isUnread), turns.results, Infinity)) {
    turns.results.add(ticket.token);
    try {
      known.set(ticket.token, volumesOf(await recordOf(ticket, signal)));
    } catch (error) {
      if (!(error instanceof Refused) || !SETTLED.includes(error.kind)) throw error; // it is asked again
      known.set(ticket.token, {});
    }
    onNews();
  }
}

/** @param {string} id @returns {Line[]} */
function rowsOf(id) {
  const sent = membersOf(id).map((ticket) => ({
    label: labelOf(ticket),
    service: ticket.service,
    ticket: ticket.id,
    token: ticket.token,
    state: ticket.state,
    volumes: known.get(ticket.token) ?? {},
  }));
  return [...sent, ...refusedOf(id)];
}

/** @param {KeptTicket} ticket */
function labelOf(ticket) {
  const { id, label } = ticket;
  const [volume] = sentWith(ticket).values(); // where the server keeps no labels, the page still knows the case
  return label || volume?.label || `Ticket ${id}`;
}

/** @param {Line[]} rows */
function download(rows) {
  const address = URL.createObjectURL(new Blob([csvOf(rows)], { type: "text/csv" }));
  make("a", { href: address, download: `${rows[0]?.service ?? "tickets"}-volumes.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // the browser has read it by then
}
