/** Where a ticket stands, in words. */

import { Refused, Unreachable } from "./api.js";
import { make } from "./dom.js";
import { ENDED } from "./states.js";
import { inPlainWords, inSeconds, inTime } from "./words.js";

/** @typedef {import("./shapes.d.ts").Status} Status */
/** @typedef {import("./shapes.d.ts").Problem} Problem */

/** @param {Status} now @param {boolean} cancelAsked */
export function textOf(now, cancelAsked) {
  const { state, position, stage } = now;
  if (state === "submitted") return "Waits for a queue.";
  if (state === "queued" && position === null) return "In a queue."; // it was about to run
  if (state === "queued") return position === 1 ? "Next in its queue." : `Number ${position} in its queue.`;
  if (state === "running") {
    if (cancelAsked) return "Being stopped…";
    return stage ? `Runs: ${stage}` : "Runs.";
  }
  if (state === "failed") return `Failed: ${problemOf(now).title}.`;
  return { succeeded: "Done.", cancelled: "Cancelled.", expired: "Its result is no longer kept." }[state];
}

/** The rest that is known: the time to go, the computer, the time that it took. @param {Status} now */
export function moreOf(now) {
  const parts = [];
  if (now.eta_seconds !== null && now.eta_seconds >= 1) parts.push(`about ${inTime(now.eta_seconds)} to go`);
  if (now.state === "submitted" && !now.why_waiting) parts.push("no computer has taken it yet");
  if (now.started && now.finished) {
    parts.push(`took ${inSeconds((Date.parse(now.finished) - Date.parse(now.started)) / 1000)}`);
  }
  if (now.compute_source && (now.started || !ENDED.includes(now.state))) parts.push(`on ${now.compute_source}`);
  const line = parts.join(", ");
  const sentence = line && `${line[0].toUpperCase()}${line.slice(1)}.`;
  return [now.why_waiting && `No end is in sight: ${inPlainWords(now.why_waiting)}`, sentence]
    .filter(Boolean)
    .join(" ");
}

/** A sentence about an error. @param {unknown} error */
export function troubleOf(error) {
  if (!(error instanceof Unreachable || error instanceof Refused)) return "The page has a fault of its own.";
  return inPlainWords(error.message);
}

/** Why a ticket failed. @param {Status} now @returns {Problem} */
export function problemOf(now) {
  const problem = now.error ?? { type: "", title: "Failed", status: 0, detail: "The server does not say why." };
  return { ...problem, title: inPlainWords(problem.title), detail: inPlainWords(problem.detail) };
}

/** @param {Problem} problem */
export function makeFailure({ detail, errors = [] }) {
  const more = errors.filter((fault) => fault.detail !== detail);
  const list = more.length > 0 && make("ul", {}, ...more.map((fault) => make("li", {}, fault.detail)));
  return make("div", { class: "failure" }, make("p", {}, detail), list);
}
