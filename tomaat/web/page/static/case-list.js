/** The list of a cohort's cases: whether each is sent, and which series of a study. */

import { make } from "./dom.js";
import { counted } from "./words.js";

/** @typedef {import("./cases.js").Case} Case */

/** List the cases; another series makes another case in its place. @param {Case[]} cases @param {() => void} onChange */
export function makeCaseList(cases, onChange) {
  const several = cases.some(({ choices }) => choices.length > 1); // somebody has to look at them
  const lines = cases.map((_, place) => makeLine(cases, place, onChange));
  const summary = make("summary", {}, several ? "Which ones, and which series" : "Which ones");
  return make("details", { class: "cases", open: several }, summary, make("ul", {}, ...lines));
}

/** @param {Case[]} cases @param {number} place @param {() => void} onChange */
function makeLine(cases, place, onChange) {
  const { label, choices } = cases[place];
  const box = make("input", { type: "checkbox", checked: true });
  box.addEventListener("change", () => {
    cases[place].wanted = box.checked;
    onChange();
  });
  const about = choices.length === 1 && make("span", { class: "hint" }, choices[0].about);
  const series = choices.length > 1 && makeChoice(cases, place, onChange);
  return make("li", {}, make("label", {}, box, make("span", {}, label)), about, series);
}

/** @param {Case[]} cases @param {number} place @param {() => void} onChange */
function makeChoice(cases, place, onChange) {
  const { label, choices } = cases[place];
  const options = choices.map(({ about, images }, at) =>
    make("option", { value: at }, `${about}, ${counted(images.length, "image")}`),
  );
  const choice = make("select", { "aria-label": `Series of ${label}` }, ...options);
  choice.addEventListener("change", () => {
    cases[place] = { ...cases[place], series: choices[Number(choice.value)] };
    onChange();
  });
  return choice;
}
