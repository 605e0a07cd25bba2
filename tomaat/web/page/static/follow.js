/** A ticket's way, asked for until it has ended. */

import { Refused, status } from "./api.js";
import { rest } from "./rest.js";
import { ENDED } from "./states.js";

const WAIT_SECONDS = 2; // for the next state; progress and position are looked at as often
const HIDDEN_SECONDS = 25; // likewise, while nobody sees the page
const SHORTEST_SECONDS = 1; // between two looks, when the server answers at once
const LONGEST_RETRY_SECONDS = 15;

/**
 * Ask where a ticket stands, until it has ended, the server does not know it, or another view is shown.
 * @param {import("./api.js").Reference} ticket
 * @param {AbortSignal} signal
 * @param {object} hooks
 * @param {(now: import("./shapes.d.ts").Status) => void} hooks.onStatus
 * @param {(error: unknown) => void} hooks.onTrouble takes the error after which it asks again
 * @param {(error: Refused) => void} hooks.onUnknown
 */
export async function follow(ticket, signal, { onStatus, onTrouble, onUnknown }) {
  /** @type {string | undefined} */
  let state;
  let failures = 0;
  let waits = true; // a server may take shorter waits only
  while (!signal.aborted) {
    const began = performance.now();
    try {
      const waitSeconds = document.hidden ? HIDDEN_SECONDS : WAIT_SECONDS;
      const now = await status(ticket, state && waits ? { state, waitSeconds, signal } : { signal });
      failures = 0;
      onStatus(now);
      if (ENDED.includes(now.state)) return;
      const passed = (performance.now() - began) / 1000;
      if (now.state === state && passed < SHORTEST_SECONDS) await rest(SHORTEST_SECONDS - passed, signal);
      state = now.state;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.kind === "not-found") return onUnknown(error);
      if (error instanceof Refused && error.problem.status === 400 && waits) {
        waits = false;
        continue;
      }
      failures += 1;
      onTrouble(error);
      await rest(Math.min(LONGEST_RETRY_SECONDS, 2 ** (failures - 1)), signal);
    }
  }
}
