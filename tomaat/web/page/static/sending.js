/** How far the sending of a form is, and a button that stops it. */

import { announce, make } from "./dom.js";
import { inBytes } from "./words.js";

export function makeSending() {
  const told = make("p");
  const bar = make("progress", { max: 1 });
  const stop = make("button", { type: "button" }, "Stop");
  const element = make("div", { class: "sending", hidden: true }, told, bar, stop);

  return {
    element,
    focus: () => stop.focus(),
    /** Begin with a first step. @param {string} step @returns {AbortSignal} aborted by the button */
    begin(step) {
      const stopped = new AbortController();
      stop.onclick = () => stopped.abort();
      showStep(step);
      return stopped.signal;
    },
    showStep,
    /** @param {string} text */
    tell(text) {
      told.textContent = text;
    },
  };

  /** Show another step, and give the function that takes how far it is. @param {string} step */
  function showStep(step) {
    announce(`${step}…`);
    told.textContent = `${step}…`;
    bar.setAttribute("aria-label", step);
    bar.removeAttribute("value");
    return (/** @type {number} */ bytes, /** @type {number} */ allBytes) => {
      bar.value = allBytes ? bytes / allBytes : 1;
      told.textContent = `${step}: ${inBytes(bytes)} of ${inBytes(allBytes)}`;
    };
  }
}
