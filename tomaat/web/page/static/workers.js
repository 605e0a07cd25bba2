/** Programs that run beside the page, which goes on meanwhile: each answers one question after the other. */

const PROGRAMS = /** @type {const} */ ({ volume: "/static/volume-worker.js", solid: "/static/solid-worker.js" });

/** @typedef {{resolve: (answer: any) => void, reject: (error: Error) => void}} Waiting */

/** @type {any} of Trusted Types: it can be made once */
let policy;

/** A program that did not come; it may the next time. */
export class NotLoaded extends Error {
  constructor() {
    super("A part of the page could not be loaded.");
  }
}

export class Beside {
  /** @type {Map<number, Waiting>} */
  #waiting = new Map();
  #worker;
  #last = 0;
  /** Why it answers no more. @type {Error | null} */
  fault = null;

  /** @param {keyof typeof PROGRAMS} name */
  constructor(name) {
    this.#worker = new Worker(addressOf(name), { type: "module" });
    this.#worker.addEventListener("message", ({ data: { id, answer, fault } }) => {
      const { resolve, reject } = /** @type {Waiting} */ (this.#waiting.get(id));
      this.#waiting.delete(id);
      if (fault) reject(new Error(fault));
      else resolve(answer);
    });
    this.#worker.addEventListener("error", (event) => {
      const fault = event instanceof ErrorEvent ? new Error("This browser cannot do that.") : new NotLoaded();
      this.fault = fault;
      for (const { reject } of this.#waiting.values()) reject(fault);
      this.#waiting.clear();
      this.end();
    });
  }

  /** @param {Record<string, any>} question @returns {Promise<any>} its answer; throws `Error` with the program's sentence */
  async ask(question) {
    if (this.fault) throw this.fault;
    this.#last += 1;
    const id = this.#last;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ ...question, id });
    });
  }

  end() {
    this.#worker.terminate();
  }
}

/** One of the addresses that the page's policy lets become a program. @param {keyof typeof PROGRAMS} name */
function addressOf(name) {
  const { trustedTypes } = /** @type {any} */ (globalThis);
  if (!trustedTypes) return PROGRAMS[name];
  policy ??= trustedTypes.createPolicy("workers", {
    createScriptURL: (/** @type {keyof typeof PROGRAMS} */ wanted) => PROGRAMS[wanted],
  });
  return policy.createScriptURL(name);
}

/**
 * Answer the page's questions, in a worker.
 * @param {(question: any) => Promise<{answer?: any, transfer?: Transferable[]}>} answerTo
 */
export function listen(answerTo) {
  addEventListener("message", async ({ data: { id, ...question } }) => {
    try {
      const { answer, transfer = [] } = await answerTo(question);
      postMessage({ id, answer }, { transfer });
    } catch (error) {
      postMessage({ id, fault: error instanceof Error ? error.message : String(error) });
    }
  });
}
