/** What operators ask of the server, with their key in a header. */

import { ask } from "./api.js";

/**
 * @typedef {object} Reading
 * @property {number | null} used_bytes
 * @property {number | null} total_bytes
 * @property {number | null} use
 * @property {number | null} celsius
 * @property {string} read
 */

/**
 * @typedef {object} Source
 * @property {string} name
 * @property {string} device
 * @property {number | null} memory_bytes
 * @property {string | null} problem
 * @property {boolean} live
 * @property {boolean} drained
 * @property {Reading | null} reading
 * @property {string[]} services
 * @property {number} waiting
 */

/**
 * @typedef {object} SeenTicket
 * @property {number} id
 * @property {string} service
 * @property {string} state
 * @property {string | null} compute_source
 * @property {string | null} key_name
 * @property {number} claim
 * @property {number} attempts
 * @property {number | null} progress
 * @property {string | null} stage
 * @property {string} created
 * @property {string | null} started
 * @property {string | null} finished
 * @property {boolean} cancel_requested
 * @property {string | null} error
 * @property {number | null} again_of
 * @property {boolean} can_run_again
 */

/**
 * @typedef {object} Hour
 * @property {string} begins
 * @property {number} succeeded
 * @property {number} failed
 * @property {number} cancelled
 * @property {number | null} wait_median_seconds
 * @property {number | null} wait_95_seconds
 * @property {number | null} run_median_seconds
 * @property {number | null} run_95_seconds
 */

/**
 * @typedef {object} Queues
 * @property {string} now
 * @property {boolean} manager_live
 * @property {Source[]} sources
 * @property {number} unqueued
 * @property {SeenTicket[]} running
 * @property {SeenTicket[]} waiting
 * @property {string[]} services
 * @property {Hour[]} hours
 * @property {SeenTicket[]} tickets
 */

/**
 * @param {string} key
 * @param {{service: string, upTo: string}} chosen
 * @returns {Promise<Queues>}
 */
export function queues(key, { service, upTo }) {
  const query = new URLSearchParams();
  if (service) query.set("service", service);
  if (upTo) query.set("up_to", upTo);
  return ask(`/queues?${query}`, { headers: { Accept: "application/json", "X-API-Key": key } });
}

/**
 * @param {string} key
 * @param {"drain" | "resume" | "cancel" | "run-again"} what
 * @param {{source: string} | {ticket: number}} body
 * @returns {Promise<any>}
 */
export function act(key, what, body) {
  const headers = { "Content-Type": "application/json", "X-API-Key": key };
  return ask(`/queues/${what}`, { method: "POST", headers, body: JSON.stringify(body) });
}
