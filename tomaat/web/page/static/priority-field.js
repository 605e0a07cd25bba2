/** The choice of a ticket's priority; docs/protocol.md explains each one. */

import { make } from "./dom.js";
import { makeFrame } from "./fields.js";

const PRIORITIES = {
  "": "Normal",
  urgent: "Urgent: before all others",
  night: "Night: after all others",
};

export function makePriorityField() {
  const options = Object.entries(PRIORITIES).map(([priority, name]) => make("option", { value: priority }, name));
  const box = make("select", {}, ...options);
  const { element } = makeFrame(
    "ticket-priority",
    { element: box, target: box },
    { name: ["Priority"], kind: "priority", hint: "The server says where your API key may not ask for one." },
  );
  return { element, read: () => box.value };
}
