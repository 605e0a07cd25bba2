/** Elements, made without markup in strings: text stays text. */

/**
 * Make an element. An attribute that is `null`, `undefined` or `false` is left out, `true` is written without a value,
 * and `on…` adds a listener.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value);
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...given(children));
  return element;
}

/**
 * Put other children into an element.
 * @param {Element} element
 * @param {...(Node | string | null | undefined | false)} children
 */
export function fill(element, ...children) {
  element.replaceChildren(...given(children));
}

/** @param {(Node | string | null | undefined | false)[]} children */
function given(children) {
  return /** @type {(Node | string)[]} */ (children.filter((child) => child || child === ""));
}

/**
 * Tell a screen reader what happened, once it differs from what it was told last.
 * @param {string} text
 */
export function announce(text) {
  const announcer = document.querySelector("#announcer");
  if (announcer && announcer.textContent !== text) announcer.textContent = text;
}
