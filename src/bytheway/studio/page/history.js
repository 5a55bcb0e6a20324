// Every clip that was made.
"use strict";
import { ask, at, downloads, make, methodOf, say, tried, video } from "./dom.js";
import { pairOf } from "./live.js";

let tools = null;
let start = 0;
let asked = 0;

export function setUpHistory(given) {
  tools = given;
  at("words").addEventListener("input", tried(refreshHistory));
  at("older").addEventListener("click", tried(more));
}

export async function refreshHistory() {
  start = 0;
  const number = ++asked;
  try {
    await more(number);
  } catch (error) {
    say(error.message, { error: true });
  }
}

async function more(number) {
  const words = at("words").value;
  const { clips, count } = await ask(`api/history?words=${encodeURIComponent(words)}&start=${start}`);
  if (typeof number === "number" && number !== asked) return; // other words were given meanwhile
  if (start === 0) at("clips").replaceChildren();
  at("clips").append(...clips.map(card));
  start += clips.length;
  at("count").textContent = count === 1 ? "1 clip" : `${count} clips`;
  at("older").hidden = start >= count;
  at("history-empty").hidden = count > 0;
  at("history-empty").textContent = words ? "No clip has all of these words." : "Nothing was made yet. What you make is kept here.";
}

function card(entry) {
  const title = entry.prompt || entry.name;
  const which = `${title}, seed ${entry.seed}, ${methodOf(entry)}`;
  const details = make("details", {}, make("summary", {}, "All settings"));
  details.addEventListener("toggle", tried(async () => {
    if (!details.open || details.childElementCount > 1) return;
    const { settings } = await ask(`api/history/${entry.name}`);
    details.append(make("dl", {}, ...Object.entries(settings).flatMap(([name, value]) =>
      [make("dt", {}, name), make("dd", {}, typeof value === "object" ? JSON.stringify(value) : String(value))])));
  }));
  const element = make("li", { "data-clip": entry.name },
    video(entry.name, which),
    make("p", {}, title),
    make("p", { class: "hint" }, `seed ${entry.seed}, ${methodOf(entry)}, ${entry.num_frames} frames, ${entry.steps} steps, ${entry.model}`),
    make("div", { class: "buttons" },
      make("button", { type: "button", "aria-label": `Send to Make: ${which}`, onclick: tried(async () => tools.reuse((await ask(`api/history/${entry.name}`)).form)) }, "Send to Make"),
      make("button", { type: "button", "aria-label": `Compare: ${which}`, onclick: tried(async () => tools.compare(...(await pairOf(entry.name)))) }, "Compare"),
      make("button", { type: "button", "aria-label": `Delete: ${which}`, onclick: tried(() => remove(entry.name)) }, "Delete")),
    downloads(entry.name),
    details);
  return element;
}

async function remove(name) {
  const place = [...at("clips").children].findIndex((one) => one.dataset.clip === name);
  const focusNear = () => {
    const left = at("clips").children;
    (left[Math.min(place, left.length - 1)]?.querySelector("button") || at("words")).focus();
  };
  await ask(`api/history/${name}`, { method: "DELETE" });
  await refreshHistory();
  const undo = tried(async () => {
    await ask(`api/history/${name}`, { method: "POST", json: {} });
    await refreshHistory();
    focusNear();
  });
  say("The clip is deleted.", { action: { name: "Undo", run: undo, leave: focusNear } });
}
