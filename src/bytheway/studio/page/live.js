// What is being made: one list of tickets, asked for again and again while any of them goes on.
"use strict";
import { ask, at, downloads, make, Refused, say, tried, video } from "./dom.js";

const BUSY = 600, IDLE = 4000; // milliseconds
const cards = new Map();
let tools = null;
let timer = null;
let lost = false;

export function setUpLive(given) {
  tools = given;
  look();
}

/** A ticket that was just given. */
export function follow(ticket) {
  draw(ticket);
  cards.get(ticket.number).card.scrollIntoView({ block: "nearest" });
  clearTimeout(timer);
  timer = setTimeout(look, BUSY);
}

async function look() {
  clearTimeout(timer);
  let busy = true;
  try {
    const { tickets, said } = await ask("api/tickets");
    if (lost) say("The studio is there again.");
    lost = false;
    if (at("loading").textContent !== said) at("loading").textContent = said;
    for (const ticket of tickets) draw(ticket);
    const known = new Set(tickets.map((one) => one.number));
    for (const [number, one] of cards) if (!known.has(number)) gone(one);
    busy = said !== "" || tickets.some((one) => !one.ended);
  } catch (error) {
    if (!lost) say(error.message, { error: true });
    lost = !(error instanceof Refused);
  }
  timer = setTimeout(look, busy ? BUSY : IDLE);
}

/** A ticket that the studio knows no more: it was started anew. */
function gone(one) {
  if (one.told.ended) return;
  one.told.ended = true;
  one.card.classList.add("failed");
  one.state.textContent = "The studio was started anew, and this was not finished; make it again.";
  one.stop.hidden = one.bar.hidden = one.preview.hidden = true;
}

function draw(told) {
  at("nothing").hidden = true;
  let one = cards.get(told.number);
  if (!one) {
    one = card(told);
    cards.set(told.number, one);
    at("tickets").prepend(one.card);
  }
  if (one.told?.version === told.version && !one.fresh) return;
  one.fresh = false;
  one.told = told;
  one.card.classList.toggle("failed", told.state === "failed");
  one.state.setAttribute("aria-live", told.progress && !told.ended ? "off" : "polite"); // not every step aloud
  one.state.textContent = one.stopping && !told.ended ? "Stopping …" : stateOf(told);
  if (told.ended && document.activeElement === one.stop) one.card.focus();
  one.stop.hidden = told.ended;
  one.bar.hidden = !told.progress || told.ended;
  if (told.progress) bar(one.bar, told.progress);
  one.preview.hidden = !told.preview || told.ended;
  if (told.preview && !told.ended) one.preview.src = `api/tickets/${told.number}/preview.jpg?${told.version}`;
  one.notes.replaceChildren(...[told.forecast, ...told.notes].filter(Boolean).map((text) => make("li", {}, text)));
  one.candidates.replaceChildren(...candidates(told));
  while (one.made < told.made.length) add(one, told.made[one.made++]);
}

function card(told) {
  const title = make("h3", {}, told.prompt);
  const one = {
    made: 0, fresh: true, stopping: false,
    state: make("p", { class: "state", "aria-live": "polite" }),
    stop: make("button", {
      type: "button", "aria-label": `Stop: ${told.prompt}`,
      onclick: tried(async () => {
        one.state.textContent = "Stopping …";
        const stopped = await ask(`api/tickets/${told.number}`, { method: "DELETE" });
        one.stopping = one.fresh = true;
        draw(stopped);
      }),
    }, "Stop"),
    bar: make("div", { class: "bar", role: "progressbar", "aria-label": `Steps of ${told.prompt}`, "aria-valuemin": 0 }, make("div", { class: "done" })),
    preview: make("img", { class: "preview", alt: "The clip as it is going to be", hidden: true }),
    notes: make("ul", { class: "notes" }),
    candidates: make("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": "What the first steps tell of each seed" }),
    gallery: told.kind === "grid" ? cells(told) : make("ul", { class: "gallery" }),
  };
  one.card = make("article", { class: "ticket", "data-ticket": told.number, tabindex: -1, "aria-label": told.prompt },
    make("div", { class: "top" }, make("div", {}, title, one.state), one.stop),
    one.bar, one.preview, one.notes, one.candidates, one.gallery);
  return one;
}

