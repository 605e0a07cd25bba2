/** A ticket: where it stands, until it has ended; then its result. */

import { cancel, isToken, Refused } from "./api.js";
import { announce, fill, make, redraw } from "./dom.js";
import { follow } from "./follow.js";
import { placeOf, ticketLink, ticketPlace } from "./links.js";
import { makeNoticeBox } from "./notices.js";
import { makeResult } from "./result.js";
import { ENDED } from "./states.js";
import { forget, forgetSent, isKept, keep, update } from "./store.js";
import { makeFailure, moreOf, problemOf, textOf, troubleOf } from "./ticket-texts.js";
import { atTime } from "./words.js";

/** @typedef {import("./shapes.d.ts").Status} Status */
/** @typedef {import("./api.js").Reference} Reference */
/** @typedef {(service: string, problem: import("./shapes.d.ts").Problem) => void} OnRefused */

/** The view of one ticket. */
export class TicketView {
  /**
   * @param {Reference} ticket
   * @param {AbortSignal} signal ends it when another view is shown
   * @param {OnRefused} onRefused shows the form with the refusal
   */
  constructor(ticket, signal, onRefused) {
    this.ticket = ticket;
    this.signal = signal;
    this.onRefused = onRefused;
    this.parts = makeParts(ticket);
    this.cancelAsked = false;
    this.known = isKept(ticket);
  }

  /** Follow the ticket, and give the element that shows it. */
  start() {
    if (this.known) this.hideToken();
    if (isToken(this.ticket.token)) {
      void follow(this.ticket, this.signal, {
        onStatus: (now) => this.show(now),
        onTrouble: (error) => showText(this.parts.trouble, `${troubleOf(error)} Your ticket is safe; asking again.`),
        onUnknown: (error) => this.showUnknown(troubleOf(error)),
      });
    } else {
      this.showUnknown("Its link holds no access code.");
    }
    return this.parts.element;
  }

  /** @param {Status} now */
  show(now) {
    const { title, about, told, percent, failure, more, bar, trouble, unsure, notices, standing } = this.parts;
    const text = textOf(now, this.cancelAsked);
    const ended = ENDED.includes(now.state);
    trouble.hidden = true;
    this.remember({ ...this.ticket, label: now.label, service: now.service, created: now.created, state: now.state });
    if (this.signal.aborted) return; // another view is shown
    title.textContent = now.service;
    document.title = `${now.service} ${now.id}: ${text} – TOMAAT`;
    about.textContent = aboutOf(now);
    told.textContent = text;
    more.textContent = moreOf(now);
    fill(failure, now.state === "failed" && makeFailure(problemOf(now)));
    const measured = now.progress !== null && now.state === "running";
    percent.textContent = measured ? `${Math.round(100 * (now.progress ?? 0))} %` : "";
    bar.hidden = ended;
    if (ended) notices.remove();
    if (ended) unsure.hidden = true;
    if (measured) bar.value = now.progress ?? 0;
    else bar.removeAttribute("value");
    standing.dataset.state = now.state;
    announce(`${now.service}: ${text}`);
    this.showActions(now);
    if (now.state === "succeeded") this.showResult(now);
  }

  /** Keep the ticket once: if it is forgotten meanwhile, it stays forgotten. @param {import("./store.js").KeptTicket} now */
  remember(now) {
    if (this.known) return update(now);
    keep(now);
    this.known = true;
    this.hideToken();
  }

  /** Where the store has the token, the address, and with it the browser's history, need not. */
  hideToken() {
    const { id, token } = this.ticket;
    const place = placeOf(location.hash);
    const here = place.view === "ticket" && place.id === id && place.token === token;
    if (here) history.replaceState(null, "", ticketPlace(this.ticket));
  }

  /** Show the result, where it is not shown yet. @param {Status} now */
  showResult(now) {
    const { actions, outcome } = this.parts;
    if (outcome.hasChildNodes()) return;
    const hooks = {
      onDownload: (/** @type {HTMLElement} */ link) => {
        actions.querySelector("[download]")?.remove(); // of a first try
        actions.prepend(link);
      },
      onGone: (/** @type {string} */ why) => this.showGone(now, why),
    };
    fill(outcome, makeResult(this.ticket, now, this.signal, hooks));
  }

  /** @param {Status} now */
  showActions(now) {
    const state = ENDED.includes(now.state) ? now.state : "open";
    redraw(this.parts.actions, [state, this.cancelAsked], () => this.actionsOf(now));
  }

