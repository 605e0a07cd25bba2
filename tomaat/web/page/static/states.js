/** The states of a ticket, as the API names them, and what people read. */

export const WAITING = ["submitted", "queued"];
export const ENDED = ["succeeded", "failed", "cancelled", "expired"];

/** @type {Record<string, string>} */
export const STATES = {
  submitted: "Waits",
  queued: "Waits",
  running: "Runs",
  succeeded: "Done",
  failed: "Failed",
  cancelled: "Cancelled",
  expired: "No longer kept",
  unknown: "Unknown to the server",
};

/** Whether a ticket goes on, as far as it is known. @param {{state: string}} ticket */
export function isOpen({ state }) {
  return !ENDED.includes(state) && state !== "unknown";
}
