/** The texts by which a task tells people what it is good for. */

import { make } from "./dom.js";

/** @typedef {{version: string, intended_use?: string, licence?: string, reference?: string, contact?: string}} Told */

/** The texts that there are, each with its title. @param {Told} told @returns {[string, string][]} */
export function ownTexts({ version, intended_use, licence, reference, contact }) {
  const all = Object.entries({
    "Intended use": intended_use,
    Version: version,
    Licence: licence,
    Reference: reference,
    Contact: contact,
  });
  return all.flatMap(([title, text]) => (text ? [/** @type {[string, string]} */ ([title, text])] : []));
}

/** @param {Told} told */
export function makeOwnTexts(told) {
  const lines = ownTexts(told).map(([title, text]) => [make("dt", {}, title), make("dd", {}, ...withLinks(text))]);
  return make("dl", { class: "own-texts" }, ...lines.flat());
}

/** A text whose addresses can be followed. @param {string} text */
function withLinks(text) {
  return text
    .split(/(https:\/\/[^\s,;()]+)/)
    .map((part, place) => (place % 2 ? make("a", { href: part, rel: "noreferrer", target: "_blank" }, part) : part));
}
