/** A ticket: where it stands, until it has ended; then what came of it. */

import { cancel, isToken, Refused, status, Unreachable } from "./api.js";
import { announce, fill, make, redraw } from "./dom.js";
import { placeOf, ticketLink, ticketPlace } from "./links.js";
import { makeResult } from "./result.js";
import { ENDED } from "./states.js";
import { forget, isKept, keep, update } from "./store.js";
import { atTime, inSeconds, inTime } from "./words.js";

/** @typedef {import("./shapes.d.ts").Status} Status */
/** @typedef {import("./api.js").Reference} Reference */

const WAIT_SECONDS = 2; // for the next state; progress and position are looked at as often
const HIDDEN_SECONDS = 25; // likewise, while nobody sees the page
const SHORTEST_SECONDS = 1; // between two looks, when the server answers at once
const LONGEST_RETRY_SECONDS = 15;

/**
 * @param {Reference} ticket
 * @param {AbortSignal} signal ends it when another view is shown
 * @param {(service: string, problem: import("./shapes.d.ts").Problem) => void} onRefused shows the form with what was refused
 */
export function makeTicket(ticket, signal, onRefused) {
  const title = make("h1", {}, `Ticket ${ticket.id}`);
  const about = make("p", { class: "about" });
  const told = make("p", { class: "told" });
  const percent = make("p", { class: "percent" });
  const failure = make("div");
  const more = make("p", { class: "hint" });
  const bar = make("progress", { max: 1, "aria-label": "Progress" });
  const trouble = make("p", { class: "trouble", role: "status", hidden: true });
  const actions = make("div", { class: "actions" });
  const unsure = make("p", { class: "trouble", role: "status", hidden: true }); // of the last action
  const standing = make(
    "section",
    { class: "standing", "aria-label": "Where it stands" },
    make("div", { class: "apart" }, told, percent),
    bar,
    failure,
    more,
    actions,
    unsure,
    trouble,
  );
  const outcome = make("div", { class: "outcome" });
  const element = make(
    "div",
    { class: "ticket" },
    make("p", { class: "back" }, make("a", { href: "#/" }, "All services and tickets")),
    title,
    about,
    standing,
    outcome,
    makeLink(ticket),
  );
  let cancelAsked = false;
  let known = isKept(ticket);
  if (known) hideToken();
  bar.hidden = true;
  told.textContent = "Asking the server…";
  if (isToken(ticket.token)) void follow();
  else showUnknown("Its link holds no token.");
  return element;

  async function follow() {
    /** @type {string | undefined} */
    let state;
    let failures = 0;
    let waits = true; // a server may take shorter waits only
    while (!signal.aborted) {
      const began = performance.now();
      try {
        const waitSeconds = document.hidden ? HIDDEN_SECONDS : WAIT_SECONDS;
        const now = await status(ticket, state && waits ? { state, waitSeconds, signal } : { signal });
        failures = 0;
        trouble.hidden = true;
        show(now);
        if (ENDED.includes(now.state)) return;
        const passed = (performance.now() - began) / 1000;
        if (now.state === state && passed < SHORTEST_SECONDS) await rest(SHORTEST_SECONDS - passed);
        state = now.state;
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Refused && error.kind === "not-found") return showUnknown(error.message);
        if (error instanceof Refused && error.problem.status === 400 && waits) {
          waits = false;
          continue;
        }
        failures += 1;
        const seconds = Math.min(LONGEST_RETRY_SECONDS, 2 ** (failures - 1));
        trouble.textContent = `${troubleOf(error)} Your ticket is safe; asking again.`;
        trouble.hidden = false;
        await rest(seconds);
      }
    }
  }

  /** @param {Status} now */
  function show(now) {
    remember({ ...ticket, service: now.service, created: now.created, state: now.state });
    if (signal.aborted) return; // another view is shown
    title.textContent = now.service;
    document.title = `${now.service} ${now.id}: ${textOf(now)} – TOMAAT`;
    about.textContent = `Ticket ${now.id}, sent ${atTime(now.created)}`;
    told.textContent = textOf(now);
    more.textContent = moreOf(now);
    fill(failure, now.state === "failed" && makeFailure(problemOf(now)));
    const measured = now.progress !== null && now.state === "running";
    percent.textContent = measured ? `${Math.round(100 * (now.progress ?? 0))} %` : "";
    bar.hidden = ENDED.includes(now.state);
    if (ENDED.includes(now.state)) unsure.hidden = true;
    if (measured) bar.value = now.progress ?? 0;
    else bar.removeAttribute("value");
    standing.dataset.state = now.state;
    announce(`${now.service}: ${textOf(now)}`);
    showActions(now);
    if (now.state === "succeeded" && !outcome.hasChildNodes()) showResult(now);
  }

  /** Keep the ticket once: what is forgotten meanwhile stays forgotten. @param {import("./store.js").KeptTicket} now */
  function remember(now) {
    if (known) return update(now);
    keep(now);
    known = true;
    hideToken();
  }

  /** Where the store has the token, the address, and with it the browser's history, need not. */
  function hideToken() {
    const place = placeOf(location.hash);
    const here = place.view === "ticket" && place.id === ticket.id && place.token === ticket.token;
    if (here) history.replaceState(null, "", ticketPlace(ticket));
  }

  /** @param {Status} now */
  function showResult(now) {
    const hooks = {
      onDownload: (/** @type {HTMLElement} */ link) => {
        actions.querySelector("[download]")?.remove(); // of a first try
        actions.prepend(link);
      },
      onGone: (/** @type {string} */ why) => showGone(now, why),
    };
    fill(outcome, makeResult(ticket, now, signal, hooks));
  }

  /** @param {Status} now */
  function textOf(now) {
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

  /** @param {Status} now */
  function showActions(now) {
    redraw(actions, [ENDED.includes(now.state) ? now.state : "open", cancelAsked], () => actionsOf(now));
  }

  /** @param {Status} now */
  function actionsOf(now) {
    if (!ENDED.includes(now.state)) {
      const onclick = () => giveUp(now);
      const text = cancelAsked ? "Asked to stop" : "Cancel";
      return [make("button", { type: "button", disabled: cancelAsked, onclick }, text)];
    }
    if (now.state === "failed") {
      const onclick = () => onRefused(now.service, problemOf(now));
      return [make("button", { type: "button", class: "main", onclick }, "Back to the form"), deleteButton(now)];
    }
    const again = { class: "button", href: `#/services/${encodeURIComponent(now.service)}` };
    return [make("a", again, "Send another"), now.state === "succeeded" && deleteButton(now)];
  }

  /** @param {Status} now */
  function deleteButton(now) {
    return make("button", { type: "button", class: "quiet", onclick: () => giveUp(now) }, "Delete from the server");
  }

  /** @param {Status} now */
  async function giveUp(now) {
    const ended = ENDED.includes(now.state);
    if (ended && !confirm("Delete what was sent and the result from the server?")) return;
    unsure.hidden = true;
    try {
      const after = await cancel(ticket);
      cancelAsked = after.state === "running";
      if (ended) showGone(now, "Deleted from the server.");
      else show(after);
    } catch (error) {
      const done = ended ? "deleted" : "cancelled";
      const { status: answer = 0 } = error instanceof Refused ? error.problem : {};
      const refused = answer >= 400 && answer < 500; // else it may have been done
      unsure.textContent = `${troubleOf(error)} ${refused ? `It was not ${done}.` : `Whether it was ${done} is unknown.`}`;
      unsure.hidden = false;
    }
  }

  /** There is no result any more. @param {Status} now @param {string} why */
  function showGone(now, why) {
    update({ ...ticket, service: now.service, created: now.created, state: "expired" });
    if (signal.aborted) return;
    told.textContent = why;
    more.textContent = "";
    showActions({ ...now, state: "expired" });
    fill(outcome);
    announce(why);
  }

  /** @param {string} why */
  function showUnknown(why) {
    update({ ...ticket, state: "unknown" });
    told.textContent = "The server knows no such ticket.";
    more.textContent = `${why} It may have been forgotten after a long time, or the link is not whole.`;
    bar.hidden = true;
    standing.dataset.state = "failed";
    fill(actions, isKept(ticket) && make("button", { type: "button", onclick: leave }, "Forget it"));
  }

  function leave() {
    forget(ticket);
    location.hash = "#/";
  }

  /** @param {number} seconds */
  function rest(seconds) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve(undefined);
      };
      const timer = setTimeout(done, 1000 * seconds);
      signal.addEventListener("abort", done);
    });
  }
}

