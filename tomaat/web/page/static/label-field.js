/** The field for a ticket's label: the name of what is sent, or the user's own, where the server keeps labels. */

import { make } from "./dom.js";
import { makeFrame } from "./fields.js";

const LONGEST = 100; // characters, as the server wants it
const LAST = 39; // of a longer name's that are kept: they often tell files apart
const BROKEN = /[\p{Cc}\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu; // as in tomaat/web/api/label.py

/** Make a label of any name: one line, of a bounded length. @param {string} name */
export function labelOf(name) {
  const characters = [...name.replaceAll(BROKEN, "\ufffd").trim()];
  if (characters.length <= LONGEST) return characters.join("");
  return [...characters.slice(0, LONGEST - LAST - 1), "…", ...characters.slice(-LAST)].join("");
}

export function makeLabelField() {
  const box = make("input", { type: "text", maxlength: LONGEST, autocomplete: "off", spellcheck: "false" });
  let suggested = "";
  const { element } = makeFrame(
    "ticket-label",
    { element: box, target: box },
    {
      name: ["Label", make("span", { class: "optional" }, " optional")],
      kind: "text",
      hint: "Your name for the ticket. The server deletes it with the files.",
    },
  );
  return {
    element,
    read: () => labelOf(box.value),
    /** Take another name, once something else is sent. What was written before, or emptied, stays so. @param {string} name */
    suggest(name) {
      const label = labelOf(name);
      if (label === suggested) return;
      const written = (box.value === "") !== (suggested === "");
      if (!written) box.value = label;
      suggested = label;
    },
  };
}
