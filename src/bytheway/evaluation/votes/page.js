"use strict";
import { Player, prepare } from "./player.js";

const byId = (id) => document.getElementById(id);
const KEY = `bytheway-person${location.pathname}`; // one for each study
const KEYS = { ArrowLeft: "left", ArrowRight: "right", t: "tie", b: "bad" };
const RETRY = 2000; // milliseconds
const SECTIONS = ["consent", "explanation", "vote", "thanks", "gone"];
const answers = [...document.querySelectorAll("[data-answer]")];
const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

let person = location.hash.slice(1) || localStorage.getItem(KEY);
let study, state, question, step, ahead, busy = false;

const write = (id, text) => { if (byId(id).textContent !== text) byId(id).textContent = text; };
const say = (sentence) => write("status", sentence);

/** What the server says. Where it cannot be reached, the same is asked again: nothing is stored twice. */
async function ask(method, path, body, kind = "json") {
  for (let tries = 0; ; tries++) {
    let response, content;
    try {
      response = await fetch(path, {
        method,
        headers: { ...(person && { Person: person }), ...(body && { "Content-Type": "application/json" }) },
        body: body && JSON.stringify(body),
      });
      content = response.status === 204 ? null : await response[response.ok ? kind : "json"]();
    } catch {
      response = null;
    }
    if (response && response.ok) {
      if (tries) say("");
      return content;
    }
    if (response && response.status < 500) throw Object.assign(new Error(content.error), { status: response.status });
    say("The server cannot be reached. Your answer is kept here and sent again; please leave the page open.");
    await wait(RETRY);
  }
}

function show(name) {
  for (const section of SECTIONS) byId(section).hidden = section !== name;
  byId("top").hidden = name !== "vote" && name !== "explanation";
  byId("done").hidden = name !== "vote";
  const heading = byId(name).querySelector("h1");
  heading.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function failed(error) {
  if (error.status === 401) {
    localStorage.removeItem(KEY);
    person = null;
    show("consent");
  }
  say(error.message);
  if (error.status === 409 && person) resume(); // another window was faster: go on where that is
}

const fetchClip = (clip) => ask("GET", `clips/${clip}.mp4`, undefined, "blob");

/** Frames of a pair, fetched early where it is the next one. */
function framesOf(pair) {
  if (ahead?.item === pair.item) return ahead.frames;
  return prepare(pair, fetchClip);
}

async function turn(next) {
  state = next;
  const { pair } = state;
  if (!pair) {
    player.playing = false;
    player.close();
    byId("person").textContent = person;
    byId("own-link").href = `#${person}`;
    show("thanks");
    return;
  }
  byId("progress").max = study.pairs;
  byId("progress").value = pair.number - 1;
  byId("progress-text").textContent = `Pair ${pair.number} of ${study.pairs}`;
  if (player.pair?.item !== pair.item) {
    byId("prompt-text").textContent = pair.prompt;
    byId("vote").setAttribute("aria-busy", "true");
    answers.forEach((button) => { button.disabled = true; });
    say("Loading the videos");
    let frames;
    try {
      frames = await framesOf(pair);
    } catch (error) {
      say(error.status ? error.message : "This browser cannot show the videos (mp4, H.264); please use another one.");
      return;
    }
    say("");
    player.show(pair, frames);
    player.playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    byId("vote").removeAttribute("aria-busy");
  }
  const open = study.questions.findIndex((one) => !(one.name in pair.answers));
  pose(open);
}

function pose(number) {
  question = number;
  const one = study.questions[number];
  byId("question-text").textContent = one.text;
  step = `Question ${number + 1} of ${study.questions.length}: ${one.title}`;
  byId("back").disabled = number === 0;
  for (const button of answers) button.classList.toggle("chosen", state.pair.answers[one.name] === button.dataset.answer);
  refresh();
  if (byId("vote").hidden) show("vote");
  else byId("question").focus({ preventScroll: true });
}

/** What changes while the clips play. */
function refresh() {
  const seen = player.loops > 0;
  byId("loop").value = seen ? 1 : player.position / player.seconds;
  write("play-text", player.playing ? "Pause" : "Play");
  write("step", seen ? step : `${player.playing ? "Watch" : "Press Play, and watch"} once from beginning to end`);
  const closed = !seen || busy;
  for (const button of answers) if (button.disabled !== closed) button.disabled = closed;
  if (seen && state.after && ahead?.item !== state.after.item) {
    ahead = { item: state.after.item, frames: prepare(state.after, fetchClip) };
    ahead.frames.catch(() => { ahead = null; });
  }
}

async function answer(side) {
  if (busy || byId("vote").hidden || !player.loops || player.pair?.item !== state.pair?.item) return;
  busy = true;
  refresh();
  try {
    const next = await ask("POST", "api/votes", {
      item: state.pair.item,
      question: study.questions[question].name,
      answer: side,
      watched: Math.round(player.watched * 1000) / 1000,
      loops: player.loops,
      replays: player.replays,
      screen: [innerWidth, innerHeight],
    });
    busy = false;
    await turn(next);
  } catch (error) {
    failed(error);
  } finally {
    busy = false;
  }
}

function playOrPause() {
  player.playing = !player.playing;
}

async function join() {
  try {
    person = (await ask("POST", "api/people", { adult: true, agreed: true })).person;
    localStorage.setItem(KEY, person);
    show("explanation");
  } catch (error) {
    failed(error);
  }
}

async function resume() {
  try {
    await turn(await ask("GET", "api/next"));
  } catch (error) {
    failed(error);
  }
}

async function withdraw() {
  byId("sure").close();
  try {
    await ask("DELETE", "api/people");
    localStorage.removeItem(KEY);
    person = null;
    history.replaceState(null, "", location.pathname);
    player.playing = false;
    player.close();
    show("gone");
  } catch (error) {
    failed(error);
  }
}

const player = new Player([byId("left"), byId("right")], () => { if (!byId("vote").hidden) refresh(); });

byId("agreed").addEventListener("change", () => { byId("join").disabled = !byId("agreed").checked; });
byId("join").addEventListener("click", join);
byId("begin").addEventListener("click", resume);
byId("play").addEventListener("click", playOrPause);
byId("replay").addEventListener("click", () => player.replay());
byId("back").addEventListener("click", () => { if (question > 0) pose(question - 1); });
byId("withdraw").addEventListener("click", withdraw);
byId("stay").addEventListener("click", () => byId("sure").close());
for (const button of answers) button.addEventListener("click", () => answer(button.dataset.answer));
for (const button of document.querySelectorAll("[data-ask]")) button.addEventListener("click", () => byId("sure").showModal());

document.addEventListener("keydown", (event) => {
  if (byId("vote").hidden || byId("sure").open || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const onButton = event.target.closest?.("button");
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key in KEYS) answer(KEYS[key]);
  else if (key === "r") player.replay();
  else if (key === "Backspace") byId("back").click();
  else if (key === " " && !onButton) playOrPause();
  else return;
  event.preventDefault();
});

(async () => {
  if (location.hash) {
    localStorage.setItem(KEY, person);
    history.replaceState(null, "", location.pathname);
  }
  study = await ask("GET", "api/study");
  document.querySelector('[data-said="pairs"]').textContent = study.pairs;
  document.querySelector('[data-said="minutes"]').textContent = study.minutes === 1 ? "a minute" : `${study.minutes} minutes`;
  const count = study.questions.length;
  document.querySelector('[data-said="questions"]').textContent = count === 1 ? "a question" : `${count} questions`;
  if (person) await resume();
  else show("consent");
})();
