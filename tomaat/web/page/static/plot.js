/** A line plot, drawn as SVG. */

import { inDigits } from "./words.js";

const WIDTH = 640;
const HEIGHT = 200;
const LEFT = 64; // room for the numbers at the axes
const BELOW = 22;
const MOST_POINTS = 1000; // more than the line has pixels

/**
 * Draw numbers over their places; a number that is not finite leaves a gap.
 * @param {ArrayLike<number>} values
 */
export function makePlot(values) {
  let [low, high] = [Infinity, -Infinity];
  for (let at = 0; at < values.length; at += 1) {
    if (!Number.isFinite(values[at])) continue;
    low = Math.min(low, values[at]);
    high = Math.max(high, values[at]);
  }
  const span = high > low ? high - low : 1;
  const x = (/** @type {number} */ at) => LEFT + ((WIDTH - LEFT - 8) * at) / Math.max(1, values.length - 1);
  const y = (/** @type {number} */ value) => 8 + (HEIGHT - BELOW - 8) * (1 - (value - low) / span);
  let path = "";
  let pen = "M";
  for (const at of places(values)) {
    if (Number.isFinite(values[at])) {
      path += `${pen}${x(at).toFixed(1)} ${y(values[at]).toFixed(1)}`;
      pen = "L";
    } else {
      pen = "M";
    }
  }
  const label = `A line through ${values.length} numbers between ${inDigits(low, 4)} and ${inDigits(high, 4)}`;
  const plot = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  plot.append(
    draw("path", { class: "axes", d: `M${LEFT} 8V${HEIGHT - BELOW}H${WIDTH - 8}` }),
    draw("path", { class: "line", d: path }),
    draw("text", { x: LEFT - 8, y: 16, "text-anchor": "end" }, inDigits(high, 4)),
    draw("text", { x: LEFT - 8, y: HEIGHT - BELOW, "text-anchor": "end" }, inDigits(low, 4)),
    draw("text", { x: LEFT, y: HEIGHT - 6 }, "0"),
    draw("text", { x: WIDTH - 8, y: HEIGHT - 6, "text-anchor": "end" }, inDigits(values.length - 1)),
  );
  return plot;
}

/**
 * The places to draw: all, or of many the lowest and the highest of each stretch, so that no peak is lost.
 * @param {ArrayLike<number>} values
 */
function* places(values) {
  const stretch = Math.ceil(values.length / MOST_POINTS);
  for (let from = 0; from < values.length; from += stretch) {
    const to = Math.min(values.length, from + stretch);
    let [lowest, highest] = [from, from];
    for (let at = from; at < to; at += 1) {
      if (values[at] < values[lowest]) lowest = at;
      if (values[at] > values[highest]) highest = at;
    }
    yield Math.min(lowest, highest);
    if (lowest !== highest) yield Math.max(lowest, highest);
  }
}

/** @param {string} tag @param {Record<string, string | number>} attributes @param {string} [text] */
function draw(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.textContent = text;
  return element;
}
