/** The field for the API key, where the server asks for one. */

import { isKey, NO_KEY } from "./api.js";
import { make } from "./dom.js";
import { makeFrame } from "./fields.js";
import { apiKey, keepApiKey } from "./store.js";

/** The key is kept as it is typed, for all forms, until the tab is closed. */
export function makeKeyField() {
  const box = make("input", { type: "password", autocomplete: "off" });
  box.addEventListener("input", () => keepApiKey(box.value.trim()));
  const hint = "From this server's operator. Kept in this tab until it is closed.";
  const frame = makeFrame("api-key", { element: box, target: box }, { name: ["API key"], kind: "key", hint });
  frame.element.hidden = document.body.dataset.keyNeeded !== "true";
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
      const right = isKey(box.value.trim());
      if (!right) frame.refuse(NO_KEY);
      return right;
    },
    /** @param {string} text */
    refuse(text) {
      frame.element.hidden = false;
      frame.refuse(text);
    },
  };
}
