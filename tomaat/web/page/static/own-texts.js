/** The texts by which a task tells people what it is good for. */

import { make } from "./dom.js";

/** @typedef {{version: string, intended_use?: string, licence?: string, reference?: string, contact?: string, kind?: string,
 *   weights_sha256?: string | null}} Told */

export const OF_NETWORK = "SHA-256 of the network";

/** The texts that there are, each with its title. @param {Told} told @returns {[string, string][]} */
export function ownTexts({ version, intended_use, licence, reference, contact, kind }) {
  const all = Object.entries({
    "Intended use": intended_use,
    Version: version,
    Licence: licence,
    Reference: reference,
    Contact: contact,
    Kind: kind,
  });
  return all.flatMap(([title, text]) => (text ? [/** @type {[string, string]} */ ([title, text])] : []));
}

/** The use and the version at first sight, and what else there is one click away. @param {Told} told */
export function makeOwnTexts(told) {
  const first = ownTexts({ version: told.version, intended_use: told.intended_use });
  const rest = ownTexts({ ...told, version: "", intended_use: "" });
  if (told.weights_sha256) rest.push([OF_NETWORK, told.weights_sha256]);
  const titles = rest.map(([title]) => title.toLowerCase()).join(", ");
  const summary = `${titles.slice(0, 1).toUpperCase()}${titles.slice(1)}`;
  const more = rest.length > 0 && make("details", {}, make("summary", {}, summary), makeList(rest));
  return make("div", { class: "own-texts" }, makeList(first), more);
}

/** @param {[string, string][]} texts */
function makeList(texts) {
  const lines = texts.map(([title, text]) => [make("dt", {}, title), make("dd", {}, ...withLinks(text))]);
  return make("dl", {}, ...lines.flat());
}

/** A text whose addresses can be followed. @param {string} text */
function withLinks(text) {
  return text
    .split(/(https:\/\/[^\s,;()]+)/)
    .map((part, place) => (place % 2 ? make("a", { href: part, rel: "noreferrer", target: "_blank" }, part) : part));
}
