/** Notifications of the browser when a ticket ends, where somebody asked for them. They tell its service and state, and no more. */

import { make } from "./dom.js";
import { ticketPlace } from "./links.js";
import { STATES } from "./states.js";
import { asksForNotices, keepNotices, onEnd } from "./store.js";

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

onEnd((ticket) => {
  if (!noticesWanted() || (!document.hidden && document.hasFocus())) return; // the page itself tells it
  try {
    const options = { body: `Ticket ${ticket.id}`, tag: `tomaat-${ticket.id}` }; // of two tabs the later one replaces the first
    const notice = new Notification(`${ticket.service}: ${STATES[ticket.state]}`, options);
    notice.onclick = () => {
      window.focus();
      location.hash = ticketPlace(ticket);
      notice.close();
    };
  } catch {
    // Chrome on Android takes them from a service worker only
  }
});
