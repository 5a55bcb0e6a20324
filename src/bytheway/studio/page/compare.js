// Two clips in step: decoded frame by frame by the player that votes use too, over each other or side by side.
"use strict";
import { chartsOf } from "./charts.js";
import { ask, at, clipAddress, make, methodOf, tried } from "./dom.js";
import { decode, Player } from "./player.js";

let player = null;
let shown = 0; // number of the latest pair that was asked for
const SIDES = ["a", "b"];

export function setUpCompare() {
  player = new Player(SIDES.map(at), tick);
  for (const side of SIDES) at(`clip-${side}`).addEventListener("change", tried(load));
  at("swap").addEventListener("click", tried(async () => {
    const [a, b] = SIDES.map((side) => at(`clip-${side}`).value);
    await compareClips(b, a);
  }));
  at("compare-words").addEventListener("input", tried(() => offer(...SIDES.map((side) => at(`clip-${side}`).value))));
  for (const one of document.getElementsByName("mode")) one.addEventListener("change", () => { at("canvases").className = one.value; });
  at("wipe").addEventListener("input", (event) => at("canvases").style.setProperty("--wipe", `${event.target.value}%`));
  at("play").addEventListener("click", () => { player.playing = !player.playing; });
  at("back").addEventListener("click", () => player.clips && player.seek(frame() - 1));
  at("on").addEventListener("click", () => player.clips && player.seek(frame() + 1));
  at("frame").addEventListener("input", (event) => player.clips && player.seek(Number(event.target.value)));
  at("speed").addEventListener("change", (event) => { player.speed = Number(event.target.value); });
  at("loop").addEventListener("change", (event) => { player.looping = event.target.checked; });
  document.querySelector("[data-tab=compare]").addEventListener("click", tried(() => offer(...SIDES.map((side) => at(`clip-${side}`).value))));
}

const frame = () => Number(at("a").dataset.frame || 0);

function tick() {
  at("play").textContent = player.playing ? "Pause" : "Play";
  at("frame").value = frame();
  at("frame-says").textContent = `${frame() + 1} of ${player.pair.frames}`;
}

/** Fill both lists with the latest clips that have the words, and with those that are chosen. */
async function offer(...chosen) {
  const words = encodeURIComponent(at("compare-words").value);
  const { clips } = await ask(`api/history?words=${words}`);
  for (const name of chosen) {
    if (name && !clips.some((one) => one.name === name)) clips.push(await ask(`api/history/${name}`));
  }
  SIDES.forEach((side, index) => {
    at(`clip-${side}`).replaceChildren(make("option", { value: "" }, "choose a clip"),
      ...clips.map((one) => make("option", { value: one.name }, titleOf(one))));
    at(`clip-${side}`).value = chosen[index] || "";
  });
}

const titleOf = (entry) => `${methodOf(entry)}, seed ${entry.seed}: ${entry.prompt || entry.name}`;

export async function compareClips(a, b) {
  await offer(a, b);
  await load();
}

async function load() {
  const names = SIDES.map((side) => at(`clip-${side}`).value);
  const number = ++shown;
  const whole = names.every(Boolean);
  at("stage").hidden = !whole;
  at("compare-empty").hidden = whole;
  player.close();
  if (!whole) return;
  at("compare-note").textContent = "Decoding …";
  try {
    await decodeBoth(names, number);
  } catch (error) {
    if (number === shown) at("compare-note").textContent = "";
    throw error;
  }
}

async function decodeBoth(names, number) {
  const entries = await Promise.all(names.map((name) => ask(`api/history/${name}`)));
  const size = [entries[0].width, entries[0].height];
  const clips = [];
  for (const entry of entries) {
    const blob = await (await fetch(clipAddress(entry.name))).blob();
    clips.push(await decode(blob, { frames: entry.num_frames, fps: entry.fps, size }));
  }
  if (number !== shown) { // another pair was chosen meanwhile
    for (const bitmap of clips.flat()) bitmap.close();
    return;
  }
  const pair = { frames: Math.min(...entries.map((one) => one.num_frames)), fps: entries[0].fps, size };
  at("frame").max = pair.frames - 1;
  player.show(pair, clips);
  player.playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  entries.forEach((entry, index) => { at(`${SIDES[index]}-says`).textContent = saysOf(entry); });
  at("compare-note").textContent = noteOf(entries);
  const recorded = entries[1].curves ? entries[1] : entries[0];
  at("what-it-did").replaceChildren(...chartsOf(recorded.curves));
}

const saysOf = (entry) => `${entry.prompt}, seed ${entry.seed}, ${methodOf(entry)}`;

function noteOf([a, b]) {
  const notes = [];
  if (a.num_frames !== b.num_frames) notes.push("The longer clip is shown as far as the shorter one goes.");
  if (a.fps !== b.fps) notes.push(`Frame by frame, both at ${a.fps} a second.`);
  if (a.width !== b.width || a.height !== b.height) notes.push("The second clip is scaled to the size of the first.");
  return notes.join(" ");
}
