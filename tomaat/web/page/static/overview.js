/** The first view: every service, and the tickets that this browser keeps. */

import { fill, make, redraw } from "./dom.js";
import { ticketPlace } from "./links.js";
import { makeNoticeBox } from "./notices.js";
import { STATES } from "./states.js";
import { forgetAll, tickets } from "./store.js";
import { atTime, counted, inPlainWords, inTime } from "./words.js";

/** @typedef {import("./shapes.d.ts").Service} Service */

const UPLOADS = { sending: "Being sent", failed: "Not sent; the form says why" };

/** Make the view; the functions beside it fill it. */
export function makeOverview() {
  const lists = make("div", {}, make("p", { class: "hint" }, "Asking the server…"));
  const trouble = make("p", { class: "trouble", role: "status", hidden: true });
  const uploads = make("div");
  const kept = make("div", { class: "kept" });
  const notices = makeNoticeBox();
  const element = make(
    "div",
    { class: "overview" },
    make("section", { "aria-labelledby": "services" }, make("h1", { id: "services" }, "Services"), trouble, lists),
    make(
      "section",
      { "aria-labelledby": "tickets" },
      make("h2", { id: "tickets" }, "Your tickets"),
      uploads,
      kept,
      notices.element,
    ),
  );
  /** Each service's state in the list. @type {Map<string, HTMLElement>} */
  let states = new Map();
  return {
    element,
    /** @param {Service[] | null} services @param {string} fault */
    showServices(services, fault) {
      trouble.textContent = fault;
      trouble.hidden = !fault;
      if (!services) return;
      const lines = services.map(({ name, description, intended_use, trial }) => [
        name,
        description,
        intended_use,
        trial,
      ]);
      redraw(lists, lines, () => {
        states = new Map(services.map(({ name }) => [name, make("div")]));
        return makeLists(services, states);
      });
      for (const service of services) fill(/** @type {Element} */ (states.get(service.name)), serviceState(service));
    },
    /** @param {{name: string, upload: import("./form.js").Upload}[]} standing of each service's form */
    showUploads(standing) {
      const lines = standing.map(
        ({ name, upload }) =>
          upload && make("li", {}, formLink(name), make("span", { class: `state ${upload}` }, UPLOADS[upload])),
      );
      fill(uploads, lines.some(Boolean) && make("ul", { class: "tickets" }, ...lines));
    },
    showTickets() {
      showTickets(kept);
      notices.update();
    },
  };
}

/** Whether a service is live, and how long its queue is now. @param {Service} service */
export function serviceText({ available, why_unavailable: why, waiting, wait_seconds: seconds }) {
  if (!available) {
    const reason = why ? inPlainWords(why) : "The computer for it is away or paused.";
    return `Not live. ${reason} Tickets wait, and fail if that lasts too long`;
  }
  if (waiting === null || seconds === null) return "Live";
  const expected = seconds >= 1 ? `, about ${inTime(seconds)}` : "";
  if (waiting === 0) return seconds >= 1 ? `Live, next in line${expected}` : "Live, nobody waits";
  return `Live, ${counted(waiting, "ticket")} before yours${expected}`;
}

/** @param {Service} service */
export function serviceState(service) {
  return make("p", { class: service.available ? "state live" : "state away" }, serviceText(service));
}

/** @param {string} name */
function formLink(name) {
  return make("a", { href: `#/services/${encodeURIComponent(name)}` }, name);
}

/** Services for people, and below them those that are only to try with. @param {Service[]} services @param {Map<string, HTMLElement>} states */
function makeLists(services, states) {
  if (!services.length) return [make("p", { class: "hint" }, "No service is offered yet.")];
  const [trials, others] = [true, false].map((trial) => services.filter((service) => service.trial === trial));
  const list = (/** @type {Service[]} */ some) =>
    some.length > 0 &&
    make("ul", { class: "services" }, ...some.map((service) => serviceLine(service, states.get(service.name))));
  return [list(others), trials.length > 0 && make("h2", { class: "trials" }, "To try this server with"), list(trials)];
}

/** @param {Service} service @param {HTMLElement | undefined} state */
function serviceLine({ name, description, intended_use }, state) {
  const use = intended_use && make("p", { class: "use" }, intended_use);
  return make("li", { class: "card" }, make("h2", {}, formLink(name)), make("p", {}, description), use, state);
}

/** @param {HTMLElement} kept */
function showTickets(kept) {
  const known = tickets();
  const today = new Date().toDateString(); // the day of a ticket that was sent today is left out
  redraw(kept, [today, known], () => {
    if (!known.length) {
      return [
        make("p", { class: "hint" }, "None yet. The tickets that you send are listed here, in this browser only."),
      ];
    }
    return [
      make("ul", { class: "tickets" }, ...known.map(ticketLine)),
      make("p", { class: "hint" }, "Kept in this browser only; the server has no list of yours."),
      make("button", { type: "button", class: "quiet", onclick: askAndForget }, "Forget them all"),
    ];
  });
  function askAndForget() {
    if (!confirm("Forget all tickets in this browser? Their results can then be reached only with a saved link.")) {
      return;
    }
    forgetAll();
    showTickets(kept);
    kept.closest("main")?.focus();
  }
}

/** @param {import("./store.js").KeptTicket} ticket */
function ticketLine(ticket) {
  return make(
    "li",
    {},
    make("a", { href: ticketPlace(ticket) }, `${ticket.service} ${ticket.id}`),
    make("span", { class: `state ${ticket.state}` }, STATES[ticket.state] ?? ticket.state),
    make("time", { datetime: ticket.created }, atTime(ticket.created)),
  );
}
