/** One field of a form for each kind of input that a service may declare. */

import { make } from "./dom.js";
import { VolumeField } from "./volume-field.js";
import { inDigits } from "./words.js";

/** @typedef {import("./shapes.d.ts").Input} Input */

/**
 * The content of a field: a value for main.json, or members of the payload (and the volume to show later), or nothing;
 * or its fault.
 * @typedef {object} Read
 * @property {any} [value]
 * @property {{name: string, data: Blob}[]} [members]
 * @property {import("./files.js").Shown} [volume]
 * @property {boolean} [isDicom]
 * @property {{of: import("./cases.js").Case, read: Read}[]} [cases] of a cohort: members and volume of each
 * @property {string} [fault]
 */

/**
 * @typedef {object} Control
 * @property {HTMLElement} element
 * @property {HTMLElement} target the label names it, and the focus goes to it
 * @property {() => Read} read
 * @property {(value: any) => void} fill
 * @property {() => string} [name] of the file or the folder that is chosen
 */

/**
 * @typedef {object} Field
 * @property {Input} input
 * @property {HTMLElement} element
 * @property {() => Read} read
 * @property {(value: any) => void} fill
 * @property {(fault: string) => void} refuse
 * @property {() => string} name of the file or the folder that is chosen; of other fields nothing
 * @property {() => void} clear
 * @property {() => void} focus
 */

const CONTROLS = {
  volume: (/** @type {Input} */ input, /** @type {boolean} */ takesMany) => new VolumeField(input, takesMany),
  float: numberControl,
  int: numberControl,
  str: textControl,
  singlechoice: choiceControl,
  boolean: booleanControl,
  pointlist: pointsControl,
};
const LONG_TEXT = 200; // characters from which a text gets several lines
const AXES = {
  LPS: "x to the patient's left, y to the back, z up",
  RAS: "x to the patient's right, y to the front, z up",
};
const MISSING = "This is needed.";

/**
 * Make the field of an input, with all of its description.
 * @param {Input} input
 * @param {{takesMany?: boolean}} [how] whether several volumes become a ticket each
 * @returns {Field}
 */
export function makeField(input, { takesMany = false } = {}) {
  const control = (CONTROLS[input.type] ?? jsonControl)(input, takesMany);
  const open = !input.required && input.default === null;
  const frame = makeFrame(`input-${input.id}`, control, {
    name: [input.name, open && make("span", { class: "optional" }, " optional")],
    kind: input.type,
    about: input.description,
    hint: hintOf(input) + (takesMany ? " Several volumes, or a folder of studies, become one ticket each." : ""),
  });
  frame.element.dataset.input = input.id;
  return {
    input,
    element: frame.element,
    read: () => control.read(),
    name: () => control.name?.() ?? "",
    clear: frame.clear,
    focus: frame.focus,
    fill(value) {
      control.fill(value);
      frame.clear();
    },
    refuse: (text) => frame.refuse(text.startsWith(`${input.id}: `) ? text.slice(input.id.length + 2) : text),
  };
}

/**
 * A control with its label, its description and hint, and a place for its fault.
 * @param {string} id
 * @param {{element: HTMLElement, target: HTMLElement}} control
 * @param {{name: (string | Node | false)[], kind: string, about?: string, hint: string}} texts
 */
export function makeFrame(id, { element: control, target }, { name, kind, about, hint }) {
  target.id = id;
  const described = [about && `${id}-about`, hint && `${id}-hint`, `${id}-fault`].filter(Boolean);
  target.setAttribute("aria-describedby", described.join(" "));
  const fault = make("p", { class: "fault", id: `${id}-fault`, hidden: true });
  const element = make(
    "div",
    { class: `field ${kind}` },
    make("label", { for: id, id: `${id}-label` }, ...name),
    about && make("p", { class: "about", id: `${id}-about` }, about),
    control,
    hint && make("p", { class: "hint", id: `${id}-hint` }, hint),
    fault,
  );
  const clear = () => {
    fault.hidden = true;
    fault.textContent = "";
    target.removeAttribute("aria-invalid");
  };
  element.addEventListener("input", clear);
  return {
    element,
    clear,
    /** @param {string} text */
    refuse(text) {
      fault.textContent = text;
      fault.hidden = false;
      target.setAttribute("aria-invalid", "true");
    },
    focus: () => target.focus(),
  };
}

