// The form. What is filled in is kept in this browser alone, and is there again after a restart of either side.
"use strict";
import { ask, at, make, say, tried } from "./dom.js";
import { follow } from "./live.js";

const DRAFT = "bytheway-studio-draft";
const METHOD = ["alpha", "beta", "tau", "active_steps"];
const GO = { make: "Make", seeds: "Begin the seeds", grid: "Make the grid" };
const METHODS = {
  preset: "What is known to suit the model; else its family's starting point.",
  auto: "Looks at the first steps of vanilla clips of a few prompts, once a model, and derives the settings. Takes a little longer.",
  own: "",
  off: "The model as it is.",
};
let kind = "make";
let inputs = [];
let about = null;

export function setKind(tab) {
  kind = tab;
  at("go").textContent = GO[kind];
  for (const one of Object.keys(GO)) {
    for (const element of document.querySelectorAll(`.for-${one}`)) element.hidden = one !== kind;
  }
}

/** Put values into the form; those that are not named stay. */
export function fill(values) {
  const form = at("form");
  for (const [name, value] of Object.entries(values)) {
    const field = form.elements[name];
    if (field && name !== "compare") field.value = value ?? "";
  }
  if ("compare" in values) at("compare-too").checked = values.compare;
  if ("seed" in values && values.seed !== "") at("lock").checked = true;
  if ("inputs" in values) inputs = values.inputs;
  for (const [id, names] of [["more", ["width", "height", "num_frames", "steps", "guidance_scale", "fps", "negative_prompt"]], ["parts", ["lora", "motion_adapter"]]]) {
    if (names.some((name) => form.elements[name].value)) at(id).open = true;
  }
  if (inputs.length) at("starts").open = true;
  changed();
}

function read() {
  const form = at("form");
  const values = Object.fromEntries([...new FormData(form)].filter(([, value]) => typeof value === "string"));
  const grid = ["rows", "columns"]
    .map((side) => ({ setting: at(`${side}-setting`).value, values: at(`${side}-values`).value }))
    .filter((axis) => axis.setting);
  return { ...values, kind, compare: at("compare-too").checked && !at("compare-too").disabled, inputs, grid, lock: at("lock").checked };
}

function changed() {
  const method = at("method").value;
  at("own").hidden = method !== "own";
  at("method-hint").textContent = METHODS[method];
  at("compare-too").disabled = method === "off";
  for (const name of METHOD) {
    const slider = document.querySelector(`[data-for=${name}]`);
    slider.max = Math.max(Number(slider.max), Number(at(name).value) || 0);
    slider.value = at(name).value;
  }
  const model = about?.models.find((one) => one.name === at("model").value.trim());
  at("model-hint").textContent = model
    ? `${model.description}.${model.here ? "" : " It is downloaded when it is first used."}${model.start ? ` Starts from: ${model.start}.` : ""}`
    : "A folder, a checkpoint file or a hub id (owner/name).";
  const preset = about?.presets.find((one) => one.name === at("preset").value);
  at("preset-hint").textContent = preset ? `Source: ${preset.source}. Measured: ${preset.figure}.` : "";
  at("others-hint").textContent = at("others").value && `With ${at("others").value}, until another preset is chosen.`;
  showInputs();
  try {
    localStorage.setItem(DRAFT, JSON.stringify(read()));
  } catch { /* a browser that keeps nothing */ }
}

function showInputs() {
  at("inputs").replaceChildren(...inputs.map((one, index) => make("li", {},
    `${one.kind}: ${one.shown || one.file}${one.kind === "video" ? "" : ", in frame "}`,
    one.kind !== "video" && make("input", {
      type: "number", value: one.frame, "aria-label": `Frame of ${one.shown || one.file}`,
      onchange: (event) => { one.frame = Number(event.target.value); changed(); },
    }),
    make("button", {
      type: "button", class: "plain", "aria-label": `Leave out ${one.shown || one.file}`,
      onclick: () => { inputs.splice(index, 1); changed(); },
    }, "✕"))));
}

const drawn = () => String(crypto.getRandomValues(new Uint32Array(1))[0]);

