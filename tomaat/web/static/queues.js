/** The operator's page: all sources, what runs and waits, the last day, the newest tickets, and what is done to them. */

import { isKey, NO_KEY, Refused } from "./api.js";
import { fill, make, redraw } from "./dom.js";
import { act, queues } from "./queues-api.js";
import { makePlots } from "./queues-plots.js";
import { makeTable, ticketColumns } from "./queues-table.js";
import { makeSources } from "./queues-sources.js";
import { apiKey, keepApiKey } from "./store.js";
import { counted, inDigits } from "./words.js";

/** @typedef {import("./shapes.d.ts").Queues} Queues */

const REFRESH_SECONDS = 3;
const JUST_SECONDS = 5; // after which who has no queue is not only on the way to one
const KEPT_OUT = ["key-needed", "operator-needed"];
const main = /** @type {HTMLElement} */ (document.querySelector("#main"));
const corner = /** @type {HTMLElement} */ (document.querySelector("#operator"));

/** Whether to look at once, also where one looks just now: what comes of that may be from before. */
let due = false;
/** Ends the loop's rest. */
let wake = () => {};
/** What is asked for beside what is always shown; another object with each choice. */
let chosen = { service: "", upTo: "" };
/** Grows with each key, so that an answer to a forgotten one is not shown. */
let session = 0;

/** @type {ReturnType<typeof makeView>} */
const view = makeView();
if (!isKey(apiKey())) leave(NO_KEY);
else if (apiKey()) enter();
else askForKey("");
void run();

/** @param {string} fault */
function askForKey(fault) {
  const field = /** @type {HTMLInputElement} */ (
    make("input", {
      ...{ id: "key", type: "password", autocomplete: "off", spellcheck: "false", required: true },
      ...{ "aria-describedby": "key-about key-fault", "aria-invalid": fault ? "true" : null },
    })
  );
  const form = make(
    "form",
    { class: "standing", autocomplete: "off", onsubmit },
    make(
      "div",
      { class: "field" },
      make("label", { for: "key" }, "An operator's API key"),
      make("p", { class: "about", id: "key-about" }, "It is kept in this tab only, until it is closed."),
      field,
      make("p", { class: "fault", id: "key-fault", role: "alert" }, fault),
    ),
    make("button", { class: "main", type: "submit" }, "Show the queues"),
  );
  fill(corner);
  fill(main, make("h1", {}, "Queues"), form);
  field.focus();

  /** @param {SubmitEvent} event */
  function onsubmit(event) {
    event.preventDefault();
    const key = field.value.trim();
    if (!isKey(key)) return askForKey(NO_KEY);
    keepApiKey(key);
    if (apiKey()) enter();
  }
}

function enter() {
  session += 1;
  const forgetting = make("button", { type: "button", class: "quiet", onclick: () => leave("") }, "Forget the key");
  fill(corner, forgetting);
  fill(main, make("h1", {}, "Queues"), make("p", { class: "told" }, "Asking the server…"));
  look();
}

/** @param {string} fault */
function leave(fault) {
  session += 1;
  keepApiKey("");
  askForKey(fault);
}

function look() {
  due = true;
  wake();
}

async function run() {
  for (;;) {
    if (document.hidden) {
      await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
    }
    due = false;
    if (apiKey()) await refresh();
    if (due) continue;
    await new Promise((resolve) => {
      wake = () => resolve(null);
      setTimeout(resolve, 1000 * REFRESH_SECONDS);
    });
  }
}

async function refresh() {
  const [asked, wanted] = [session, chosen];
  const isLate = () => asked !== session || wanted !== chosen;
  try {
    const seen = await queues(apiKey(), chosen);
    if (!isLate()) {
      view.show(seen);
      if (!view.element.isConnected) {
        fill(main, view.element);
        main.focus({ preventScroll: true });
      }
    }
  } catch (error) {
    if (isLate()) return;
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof Refused && KEPT_OUT.includes(error.kind)) leave(message);
    else if (view.element.isConnected) view.tell(`${message} Asking again.`);
    else fill(main, make("h1", {}, "Queues"), make("p", { class: "trouble" }, `${message} Asking again.`));
  }
}

/**
 * Do something, tell what came of it, and look at once.
 * @param {"drain" | "resume" | "cancel" | "run-again"} what
 * @param {any} body
 * @param {(answer: any) => string} told
 */
async function doAndTell(what, body, told) {
  try {
    view.note(told(await act(apiKey(), what, body)), false);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof Refused && KEPT_OUT.includes(error.kind)) leave(message);
    else view.note(message, true);
  }
  look();
}

/** Why tickets have no queue, where the oldest of them has been there for a moment. @param {Queues} seen */
function unqueuedText({ unqueued, waiting, now, manager_live: managed }) {
  const oldest = waiting.find((ticket) => ticket.compute_source === null);
  if (!oldest || Date.parse(now) - Date.parse(oldest.created) < 1000 * JUST_SECONDS) return "";
  const [who, what] = unqueued === 1 ? ["One has", "it"] : [`${inDigits(unqueued)} have`, "them"];
  const why = managed ? `no source that can run ${what} takes tickets now` : "no QueueManager is alive";
  return ` ${who} no queue yet: ${why}.`;
}

