/** Volumes are read by a worker, so that the page goes on meanwhile. */

import { volumeFrom } from "./volume.js";
import { Beside } from "./workers.js";

/** @type {Beside | undefined} */
let reader;

/**
 * Read a volume; throws `Error` with a sentence where that cannot be.
 * @param {File} file
 * @param {boolean} [isLabels]
 */
export async function readVolume(file, isLabels = false) {
  if (!reader || reader.fault) reader = new Beside("volume");
  return volumeFrom(await reader.ask({ file, isLabels }));
}