/** Send a file as it is; one that is too large is refused before it leaves. */
async function send(path, file) {
  if (file.size > about.largest) throw new Error(`The file has more than ${about.largest >> 20} MB; give a smaller one.`);
  return ask(`${path}?name=${encodeURIComponent(file.name)}`, { method: "POST", bytes: file });
}

async function loadSettings(file, tools) {
  const { form } = await send("api/settings", file);
  tools.reuse(form);
}

export function setUpForm(told, tools) {
  about = told;
  at("models").append(...about.models.map((one) => make("option", { value: one.name }, one.description)));
  at("preset").append(...about.presets.map((one) => make("option", { value: one.name }, one.name)));
  at("aim").append(...about.aims.map((one) => make("option", { value: one }, one)));
  for (const side of ["rows", "columns"]) {
    at(`${side}-setting`).append(...about.settings.map((one) => make("option", { value: one }, one)));
  }
  at("columns-setting").append(make("option", { value: "" }, "none"));
  at("columns-setting").value = "beta";
  at("aim").value = "both";
  at("model").value = about.model;
  at("preset").value = about.models.find((one) => one.name === about.model)?.preset || about.presets[0].name;
  usePreset();
  restore();

  at("form").addEventListener("input", (event) => {
    if (event.target.dataset.for) at(event.target.dataset.for).value = event.target.value;
    changed();
  });
  at("preset").addEventListener("change", () => { usePreset(); changed(); });
  at("dice").addEventListener("click", () => { at("seed").value = drawn(); changed(); });
  at("start-file").addEventListener("change", tried(async (event) => {
    const file = event.target.files[0];
    if (!file) return;
    const { file: name } = await send("api/inputs", file);
    inputs.push({ file: name, shown: file.name, kind: at("start-kind").value, frame: 0 });
    event.target.value = "";
    changed();
  }));
  at("load-settings").addEventListener("change", tried(async (event) => {
    const file = event.target.files[0];
    event.target.value = "";
    if (file) await loadSettings(file, tools);
  }));
  at("form").addEventListener("submit", tried(async (event) => {
    event.preventDefault();
    if (!at("prompt").value.trim()) {
      at("prompt").focus();
      throw new Error("The prompt is empty; say what the clip shall show.");
    }
    if (!at("lock").checked || !at("seed").value) at("seed").value = drawn();
    changed();
    if (at("go").ariaDisabled) return;
    at("go").ariaDisabled = "true"; // truly disabled it would lose the focus
    try {
      follow(await ask("api/tickets", { method: "POST", json: read() }));
    } finally {
      at("go").ariaDisabled = null;
    }
  }));
  setUpDrop(tools);
}

/** A clip that is dropped anywhere fills the form; words and what is let go of on a file's own field go where they always do. */
function setUpDrop(tools) {
  const mark = (shown) => document.body.classList.toggle("drop", shown);
  const bringsFile = (event) => event.dataTransfer.types.includes("Files") && !event.target.closest?.("input[type=file]");
  const take = (event) => {
    if (!bringsFile(event)) return;
    event.preventDefault();
    mark(true);
  };
  // Both: a drop right after the drag has come upon another element is decided by what was said to dragenter.
  document.addEventListener("dragenter", take);
  document.addEventListener("dragover", take);
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) mark(false); }); // out of the page
  document.addEventListener("drop", tried(async (event) => {
    if (!bringsFile(event)) return;
    event.preventDefault();
    mark(false);
    await loadSettings(event.dataTransfer.files[0], tools);
  }));
}

function usePreset() {
  const preset = about.presets.find((one) => one.name === at("preset").value);
  for (const name of [...METHOD, "others"]) at(name).value = preset[name];
}

function restore() {
  let draft = null;
  try {
    draft = JSON.parse(localStorage.getItem(DRAFT));
  } catch { /* nothing of ours */ }
  if (!draft) {
    changed();
    return;
  }
  const [rows, columns] = draft.grid || [];
  for (const [side, axis] of [["rows", rows], ["columns", columns]]) {
    if (axis) [at(`${side}-setting`).value, at(`${side}-values`).value] = [axis.setting, axis.values];
  }
  fill({ ...draft, model: draft.model || about.model });
  at("lock").checked = draft.lock === true;
}
