/** Volumes are read by a worker, so that the page goes on meanwhile. */

import { volumeFrom } from "./volume.js";

const PROGRAM = "/static/volume-worker.js";

/** @typedef {{resolve: (read: import("./volume.js").Read) => void, reject: (error: Error) => void}} Waiting */

/** @type {Worker | undefined} */
let worker;
/** @type {Map<number, Waiting>} */
const waiting = new Map();
let last = 0;
/** @type {any} of Trusted Types: it can be made once */
let policy;

/**
 * Read a volume; throws `Error` with a sentence where that cannot be.
 * @param {File} file
 * @param {boolean} [isLabels]
 */
export async function readVolume(file, isLabels = false) {
  worker ??= start();
  const { port, id } = { port: worker, id: (last += 1) };
  /** @type {import("./volume.js").Read} */
  const read = await new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    port.postMessage({ id, file, isLabels });
  });
  return volumeFrom(read);
}

function start() {
  const made = new Worker(addressOf(), { type: "module" });
  made.addEventListener("message", ({ data: { id, read, fault } }) => {
    const { resolve, reject } = /** @type {Waiting} */ (waiting.get(id));
    waiting.delete(id);
    if (read) resolve(read);
    else reject(new Error(fault));
  });
  made.addEventListener("error", () => {
    for (const { reject } of waiting.values()) reject(new Error("This browser cannot read volumes here."));
    waiting.clear();
    worker = undefined;
  });
  return made;
}

/** The one address that the page's policy lets become a program. */
function addressOf() {
  const { trustedTypes } = /** @type {any} */ (globalThis);
  if (!trustedTypes) return PROGRAM;
  policy ??= trustedTypes.createPolicy("volume-worker", { createScriptURL: () => PROGRAM });
  return policy.createScriptURL("");
}
