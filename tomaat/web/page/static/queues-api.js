/** The operators' requests, with their key in a header. */

import { ask } from "./api.js";

/** @typedef {import("./shapes.d.ts").Queues} Queues */

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
 * @param {"drain" | "resume" | "cancel" | "run-again" | "to-front"} what
 * @param {{source: string} | {ticket: number}} body
 * @returns {Promise<any>}
 */
export function act(key, what, body) {
  const headers = { "Content-Type": "application/json", "X-API-Key": key };
  return ask(`/queues/${what}`, { method: "POST", headers, body: JSON.stringify(body) });
}