/** What else is known: when it will be done, where it runs, how long it took. @param {Status} now */
function moreOf(now) {
  const parts = [];
  if (now.eta_seconds !== null && now.eta_seconds >= 1) parts.push(`About ${inTime(now.eta_seconds)} to go`);
  if (now.state === "submitted") parts.push("No compute source took it yet");
  if (now.started && now.finished) {
    parts.push(`Took ${inSeconds((Date.parse(now.finished) - Date.parse(now.started)) / 1000)}`);
  }
  if (now.compute_source && (now.started || !ENDED.includes(now.state))) parts.push(`on ${now.compute_source}`);
  return parts.length ? `${parts.join(", ").replace(/^on/, "On")}.` : "";
}

/** @param {unknown} error */
function troubleOf(error) {
  return error instanceof Unreachable || error instanceof Refused ? error.message : "The page has a fault of its own.";
}

/** @param {Status} now @returns {import("./shapes.d.ts").Problem} */
function problemOf(now) {
  return now.error ?? { type: "", title: "Failed", status: 0, detail: "The server does not say why." };
}

/** Why a ticket failed. @param {import("./shapes.d.ts").Problem} problem */
function makeFailure({ detail, errors = [] }) {
  const more = errors.filter((fault) => fault.detail !== detail);
  const list = more.length > 0 && make("ul", {}, ...more.map((fault) => make("li", {}, fault.detail)));
  return make("div", { class: "failure" }, make("p", {}, detail), list);
}

/** A link that another browser can open; its token stands behind the #. @param {Reference} ticket */
function makeLink(ticket) {
  const address = new URL(ticketLink(ticket), location.href).href;
  const box = make("input", {
    type: "text",
    id: "link",
    readonly: true,
    value: address,
    "aria-describedby": "link-hint",
    onfocus: () => box.select(),
  });
  const copy = navigator.clipboard && make("button", { type: "button", onclick: copied }, "Copy");
  async function copied() {
    await navigator.clipboard.writeText(address);
    announce("The link is copied.");
    if (copy) copy.textContent = "Copied";
  }
  return make(
    "details",
    { class: "link" },
    make("summary", {}, "Link to this ticket"),
    make("label", { for: "link" }, "Address"),
    make("div", { class: "beside" }, box, copy),
    make("p", { class: "hint", id: "link-hint" }, "Whoever has it can see the ticket, fetch its result and cancel it."),
  );
}