function makeView() {
  const trouble = make("p", { class: "trouble", role: "status", hidden: true });
  const noted = make("p", { class: "noted", role: "status", hidden: true });
  const sources = makeSources((name, drained) =>
    doAndTell(drained ? "drain" : "resume", { source: name }, () =>
      drained
        ? `${name} is drained: it finishes what it runs, and claims nothing more.`
        : `${name} is resumed: it takes tickets again.`,
    ),
  );
  const actions = {
    /** @param {number} id */
    cancel: (id) => {
      if (!confirm(`Cancel ticket ${id}? Its client gets no result; its input is kept, so that it can be run again.`)) {
        return undefined;
      }
      return doAndTell("cancel", { ticket: id }, (answer) =>
        answer.state === "cancelled" ? `Ticket ${id} is cancelled.` : `Ticket ${id} is asked to stop.`,
      );
    },
    /** @param {number} id */
    runAgain: (id) =>
      doAndTell(
        "run-again",
        { ticket: id },
        (answer) =>
          `Ticket ${id} runs again as ticket ${answer.id}. Tell its client this number: the token stays the same.`,
      ),
  };
  const running = makeTable(
    "What runs",
    ticketColumns(actions, ["ticket", "service", "source", "progress", "since", "key", "actions"]),
    "Nothing runs.",
  );
  const waiting = makeTable(
    "What waits",
    ticketColumns(actions, ["ticket", "service", "queue", "created", "key", "actions"]),
    "Nothing waits.",
  );
  const more = make("p", { class: "hint" });
  const newest = makeTable(
    "Newest tickets",
    ticketColumns(actions, ["ticket", "service", "state", "source", "created", "wait", "duration", "key", "actions"]),
    "No ticket yet.",
  );
  const plots = makePlots();
  const older = make("button", { type: "button", onclick: () => go(String(Number(last) - 1)) }, "Older");
  const back = make("button", { type: "button", onclick: () => go("") }, "Newest");
  let last = 0;

  const service = make(
    "select",
    { id: "service", onchange: () => choose({ service: service.value }) },
    make("option", { value: "" }, "All services"),
  );
  const upTo = /** @type {HTMLInputElement} */ (
    make("input", { id: "up-to", type: "text", inputmode: "numeric", pattern: "[1-9][0-9]{0,17}", autocomplete: "off" })
  );
  const finding = make(
    "form",
    { class: "finding", onsubmit: find, novalidate: true },
    make("label", { for: "up-to" }, "Up to ticket"),
    upTo,
    make("button", { type: "submit" }, "Show"),
  );
  const element = make(
    "div",
    { class: "queues" },
    make("h1", {}, "Queues"),
    trouble,
    noted,
    make(
      "section",
      { "aria-labelledby": "sources" },
      make("h2", { id: "sources" }, "Compute sources"),
      sources.element,
    ),
    make("section", { "aria-labelledby": "runs" }, make("h2", { id: "runs" }, "What runs"), running.element),
    make("section", { "aria-labelledby": "waits" }, make("h2", { id: "waits" }, "What waits"), waiting.element, more),
    make(
      "section",
      { "aria-labelledby": "day" },
      make(
        "div",
        { class: "heading" },
        make("h2", { id: "day" }, "The last day"),
        make("div", { class: "choosing-service" }, make("label", { for: "service" }, "Service"), service),
      ),
      make("div", { class: "days" }, ...plots.elements),
    ),
    make(
      "section",
      { "aria-labelledby": "newest" },
      make("div", { class: "heading" }, make("h2", { id: "newest" }, "Newest tickets"), finding),
      newest.element,
      make("div", { class: "actions turning" }, older, back),
    ),
  );

  /** @param {SubmitEvent} event */
  function find(event) {
    event.preventDefault();
    if (upTo.checkValidity()) go(upTo.value);
    else view.note(`${upTo.value}: write the number of a ticket.`, true);
  }

  /** @param {string} number of the newest ticket to be shown, or nothing */
  function go(number) {
    upTo.value = number;
    choose({ upTo: number });
  }

  /** @param {Partial<typeof chosen>} change */
  function choose(change) {
    chosen = { ...chosen, ...change };
    look();
  }

  return {
    element,
    /** @param {string} text */
    tell(text) {
      trouble.textContent = text;
      trouble.hidden = false;
    },
    /** @param {string} text @param {boolean} fault */
    note(text, fault) {
      noted.textContent = text;
      noted.classList.toggle("refused", fault);
      noted.hidden = false;
    },
    /** @param {Queues} seen */
    show(seen) {
      trouble.hidden = true;
      sources.show(seen);
      running.show(seen.running, seen.now);
      waiting.show(seen.waiting, seen.now);
      const waits = seen.unqueued + seen.sources.reduce((all, source) => all + source.waiting, 0);
      more.textContent = waits
        ? `${counted(waits, "ticket")} ${waits === 1 ? "waits" : "wait"}.${unqueuedText(seen)}`
        : "";
      more.hidden = !waits;
      redraw(service, seen.services, () =>
        ["", ...seen.services].map((name) =>
          make("option", { value: name, selected: name === chosen.service }, name || "All services"),
        ),
      );
      plots.show(seen.hours, seen.now);
      newest.show(seen.tickets, seen.now);
      last = seen.tickets.at(-1)?.id ?? 0;
      older.hidden = last <= 1;
      back.hidden = !chosen.upTo;
    },
  };
}
