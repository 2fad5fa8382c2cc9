// SPDX-License-Identifier: Apache-2.0
// Making elements. Text is only ever set as text, so a VM's name can never become markup.

export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "onclick") made.addEventListener("click", value);
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

export const byId = (id) => document.getElementById(id);

// Gives the focus to what has a key, or to the page where that is gone: never to nothing.
export function focusOn(key) {
  const found = [...document.querySelectorAll("[data-key]")].find((n) => n.dataset.key === key);
  (found ?? byId("main")).focus({ preventScroll: true });
}

// Puts content in place only when it differs, so that a button in use keeps its focus.
export function show(place, ...children) {
  const fresh = children.flat().filter((child) => child !== null);
  const draft = el("div", {}, ...fresh);
  if (place.dataset.shown === draft.innerHTML) return;
  const focused = place.contains(document.activeElement)
    ? document.activeElement.dataset.key : null;
  const open = new Set([...place.querySelectorAll("details[open]")].map((d) => d.dataset.key));
  place.dataset.shown = draft.innerHTML;
  place.replaceChildren(...draft.childNodes);
  for (const details of place.querySelectorAll("details")) {
    if (open.has(details.dataset.key)) details.open = true;
  }
  if (focused) focusOn(focused);
}

export function ago(seconds) {
  if (seconds < 0) return "now";
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}

export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString();
