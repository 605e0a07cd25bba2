/** The form of a service, made from its interface; it packs the payload and sends it. */

import { exampleFile, isKey, NO_KEY, Refused, submit, Unreachable } from "./api.js";
import { announce, fill, make } from "./dom.js";
import { makeField, makeFrame } from "./fields.js";
import { makeFormatField } from "./format-field.js";
import { apiKey, keep, keepApiKey, keepSent } from "./store.js";
import { gzip } from "./streams.js";
import { tar } from "./tar.js";
import { inBytes, saidBy } from "./words.js";

const UNANSWERED =
  "The server does not answer. Nothing is lost: send it again, it becomes one ticket however often it arrives.";
const KEY_KINDS = ["key-needed", "service-not-allowed"];

/**
 * @typedef {object} Form
 * @property {() => HTMLElement} show what stands on the page, with the API key that this tab has by now
 * @property {(problem: import("./shapes.d.ts").Problem) => void} refuse shows what was refused, each fault at its field
 * @property {() => boolean} busy
 * @property {() => Upload} upload
 *
 * @typedef {"" | "sending" | "failed"} Upload failed: and nobody who looked at the form has seen it
 */

/**
 * @param {import("./shapes.d.ts").Service} service
 * @param {{onTicket: (ticket: import("./api.js").Reference) => void, onUpload: (upload: Upload) => void}} hooks take the
 * ticket that was made, and each change of how an upload stands
 * @returns {Form}
 */
export function makeForm(service, { onTicket, onUpload }) {
  const fields = Object.values(service.interface).map(makeField);
  const formatField = fields.some(({ input }) => input.type === "volume") ? makeFormatField() : null;
  const keyField = makeKeyField();
  const trouble = make("div", { class: "trouble", role: "alert", hidden: true });
  const bar = make("progress", { max: 1 });
  const told = make("p");
  const stop = make("button", { type: "button" }, "Stop");
  const sending = make("div", { class: "sending", hidden: true }, told, bar, stop);
  const send = make("button", { type: "submit", class: "main" }, "Send");
  const example =
    Object.keys(service.example).length > 0 &&
    make("button", { type: "button", onclick: fillInExample }, "Fill in the example");
  const parts = make(
    "fieldset",
    {},
    make("legend", { class: "unseen" }, `What ${service.name} needs`),
    ...fields.map((field) => field.element),
    formatField?.element,
    keyField.element,
    make("div", { class: "actions" }, send, example),
  );
  const element = make("form", { novalidate: true, autocomplete: "off", onsubmit, oninput }, parts, sending, trouble);

  /** The payload as it is sent: sent again, it is the same request. @type {{payload: Blob, idempotencyKey: string} | null} */
  let packed = null;
  let busy = false;
  let arrived = false; // whether all of it went out, so that the server may have taken it
  /** @type {Upload} */
  let upload = "";

  function oninput() {
    packed = null;
    trouble.hidden = true;
  }

  async function fillInExample() {
    const signal = begin("Fetching the example");
    try {
      /** @type {(() => void)[]} */
      const fills = [];
      for (const field of fields.filter(({ input }) => input.id in service.example)) {
        const value = service.example[field.input.id];
        const given =
          field.input.type === "volume" ? { file: await exampleFile(value.file, signal), about: value.about } : value;
        fills.push(() => field.fill(given));
      }
      for (const fillIn of fills) fillIn();
      oninput();
      announce("The example is filled in.");
    } catch (error) {
      if (!signal.aborted) tell(saidBy(error));
    }
    setBusy(false);
    if (example) example.focus();
  }

  /** @param {SubmitEvent} event */
  async function onsubmit(event) {
    event.preventDefault();
    if (busy) return;
    const read = readAll(fields, formatField);
    if (!keyField.check() || !read) {
      tell("Some inputs are not right yet; nothing was sent.");
      /** @type {HTMLElement | null} */ (parts.querySelector("[aria-invalid]"))?.focus();
      return;
    }
    const signal = begin("Packing");
    setUpload("sending");
    try {
      const ticket = await packAndSend(read, signal);
      keep({ ...ticket, created: new Date().toISOString() });
      keepSent(ticket.id, read.volumes);
      setBusy(false);
      setUpload("");
      onTicket(ticket);
    } catch (error) {
      setBusy(false);
      setUpload(signal.aborted || element.isConnected ? "" : "failed");
      if (!signal.aborted) return explain(error);
      if (arrived) {
        tell("Stopped. The server may have taken it already: send it again to see that ticket, and cancel it there.");
      }
      send.focus();
    }
  }

  /** @param {NonNullable<ReturnType<typeof readAll>>} read @param {AbortSignal} signal */
  async function packAndSend(read, signal) {
    arrived = false;
    demandSize(leastBytes(read.members));
    packed ??= await pack(read, showStep("Packing"), signal);
    demandSize(packed.payload.size);
    const onBytes = showStep("Sending");
    const ticket = await submit(service.name, packed.payload, {
      idempotencyKey: packed.idempotencyKey,
      signal,
      onBytes(bytes, allBytes) {
        arrived = bytes >= allBytes;
        if (arrived) told.textContent = "Sent. The server checks it…";
        else onBytes(bytes, allBytes);
      },
    });
    packed = null;
    return ticket;
  }

  /** Let nothing be changed until what begins has ended or is stopped. @param {string} step */
  function begin(step) {
    const stopped = new AbortController();
    stop.onclick = () => stopped.abort();
    showStep(step);
    setBusy(true);
    trouble.hidden = true;
    stop.focus();
    return stopped.signal;
  }

  /** @param {boolean} now */
  function setBusy(now) {
    busy = now;
    parts.disabled = now;
    sending.hidden = !now;
  }

  /** @param {Upload} now */
  function setUpload(now) {
    upload = now;
    onUpload(now);
  }

  /** @param {string} step */
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

  /** @param {unknown} error */
  function explain(error) {
    if (error instanceof Refused) {
      refuse(error.problem);
    } else {
      tell(error instanceof Unreachable ? UNANSWERED : saidBy(error));
      send.focus();
    }
  }

  /** @param {import("./shapes.d.ts").Problem} problem */
  function refuse(problem) {
    const rest = [];
    let first = null;
    for (const fault of problem.errors ?? []) {
      const field = fields.find((each) => each.input.id === fault.input);
      field?.refuse(fault.detail);
      first ??= field;
      if (!field) rest.push(fault.detail);
    }
    if (KEY_KINDS.includes(problem.type.replace("/problems/", ""))) {
      keyField.refuse(problem.detail);
      keyField.focus();
      tell("Nothing was taken: see the API key.");
      return;
    }
    tell(problem.detail, ...rest.filter((detail) => detail !== problem.detail));
    (first ?? send).focus();
  }

  /** @param {...string} lines */
  function tell(...lines) {
    fill(trouble, ...lines.map((line) => make("p", {}, line)));
    trouble.hidden = false;
  }

  return {
    show() {
      keyField.update();
      if (upload === "failed") upload = "";
      return element;
    },
    refuse,
    busy: () => busy,
    upload: () => upload,
  };
}

