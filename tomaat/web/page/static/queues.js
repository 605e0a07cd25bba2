/** The operators' page: it asks for a key, looks at the queues every few seconds, and does what an operator asks for. */

import { isKey, NO_KEY, Refused } from "./api.js";
import { fill, make } from "./dom.js";
import { act, queues } from "./queues-api.js";
import { QueuesView } from "./queues-view.js";
import { apiKey, keepApiKey } from "./store.js";

const REFRESH_SECONDS = 3;
const KEPT_OUT = ["key-needed", "operator-needed"];
const main = /** @type {HTMLElement} */ (document.querySelector("#main"));
const corner = /** @type {HTMLElement} */ (document.querySelector("#operator"));

/** Whether to look at once, also during a look: its answer may be from before. */
let due = false;
/** Ends the loop's rest. */
let wake = () => {};
/** The operator's choice; another object with each one. @type {import("./queues-view.js").Chosen} */
let chosen = { service: "", upTo: "" };
/** Grows with each key, so that an answer to a forgotten one is not shown. */
let session = 0;

const view = new QueuesView({ setDrained, cancel, runAgain, toFront, choose });
// The key may be the text that somebody typed into a form, where it is kept as it is typed.
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
      view.show(seen, chosen);
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
 * Do something, tell its outcome, and look at once.
 * @param {"drain" | "resume" | "cancel" | "run-again" | "to-front"} what
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

/** @param {string} name @param {boolean} drained */
function setDrained(name, drained) {
  return doAndTell(drained ? "drain" : "resume", { source: name }, () =>
    drained
      ? `${name} is drained (paused): it finishes the tickets that it runs, and takes no new ones.`
      : `${name} is resumed: it takes tickets again.`,
  );
}

/** @param {number} id */
async function cancel(id) {
  if (!confirm(`Cancel ticket ${id}? Its client gets no result; its input is kept, so that it can be run again.`)) {
    return;
  }
  await doAndTell("cancel", { ticket: id }, ({ state }) =>
    state === "cancelled" ? `Ticket ${id} is cancelled.` : `Ticket ${id} is asked to stop.`,
  );
}

/** @param {number} id */
function runAgain(id) {
  return doAndTell(
    "run-again",
    { ticket: id },
    (answer) =>
      `Ticket ${id} runs again as ticket ${answer.id}. Tell its client this number: the token stays the same.`,
  );
}

/** @param {number} id */
function toFront(id) {
  return doAndTell("to-front", { ticket: id }, ({ compute_source: source }) =>
    source === null ? `Ticket ${id} gets a queue before all others.` : `Ticket ${id} is the next one of ${source}.`,
  );
}

/** @param {Partial<typeof chosen>} change */
function choose(change) {
  chosen = { ...chosen, ...change };
  look();
}
