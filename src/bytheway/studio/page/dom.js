// Elements, and what the server is asked. Texts are always set as text: a prompt may hold markup.
"use strict";

/** An element with attributes, listeners ("onclick") and children; what is null or false is left out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (value === true) element.setAttribute(name, "");
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const at = (id) => document.getElementById(id);

export class Refused extends Error {}

/** The server's answer; a refusal is its own sentence, a lost connection another. */
export async function ask(path, { method = "GET", json, bytes } = {}) {
  const headers = {};
  if (json !== undefined) headers["Content-Type"] = "application/json";
  if (bytes) headers["Content-Type"] = "application/octet-stream";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: json === undefined ? bytes : JSON.stringify(json) });
  } catch {
    throw new Error("The studio cannot be reached; it is tried again. What is filled in here is kept.");
  }
  if (answer.status === 204) return null;
  const told = await answer.json().catch(() => ({ error: `The studio answered ${answer.status}.` }));
  if (!answer.ok) throw new Refused(told.error);
  return told;
}

let timer = null;

/** Say something at the foot of the page, with a button where something can be done about it; that one is focused. */
export function say(text, { error = false, action = null } = {}) {
  const place = at("said");
  clearTimeout(timer);
  place.className = error ? "error" : "";
  const button = action && make("button", { type: "button", onclick: () => { clear(); action.run(); } }, action.name);
  const close = () => { clear(); (action?.leave || (() => at("main").focus({ preventScroll: true })))(); };
  place.replaceChildren(
    make("span", {}, text), button || "",
    make("button", { type: "button", class: "plain", "aria-label": "Close this message", onclick: close }, "✕"),
  );
  place.hidden = false;
  button?.focus();
  if (!error) fade(action ? 20000 : 6000);
}

/** Take the message away after a while, but from nobody's hands. */
function fade(milliseconds) {
  timer = setTimeout(() => (at("said").contains(document.activeElement) ? fade(milliseconds) : clear()), milliseconds);
}

function clear() {
  clearTimeout(timer);
  at("said").hidden = true;
  at("said").replaceChildren();
}

/** Runs what a control does; what goes wrong is said. */
export const tried = (action) => async (event) => {
  try {
    await action(event);
  } catch (error) {
    say(error.message, { error: true });
  }
};

export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export const clipAddress = (name, ending = "mp4") => `clips/${encodeURIComponent(name)}.${ending}`;

/** How a clip was made, in words that tell the clips of a grid apart. */
export const methodOf = ({ config }) => (config ? `enhanced (alpha ${config.alpha}, beta ${config.beta}, tau ${config.tau})` : "vanilla");

/** A small player of one clip. */
export function video(name, label) {
  const element = make("video", {
    src: clipAddress(name), loop: true, playsinline: true, controls: true, preload: "metadata", autoplay: !still(),
    "aria-label": label,
    onloadedmetadata: () => element.classList.toggle("small", Math.max(element.videoWidth, element.videoHeight) <= 128),
  });
  element.muted = true; // the attribute says only what it begins with
  return element;
}

export function downloads(name) {
  const links = ["mp4", "gif", "webp"].map((ending) =>
    make("a", { href: `${clipAddress(name, ending)}?download`, download: "", "aria-label": `Download ${ending}` }, ending));
  return make("span", { class: "downloads" }, "Download ", ...links.flatMap((link) => [link, " "]));
}
