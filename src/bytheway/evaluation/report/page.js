"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const holder = document.getElementById("cards");
  const cards = [...holder.children];
  const byId = (id) => document.getElementById(id);
  const [order, end, play, speed] = ["order", "end", "play", "speed"].map(byId);
  const signs = Object.fromEntries(data.orders.map((one) => [one.key, one.sign]));
  const names = Object.fromEntries(data.orders.map((one) => [one.key, one.said]));
  document.querySelector(".controls").hidden = false;

  // Order: the second less the first, so that what is worst for the second comes first.
  const gain = (card) => {
    const value = (data.differences[card.id] || {})[order.value];
    return value === null || value === undefined ? NaN : value * signs[order.value];
  };
  const said = (value) => (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(Math.abs(value) < 10 ? 4 : 2);
  const arrange = () => {
    const known = cards.filter((card) => !Number.isNaN(gain(card))).sort((a, b) => gain(a) - gain(b));
    const rest = cards.filter((card) => Number.isNaN(gain(card)));
    let sorted = known;
    if (end.value === "best") sorted = known.reverse();
    if (end.value === "both") {
      sorted = [];
      for (let low = 0, high = known.length - 1; low <= high; low++, high--) {
        sorted.push(known[low]);
        if (low < high) sorted.push(known[high]);
      }
    }
    const name = names[order.value];
    for (const card of [...sorted, ...rest]) {
      let line = card.querySelector(".delta");
      if (!line) {
        line = document.createElement("p");
        line.className = "delta quiet";
        card.querySelector(".clips").after(line);
      }
      const value = gain(card);
      const measure = order.value.slice(order.value.indexOf(":") + 1);
      for (const value of card.querySelectorAll(".value")) {
        value.textContent = (data.values[card.id][value.dataset.arm] || {})[measure] || "";
      }
      line.textContent = Number.isNaN(value) ? `${name}: not measured` : `${name}: ${said(value * signs[order.value])}`;
      holder.append(card);
    }
  };

  // One clock for all clips: every strip shows the frame that belongs to it.
  let clock = 0, last = null, playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  const visible = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) entry.isIntersecting ? visible.add(entry.target) : visible.delete(entry.target);
    draw();
  }, { rootMargin: "200px" });
  const strips = [...document.querySelectorAll(".strip")];
  strips.forEach((strip) => watcher.observe(strip));
  const draw = () => {
    for (const strip of visible) {
      const { frames, columns, rows, fps } = strip.dataset;
      const frame = Math.floor(clock * fps + 1e-6) % frames;
      if (strip.shown === frame) continue;
      strip.shown = frame;
      const x = columns > 1 ? (frame % columns) / (columns - 1) : 0;
      const y = rows > 1 ? Math.floor(frame / columns) / (rows - 1) : 0;
      strip.style.backgroundPosition = `${100 * x}% ${100 * y}%`;
    }
  };
  const tick = (now) => {
    if (last !== null && playing) {
      clock += Math.min(now - last, 250) / 1000 * speed.value;
      draw();
    }
    last = now;
    requestAnimationFrame(tick);
  };
  const setPlaying = (wanted) => {
    playing = wanted;
    play.textContent = playing ? "Pause" : "Play";
    play.setAttribute("aria-pressed", String(playing));
  };
  const step = (by) => {
    setPlaying(false);
    const { frames, fps } = strips[0].dataset;
    const frame = Math.floor(clock * fps + 1e-6) + by;
    clock = (frame < 0 ? Number(frames) - 1 : frame) / fps;
    draw();
  };
  play.addEventListener("click", () => setPlaying(!playing));
  byId("back").addEventListener("click", () => step(-1));
  byId("forward").addEventListener("click", () => step(1));
  order.addEventListener("change", arrange);
  end.addEventListener("change", arrange);
  setPlaying(playing);
  arrange();
  requestAnimationFrame(tick);
})();
