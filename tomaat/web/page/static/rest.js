/** Waiting. */

/** Let time pass, less where another view is shown. @param {number} seconds @param {AbortSignal} signal */
export function rest(seconds, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve(undefined);
    };
    const timer = setTimeout(done, 1000 * seconds);
    signal.addEventListener("abort", done);
  });
}
