/** Addresses within the page. They stand in the fragment, which no browser sends to a server. */

/**
 * @typedef {{view: "overview"} | {view: "service", name: string} | {view: "ticket", id: number, token: string}} Place
 */

/** @param {{id: number, token: string}} ticket */
export function ticketLink({ id, token }) {
  return `#/tickets/${id}/${encodeURIComponent(token)}`;
}

/** @param {string} fragment @returns {Place} */
export function placeOf(fragment) {
  const [, what, first = "", second = ""] = fragment.replace(/^#/, "").split("/");
  try {
    if (what === "services" && first) return { view: "service", name: decodeURIComponent(first) };
    if (what === "tickets" && /^\d+$/.test(first) && second) {
      return { view: "ticket", id: Number(first), token: decodeURIComponent(second) };
    }
  } catch {
    // a broken link leads to the start
  }
  return { view: "overview" };
}
