/** The public API, as docs/protocol.md has it; nothing else of the server is used. */

import { rest } from "./rest.js";
import { collect, watched } from "./streams.js";
import { apiKey } from "./store.js";

const ANSWER_SECONDS = 20; // after which a server that says nothing counts as lost
const FOREIGN = "about:blank"; // the kind of a refusal that is not this server's own
const AGAIN_SECONDS = 1; // after which a volume that is being read is asked for again
const [TOO_MANY, FAILURES] = [429, 500];
const KEPT_OUT = [0, 401, 403]; // a proxy's answers to a stranger; 0: it leads elsewhere

/**
 * @typedef {{id: number, token: string}} Reference to a ticket
 * @typedef {import("./shapes.d.ts").Accepted} Accepted
 * @typedef {import("./shapes.d.ts").Problem} Problem
 * @typedef {import("./shapes.d.ts").Service} Service
 * @typedef {import("./shapes.d.ts").Status} Status
 */

/** Whether a text can be sent as an API key: no header holds anything else. @param {string} text */
export function isKey(text) {
  return /^[!-~]*$/.test(text);
}

export const NO_KEY = "This is no API key: it holds a space, or a character that no key has. Nothing was sent.";

/** Whether a text can be a token of a ticket; in a link that was mangled it is none. @param {string} text */
export function isToken(text) {
  return /^[\w-]+$/.test(text);
}

/** The server said no, and why. */
export class Refused extends Error {
  /** @param {Problem} problem */
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }

  get kind() {
    return this.problem.type.replace("/problems/", "");
  }
}

/** The server did not answer. */
export class Unreachable extends Error {
  constructor() {
    super("The server does not answer.");
  }
}

/** Whether a request may succeed if it is sent again: the server, or what is before it, is away or busy. @param {unknown} error */
export function mayPass(error) {
  if (error instanceof Refused) return error.problem.status === TOO_MANY || error.problem.status >= FAILURES;
  return error instanceof Unreachable;
}

/** @returns {Promise<Service[]>} */
export function services() {
  return ask("/supportedservices");
}

/** Fetch the volume of a service's example. @param {string} path @param {AbortSignal} signal */
export async function exampleFile(path, signal) {
  const blob = await ask(path, { signal }, Infinity, (answer) => answer.blob());
  return new File([blob], path.slice(path.lastIndexOf("/") + 1));
}

/**
 * Where a ticket stands, at once, or when it has left `state`, at most `waitSeconds` later.
 * @param {Reference} ticket
 * @param {{waitSeconds?: number, state?: string, signal?: AbortSignal}} [options]
 * @returns {Promise<Status>}
 */
export function status(ticket, { waitSeconds = 0, state, signal } = {}) {
  const query = state ? `?wait=${waitSeconds}&state=${state}` : "";
  return askFor(ticket, "status", query, { signal }, waitSeconds + ANSWER_SECONDS);
}

/**
 * @param {Reference} ticket
 * @returns {Promise<Status>}
 */
export function cancel(ticket) {
  return askFor(ticket, "request", "", { method: "DELETE" });
}

/**
 * Fetch a result whole.
 * @param {Reference} ticket
 * @param {(bytes: number, allBytes: number) => void} onBytes
 * @param {AbortSignal} signal
 * @returns {Promise<Blob>}
 */
export function result(ticket, onBytes, signal) {
  return askFor(ticket, "result", "", { signal }, Infinity, (answer) => {
    const allBytes = Number(answer.headers.get("Content-Length"));
    if (!answer.body) throw new Unreachable();
    return collect(watched(answer.body, (bytes) => onBytes(bytes, allBytes)));
  });
}

/**
 * Fetch the record of a result alone, which does not count as fetching the result.
 * @param {Reference} ticket
 * @param {AbortSignal} signal
 * @returns {Promise<import("./result.js").Manifest>}
 */
export function recordOf(ticket, signal) {
  return askFor(ticket, "result", "/result.json", { signal });
}

/**
 * Fetch a volume that was sent, as the service read it; asks again while it is being read.
 * @param {Reference} ticket
 * @param {string} id of the input
 * @param {AbortSignal} signal
 * @returns {Promise<File>}
 */
export async function volumeAsRead(ticket, id, signal) {
  const name = `${id}.nii.gz`;
  for (;;) {
    try {
      const blob = await askFor(ticket, "input", `/${name}`, { signal }, Infinity, (answer) => answer.blob());
      return new File([blob], name);
    } catch (error) {
      if (!(error instanceof Refused) || error.kind !== "not-ready") throw error;
    }
    await rest(AGAIN_SECONDS, signal);
  }
}

