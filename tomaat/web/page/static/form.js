/** The form of a service, made from its interface; it packs the payload and sends it. */

import { exampleFile, Refused, submit, Unreachable } from "./api.js";
import { announce, fill, make } from "./dom.js";
import { makeField } from "./fields.js";
import { makeFormatField } from "./format-field.js";
import { makeKeyField } from "./key-field.js";
import { makeLabelField } from "./label-field.js";
import { demandSize, leastBytes, pack, readAll } from "./payload.js";
import { makePriorityField } from "./priority-field.js";
import { beginCohort, sendMany } from "./send-many.js";
import { makeSending } from "./sending.js";
import { keep, keepSent } from "./store.js";
import { saidBy } from "./words.js";

const UNANSWERED =
  "The server does not answer. Nothing is lost: send it again, it becomes one ticket however often it arrives.";
const KEY_KINDS = ["key-needed", "service-not-allowed"];

/**
 * @typedef {"" | "sending" | "failed"} Upload failed: nobody has looked at the form since
 *
 * @typedef {object} Hooks
 * @property {(ticket: import("./api.js").Reference) => void} onTicket takes the ticket that was made
 * @property {(cohort: string) => void} onCohort takes the cohort whose tickets were made
 * @property {(upload: Upload) => void} onUpload takes each change of an upload's standing
 */

/** A service's form, which keeps its fields' values while other views are shown. */
export class ServiceForm {
  /** @param {import("./shapes.d.ts").Service} service @param {Hooks} hooks */
  constructor(service, hooks) {
    this.service = service;
    this.hooks = hooks;
    const inputs = Object.values(service.interface);
    const takesMany = inputs.filter(({ type }) => type === "volume").length === 1;
    this.fields = inputs.map((input) => makeField(input, { takesMany }));
    this.formatField = this.fields.some(({ input }) => input.type === "volume") ? makeFormatField() : null;
    this.labelField = service.takes_label ? makeLabelField() : null;
    this.priorityField = makePriorityField();
    this.keyField = makeKeyField();
    this.trouble = make("div", { class: "trouble", role: "alert", hidden: true });
    this.sending = makeSending();
    this.send = make("button", { type: "submit", class: "main" }, "Send");
    this.example =
      Object.keys(service.example).length > 0 &&
      make("button", { type: "button", onclick: () => this.fillInExample() }, "Fill in the example");
    this.parts = make(
      "fieldset",
      {},
      make("legend", { class: "unseen" }, `The inputs of ${service.name}`),
      this.keyField.element,
      ...this.fields.map((field) => field.element),
      this.formatField?.element,
      this.labelField?.element,
      this.priorityField.element,
      make("div", { class: "actions" }, this.send, this.example),
    );
    const onsubmit = (/** @type {SubmitEvent} */ event) => this.onSubmit(event);
    const attributes = {
      novalidate: true,
      autocomplete: "off",
      onsubmit,
      oninput: (/** @type {Event} */ event) => this.onInput(event.target),
    };
    this.element = make("form", attributes, this.parts, this.sending.element, this.trouble);

    /** The payload as it is sent. @type {{payload: Blob, idempotencyKey: string} | null} */
    this.packed = null;
    this.busy = false;
    /** The case that was packed last. @type {import("./cases.js").Case | null} */
    this.packedOf = null;
    /** What was sent of many volumes. @type {import("./send-many.js").Cohort | null} */
    this.cohort = null;
    this.arrived = false; // whether all of it went out, so that the server may have taken it
    /** @type {Upload} */
    this.upload = "";
  }

  /** The element that stands on the page, with the API key that this tab has by now. */
  show() {
    this.keyField.update();
    if (this.upload === "failed") this.upload = "";
    return this.element;
  }

  /** Show a refusal, each fault at its field. @param {import("./shapes.d.ts").Problem} problem */
  refuse(problem) {
    const rest = [];
    let first = null;
    for (const fault of problem.errors ?? []) {
      const field = this.fields.find((each) => each.input.id === fault.input);
      field?.refuse(fault.detail);
      first ??= field;
      if (!field) rest.push(fault.detail);
    }
    if (KEY_KINDS.includes(problem.type.replace("/problems/", ""))) {
      this.keyField.refuse(problem.detail);
      this.keyField.focus();
      this.tell(this.cohort?.done.size ? "See the API key." : "Nothing was taken: see the API key.");
      return;
    }
    this.tell(problem.detail, ...rest.filter((detail) => detail !== problem.detail));
    (first ?? this.send).focus();
  }

  /** Take a change of what is sent. The key, and which cases are sent, leave each request as it is. @param {unknown} [changed] */
  onInput(changed) {
    if (changed instanceof Element && changed.closest(".key, .cases")) return;
    this.labelField?.suggest(this.fields.map((field) => field.name()).find(Boolean) ?? "");
    this.packed = null;
    this.cohort = null;
    this.trouble.hidden = true;
  }