  /** @param {Status} now */
  actionsOf(now) {
    const giveUp = () => this.giveUp(now);
    const deleting = () =>
      make("button", { type: "button", class: "quiet", onclick: giveUp }, "Delete from the server");
    if (!ENDED.includes(now.state)) {
      const text = this.cancelAsked ? "Asked to stop" : "Cancel";
      return [make("button", { type: "button", disabled: this.cancelAsked, onclick: giveUp }, text)];
    }
    if (now.state === "failed") {
      const onclick = () => this.onRefused(now.service, problemOf(now));
      return [make("button", { type: "button", class: "main", onclick }, "Back to the form"), deleting()];
    }
    const again = { class: "button", href: `#/services/${encodeURIComponent(now.service)}` };
    return [make("a", again, "Send another"), now.state === "succeeded" && deleting()];
  }

  /** Cancel the ticket, or delete one that has ended. @param {Status} now */
  async giveUp(now) {
    const ended = ENDED.includes(now.state);
    if (ended && !confirm("Delete what was sent and the result from the server?")) return;
    this.parts.unsure.hidden = true;
    try {
      const after = await cancel(this.ticket);
      this.cancelAsked = after.state === "running";
      if (ended) forgetSent(this.ticket);
      if (ended) this.showGone(now, "Deleted from the server.");
      else this.show(after);
    } catch (error) {
      const done = ended ? "deleted" : "cancelled";
      const { status: answer = 0 } = error instanceof Refused ? error.problem : {};
      const refused = answer >= 400 && answer < 500; // else it may have been done
      const outcome = refused ? `It was not ${done}.` : `Whether it was ${done} is unknown.`;
      showText(this.parts.unsure, `${troubleOf(error)} ${outcome}`);
    }
  }

  /** Say that there is no result any more. @param {Status} now @param {string} why */
  showGone(now, why) {
    const { about, told, more, outcome } = this.parts;
    update({ ...this.ticket, label: null, service: now.service, created: now.created, state: "expired" });
    if (this.signal.aborted) return;
    about.textContent = aboutOf({ ...now, label: null });
    told.textContent = why;
    more.textContent = "";
    this.showActions({ ...now, state: "expired" });
    fill(outcome);
    announce(why);
  }

  /** @param {string} why */
  showUnknown(why) {
    const { told, more, bar, notices, standing, actions } = this.parts;
    update({ ...this.ticket, state: "unknown" });
    told.textContent = "The server knows no such ticket.";
    more.textContent = `${why} It may have been forgotten after a long time, or the link is not whole.`;
    bar.hidden = true;
    notices.remove();
    standing.dataset.state = "failed";
    const leave = () => {
      forget(this.ticket);
      location.hash = "#/";
    };
    fill(actions, isKept(this.ticket) && make("button", { type: "button", onclick: leave }, "Forget it"));
  }
}

/** The elements of the view, before anything is known. @param {Reference} ticket */
function makeParts(ticket) {
  const title = make("h1", {}, `Ticket ${ticket.id}`);
  const about = make("p", { class: "about" });
  const told = make("p", { class: "told" }, "Asking the server…");
  const percent = make("p", { class: "percent" });
  const failure = make("div");
  const more = make("p", { class: "hint" });
  const bar = make("progress", { max: 1, "aria-label": "Progress", hidden: true });
  const trouble = make("p", { class: "trouble", role: "status", hidden: true });
  const actions = make("div", { class: "actions" });
  const unsure = make("p", { class: "trouble", role: "status", hidden: true }); // of the last action
  const notices = makeNoticeBox().element;
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
    notices,
  );
  const outcome = make("div", { class: "outcome" });
  const back = make("p", { class: "back" }, make("a", { href: "#/" }, "All services and tickets"));
  const element = make("div", { class: "ticket" }, back, title, about, standing, outcome, makeLink(ticket));
  return {
    ...{ element, title, about, standing, told, percent, failure, more },
    ...{ bar, trouble, actions, unsure, notices, outcome },
  };
}

/** @param {Status} now */
function aboutOf({ id, created, label }) {
  return `Ticket ${id}, sent ${atTime(created)}${label ? `: ${label}` : ""}`;
}

/** @param {HTMLElement} element @param {string} text */
function showText(element, text) {
  element.textContent = text;
  element.hidden = false;
}

/** A link that another browser can open; the access code, which the API calls token, stands behind the #. @param {Reference} ticket */
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
    make(
      "p",
      { class: "hint", id: "link-hint" },
      "Anybody who has it can see the ticket and the volumes that were sent, fetch its result and cancel it.",
    ),
  );
}
