/** The operators' view: the sources, the tickets that run and wait, the last day, the newest tickets. */

import { make, redraw } from "./dom.js";
import { makePlots } from "./queues-plots.js";
import { makeSources } from "./queues-sources.js";
import { makeTable, ticketColumns } from "./queues-table.js";
import { counted, inDigits } from "./words.js";

/** @typedef {import("./shapes.d.ts").Queues} Queues */
/** @typedef {{service: string, upTo: string}} Chosen the service of the hours, and the newest ticket; empty: all */

/**
 * @typedef {object} Acts
 * @property {(name: string, drained: boolean) => Promise<void>} setDrained
 * @property {(id: number) => Promise<void>} cancel
 * @property {(id: number) => Promise<void>} runAgain
 * @property {(id: number) => Promise<void>} toFront
 * @property {(change: Partial<Chosen>) => void} choose
 */

const JUST_SECONDS = 5; // after which a ticket without a queue is not only on the way to one
const RUNNING = ["ticket", "service", "source", "progress", "since", "priority", "key", "actions"];
const WAITING = ["ticket", "service", "queue", "created", "priority", "key", "actions"];
const NEWEST = ["ticket", "service", "state", "source", "created", "wait", "duration", "key", "actions"];

export class QueuesView {
  /** @param {Acts} acts */
  constructor(acts) {
    this.choose = acts.choose;
    this.trouble = make("p", { class: "trouble", role: "status", hidden: true });
    this.noted = make("p", { class: "noted", role: "status", hidden: true });
    this.sources = makeSources(acts.setDrained);
    this.running = makeTable("Running", ticketColumns(acts, RUNNING), "Nothing runs.");
    this.waiting = makeTable("Waiting", ticketColumns(acts, WAITING), "Nothing waits.");
    this.more = make("p", { class: "hint" });
    this.plots = makePlots();
    this.service = make(
      "select",
      { id: "service", onchange: () => this.choose({ service: this.service.value }) },
      make("option", { value: "" }, "All services"),
    );
    this.newest = makeTable("Newest tickets", ticketColumns(acts, NEWEST), "No ticket yet.");
    this.upTo = make("input", {
      ...{ id: "up-to", type: "text", inputmode: "numeric", pattern: "[1-9][0-9]{0,17}", autocomplete: "off" },
    });
    this.older = make("button", { type: "button", onclick: () => this.go(String(this.last - 1)) }, "Older");
    this.back = make("button", { type: "button", onclick: () => this.go("") }, "Newest");
    this.last = 0; // the number of the oldest ticket that is shown
    this.element = this.layOut();
  }

  layOut() {
    const onsubmit = (/** @type {SubmitEvent} */ event) => this.find(event);
    const finding = make(
      "form",
      { class: "finding", onsubmit, novalidate: true },
      make("label", { for: "up-to" }, "Up to ticket"),
      this.upTo,
      make("button", { type: "submit" }, "Show"),
    );
    const choosing = make(
      "div",
      { class: "choosing-service" },
      make("label", { for: "service" }, "Service"),
      this.service,
    );
    return make(
      "div",
      { class: "queues" },
      make("h1", {}, "Queues"),
      this.trouble,
      this.noted,
      section(makeTitle("sources", "Compute sources"), this.sources.element),
      section(makeTitle("runs", "Running"), this.running.element),
      section(makeTitle("waits", "Waiting"), this.waiting.element, this.more),
      section(makeTitle("day", "The last day", choosing), make("div", { class: "days" }, ...this.plots.elements)),
      section(
        makeTitle("newest", "Newest tickets", finding),
        this.newest.element,
        make("div", { class: "actions turning" }, this.older, this.back),
      ),
    );
  }

  /** Tell a fault, until the queues are shown again. @param {string} text */
  tell(text) {
    this.trouble.textContent = text;
    this.trouble.hidden = false;
  }

  /** Tell the outcome of an operator's act. @param {string} text @param {boolean} fault */
  note(text, fault) {
    this.noted.textContent = text;
    this.noted.classList.toggle("refused", fault);
    this.noted.hidden = false;
  }

  /** @param {Queues} seen @param {Chosen} chosen */
  show(seen, chosen) {
    this.trouble.hidden = true;
    this.sources.show(seen);
    this.running.show(seen.running, seen.now);
    this.waiting.show(seen.waiting, seen.now);
    const waits = seen.unqueued + seen.sources.reduce((all, source) => all + source.waiting, 0);
    this.more.textContent = waits
      ? `${counted(waits, "ticket")} ${waits === 1 ? "waits" : "wait"}.${unqueuedText(seen)}`
      : "";
    this.more.hidden = !waits;
    redraw(this.service, seen.services, () =>
      ["", ...seen.services].map((name) =>
        make("option", { value: name, selected: name === chosen.service }, name || "All services"),
      ),
    );
    this.plots.show(seen.hours, seen.now);
    this.newest.show(seen.tickets, seen.now);
    this.last = seen.tickets.at(-1)?.id ?? 0;
    this.older.hidden = this.last <= 1;
    this.back.hidden = !chosen.upTo;
  }

  /** @param {SubmitEvent} event */
  find(event) {
    event.preventDefault();
    if (this.upTo.checkValidity()) this.go(this.upTo.value);
    else this.note(`${this.upTo.value}: write the number of a ticket.`, true);
  }

  /** @param {string} number of the newest ticket to be shown, or nothing */
  go(number) {
    this.upTo.value = number;
    this.choose({ upTo: number });
  }
}

/** Why tickets have no queue, where the oldest of them has been there for a moment. @param {Queues} seen */
function unqueuedText({ unqueued, waiting, now, manager_live: managed }) {
  const oldest = waiting.find((ticket) => ticket.compute_source === null);
  if (!oldest || Date.parse(now) - Date.parse(oldest.created) < 1000 * JUST_SECONDS) return "";
  const [who, what] = unqueued === 1 ? ["One has", "it"] : [`${inDigits(unqueued)} have`, "them"];
  const why = managed ? `no source that can run ${what} takes tickets now` : "no QueueManager is alive";
  return ` ${who} no queue yet: ${why}.`;
}

/** A section's title, with its controls beside it. @param {string} id @param {string} text @param {HTMLElement} [controls] */
function makeTitle(id, text, controls) {
  const title = make("h2", { id }, text);
  return { id, element: controls ? make("div", { class: "heading" }, title, controls) : title };
}

/** @param {{id: string, element: HTMLElement}} title @param {...HTMLElement} children */
function section(title, ...children) {
  return make("section", { "aria-labelledby": title.id }, title.element, ...children);
}
