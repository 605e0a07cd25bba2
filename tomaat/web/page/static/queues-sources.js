/** A card for each compute source: its device, what it tells of itself, and whether it is drained. */

import { make, redraw } from "./dom.js";
import { counted, inAge, inBytes } from "./words.js";

/** @typedef {import("./shapes.d.ts").Source} Source */

const OF_MACHINE = /\/cpu-\d+$/;
const OLD_SECONDS = 30; // after which a reading says how old it is

/** @param {(name: string, drained: boolean) => Promise<void>} setDrained */
export function makeSources(setDrained) {
  const element = make("ul", { class: "sources" });
  /** @type {Map<string, {element: HTMLElement, show: (source: Source, now: string) => void}>} */
  let cards = new Map();
  return {
    element,
    /** @param {import("./shapes.d.ts").Queues} seen */
    show({ sources, now }) {
      const names = sources.map(({ name }) => name);
      redraw(element, names, () => {
        cards = new Map(names.map((name) => [name, cards.get(name) ?? makeCard(name, setDrained)]));
        if (!names.length) return [make("li", { class: "hint" }, "None yet: no TaskScheduling has run.")];
        return [...cards.values()].map((card) => card.element);
      });
      for (const source of sources) cards.get(source.name)?.show(source, now);
    },
  };
}

/** @param {string} name @param {(name: string, drained: boolean) => Promise<void>} setDrained */
function makeCard(name, setDrained) {
  const device = make("p", { class: "device" });
  const state = make("p", { class: "state" });
  const ofMachine = OF_MACHINE.test(name);
  const meters = [makeMeter("Memory"), makeMeter("Use"), makeMeter("Temperature")];
  meters[2].element.hidden = ofMachine; // it has none of its own
  const age = make("p", { class: "hint" });
  const waiting = make("p", {});
  const problem = make("p", { class: "trouble" });
  const button = make("button", { type: "button" });
  const element = make(
    "li",
    { class: "source" },
    make("h3", {}, name),
    device,
    state,
    problem,
    make("dl", { class: "meters" }, ...meters.map((meter) => meter.element)),
    age,
    waiting,
    make("div", { class: "actions" }, button),
  );
  let drained = false;
  button.addEventListener("click", async () => {
    if (
      !drained &&
      !confirm(
        `Drain ${name}? That pauses it: it finishes the tickets that it runs, and takes no new ones until it is resumed.`,
      )
    ) {
      return;
    }
    button.disabled = true;
    await setDrained(name, !drained);
    button.disabled = false;
    button.focus();
  });
  return {
    element,
    /** @param {Source} source @param {string} now */
    show(source, now) {
      drained = source.drained;
      element.classList.toggle("drained", drained);
      const lanes = source.lanes > 1 ? `, ${source.lanes} lanes` : "";
      device.textContent = `${source.device}${lanes}${ofMachine ? "; the figures are the whole machine's" : ""}`;
      const usable = source.live && !source.problem;
      state.className = `state ${usable && !drained ? "live" : "away"}`;
      state.textContent = stateText(source);
      const trouble = source.problem ?? (source.loading ? `Loading ${source.loading}` : "");
      problem.textContent = trouble;
      problem.hidden = !trouble;
      const reading = source.reading;
      const { used_bytes: used = null, total_bytes: total = null, use = null, celsius = null } = reading ?? {};
      const memory = used === null || total === null ? null : `${inBytes(used)} of ${inBytes(total)}`;
      meters[0].show(memory, memory && total ? Number(used) / total : null);
      meters[1].show(use === null ? null : `${Math.round(100 * use)} %`, use);
      meters[2].show(celsius === null ? null : `${Math.round(celsius)} °C`, null);
      const seconds = reading ? (Date.parse(now) - Date.parse(reading.read)) / 1000 : 0;
      age.textContent = reading ? `These figures are ${inAge(seconds)} old; newer ones have not come.` : "";
      age.hidden = seconds < OLD_SECONDS;
      waiting.textContent = waitingText(source);
      button.textContent = drained ? "Resume" : "Drain";
      button.setAttribute("aria-label", `${drained ? "Resume" : "Drain"} ${name}`);
    },
  };
}

/** @param {Source} source */
function stateText({ live, drained, problem, takes_tickets: takesTickets }) {
  const away = "Away: no TaskScheduling holds it";
  if (drained) return `Drained (paused): takes no new tickets${live ? "" : `. ${away}`}`;
  if (!live) return away;
  if (problem) return "Cannot be used";
  return takesTickets ? "Live" : "Starting: its worker has offered nothing yet";
}

/** @param {Source} source */
function waitingText({ waiting, drained, services }) {
  if (waiting && drained) {
    return `${counted(waiting, "ticket")} in its queue: those that no other source can run wait here until it is resumed.`;
  }
  if (waiting) return `${counted(waiting, "ticket")} in its queue.`;
  return services.length ? "Nothing in its queue." : "It offers no service yet.";
}

/** A figure, and a bar beside it where it is a share of something. @param {string} name */
function makeMeter(name) {
  const figure = make("span", { class: "figure" });
  const bar = make("div", { class: "bar", "aria-hidden": "true" }, make("div", {}));
  const element = make("div", {}, make("dt", {}, name), make("dd", {}, figure, bar));
  const filled = /** @type {HTMLElement} */ (bar.firstElementChild);
  return {
    element,
    /** @param {string | null} text @param {number | null} share */
    show(text, share) {
      figure.textContent = text ?? "unknown";
      figure.classList.toggle("unknown", text === null);
      bar.hidden = share === null;
      filled.style.width = `${100 * Math.min(1, share ?? 0)}%`;
    },
  };
}
