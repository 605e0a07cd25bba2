/** Whose turn it is, among many tickets that are asked for. */

/**
 * The tickets to ask for next, at most so many: each once before any is asked again. Whoever asks for one adds its token to
 * `asked`; so one that fails keeps none of the others waiting.
 * @template {{token: string}} Ticket
 * @param {Ticket[]} tickets
 * @param {Set<string>} asked
 * @param {number} most
 */
export function nextInTurn(tickets, asked, most) {
  if (tickets.every(({ token }) => asked.has(token))) asked.clear();
  return tickets.filter(({ token }) => !asked.has(token)).slice(0, most);
}
