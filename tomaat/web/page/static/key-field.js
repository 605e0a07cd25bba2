/** The field for the API key: the first of a form where the server asks for one, and hidden where it does not. */

import { isKey, NO_KEY } from "./api.js";
import { make } from "./dom.js";
import { makeFrame } from "./fields.js";
import { apiKey, keepApiKey } from "./store.js";

const MISSING = "This server takes requests with an API key only. Nothing was sent.";

/** The key is kept as it is typed, for all forms, until the tab is closed. */
export function makeKeyField() {
  const box = make("input", { type: "password", autocomplete: "off" });
  box.addEventListener("input", () => keepApiKey(box.value.trim()));
  const hint = "From this server's operator. Kept in this tab until it is closed.";
  const frame = makeFrame("api-key", { element: box, target: box }, { name: ["API key"], kind: "key", hint });
  const needed = document.body.dataset.keyNeeded === "true";
  frame.element.hidden = !needed;
  return {
    element: frame.element,
    /** Show the key that the tab has: another form may have been given one. */
    update() {
      if (box.value.trim() === apiKey()) return;
      box.value = apiKey();
      frame.clear();
      frame.element.hidden = false;
    },
    focus: frame.focus,
    check() {
      frame.clear();
      const key = box.value.trim();
      const missing = needed && !key ? MISSING : "";
      const fault = isKey(key) ? missing : NO_KEY;
      if (fault) frame.refuse(fault);
      return !fault;
    },
    /** @param {string} text */
    refuse(text) {
      frame.element.hidden = false;
      frame.refuse(text);
    },
  };
}