/**
 * Read every field; refuse those that are wrong.
 * @param {import("./fields.js").Field[]} fields
 * @param {ReturnType<typeof makeFormatField> | null} formatField
 */
function readAll(fields, formatField) {
  /** @type {Record<string, any>} */
  const inputs = {};
  /** @type {{name: string, data: Blob}[]} */
  const members = [];
  /** @type {Map<string, import("./files.js").Shown>} */
  const volumes = new Map();
  let right = true;
  let hasDicom = false;
  for (const field of fields) {
    const { value, members: files, volume, isDicom, fault } = field.read();
    field.clear();
    if (fault) field.refuse(fault);
    right &&= !fault;
    hasDicom ||= Boolean(isDicom);
    if (value !== undefined) inputs[field.input.id] = value;
    members.push(...(files ?? []));
    if (volume) volumes.set(field.input.id, volume);
  }
  const { outputs, fault } = formatField?.read(hasDicom) ?? {};
  return right && !fault ? { main: { inputs, outputs }, members, volumes } : null;
}

/**
 * @param {{main: object, members: {name: string, data: Blob}[]}} read
 * @param {(bytes: number, allBytes: number) => void} onBytes
 * @param {AbortSignal} signal
 */
async function pack({ main, members }, onBytes, signal) {
  const archive = tar([{ name: "main.json", data: new Blob([JSON.stringify(main)]) }, ...members]);
  const payload = await gzip(archive, (bytes) => onBytes(bytes, archive.size), signal);
  const random = crypto.getRandomValues(new Uint8Array(16));
  return { payload, idempotencyKey: [...random].map((byte) => byte.toString(16).padStart(2, "0")).join("") };
}

/** What a payload has at least: what is compressed already does not become less. @param {{name: string, data: Blob}[]} members */
function leastBytes(members) {
  return members.filter(({ name }) => /\.(gz|zip)$/.test(name)).reduce((sum, { data }) => sum + data.size, 0);
}

/** Refuse early what the server would refuse by its size. @param {number} bytes */
function demandSize(bytes) {
  const most = Number(document.body.dataset.largestRequestBytes);
  if (bytes > most) {
    throw new Error(`The payload has ${inBytes(bytes)} or more, packed; this server takes ${inBytes(most)}.`);
  }
}

/** The API key, where the server asks for one; kept as it is typed, for all forms, until the tab is closed. */
function makeKeyField() {
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
