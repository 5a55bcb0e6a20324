// The page: its parts, and what they tell each other.
"use strict";
import { ask, at, say } from "./dom.js";
import { setUpCompare, compareClips } from "./compare.js";
import { setUpForm, fill, setKind } from "./form.js";
import { setUpHistory, refreshHistory } from "./history.js";
import { refreshJudge, setUpJudge } from "./judge.js";
import { setUpLive } from "./live.js";

const WORKSHOP = { make: "Make clips", seeds: "The best of several seeds", grid: "A grid over two settings" };

/** Show a part of the page; what is in the others stays. */
export function show(tab) {
  const isWork = tab in WORKSHOP;
  at("workshop").hidden = !isWork;
  at("compare").hidden = tab !== "compare";
  at("history").hidden = tab !== "history";
  at("judge").hidden = tab !== "judge";
  for (const button of document.querySelectorAll("[data-tab]")) {
    if (button.dataset.tab === tab) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  if (isWork) {
    at("workshop-title").textContent = WORKSHOP[tab];
    setKind(tab);
  }
  if (tab === "history") refreshHistory();
  if (tab === "judge") refreshJudge();
  if (location.hash !== `#${tab}`) history.replaceState(null, "", `#${tab}`);
}

const tools = {
  compare(a, b) {
    show("compare");
    return compareClips(a, b);
  },
  reuse(form) {
    show("make");
    fill(form);
    at("prompt").focus();
    say(["The form has the settings of the clip; the seed is kept.", ...form.left_out].join(" "));
  },
};

/** What needs to know what the studio offers; asked for until it answers. */
async function begin(lost = false) {
  let about;
  try {
    about = await ask("api/about");
  } catch (error) {
    if (!lost) say(error.message, { error: true });
    setTimeout(begin, 2000, true);
    return;
  }
  if (lost) say("The studio is there again.");
  setUpForm(about, tools);
  setUpLive(tools);
}

for (const button of document.querySelectorAll("[data-tab]")) {
  button.addEventListener("click", () => show(button.dataset.tab));
}
setUpCompare();
setUpHistory(tools);
setUpJudge();
begin();
const wanted = location.hash.slice(1);
show([...document.querySelectorAll("[data-tab]")].some((one) => one.dataset.tab === wanted) ? wanted : "make");
