/** Sending the cases of a cohort, one after the other; what was sent is not sent again. */

import { Refused, Unreachable } from "./api.js";
import { labelOf } from "./label-field.js";
import { keep, keepRefused, keepSent } from "./store.js";
import { saidBy } from "./words.js";

const FOR_ALL = [401, 403, 404, 408, 429]; // and from 500 on: would befall every other case, too

/** @typedef {import("./cases.js").Case} Case */
/** @typedef {import("./payload.js").CaseContent} CaseContent */
/** @typedef {{id: string, done: Set<Case>}} Cohort */

/** The cohorts that are being sent from this tab. @type {Set<string>} */
const underWay = new Set();

/** Whether more tickets of a cohort are on their way to the server. @param {string} cohort */
export function isBeingSent(cohort) {
  return underWay.has(cohort);
}

/** Begin a cohort, under a random name. @returns {Cohort} */
export function beginCohort() {
  const random = crypto.getRandomValues(new Uint8Array(8));
  return { id: [...random].map((byte) => byte.toString(16).padStart(2, "0")).join(""), done: new Set() };
}

/**
 * Send each case that was not sent before. One that is refused is noted, and the others go on; throws what would befall
 * all of them.
 * @param {Cohort} cohort
 * @param {string} service
 * @param {CaseContent[]} cases
 * @param {string | null} before the user's own words, before each label; nothing where the server keeps no labels
 * @param {(each: CaseContent, label: string | null, about: string) => Promise<import("./api.js").Accepted>} send
 */
export async function sendMany(cohort, service, cases, before, send) {
  underWay.add(cohort.id);
  try {
    await sendEach(cohort, service, cases, before, send);
  } finally {
    underWay.delete(cohort.id);
  }
}

/** @type {typeof sendMany} */
async function sendEach(cohort, service, cases, before, send) {
  for (const [place, each] of cases.entries()) {
    const { of, content } = each;
    if (cohort.done.has(of)) continue;
    const label = before === null ? null : labelOf(`${before} ${of.label}`);
    try {
      const ticket = await send(each, label, `${place + 1} of ${cases.length}: `);
      keep({ ...ticket, label, cohort: cohort.id, created: new Date().toISOString() });
      keepSent(ticket, content.volumes);
    } catch (error) {
      if (befallsAll(error)) throw error;
      const detail = error instanceof Refused ? (error.problem.errors?.[0]?.detail ?? error.message) : saidBy(error);
      const row = { label: label ?? of.label, service, ticket: null, state: "refused", volumes: {} };
      keepRefused(cohort.id, { ...row, why: detail });
    }
    cohort.done.add(of);
  }
}

/** @param {unknown} error */
function befallsAll(error) {
  if (error instanceof Unreachable || (error instanceof DOMException && error.name === "AbortError")) return true;
  const { status = 0 } = error instanceof Refused ? error.problem : { status: 422 };
  return status < 400 || status >= 500 || FOR_ALL.includes(status);
}
