/** Elements, made without markup in strings: text stays text. */

/** @typedef {Node | string | null | undefined | false} Child null, undefined and false make no child */

/**
 * Make an element. An attribute that is `null`, `undefined` or `false` is left out, `true` is written without a value,
 * and `on…` adds a listener.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [attributes]
 * @param {...Child} children
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

/** The values that elements were last drawn from, as JSON. @type {WeakMap<Element, string>} */
const drawn = new WeakMap();

/**
 * Put other children into an element.
 * @param {Element} element
 * @param {...Child} children
 */
export function fill(element, ...children) {
  drawn.delete(element);
  element.replaceChildren(...given(children));
}

/**
 * Draw an element's children anew only where `values`, compared as JSON, are not those that they were drawn from. So a
 * child keeps the focus, an open list stays open, and a screen reader is told nothing twice.
 * @param {Element} element
 * @param {unknown} values all that the children depend on
 * @param {() => Child[]} draw
 */
export function redraw(element, values, draw) {
  const now = JSON.stringify(values);
  if (drawn.get(element) === now) return;
  fill(element, ...draw());
  drawn.set(element, now);
}

/**
 * Put elements into another one, in their order. One that stands where it belongs is not moved, and keeps the focus.
 * @param {Element} element
 * @param {Element[]} wanted
 */
export function arrange(element, wanted) {
  for (const child of [...element.children].filter((each) => !wanted.includes(each))) child.remove();
  wanted.forEach((child, at) => {
    if (element.children[at] !== child) element.insertBefore(child, element.children[at] ?? null);
  });
}

/** @param {Child[]} children */
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
