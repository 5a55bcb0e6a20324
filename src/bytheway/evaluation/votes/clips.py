"""Blind copies of clips: the same frames under a random name, without anything that says how they were made."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import av
import numpy as np
from av.bitstream import BitStreamFilterContext

from bytheway.clips.frames import Frames
from bytheway.clips.read import load_video
from bytheway.clips.write import save_video
from bytheway.errors import ByTheWayError
from bytheway.evaluation.votes.study import Altered
from bytheway.files import written

ENDING: Final = ".mp4"
# Messages beside the pictures; the encoder's own one names its version and settings.
_NO_MESSAGES: Final = "filter_units=remove_types=6"
_SAMPLED: Final = 64  # rows and columns of pixels whose changes are looked at
_DRAWS: Final = 20  # orders of frames, of which the one that jumps most is taken


def copy_without_traces(source: Path, place: Path) -> None:
    """Copy the pictures of an mp4 file (H.264) as they are, and nothing else: no settings, no encoder, no time.

    Raises:
        ByTheWayError: the file holds no such video, or the copy cannot be written.
    """
    with written(place) as draft:
        try:
            _remux(source, draft)
        except (av.FFmpegError, IndexError) as error:
            raise ByTheWayError(f"{source} is damaged or no mp4; make it anew.") from error


def _remux(source: Path, place: Path) -> None:
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(source)) as theirs, av.open(str(place), "w", format="mp4", options=options) as ours:
        stream = theirs.streams.video[0]
        copy = ours.add_stream_from_template(stream)
        copy.metadata.clear()
        without = BitStreamFilterContext(_NO_MESSAGES, stream, copy)
        for packet in theirs.demux(stream):
            for kept in without.filter(packet if packet.dts is not None else None):  # None: the end
                kept.stream = copy
                ours.mux(kept)


def shape_of(path: Path) -> tuple[int, float, tuple[int, int]]:
    """Frames, frames a second, and width and height of an mp4 file, by what it says of itself.

    Raises:
        ByTheWayError: it is no video.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            return stream.frames, float(stream.average_rate or 8), (stream.width, stream.height)
    except (av.FFmpegError, IndexError, OSError) as error:
        raise ByTheWayError(f"{path} is damaged or no mp4; make it anew.") from error


def write_altered(source: Path, place: Path, altered: Altered, rng: np.random.Generator) -> None:
    """Write the frozen or shuffled version of a clip, as blind as its copy."""
    frames, fps = load_video(source)
    plain = place.with_name(f"plain-{place.name}")
    save_video(alter(frames, altered, rng), plain, fps)
    try:
        copy_without_traces(plain, place)
    finally:
        plain.unlink()


def alter(frames: Frames, altered: Altered, rng: np.random.Generator) -> Frames:
    """The first frame held, or the frames in the order, of some that are drawn, that jumps most."""
    if altered == "frozen":
        return np.repeat(frames[:1], len(frames), axis=0)
    orders = [rng.permutation(len(frames)) for _ in range(_DRAWS)]
    return frames[max(orders, key=lambda order: change(frames[order]))]


def change(frames: Frames) -> float:
    """Mean change of a pixel from frame to frame, the last one and the first as well, of 255."""
    every = max(1, min(frames.shape[1:3]) // _SAMPLED)
    values = frames[:, ::every, ::every].astype(np.int16)
    return float(np.abs(values - np.roll(values, 1, axis=0)).mean())
