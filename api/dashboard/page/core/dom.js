// Builds elements. Text goes in as text nodes only, so that nothing a search holds (names,
// messages, mutations) can ever become markup.

const SVG = "http://www.w3.org/2000/svg";

// Returns an HTML element. `attributes.on` maps event names to listeners; null, undefined and
// false leave an attribute out; true makes it an empty one.
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// Returns an SVG element, by the same rules.
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// Replaces the children of `parent`; strings become text.
export function replace(parent, ...children) {
  parent.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
}

// Sets the text of `node` only if it differs, so that screen readers are not told twice.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
}
