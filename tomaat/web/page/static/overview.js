/** The first view: every service, and the tickets that this browser keeps. */

import { fill, make, redraw } from "./dom.js";
import { makeNoticeBox } from "./notices.js";
import { makeTicketList } from "./ticket-list.js";
import { counted, inPlainWords, inTime } from "./words.js";

/** @typedef {import("./shapes.d.ts").Service} Service */

const UPLOADS = { sending: "Being sent", failed: "Not sent; the form says why" };

/** Make the view; the functions beside it fill it. */
export function makeOverview() {
  const lists = make("div", {}, make("p", { class: "hint" }, "Asking the server…"));
  const trouble = make("p", { class: "trouble", role: "status", hidden: true });
  const uploads = make("div");
  const kept = makeTicketList();
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
      kept.element,
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
      kept.show();
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
  return `Live, ${counted(waiting, "ticket")} ${waiting === 1 ? "waits" : "wait"}${expected}; yours takes its turn`;
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
