// The only ways in which these pages change themselves. Text becomes text nodes: there is no way to markup here.

export const find = (id) => document.getElementById(id);

/** Set a node's text, and only when it differs: a screen reader says a status again each time it is set. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function show(node, visible = true) {
  node.hidden = !visible;
}

/** A new element; strings among the children become text. */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return node;
}

/** Rows of [term, value] in a definition list. */
export function lines(list, rows) {
  list.replaceChildren(...rows.map(([term, value]) => make("div", {}, make("dt", {}, term), make("dd", {}, value))));
}

/** Copy, and tell so on the button and to a screen reader. */
export async function copy(text, button) {
  const done = (await copiedByBrowser(text)) || copiedBySelection(text);
  const label = (button.dataset.label ??= button.textContent);
  button.textContent = done ? "Copied" : "Copy it by hand, please";
  const told = find("copied");
  if (told) say(told, done ? "Copied." : "It could not be copied.");
  setTimeout(() => {
    button.textContent = label;
    if (told) say(told, "");
  }, 2000);
}

async function copiedByBrowser(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // not there without https, or forbidden
  }
}

function copiedBySelection(text) {
  const field = make("textarea", { readonly: "", class: "visually-hidden", "aria-hidden": "true" });
  field.value = text;
  const before = document.activeElement;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  before?.focus();
  return done;
}

/** Buttons that copy what stands in another element. */
export function wireCopyButtons() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => copy(find(button.dataset.copy).textContent, button));
  }
}
