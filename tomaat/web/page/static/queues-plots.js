/** The last day by the hour, drawn as SVG, each plot beside a table of its figures. */

import { make, redraw } from "./dom.js";
import { inDigits, inSeconds } from "./words.js";

/** @typedef {import("./shapes.d.ts").Hour} Hour */

const HOURS = 24;
const HOUR_MS = 3600_000;
const WIDTH = 400; // near to what a plot has on the screen, so that its letters are as large as the page's
const HEIGHT = 170;
const LEFT = 66; // room for the numbers at the axis
const RIGHT = 8;
const ABOVE = 10;
const BELOW = 24;
const LABELLED = 6; // every so many hours have their time below them

/**
 * @typedef {object} Series
 * @property {string} name
 * @property {string} style a class of queues.css
 * @property {(hour: Hour) => number | null} value
 */

/** @type {Series[]} */
const OUTCOMES = [
  { name: "Done", style: "done", value: (hour) => hour.succeeded },
  { name: "Failed", style: "failed", value: (hour) => hour.failed },
  { name: "Cancelled", style: "cancelled", value: (hour) => hour.cancelled },
];

/** @param {"wait" | "run"} what @returns {Series[]} */
const spread = (what) => [
  { name: "Median", style: "median", value: (hour) => hour[`${what}_median_seconds`] },
  { name: "95th percentile", style: "high", value: (hour) => hour[`${what}_95_seconds`] },
];

/** Make the plots; `show` draws them anew where their figures have changed. */
export function makePlots() {
  const plots = [
    makePlot("Tickets ended", "in each hour", OUTCOMES, bars, inDigits),
    makePlot("Wait", "from upload to last start", spread("wait"), lines, inSeconds),
    makePlot("Duration", "from last start to result", spread("run"), lines, inSeconds),
  ];
  return {
    elements: plots.map((plot) => plot.element),
    /** @param {Hour[]} hours @param {string} now */
    show(hours, now) {
      const day = wholeDay(hours, now);
      for (const plot of plots) plot.show(day);
    },
  };
}

/** All 24 hours, also those in which nothing ended. @param {Hour[]} hours @param {string} now @returns {Hour[]} */
export function wholeDay(hours, now) {
  const known = new Map(hours.map((hour) => [Date.parse(hour.begins), hour]));
  const present = Math.floor(Date.parse(now) / HOUR_MS) * HOUR_MS;
  return Array.from({ length: HOURS }, (_, at) => {
    const begins = present - (HOURS - 1 - at) * HOUR_MS;
    return (
      known.get(begins) ?? {
        begins: new Date(begins).toISOString(),
        ...{ succeeded: 0, failed: 0, cancelled: 0 },
        ...{ wait_median_seconds: null, wait_95_seconds: null, run_median_seconds: null, run_95_seconds: null },
      }
    );
  });
}

/**
 * @param {string} title
 * @param {string} about
 * @param {Series[]} series
 * @param {(hours: Hour[], series: Series[], highest: number) => SVGElement[]} drawn
 * @param {(value: number) => string} written
 */
function makePlot(title, about, series, drawn, written) {
  const place = make("div", { class: "drawing" });
  const table = make("div", { class: "table", tabindex: 0, role: "group", "aria-label": `${title}: figures` });
  const none = make("p", { class: "hint" }, "Nothing yet.");
  const keys = series.map(({ name, style }) => make("span", { class: `key ${style}` }, name));
  const element = make(
    "section",
    { class: "day" },
    make("h3", {}, title, " ", make("span", { class: "hint" }, about)),
    make("p", { class: "keys", "aria-hidden": "true" }, ...keys),
    place,
    none,
    make("details", {}, make("summary", {}, "As a table"), table),
  );
  return {
    element,
    /** @param {Hour[]} hours */
    show(hours) {
      const figures = hours.map((hour) => series.map(({ value }) => value(hour)));
      const values = [hours[0].begins, figures];
      const highest = Math.max(0, ...(drawn === bars ? figures.map(sum) : figures.flat().map((value) => value ?? 0)));
      none.hidden = highest > 0;
      place.hidden = highest === 0;
      const top = drawn === bars ? niceCount(highest) : niceSeconds(highest);
      redraw(place, values, () => [frame(title, hours, drawn(hours, series, top), highest, top, written)]);
      redraw(table, values, () => [tableOf(title, hours, series, written)]);
    },
  };
}

/** @param {(number | null)[]} values */
function sum(values) {
  return values.reduce((/** @type {number} */ all, value) => all + (value ?? 0), 0);
}

