/**
 * What this browser remembers: tickets, until they are forgotten; an API key, until its tab is closed; and the volumes
 * that were sent, only while the page is open.
 */

const TICKETS = "tomaat.tickets";
const KEY = "tomaat.key";
const MOST = 200;

/**
 * @typedef {object} KeptTicket
 * @property {number} id
 * @property {string} token
 * @property {string} service
 * @property {string} created RFC 3339
 * @property {string} state as it was seen last
 */

/** @typedef {import("./files.js").Shown} Shown */
/** @type {Map<number, Map<string, Shown>>} */
const sent = new Map();

/** The newest first. @returns {KeptTicket[]} */
export function tickets() {
  try {
    const kept = JSON.parse(localStorage.getItem(TICKETS) ?? "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return []; // written by something else, or storage is switched off
  }
}

/** Remember a ticket, or what became of it. @param {KeptTicket} ticket */
export function keep(ticket) {
  const others = tickets();
  const known = others.findIndex((each) => each.id === ticket.id && each.token === ticket.token);
  if (known >= 0) others[known] = ticket;
  else others.unshift(ticket);
  write(others.slice(0, MOST));
}

/** @param {number} id */
export function forget(id) {
  write(tickets().filter((each) => each.id !== id));
  sent.delete(id);
}

export function forgetAll() {
  write([]);
  sent.clear();
}

/** @param {KeptTicket[]} kept */
function write(kept) {
  try {
    localStorage.setItem(TICKETS, JSON.stringify(kept));
  } catch {
    // storage is full or switched off: the ticket's link still works
  }
}

/** Call back when another tab changed the tickets. @param {() => void} changed */
export function onOtherTab(changed) {
  addEventListener("storage", (event) => {
    if (event.key === TICKETS || event.key === null) changed();
  });
}

/** @returns {string} */
export function apiKey() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

/** @param {string} key */
export function keepApiKey(key) {
  try {
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  } catch {
    // it is asked for again
  }
}

/** Remember the volumes of a ticket, to show its result on them. @param {number} id @param {Map<string, Shown>} volumes */
export function keepSent(id, volumes) {
  sent.set(id, volumes);
}

/** @param {number} id @returns {Map<string, Shown>} by the ids of their inputs */
export function sentWith(id) {
  return sent.get(id) ?? new Map();
}
