/** The tickets that this browser keeps, as a list that can be searched. */

import { announce, make, redraw } from "./dom.js";
import { cohortPlace, ticketPlace } from "./links.js";
import { STATES } from "./states.js";
import { forgetAll, tickets } from "./store.js";
import { atTime, counted } from "./words.js";

/** @typedef {import("./store.js").KeptTicket} KeptTicket */

/** Make the list; `show` draws what is kept by now. */
export function makeTicketList() {
  const box = make("input", {
    type: "search",
    id: "search",
    autocomplete: "off",
    spellcheck: "false",
    oninput: onSearch,
  });
  const search = make("div", { class: "search" }, make("label", { for: "search" }, "Search"), box);
  const list = make("div");
  const element = make("div", { class: "kept" }, search, list);
  return { element, show };

  function show() {
    const known = tickets();
    const today = new Date().toDateString(); // the day of a ticket that was sent today is left out
    search.hidden = !known.length;
    redraw(list, [today, known, box.value], () => {
      if (!known.length) {
        return [
          make("p", { class: "hint" }, "None yet. The tickets that you send are listed here, in this browser only."),
        ];
      }
      const found = known.filter((ticket) => fits(ticket, box.value));
      return [
        found.length
          ? make("ul", { class: "tickets" }, ...found.map(ticketLine))
          : make("p", { class: "hint" }, "No ticket fits the search."),
        make("p", { class: "hint" }, "Kept in this browser only; the server has no list of yours."),
        make("button", { type: "button", class: "quiet", onclick: askAndForget }, "Forget them all"),
      ];
    });
  }

  function onSearch() {
    show();
    const found = tickets().filter((ticket) => fits(ticket, box.value));
    announce(`${counted(found.length, "ticket")} found.`);
  }

  function askAndForget() {
    if (!confirm("Forget all tickets in this browser? Their results can then be reached only with a saved link.")) {
      return;
    }
    forgetAll();
    box.value = "";
    show();
    /** @type {HTMLElement | null} */ (element.closest("main"))?.focus();
  }
}

/** Whether a line has each word of a search in it. @param {KeptTicket} ticket @param {string} text */
export function fits(ticket, text) {
  const line = [ticket.label, ticket.service, ticket.id, stateOf(ticket), atTime(ticket.created)]
    .join(" ")
    .toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => line.includes(word));
}

/** @param {KeptTicket} ticket */
function stateOf({ state }) {
  return STATES[state] ?? state;
}

/** @param {KeptTicket} ticket */
function ticketLine(ticket) {
  const numbered = `${ticket.service} ${ticket.id}`;
  return make(
    "li",
    {},
    make("a", { href: ticketPlace(ticket) }, ticket.label || numbered),
    make("span", { class: `state ${ticket.state}` }, stateOf(ticket)),
    ticket.label && make("span", { class: "hint" }, numbered),
    ticket.cohort && make("a", { class: "hint", href: cohortPlace(ticket.cohort) }, "Table"),
    make("time", { datetime: ticket.created }, atTime(ticket.created)),
  );
}