/** The rules of an input in a line. @param {Input} input */
function hintOf(input) {
  const parts = [];
  if (input.type === "float" || input.type === "int") {
    const range = rangeOf(input);
    if (range) parts.push(range);
    else if (input.type === "int") parts.push("a whole number");
    if (input.default !== null) parts.push(`default ${inDigits(input.default)}`);
  } else if (input.type === "pointlist") {
    parts.push(`one point a line: x y z in mm, ${AXES[input.coordinates === "RAS" ? "RAS" : "LPS"]}`);
    parts.push(input.fewest === input.most ? `${input.most} of them` : `${input.fewest} to ${input.most} of them`);
  } else if (input.type === "volume") {
    const extensions = (input.extensions ?? []).filter((extension) => extension !== ".zip");
    parts.push(extensions.join(", "));
    if (input.extensions?.includes(".zip")) parts.push("a DICOM folder, or a .zip of one");
    parts.push(...volumeLimits(input));
  } else if (input.default !== null && input.type !== "boolean" && input.default !== "") {
    parts.push(`default: ${input.default}`);
  }
  const line = parts.join("; ");
  return line && `${line[0].toUpperCase()}${line.slice(1)}.`;
}

/** The limits that a service's description sets to a volume. @param {Input} input */
function volumeLimits({ modalities, smallest_dimensions: smallest, largest_dimensions: largest, spacing_mm: spacing }) {
  return [
    modalities && `modality ${modalities.join(" or ")}`,
    smallest && `at least ${smallest.join(" × ")} voxels`,
    largest && `at most ${largest.join(" × ")} voxels`,
    spacing && `voxels of ${spacing.map((mm) => inDigits(mm)).join(" to ")} mm`,
  ].filter((limit) => limit);
}

/** @param {Input} input */
function rangeOf({ minimum = null, maximum = null, unit = "" }) {
  const [low, high] = [minimum, maximum].map((bound) => bound !== null && `${inDigits(bound)}`);
  const range = low && high ? `${low} to ${high}` : low ? `at least ${low}` : high ? `at most ${high}` : "";
  return range && unit ? `${range} ${unit}` : range;
}

/** A number; with a slider beside it where both ends are known. @param {Input} input @returns {Control} */
function numberControl(input) {
  const { minimum, maximum } = input;
  const whole = input.type === "int";
  const number = make("input", {
    type: "number",
    min: minimum,
    max: maximum,
    step: whole ? 1 : "any",
    inputmode: whole ? "numeric" : "decimal",
    required: input.required,
    autocomplete: "off",
  });
  const parts = [make("span", { class: "amount" }, number, input.unit && make("span", { class: "unit" }, input.unit))];
  /** @type {HTMLInputElement | null} */
  let slider = null;
  if (typeof minimum === "number" && typeof maximum === "number" && maximum > minimum) {
    const step = whole ? 1 : sliderStep(maximum - minimum);
    slider = make("input", {
      type: "range",
      min: minimum,
      max: maximum,
      step,
      "aria-labelledby": `input-${input.id}-label`,
    });
    const { value } = slider;
    slider.addEventListener("input", () => {
      if (slider) number.value = slider.value;
    });
    number.addEventListener("input", () => {
      if (slider) slider.value = number.value === "" ? value : number.value;
    });
    parts.unshift(slider);
  }
  const fill = (/** @type {number | null} */ value) => {
    number.value = value === null ? "" : String(value);
    if (slider && value !== null) slider.value = String(value);
  };
  fill(input.default);
  return {
    element: make("div", { class: "number" }, ...parts),
    target: number,
    fill,
    read() {
      if (number.validity.badInput) return { fault: "This is not a number." };
      if (number.value === "") return input.required ? { fault: MISSING } : {};
      const value = number.valueAsNumber;
      if (whole && !Number.isInteger(value)) return { fault: `${inDigits(value)} is not a whole number.` };
      if ((typeof minimum === "number" && value < minimum) || (typeof maximum === "number" && value > maximum)) {
        return { fault: `${inDigits(value)} is not within: ${rangeOf(input)}.` };
      }
      return { value };
    },
  };
}

