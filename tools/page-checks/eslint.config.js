/** What ESLint asks of the page's modules: its own recommendations, and a few rules that keep them easy to read. */

import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["**/vendor/**"] },
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2022, sourceType: "module", globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "max-lines-per-function": ["error", { max: 80, IIFEs: true }], // with the functions, comments and blank lines in it
      curly: ["error", "multi-line"],
      eqeqeq: "error",
      "no-console": "error", // nothing of a patient or a ticket goes there
      "no-implied-eval": "error", // the page's policy forbids it
      "no-shadow": "error",
      "no-throw-literal": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
    },
  },
];