  async fillInExample() {
    const { example } = this.service;
    const signal = this.begin("Fetching the example");
    try {
      /** @type {(() => void)[]} */
      const fills = [];
      for (const field of this.fields.filter(({ input }) => input.id in example)) {
        const value = example[field.input.id];
        const given =
          field.input.type === "volume" ? { file: await exampleFile(value.file, signal), about: value.about } : value;
        fills.push(() => field.fill(given));
      }
      for (const fillIn of fills) fillIn();
      this.onInput();
      announce("The example is filled in.");
    } catch (error) {
      if (!signal.aborted) this.tell(saidBy(error));
    }
    this.setBusy(false);
    if (this.example) this.example.focus();
  }

  /** @param {SubmitEvent} event */
  async onSubmit(event) {
    event.preventDefault();
    if (this.busy) return;
    const content = readAll(this.fields, this.formatField);
    if (!this.keyField.check() || !content) {
      this.tell("Some inputs are not right yet; nothing was sent.");
      /** @type {HTMLElement | null} */ (this.parts.querySelector("[aria-invalid]"))?.focus();
      return;
    }
    const signal = this.begin("Packing");
    this.setUpload("sending");
    const label = this.labelField?.read() ?? null;
    try {
      const told = await (content.cases
        ? this.sendMany(content.cases, label, signal)
        : this.sendOne(content, label, signal));
      this.setBusy(false);
      this.setUpload("");
      told();
    } catch (error) {
      this.setBusy(false);
      this.setUpload(signal.aborted || this.element.isConnected ? "" : "failed");
      if (!signal.aborted) return this.explain(error);
      const taken = "The server may have taken it already: send it again to see that ticket, and cancel it there.";
      if (this.arrived || this.cohort) this.tell(`Stopped.${this.arrived ? ` ${taken}` : ""}`);
      this.send.focus();
    }
  }

  /** Send a ticket; return what shows it. @param {import("./payload.js").Content} content @param {string | null} label @param {AbortSignal} signal */
  async sendOne(content, label, signal) {
    const ticket = await this.packAndSend(content, label, signal);
    keep({ ...ticket, label, created: new Date().toISOString() });
    keepSent(ticket, content.volumes);
    return () => this.hooks.onTicket(ticket);
  }

  /** Send a ticket of each case; return what shows them. @param {import("./payload.js").CaseContent[]} cases @param {string | null} before @param {AbortSignal} signal */
  async sendMany(cases, before, signal) {
    const cohort = (this.cohort ??= beginCohort());
    await sendMany(cohort, this.service.name, cases, before, ({ of, content }, label, about) => {
      if (this.packedOf !== of) this.packed = null; // of a case that was refused
      this.packedOf = of;
      return this.packAndSend(content, label, signal, about);
    });
    this.cohort = null;
    return () => this.hooks.onCohort(cohort.id);
  }

  /** @param {import("./payload.js").Content} content @param {string | null} label @param {AbortSignal} signal @param {string} [about] said before each step */
  async packAndSend(content, label, signal, about = "") {
    this.arrived = false;
    demandSize(leastBytes(content.members));
    this.packed ??= await pack(content, this.sending.showStep(`${about}Packing`), signal);
    demandSize(this.packed.payload.size);
    const onBytes = this.sending.showStep(`${about}Sending`);
    const ticket = await submit(this.service.name, this.packed.payload, {
      label: label ?? "",
      priority: this.priorityField.read(),
      idempotencyKey: this.packed.idempotencyKey,
      signal,
      onBytes: (bytes, allBytes) => {
        this.arrived = bytes >= allBytes;
        if (this.arrived) this.sending.tell("Sent. The server checks it…");
        else onBytes(bytes, allBytes);
      },
    });
    this.packed = null;
    return ticket;
  }

  /** Let nothing be changed until a step that begins has ended or is stopped. @param {string} step */
  begin(step) {
    const signal = this.sending.begin(step);
    this.setBusy(true);
    this.trouble.hidden = true;
    this.sending.focus();
    return signal;
  }

  /** @param {boolean} now */
  setBusy(now) {
    this.busy = now;
    this.parts.disabled = now;
    this.sending.element.hidden = !now;
  }

  /** @param {Upload} now */
  setUpload(now) {
    this.upload = now;
    this.hooks.onUpload(now);
  }

  /** @param {unknown} error */
  explain(error) {
    if (error instanceof Refused) {
      this.refuse(error.problem);
    } else {
      this.tell(error instanceof Unreachable ? UNANSWERED : saidBy(error));
      this.send.focus();
    }
  }

  /** @param {...string} lines */
  tell(...lines) {
    const done = this.cohort?.done.size;
    if (done) lines.unshift(`Sent so far: ${done}. Send again for the others.`);
    fill(this.trouble, ...lines.map((line) => make("p", {}, line)));
    this.trouble.hidden = false;
  }
}