/** A round step that divides a range into at least 100. @param {number} range */
function sliderStep(range) {
  return 10 ** Math.floor(Math.log10(range / 100));
}

/** @param {Input} input @returns {Control} */
function textControl(input) {
  const longest = input.longest ?? 0;
  const attributes = { maxlength: input.longest, required: input.required };
  const box =
    longest > LONG_TEXT ? make("textarea", { rows: 3, ...attributes }) : make("input", { type: "text", ...attributes });
  const fill = (/** @type {string | null} */ value) => {
    box.value = value ?? "";
  };
  fill(input.default);
  return {
    element: box,
    target: box,
    fill,
    read() {
      if (box.value === "" && input.default === null) return input.required ? { fault: MISSING } : {};
      return { value: box.value };
    },
  };
}

/** @param {Input} input @returns {Control} */
function choiceControl(input) {
  const open = input.default === null;
  const box = make(
    "select",
    { required: input.required },
    open && make("option", { value: "" }, input.required ? "Choose…" : "None"),
    ...(input.choices ?? []).map((choice) => make("option", { value: `=${choice}` }, choice)),
  );
  const fill = (/** @type {string | null} */ value) => {
    box.value = value === null ? "" : `=${value}`;
  };
  fill(input.default);
  return {
    element: box,
    target: box,
    fill,
    read() {
      if (box.value === "") return input.required ? { fault: MISSING } : {};
      return { value: box.value.slice(1) };
    },
  };
}

/** @param {Input} input @returns {Control} */
function booleanControl(input) {
  const choice = choiceControl({
    ...input,
    choices: ["Yes", "No"],
    default: input.default === null ? null : input.default ? "Yes" : "No",
  });
  return {
    ...choice,
    fill: (value) => choice.fill(value ? "Yes" : "No"),
    read() {
      const read = choice.read();
      return read.value === undefined ? read : { value: read.value === "Yes" };
    },
  };
}

/** A kind of input that this page does not know yet: its text in main.json. @param {Input} input @returns {Control} */
function jsonControl(input) {
  const box = make("textarea", { rows: 3, required: input.required, spellcheck: "false", placeholder: "JSON" });
  const fill = (/** @type {any} */ value) => {
    box.value = value === null ? "" : JSON.stringify(value);
  };
  fill(input.default);
  return {
    element: box,
    target: box,
    fill,
    read() {
      if (!box.value.trim()) return input.required ? { fault: MISSING } : {};
      try {
        return { value: JSON.parse(box.value) };
      } catch {
        return { fault: "This is not JSON." };
      }
    },
  };
}

/** @param {Input} input @returns {Control} */
function pointsControl(input) {
  const box = make("textarea", { rows: 4, required: input.required, spellcheck: "false", placeholder: "12.5 -3 40" });
  const fill = (/** @type {number[][] | null} */ points) => {
    box.value = (points ?? []).map((point) => point.join(" ")).join("\n");
  };
  fill(input.default);
  return {
    element: box,
    target: box,
    fill,
    read() {
      const lines = box.value.split("\n").filter((line) => line.trim());
      if (!lines.length && !(input.default === null && input.required && input.fewest === 0)) {
        return input.required ? { fault: MISSING } : {};
      }
      const value = [];
      for (const [place, line] of lines.entries()) {
        const point = line
          .trim()
          .split(/[\s,;]+/)
          .map(Number);
        if (point.length !== 3 || !point.every(Number.isFinite)) {
          return { fault: `Point ${place + 1}, "${line.trim().slice(0, 40)}", is not three numbers.` };
        }
        value.push(point);
      }
      return { value };
    },
  };
}
