/** Tables of tickets, whose rows stay in place while their words change, so that what has the focus keeps it. */

import { arrange, make, redraw } from "./dom.js";
import { ENDED, STATES, WAITING } from "./states.js";
import { atTime, inSeconds } from "./words.js";

/** @typedef {import("./shapes.d.ts").SeenTicket} SeenTicket */
/** @typedef {{name: string, style?: string, cell: (ticket: SeenTicket, now: string) => string | HTMLElement}} Column */
/** @typedef {{row: HTMLElement, cells: HTMLElement[]}} Row */
/** @typedef {{[act in "cancel" | "runAgain" | "toFront"]: (id: number) => Promise<void>}} Actions */

/** @param {Actions} actions @param {string[]} names @returns {Column[]} */
export function ticketColumns(actions, names) {
  /** @type {Record<string, Column>} */
  const columns = {
    ticket: { name: "Ticket", style: "number", cell: ticketCell },
    service: { name: "Service", cell: (ticket) => ticket.service },
    source: { name: "Source", cell: sourceCell },
    queue: { name: "Queue", cell: (ticket) => ticket.compute_source ?? "none yet" },
    state: { name: "State", cell: stateCell },
    progress: { name: "Progress", cell: progressCell },
    since: { name: "For", style: "number", cell: (ticket, now) => between(ticket.started, now) },
    created: { name: "Sent", cell: (ticket) => make("time", { datetime: ticket.created }, atTime(ticket.created)) },
    wait: { name: "Wait", style: "number", cell: (ticket) => between(ticket.created, ticket.started) },
    duration: { name: "Duration", style: "number", cell: (ticket) => between(ticket.started, ticket.finished) },
    priority: { name: "Priority", cell: priorityCell },
    key: { name: "Key", cell: (ticket) => ticket.key_name ?? "–" },
    actions: { name: "Actions", style: "doing", cell: (ticket) => actionsCell(ticket, actions) },
  };
  return names.map((name) => columns[name]);
}

/** @param {string} title @param {Column[]} columns @param {string} empty */
export function makeTable(title, columns, empty) {
  const body = make("tbody");
  const head = columns.map(({ name, style }) => make("th", { scope: "col", class: style }, name));
  const table = make(
    "table",
    { class: "listed" },
    make("caption", { class: "unseen" }, title),
    make("thead", {}, make("tr", {}, ...head)),
    body,
  );
  const around = make("div", { class: "table", tabindex: 0, role: "group", "aria-label": title }, table);
  const none = make("p", { class: "hint" }, empty);
  const element = make("div", {}, none, around);
  /** @type {Map<number, Row>} */
  let rows = new Map();
  return {
    element,
    /** @param {SeenTicket[]} tickets @param {string} now */
    show(tickets, now) {
      rows = new Map(tickets.map(({ id }) => [id, rows.get(id) ?? makeRow(columns)]));
      for (const ticket of tickets) showRow(/** @type {any} */ (rows.get(ticket.id)), columns, ticket, now);
      arrange(
        body,
        [...rows.values()].map(({ row }) => row),
      );
      none.hidden = tickets.length > 0;
      around.hidden = tickets.length === 0;
    },
  };
}

/** @param {Column[]} columns */
function makeRow(columns) {
  const cells = columns.map(({ name, style }, at) =>
    at
      ? make("td", { class: style, "data-name": name })
      : make("th", { scope: "row", class: style, "data-name": name }),
  );
  return { row: make("tr", {}, ...cells), cells };
}

/** @param {Row} row @param {Column[]} columns @param {SeenTicket} ticket @param {string} now */
function showRow({ cells }, columns, ticket, now) {
  columns.forEach((column, at) => {
    const made = column.cell(ticket, now);
    redraw(cells[at], typeof made === "string" ? made : made.outerHTML, () => [made]);
  });
}

/** @param {SeenTicket} ticket */
function sourceCell({ compute_source: source, lane }) {
  if (source === null) return "–";
  return lane > 1 ? `${source}, lane ${lane}` : source;
}

/** @param {SeenTicket} ticket */
function ticketCell({ id, again_of: before }) {
  return before === null ? String(id) : make("span", {}, `${id} `, make("span", { class: "hint" }, `again: ${before}`));
}

/** @param {SeenTicket} ticket */
function stateCell({ state, error, cancel_requested: asked, attempts }) {
  const text = state === "running" && asked ? "Is asked to stop" : (STATES[state] ?? state);
  const why = [error, attempts && `${attempts} lost`].filter(Boolean).join("; ");
  return make("span", { class: `state ${state}` }, why ? `${text}: ${why}` : text);
}

/** @param {SeenTicket} ticket */
function progressCell({ progress, stage, cancel_requested: asked }) {
  const percent = progress === null ? "" : `${Math.round(100 * progress)} %`;
  return [asked ? "is asked to stop" : "", percent, stage ?? ""].filter(Boolean).join(", ") || "–";
}

/** @param {string | null} from @param {string | null} to */
function between(from, to) {
  return from && to ? inSeconds(Math.max(0, Date.parse(to) - Date.parse(from)) / 1000) : "–";
}

/** @param {SeenTicket} ticket */
function priorityCell({ priority, moved_to_front: moved }) {
  return moved ? make("span", {}, `${priority} `, make("span", { class: "hint" }, "moved to the front")) : priority;
}

/** @param {SeenTicket} ticket @param {Actions} actions */
function actionsCell(ticket, { cancel, runAgain, toFront }) {
  const ended = ENDED.includes(ticket.state);
  const canceling = () => makeAction("Cancel", ticket.id, cancel);
  if (WAITING.includes(ticket.state)) {
    return make("div", { class: "actions" }, makeAction("To the front", ticket.id, toFront), canceling());
  }
  if (!ended && !ticket.cancel_requested) return canceling();
  return ticket.can_run_again ? makeAction("Run again", ticket.id, runAgain) : "";
}

/** @param {string} name @param {number} id @param {(id: number) => Promise<void>} action */
function makeAction(name, id, action) {
  const button = make("button", { type: "button", class: "quiet", "aria-label": `${name}: ticket ${id}` }, name);
  button.addEventListener("click", async () => {
    button.disabled = true;
    await action(id);
    button.disabled = false;
  });
  return button;
}