/** The top of an axis of tickets: easily read, as is its half, and not below the highest. @param {number} highest */
export function niceCount(highest) {
  return Math.max(2, decimal(highest));
}

/** The top of an axis of seconds, minutes or hours, likewise. @param {number} highest */
export function niceSeconds(highest) {
  if (highest <= 10) return decimal(highest);
  const tops = [20, 40, 60, 120, 240, 600, 1200, 2400, 3600, 7200];
  return tops.find((top) => top >= highest) ?? 3600 * decimal(highest / 3600);
}

/** @param {number} highest */
function decimal(highest) {
  if (highest <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(highest));
  return [1, 2, 4, 10].map((step) => step * power).find((top) => top >= highest * 0.9999) ?? highest;
}

const x = (/** @type {number} */ place) => LEFT + ((WIDTH - LEFT - RIGHT) * place) / HOURS;

/** @param {number} value @param {number} top */
const y = (value, top) => ABOVE + (HEIGHT - ABOVE - BELOW) * (1 - value / top);

/** One bar for each hour, of parts that stand on one another. @param {Hour[]} hours @param {Series[]} series @param {number} top */
function bars(hours, series, top) {
  return hours.flatMap((hour, at) => {
    let below = 0;
    return series.flatMap(({ style, value }) => {
      const count = value(hour) ?? 0;
      if (!count) return [];
      const [low, high] = [y(below, top), y(below + count, top)];
      below += count;
      const [left, right] = [x(at) + 1.5, x(at + 1) - 1.5];
      return [draw("rect", { class: style, x: left, y: high, width: right - left, height: Math.max(1, low - high) })];
    });
  });
}

/** A line for each series, with a mark at each hour; an hour without a figure is a gap. @param {Hour[]} hours @param {Series[]} series @param {number} top */
function lines(hours, series, top) {
  return series.flatMap(({ style, value }) => {
    let path = "";
    let pen = "M";
    const marks = hours.flatMap((hour, at) => {
      const seconds = value(hour);
      if (seconds === null) {
        pen = "M";
        return [];
      }
      const [right, down] = [x(at + 0.5), y(seconds, top)];
      path += `${pen}${right.toFixed(1)} ${down.toFixed(1)}`;
      pen = "L";
      return [draw("circle", { class: style, cx: right, cy: down, r: 3 })];
    });
    return [draw("path", { class: style, d: path }), ...marks];
  });
}

/**
 * @param {string} title
 * @param {Hour[]} hours
 * @param {SVGElement[]} drawn
 * @param {number} highest
 * @param {number} top of the axis
 * @param {(value: number) => string} written
 */
function frame(title, hours, drawn, highest, top, written) {
  const label = `${title} in each hour of the last day, at most ${written(highest)}; the figures are in the table`;
  const plot = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  for (const value of [0, top / 2, top]) {
    plot.append(
      draw("path", { class: "grid", d: `M${LEFT} ${y(value, top)}H${WIDTH - RIGHT}` }),
      draw("text", { x: LEFT - 8, y: y(value, top) + 5, "text-anchor": "end" }, value ? written(value) : "0"),
    );
  }
  hours.forEach((hour, at) => {
    const last = at === HOURS - 1;
    const place = { x: last ? x(HOURS) : x(at + 0.5), y: HEIGHT - 6, "text-anchor": last ? "end" : "middle" };
    if ((HOURS - 1 - at) % LABELLED === 0) plot.append(draw("text", place, atHour(hour)));
  });
  plot.append(...drawn);
  return plot;
}

/** @param {Hour} hour */
function atHour(hour) {
  return new Date(hour.begins).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

/** @param {string} title @param {Hour[]} hours @param {Series[]} series @param {(value: number) => string} written */
function tableOf(title, hours, series, written) {
  const cell = (/** @type {number | null} */ value) => make("td", {}, value === null ? "–" : written(value));
  return make(
    "table",
    {},
    make("caption", { class: "unseen" }, `${title}, by hour`),
    make(
      "thead",
      {},
      make(
        "tr",
        {},
        ...["Hour from", ...series.map(({ name }) => name)].map((name) => make("th", { scope: "col" }, name)),
      ),
    ),
    make(
      "tbody",
      {},
      ...hours.map((hour) =>
        make("tr", {}, make("th", { scope: "row" }, atHour(hour)), ...series.map(({ value }) => cell(value(hour)))),
      ),
    ),
  );
}

/** @param {string} tag @param {Record<string, string | number>} attributes @param {string} [text] @returns {SVGElement} */
function draw(tag, attributes, text = "") {
  const element = /** @type {SVGElement} */ (document.createElementNS("http://www.w3.org/2000/svg", tag));
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.textContent = text;
  return element;
}