function stateOf(told) {
  const { progress } = told;
  if (told.said) return told.said;
  if (told.state === "done") return told.kind === "make" ? `Done: seed ${told.seed}` : "Done";
  if (!progress) return { waiting: "Waiting", loading: "Loading", making: "Beginning" }[told.state] || told.state;
  const left = progress.seconds_left === null ? "" : `, ${duration(progress.seconds_left)} left`;
  const active = progress.active ? (progress.step < progress.active ? ", the method acts" : `, the method acted in the first ${progress.active}`) : "";
  return `${progress.what ? `${progress.what}: ` : ""}step ${progress.step} of ${progress.steps}${active}${left}`;
}

function duration(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function bar(place, progress) {
  place.setAttribute("aria-valuemax", progress.total);
  place.setAttribute("aria-valuenow", progress.done);
  place.firstChild.style.width = `${(100 * progress.done) / Math.max(progress.total, 1)}%`;
}

/** What is predicted of each seed that was begun. */
function candidates(told) {
  if (!told.candidates.length) return [];
  const number = (value) => (value === null ? "–" : value.toPrecision(4));
  const chance = told.candidates.some((one) => one.near_static !== null);
  const heads = ["Seed", "Motion", "Structure", ...(chance ? ["Near-static"] : []), "Place", "Finished"];
  return [make("table", {}, make("caption", { class: "unseen" }, "Predictions"),
    make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...told.candidates.map((one) => make("tr", {},
      make("td", {}, one.seed), make("td", {}, number(one.motion)), make("td", {}, number(one.structure)),
      chance && make("td", {}, one.near_static === null ? "–" : `${Math.round(100 * one.near_static)} %`),
      make("td", {}, one.place), make("td", {}, one.kept ? "yes" : "no")))))];
}

/** The empty grid, with its values as heads; clips come row by row. */
function cells(told) {
  const [rows, columns] = told.grid;
  const across = columns ? columns.values : [""];
  return make("div", { class: "scroll" }, make("table", { class: "cells" },
    columns && make("thead", {}, make("tr", {}, make("td"), ...across.map((value) => make("th", { scope: "col" }, `${columns.setting} ${value}`)))),
    make("tbody", {}, ...rows.values.map((value) => make("tr", {}, make("th", { scope: "row" }, `${rows.setting} ${value}`),
      ...across.map(() => make("td", { class: "cell" })))))));
}

function add(one, made) {
  const label = made.label || one.told.prompt;
  const buttons = make("div", { class: "buttons" },
    make("button", { type: "button", "aria-label": `Compare ${label}`, onclick: tried(async () => tools.compare(...(await pairOf(made.name)))) }, "Compare"),
    make("button", { type: "button", "aria-label": `Send ${label} to Make`, onclick: tried(async () => tools.reuse((await ask(`api/history/${made.name}`)).form)) }, "Send to Make"));
  const parts = [
    video(made.name, label),
    made.label && make("p", {}, made.label),
    made.forecast && make("p", { class: "hint" }, made.forecast),
    buttons,
    downloads(made.name),
  ];
  if (one.told.kind === "grid") one.gallery.querySelectorAll(".cell")[one.made - 1].append(...parts.filter(Boolean));
  else one.gallery.append(make("li", {}, ...parts));
}

/** A clip with its partner, vanilla first; alone where it has none. */
export async function pairOf(name) {
  const entry = await ask(`api/history/${name}`);
  if (!entry.partner) return [name, null];
  return entry.enhanced ? [entry.partner, name] : [name, entry.partner];
}