/**
 * Send a payload. The same `idempotencyKey` and payload give the same ticket, however often they are sent.
 * @param {string} service
 * @param {Blob} payload
 * @param {{label: string, priority: string, idempotencyKey: string, onBytes: (bytes: number, allBytes: number) => void, signal: AbortSignal}} options
 * @returns {Promise<Accepted>}
 */
export async function submit(service, payload, { label, priority, idempotencyKey, onBytes, signal }) {
  signal.throwIfAborted();
  const form = new FormData();
  form.append("service", service); // in front of the payload: an unknown service is refused before it is unpacked
  if (label) form.append("label", label);
  if (priority) form.append("priority", priority);
  form.append("payload", payload, "payload.tar.gz");
  const request = new XMLHttpRequest(); // fetch() does not tell how much it has sent
  request.open("POST", "/request");
  request.setRequestHeader("Idempotency-Key", idempotencyKey);
  if (apiKey()) request.setRequestHeader("X-API-Key", apiKey());
  request.upload.onprogress = (event) => onBytes(event.loaded, event.total);
  return new Promise((resolve, reject) => {
    request.onload = () => {
      try {
        resolve(taken(request.status === 202, request.status, request.responseText));
      } catch (error) {
        reject(error);
      }
    };
    request.onerror = () => reject(new Unreachable());
    request.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** Whether the header reaches the server: a proxy that asks for a password of its own takes it for itself, and then the address is used. */
let headerWorks = true;

/**
 * Ask for a ticket with its token in a header, where no log of addresses can hold it. In the address, as the protocol
 * allows as well, only behind a proxy that keeps the header, or that lets nobody in without its cookie: the first
 * request goes without what it knows the browser by, so that it refuses instead of opening a dialogue.
 * @param {Reference} ticket
 * @param {"status" | "result" | "input" | "request"} what
 * @param {string} query or the rest of the path
 * @param {RequestInit} options
 * @param {number} [seconds]
 * @param {(answer: Response) => Promise<any>} [read]
 */
async function askFor(ticket, what, query, options, seconds, read) {
  if (headerWorks) {
    const headers = { Authorization: `Bearer ${ticket.token}` };
    try {
      const alone = /** @type {const} */ ({ credentials: "omit", redirect: "manual" });
      return await ask(`/${what}/${ticket.id}${query}`, { ...options, headers, ...alone }, seconds, read);
    } catch (error) {
      const { type, status: code = 0 } = error instanceof Refused ? error.problem : {};
      if (type !== FOREIGN || !KEPT_OUT.includes(code)) throw error;
    }
  }
  const answer = await ask(`/${what}/${ticket.id}&${encodeURIComponent(ticket.token)}${query}`, options, seconds, read);
  headerWorks = false;
  return answer;
}

/**
 * Ask once, and read the answer whole; throws `Refused` or `Unreachable`.
 * @param {string} path
 * @param {RequestInit} [options]
 * @param {number} [seconds] for all of it
 * @param {(answer: Response) => Promise<any>} [read] reads an answer that is no refusal
 * @returns {Promise<any>}
 */
export async function ask(path, options = {}, seconds = ANSWER_SECONDS, read = readJson) {
  const given = new AbortController();
  const stop = () => given.abort(options.signal?.reason);
  options.signal?.addEventListener("abort", stop);
  const timer = Number.isFinite(seconds) ? setTimeout(stop, 1000 * seconds) : 0;
  try {
    options.signal?.throwIfAborted();
    const answer = await fetch(path, { ...options, signal: given.signal });
    return answer.ok ? await read(answer) : taken(false, answer.status, await answer.text());
  } catch (error) {
    if (error instanceof Refused || options.signal?.aborted) throw error;
    throw new Unreachable();
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", stop);
  }
}

/** @param {Response} answer */
async function readJson(answer) {
  return taken(true, answer.status, await answer.text());
}

/**
 * Read an answer; throws `Refused` where the server said no, or where something else answered in its place.
 * @param {boolean} ok
 * @param {number} code
 * @param {string} text
 */
function taken(ok, code, text) {
  /** @type {any} */
  let read;
  try {
    read = JSON.parse(text);
    if (ok) return read;
  } catch {
    // a proxy's own answer
  }
  const detail = ok ? "Something in front of the server answered in its place." : `The server answered ${code}.`;
  const foreign = { type: FOREIGN, title: "Refused", detail, status: code };
  throw new Refused(typeof read?.detail === "string" ? { ...foreign, ...read } : foreign);
}
