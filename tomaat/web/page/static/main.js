/** The page: it shows one of its views, and asks the server for services and tickets meanwhile. */

import { services as fetchServices, Refused, status } from "./api.js";
import { makeCohortView } from "./cohort-view.js";
import { announce, fill, make } from "./dom.js";
import { ServiceForm } from "./form.js";
import { cohortPlace, placeOf, ticketPlace } from "./links.js";
import { noticesWanted, tellCohort } from "./notices.js";
import { makeOverview, serviceState } from "./overview.js";
import { makeOwnTexts } from "./own-texts.js";
import { isOpen } from "./states.js";
import { find, onOtherTab, tickets, update } from "./store.js";
import { TicketView } from "./ticket.js";
import { nextInTurn } from "./turns.js";
import { saidBy } from "./words.js";

/** @typedef {import("./shapes.d.ts").Service} Service */

const REFRESH_SECONDS = 5;
const MOST_ASKED = 10; // tickets that are looked at in one round, for the list of them
const main = /** @type {HTMLElement} */ (document.querySelector("#main"));
const overview = makeOverview();

/** @type {Service[] | null} */
let services = null;
let trouble = ""; // the reason why they are not known, or not anew
/** Each service's form keeps its fields' values. @type {Map<string, {form: ServiceForm, made: string}>} */
const forms = new Map();
/** The tokens of the tickets that were asked for in this turn. @type {Set<string>} */
const asked = new Set();
/** Ends the requests of the view that is shown. */
let shown = new AbortController();

function showPlace() {
  shown.abort();
  shown = new AbortController();
  const place = placeOf(location.hash);
  if (place.view === "ticket") {
    document.title = `Ticket ${place.id} – TOMAAT`;
    showTicket(place.id, place.token ?? find(place.id)?.token);
  } else if (place.view === "cohort") {
    document.title = "Table – TOMAAT";
    fill(main, makeCohortView(place.id, shown.signal));
  } else if (place.view === "service") {
    document.title = `${place.name} – TOMAAT`;
    showService(place.name);
  } else {
    document.title = "TOMAAT";
    fill(main, overview.element);
    overview.showTickets();
    showUploads();
    void refreshTickets();
  }
  scrollTo(0, 0);
}

const makeBack = () => make("p", { class: "back" }, make("a", { href: "#/" }, "All services and tickets"));

/** @param {number} id @param {string | undefined} token */
function showTicket(id, token) {
  if (token !== undefined) {
    fill(main, new TicketView({ id, token }, shown.signal, backToForm).start());
    return;
  }
  const told = `This browser does not know ticket ${id}. Open the link that was saved.`;
  fill(main, makeBack(), make("h1", {}, `Ticket ${id}`), make("p", { class: "told" }, told));
}

/** @param {string} name */
function showService(name) {
  const service = services?.find((each) => each.name === name);
  const back = makeBack();
  if (!service) {
    const text = services ? "This server offers no service of this name." : trouble || "Asking the server…";
    fill(main, back, make("h1", {}, name), make("p", { class: "told" }, text));
    return;
  }
  const about = make("div", { class: "service-state" }, serviceState(service));
  fill(
    main,
    make(
      "div",
      { class: "service" },
      back,
      make("h1", {}, name),
      make("p", { class: "about" }, service.description),
      makeOwnTexts(service),
      about,
      formOf(service).show(),
    ),
  );
}

/** @param {Service} service */
function formOf(service) {
  const made = JSON.stringify([service.interface, service.example]);
  const known = forms.get(service.name);
  if (known && (known.made === made || known.form.busy)) return known.form;
  const form = new ServiceForm(service, {
    onTicket(ticket) {
      announce(`${service.name}: ticket ${ticket.id}.`);
      const place = placeOf(location.hash);
      if (place.view === "service" && place.name === service.name) location.hash = ticketPlace(ticket);
      else if (place.view === "overview") overview.showTickets();
    },
    onCohort(cohort) {
      announce(`${service.name}: all are sent.`);
      tellCohort(cohort);
      const place = placeOf(location.hash);
      if (place.view === "service" && place.name === service.name) location.hash = cohortPlace(cohort);
      else if (place.view === "overview") overview.showTickets();
    },
    onUpload(upload) {
      if (upload === "failed") announce(`${service.name}: it was not sent; its form says why.`);
      showUploads();
    },
  });
  forms.set(service.name, { form, made });
  return form;
}

function showUploads() {
  overview.showUploads([...forms].map(([name, { form }]) => ({ name, upload: form.upload })));
}

/** Show the form again, with a refusal that came later than at its sending. @param {string} name @param {import("./shapes.d.ts").Problem} problem */
function backToForm(name, problem) {
  addEventListener("hashchange", () => forms.get(name)?.form.refuse(problem), { once: true });
  location.hash = `#/services/${encodeURIComponent(name)}`;
}

async function refresh() {
  try {
    services = await fetchServices();
    trouble = "";
  } catch (error) {
    trouble = `${saidBy(error)} Asking again.`;
  }
  overview.showServices(services, trouble);
  const place = placeOf(location.hash);
  if (place.view !== "service" || (services && trouble)) return;
  const service = services?.find((each) => each.name === place.name);
  const state = main.querySelector(".service-state");
  if (service && state && forms.get(place.name)?.form === formOf(service)) fill(state, serviceState(service));
  else showService(place.name);
}

/** Ask how the tickets of the list stand that had not ended when they were seen last, each once before any is asked again. */
async function refreshTickets() {
  const open = tickets().filter(isOpen).reverse(); // the oldest end first
  for (const ticket of nextInTurn(open, asked, MOST_ASKED)) {
    asked.add(ticket.token);
    try {
      const now = await status(ticket, { signal: shown.signal });
      update({ ...ticket, label: now.label, state: now.state });
    } catch (error) {
      if (!(error instanceof Refused) || error.kind !== "not-found") break; // later
      update({ ...ticket, state: "unknown" });
    }
  }
  if (placeOf(location.hash).view === "overview") overview.showTickets();
}

async function run() {
  for (;;) {
    await refresh();
    await new Promise((resolve) => setTimeout(resolve, 1000 * REFRESH_SECONDS));
    if (document.hidden && !noticesWanted()) {
      await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
    }
    if (placeOf(location.hash).view === "overview" || noticesWanted()) await refreshTickets();
  }
}

addEventListener("hashchange", () => {
  showPlace();
  main.focus({ preventScroll: true });
});
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault()); // a file beside a field opens nothing
addEventListener("beforeunload", (event) => {
  if ([...forms.values()].some(({ form }) => form.upload === "sending")) event.preventDefault();
});
onOtherTab(() => overview.showTickets());
showPlace();
void run();
