/** Numbers and times as people read them. */

const BYTES = ["bytes", "kB", "MB", "GB", "TB"];

/** @param {number} bytes */
export function inBytes(bytes) {
  if (bytes === 1) return "1 byte";
  let power = 0;
  while (bytes >= 999.5 && power < BYTES.length - 1) {
    bytes /= 1000;
    power += 1;
  }
  return `${Number(bytes.toPrecision(bytes < 100 ? 2 : 3))} ${BYTES[power]}`;
}

/** A duration, as exact as an expectation is: `3 s`, `2 min`, `1.5 h`. @param {number} seconds */
export function inTime(seconds) {
  if (seconds < 10) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 55) return `${Math.round(seconds / 5) * 5} s`;
  if (seconds < 3570) return `${Math.round(seconds / 60)} min`;
  return `${Number((seconds / 3600).toFixed(1))} h`;
}

// made once: a browser takes a millisecond for each
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const CALENDAR = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** A moment of the API as this browser's user writes it. @param {string} moment */
export function atTime(moment) {
  const time = new Date(moment);
  const today = time.toDateString() === new Date().toDateString();
  return (today ? CLOCK : CALENDAR).format(time);
}

/**
 * A number with as many digits as it was measured with, at most `digits`; a whole number with all of its own, where none are
 * given. Thousands stand apart by a narrow space: a comma or a point is the decimal sign of some reader.
 * @param {number} value
 * @param {number} [digits]
 */
export function inDigits(value, digits = Number.isSafeInteger(value) ? 16 : 6) {
  if (!Number.isFinite(value)) return String(value);
  const rounded = Number(value.toPrecision(digits));
  const size = Math.abs(rounded);
  if (size !== 0 && (size < 1e-4 || (size >= 1e9 && digits < 16))) return rounded.toExponential();
  return rounded.toLocaleString("en", { maximumFractionDigits: 10 }).replaceAll(",", "\u202f");
}

const FINEST = 6; // digits behind the point

/** A length to a tenth of a mm, and finer where voxels are. @param {number} mm @param {number[]} spacing of the voxels, mm */
export function inMm(mm, spacing) {
  const digits = Math.ceil(-Math.log10(Math.min(...spacing)) - 0.01); // a spacing of 32 bits is not quite 0.1
  return `${mm.toFixed(Math.min(Math.max(digits, 1), FINEST))} mm`;
}

const DRAINED = /\bis drained\b/g;
const TOKENS = /\btoken(s?)\b/g;

/** A sentence of the API, without the words of people who run servers. @param {string} text */
export function inPlainWords(text) {
  return text
    .replaceAll("compute source", "computer")
    .replaceAll(DRAINED, "is paused")
    .replaceAll(TOKENS, "access code$1");
}

const OF_A_PROGRAM = [TypeError, SyntaxError, ReferenceError];

/** The sentence of an error, if it was written for people. @param {unknown} error */
export function saidBy(error) {
  if (OF_A_PROGRAM.some((kind) => error instanceof kind)) return "Something is not as this page expects it.";
  return error instanceof Error ? error.message : String(error);
}

/** `1 ticket`, `2 tickets`. @param {number} count @param {string} thing */
export function counted(count, thing) {
  return `${inDigits(count)} ${thing}${count === 1 ? "" : "s"}`;
}

/** A duration as it was measured: `40 ms`, `3.2 s`, `2 min 5 s`, `1 h 20 min`. @param {number} seconds */
export function inSeconds(seconds) {
  if (seconds < 0.9995) return `${Math.round(1000 * seconds)} ms`;
  if (seconds < 9.95) return `${Number(seconds.toFixed(1))} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const [large, small, more, less] = whole < 3600 ? [60, 1, "min", "s"] : [3600, 60, "h", "min"];
  const rest = Math.floor((whole % Number(large)) / Number(small));
  return `${Math.floor(whole / Number(large))} ${more}${rest ? ` ${rest} ${less}` : ""}`;
}

/** How long ago something was, in its largest unit: `40 s`, `5 min`, `3 h`, `2 days`. @param {number} seconds */
export function inAge(seconds) {
  if (seconds < 120) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 48 * 3600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}
