// Two clips, exactly in step: their frames are decoded once, and one clock says which one both canvases show.
"use strict";

const MOST_PIXELS = 24e6; // that the frames of one clip keep in memory; larger ones are kept smaller
const PATIENCE = 15000; // milliseconds for a browser to show a frame
const LATEST = 2000; // milliseconds after which a frame that was sought is taken to be on show

const once = (target, name) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${name}`)), PATIENCE);
    target.addEventListener(name, () => { clearTimeout(timer); resolve(); }, { once: true });
    target.addEventListener("error", () => { clearTimeout(timer); reject(new Error("not decoded")); }, { once: true });
  });

/** The frame at a time in seconds is on show; "seeked" alone may come while the one before still is. */
async function seek(video, seconds, fps) {
  const there = once(video, "seeked");
  const shown = new Promise((resolve) => {
    const look = (_, { mediaTime }) => {
      if (Math.abs(mediaTime + 0.5 / fps - seconds) < 0.5 / fps) resolve();
      else video.requestVideoFrameCallback(look);
    };
    if ("requestVideoFrameCallback" in video && !document.hidden) video.requestVideoFrameCallback(look);
    else resolve();
  });
  video.currentTime = seconds;
  await there;
  await Promise.race([shown, new Promise((resolve) => setTimeout(resolve, LATEST))]);
}

/** All frames of a clip as bitmaps, by seeking to the middle of each. */
export async function decode(blob, { frames, fps, size }) {
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (frames * size[0] * size[1])));
  const [resizeWidth, resizeHeight] = size.map((side) => Math.max(1, Math.round(side * scale)));
  const video = document.createElement("video");
  video.muted = video.playsInline = true;
  video.preload = "auto";
  const url = URL.createObjectURL(blob);
  try {
    const ready = once(video, "loadeddata");
    video.src = url;
    video.play().catch(() => {}); // some phones load nothing before
    await ready;
    video.pause();
    const bitmaps = [];
    for (let k = 0; k < frames; k++) {
      await seek(video, (k + 0.5) / fps, fps);
      bitmaps.push(await createImageBitmap(video, { resizeWidth, resizeHeight }));
    }
    return bitmaps;
  } finally {
    video.removeAttribute("src");
    video.load();
    URL.revokeObjectURL(url);
  }
}

/** The frames of both clips of a pair. */
export async function prepare(pair, fetchClip) {
  const blobs = await Promise.all(pair.clips.map(fetchClip));
  const clips = [];
  for (const blob of blobs) clips.push(await decode(blob, pair)); // one after the other: phones decode one well
  return clips;
}

export class Player {
  constructor(canvases, onTick) {
    this.canvases = canvases;
    this.onTick = onTick;
    this.playing = false;
    this.looping = true;
    this.speed = 1;
    this.clips = null;
    requestAnimationFrame((now) => this.#tick(now));
  }

  /** Show a pair from its beginning; nothing of the one before is left. */
  show(pair, clips) {
    this.close();
    this.pair = pair;
    this.clips = clips;
    this.seconds = pair.frames / pair.fps;
    this.position = this.watched = this.loops = this.replays = 0;
    for (const canvas of this.canvases) {
      canvas.width = clips[0][0].width;
      canvas.height = clips[0][0].height;
      canvas.classList.toggle("small", Math.max(...pair.size) <= 128);
    }
    document.documentElement.style.setProperty("--ratio", String(pair.size[0] / pair.size[1]));
    this.#draw();
  }

  close() {
    for (const bitmap of (this.clips || []).flat()) bitmap.close();
    this.clips = null;
  }

  /** Stand still on a frame. */
  seek(frame) {
    this.playing = false;
    this.position = (((frame % this.pair.frames) + this.pair.frames) % this.pair.frames) / this.pair.fps;
    this.#draw();
  }

  replay() {
    this.position = 0;
    this.replays++;
    this.playing = true;
    this.#draw();
  }

  #draw() {
    const frame = Math.min(Math.floor(this.position * this.pair.fps + 1e-6), this.pair.frames - 1);
    this.canvases.forEach((canvas, side) => {
      canvas.getContext("2d").drawImage(this.clips[side][frame], 0, 0);
      canvas.dataset.frame = frame;
    });
  }

  #tick(now) {
    // A hidden page has no ticks; what it missed was not watched.
    const passed = Math.min((now - (this.last ?? now)) / 1000, 0.25);
    this.last = now;
    if (this.clips && this.playing) {
      this.watched += passed;
      this.position += passed * this.speed;
      if (this.position >= this.seconds) {
        this.loops++;
        this.playing = this.looping;
        this.position = this.looping ? this.position % this.seconds : (this.pair.frames - 1) / this.pair.fps;
      }
      this.#draw();
    }
    if (this.clips) this.onTick();
    requestAnimationFrame((next) => this.#tick(next));
  }
}
