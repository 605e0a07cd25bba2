/**
 * The memory of this browser: tickets, until they are forgotten; whether notifications are asked for; an API key, until its
 * tab is closed; and only while the page is open, the volumes that were sent, and tickets that storage does not take.
 */

import { ENDED, isOpen } from "./states.js";

const TICKETS = "tomaat.tickets";
const NOTICES = "tomaat.notices";
const KEY = "tomaat.key";
const MOST = 1000;

/**
 * @typedef {object} KeptTicket
 * @property {number} id
 * @property {string} token
 * @property {string | null} [label]
 * @property {string} service
 * @property {string} created RFC 3339
 * @property {string} state as it was seen last
 * @property {string} [cohort] with which others it was sent
 */

/** @typedef {import("./api.js").Reference} Reference */
/** @typedef {import("./files.js").Shown} Shown */
/** @typedef {import("./csv.js").Row & {why: string}} Refusal of a case of a cohort: its row in the table */
/** By tokens: a server that is set up anew counts from 1 again. @type {Map<string, Map<string, Shown>>} */
const sent = new Map();
/** @type {(ticket: KeptTicket) => void} */
let tellEnd = () => {};
/** By cohort, as long as the page is open. @type {Map<string, Refusal[]>} */
const refused = new Map();

/** Those that could not be written, as they stand by now: storage is full or switched off. @type {KeptTicket[]} */
let unwritten = [];

/** The newest first. @returns {KeptTicket[]} */
export function tickets() {
  const kept = written();
  const changed = kept.map((each) => unwritten.find((other) => isSame(each, other)) ?? each);
  return [...unwritten.filter((each) => !changed.includes(each)), ...changed];
}

/** Whether a ticket is kept until this tab is closed or loaded again, and no longer. @param {Reference} ticket */
export function onlyHere(ticket) {
  return unwritten.some((each) => isSame(each, ticket)) && !written().some((each) => isSame(each, ticket));
}

/** What storage held when it was read last, and the tickets in it: a list of them asks for each. @type {{text: string, kept: KeptTicket[]}} */
let read = { text: "[]", kept: [] };

/** @returns {KeptTicket[]} */
function written() {
  try {
    const text = localStorage.getItem(TICKETS) ?? "[]";
    if (text !== read.text) {
      const kept = JSON.parse(text);
      read = { text, kept: Array.isArray(kept) ? kept : [] };
    }
    return read.kept;
  } catch {
    return []; // written by something else, or storage is switched off
  }
}

/** The newest of the tickets that have a number. @param {number} id */
export function find(id) {
  return tickets().find((each) => each.id === id);
}

/** @param {Reference} ticket */
export function isKept(ticket) {
  return tickets().some((each) => isSame(each, ticket));
}

/** Remember a ticket, and how it stands. @param {KeptTicket} ticket */
export function keep({ id, token, label, service, created, state, cohort }) {
  const ticket = { id, token, service, created, state, ...(label && { label }), ...(cohort && { cohort }) };
  if (isKept(ticket)) update(ticket);
  else write(thatFit([ticket, ...tickets()]));
}

/** Remember how a ticket stands by now, unless it was forgotten meanwhile. @param {Reference & Partial<KeptTicket>} ticket */
export function update(ticket) {
  const before = tickets();
  const after = before.map((each) => (isSame(each, ticket) ? { ...each, ...ticket } : each));
  if (JSON.stringify(after) !== JSON.stringify(before)) write(after);
  const was = before.find((each) => isSame(each, ticket));
  if (was && isOpen(was) && ENDED.includes(ticket.state ?? "")) tellEnd({ ...was, ...ticket });
}

/** Call back with each ticket that is seen to have ended; other tabs may be the first to see it. @param {(ticket: KeptTicket) => void} tell */
export function onEnd(tell) {
  tellEnd = tell;
}

/** @param {Reference} ticket */
export function forget(ticket) {
  write(tickets().filter((each) => !isSame(each, ticket)));
  forgetSent(ticket);
}

export function forgetAll() {
  write([]);
  sent.clear();
  refused.clear();
}

/** Note a case of a cohort that became no ticket. @param {string} cohort @param {Refusal} refusal */
export function keepRefused(cohort, refusal) {
  refused.set(cohort, [...refusedOf(cohort), refusal]);
}

/** @param {string} cohort */
export function refusedOf(cohort) {
  return refused.get(cohort) ?? [];
}

/** Whether two are one ticket: a server that is set up anew counts from 1 again. @param {Reference} one @param {Reference} other */
function isSame(one, other) {
  return one.id === other.id && one.token === other.token;
}

/** As many as are kept; of too many, the oldest that have ended go first. @param {KeptTicket[]} all */
function thatFit(all) {
  const [newest, ...others] = all;
  const open = others.filter(isOpen);
  const ended = others.filter((each) => !isOpen(each));
  const staying = new Set([newest, ...open, ...ended].slice(0, MOST));
  return all.filter((each) => staying.has(each));
}

/** @param {KeptTicket[]} kept */
function write(kept) {
  try {
    localStorage.setItem(TICKETS, JSON.stringify(kept));
    unwritten = [];
  } catch {
    const before = new Set(written().map((each) => JSON.stringify(each)));
    unwritten = kept.filter((each) => !before.has(JSON.stringify(each)));
  }
}

/** Call back when another tab changed the tickets. @param {() => void} changed */
export function onOtherTab(changed) {
  addEventListener("storage", (event) => {
    if (event.key !== TICKETS && event.key !== null) return;
    if (!written().length) unwritten = []; // they were forgotten there
    changed();
  });
}

export function asksForNotices() {
  try {
    return localStorage.getItem(NOTICES) === "yes";
  } catch {
    return false;
  }
}

/** @param {boolean} asked */
export function keepNotices(asked) {
  try {
    if (asked) localStorage.setItem(NOTICES, "yes");
    else localStorage.removeItem(NOTICES);
  } catch {
    // there are none
  }
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

/** Remember the volumes of a ticket, to show its result on them. @param {Reference} ticket @param {Map<string, Shown>} volumes */
export function keepSent({ token }, volumes) {
  sent.set(token, volumes);
}

/** @param {Reference} ticket */
export function forgetSent({ token }) {
  sent.delete(token);
}

/** @param {Reference} ticket @returns {Map<string, Shown>} by the ids of their inputs */
export function sentWith({ token }) {
  return sent.get(token) ?? new Map();
}
