/** Notifications of the browser when a ticket ends, where somebody asked for them. They tell its service and state, and no more. */

import { make } from "./dom.js";
import { cohortPlace, ticketPlace } from "./links.js";
import { isBeingSent } from "./send-many.js";
import { isOpen, STATES } from "./states.js";
import { asksForNotices, keepNotices, onEnd, tickets } from "./store.js";
import { counted } from "./words.js";

const ABLE = "Notification" in globalThis && isSecureContext; // no browser has them over http, but from its own computer
const HINT = "By a notification with its service and state, as long as this page is open in a tab.";
const FORBIDDEN = "This browser does not allow it: let this page show notifications in the browser's settings.";

/** Whether tickets are to be looked at while nobody sees the page. */
export function noticesWanted() {
  return ABLE && Notification.permission === "granted" && asksForNotices();
}

/** A box to ask for them; `update` shows what was asked for elsewhere. Where the browser has none, the box is hidden. */
export function makeNoticeBox() {
  const box = make("input", { type: "checkbox", onchange: () => void ask() });
  const told = make("p", { class: "hint", role: "status" }, HINT);
  const element = make(
    "div",
    { class: "notices", hidden: !ABLE },
    make("label", {}, box, "Tell me when a ticket ends"),
    told,
  );
  const update = () => {
    box.checked = noticesWanted();
  };
  async function ask() {
    const allowed = !box.checked || (await Notification.requestPermission()) === "granted";
    keepNotices(box.checked && allowed);
    told.textContent = allowed ? HINT : FORBIDDEN;
    update();
  }
  update();
  return { element, update };
}

onEnd((ticket) => (ticket.cohort ? tellCohort(ticket.cohort) : tell(ofTicket(ticket))));

/** Tell the end of a cohort, once all of it was sent and none of its tickets is on its way. @param {string} cohort */
export function tellCohort(cohort) {
  const members = tickets().filter((each) => each.cohort === cohort);
  if (isBeingSent(cohort) || !members.length || members.some(isOpen)) return;
  const title = `${members[0].service}: All ended`;
  tell({ title, body: counted(members.length, "ticket"), tag: `tomaat-${cohort}`, place: cohortPlace(cohort) });
}

/** @param {{title: string, body: string, tag: string, place: string}} told */
function tell(told) {
  if (!noticesWanted() || (!document.hidden && document.hasFocus())) return; // the page itself tells it
  try {
    const notice = new Notification(told.title, { body: told.body, tag: told.tag });
    notice.onclick = () => {
      window.focus();
      location.hash = told.place;
      notice.close();
    };
  } catch {
    // Chrome on Android takes them from a service worker only
  }
}

/** What is told of a ticket; of two tabs the later one replaces the first by its tag. @param {import("./store.js").KeptTicket} ticket */
function ofTicket(ticket) {
  const { id, service, state } = ticket;
  return {
    title: `${service}: ${STATES[state]}`,
    body: `Ticket ${id}`,
    tag: `tomaat-${id}`,
    place: ticketPlace(ticket),
  };
}
