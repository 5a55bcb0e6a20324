// What the method did, as lines over the steps it acted in: one chart a measure, one line a block.
"use strict";
import { make } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, FOOT, TOP] = [320, 150, 44, 22, 8];
const CHARTS = [
  ["energy", "Energy of the maps: more is more motion"],
  ["disparity", "Disparity to the anchor: less is steadier structure"],
  ["beta", "Beta: how much the motion band was amplified"],
];

function drawn(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** The values of all lines, but for those that JSON has no word for. */
const finite = (lines) => Object.values(lines).flat().filter((one) => one !== null);

function chart(title, steps, lines) {
  const values = finite(lines);
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (high - low < 1e-6) [low, high] = [low - 0.5, high + 0.5];
  const x = (index) => LEFT + ((WIDTH - LEFT - 10) * (steps.length > 1 ? index / (steps.length - 1) : 0.5));
  const y = (value) => TOP + (HEIGHT - FOOT - TOP) * (1 - (value - low) / (high - low));
  const told = Object.entries(lines).map(([block, line]) => `${block}: ${line.map((one) => one?.toPrecision(3) ?? "not finite").join(", ")}`);
  const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}. ${told.join("; ")}` });
  svg.append(
    drawn("path", { class: "axis", d: `M${LEFT} ${TOP}V${HEIGHT - FOOT}H${WIDTH - 8}` }),
    drawn("text", { x: LEFT - 4, y: TOP + 8, "text-anchor": "end" }, high.toPrecision(3)),
    drawn("text", { x: LEFT - 4, y: HEIGHT - FOOT, "text-anchor": "end" }, low.toPrecision(3)),
    drawn("text", { x: x(0), y: HEIGHT - 6, "text-anchor": "middle" }, `step ${steps[0] + 1}`),
  );
  if (steps.length > 1) svg.append(drawn("text", { x: x(steps.length - 1), y: HEIGHT - 6, "text-anchor": "end" }, steps.at(-1) + 1));
  Object.values(lines).forEach((line, number) => {
    const path = line.map((value, index) => (value === null ? "" : `${index && line[index - 1] !== null ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`)).join("");
    svg.append(drawn("path", { class: `line-${number % 4}`, d: path }));
    line.forEach((value, index) => value !== null && svg.append(drawn("circle", { class: `line-${number % 4}`, cx: x(index), cy: y(value), r: 2.5, fill: "currentColor" })));
  });
  const legend = Object.keys(lines).map((block, number) => make("span", { class: `line-${number % 4}` }, make("b", {}, block)));
  return make("figure", {}, make("figcaption", {}, title), svg, make("div", { class: "legend", "aria-hidden": "true" }, ...legend));
}

/** The charts of a record; none where nothing was recorded. */
export function chartsOf(curves) {
  if (!curves) return [];
  const shown = CHARTS.filter(([name]) => finite(curves[name] || {}).length);
  return [make("h3", {}, "What the method did"), make("div", { class: "charts" }, ...shown.map(([name, title]) => chart(title, curves.steps, curves[name])))];
}
