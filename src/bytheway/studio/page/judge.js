// Votes on one's own pairs: how many there are, where they are voted on, and what the votes tell.
"use strict";
import { ask, at, make, say, tried } from "./dom.js";

export function setUpJudge() {
  at("begin-votes").addEventListener("click", tried(async () => {
    at("begin-votes").disabled = true;
    try {
      show(await ask("api/judge", { method: "POST", json: {} }));
      at("vote-page").focus();
    } finally {
      at("begin-votes").disabled = false;
    }
  }));
}

export async function refreshJudge() {
  try {
    show(await ask("api/judge"));
  } catch (error) {
    say(error.message, { error: true });
  }
}

function show(told) {
  const pairs = told.pairs === 1 ? "1 pair" : `${told.pairs} pairs`;
  at("judge-says").textContent = told.pairs || told.page
    ? `${pairs} of vanilla and enhanced in the history.${told.page ? ` The study has ${told.of}, and ${told.votes} votes.` : ""}`
    : "";
  at("judge-empty").hidden = Boolean(told.pairs || told.page);
  at("begin-votes").hidden = !told.pairs;
  at("begin-votes").textContent = told.page ? "Begin anew with all pairs" : "Begin a study";
  at("vote-page").hidden = !told.page;
  if (told.page) at("vote-page").href = told.page;
  at("verdicts").replaceChildren(...(told.said || []).map((text) => make("li", {}, text)));
  at("votes").replaceChildren(...(told.rows ? [make("table", {},
    make("caption", { class: "unseen" }, "What the votes tell"),
    make("thead", {}, make("tr", {}, ...told.heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...told.rows.map(([first, ...row]) => make("tr", {}, make("th", { scope: "row" }, first), ...row.map((cell) => make("td", {}, cell))))))] : []));
}
