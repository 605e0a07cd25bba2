/** Addresses within the page. They stand in the fragment, which no browser sends to a server. */

import { find, onlyHere } from "./store.js";

/** @typedef {import("./api.js").Reference} Reference */
/**
 * @typedef {{view: "overview"} | {view: "service", name: string} | {view: "cohort", id: string} | {view: "ticket", id: number, token: string | null}} Place
 */

/** Where a ticket is in this browser: without its token, which the history would keep, if the store has it. @param {Reference} ticket */
export function ticketPlace(ticket) {
  return find(ticket.id)?.token === ticket.token && !onlyHere(ticket) ? `#/tickets/${ticket.id}` : ticketLink(ticket);
}

/** The same for every browser. @param {Reference} ticket */
export function ticketLink({ id, token }) {
  return `#/tickets/${id}/${encodeURIComponent(token)}`;
}

/** Where the table of a cohort is in this browser. @param {string} id */
export function cohortPlace(id) {
  return `#/cohorts/${id}`;
}

/** @param {string} fragment @returns {Place} */
export function placeOf(fragment) {
  const [, what, first = "", second = ""] = fragment.replace(/^#/, "").split("/");
  try {
    if (what === "services" && first) return { view: "service", name: decodeURIComponent(first) };
    if (what === "cohorts" && /^[0-9a-f]+$/.test(first)) return { view: "cohort", id: first };
    if (what === "tickets" && /^\d+$/.test(first)) {
      return { view: "ticket", id: Number(first), token: second ? decodeURIComponent(second) : null };
    }
  } catch {
    // a broken link leads to the start
  }
  return { view: "overview" };
}
