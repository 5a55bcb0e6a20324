"""What measures say of many clips: made clip by clip, written as JSON, read back, and summed up with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

import bytheway
from bytheway.clips.read import load_video
from bytheway.errors import ByTheWayError
from bytheway.evaluation.clip_files import ClipFile
from bytheway.evaluation.measures.measure import Backbone, Measure, Measurement, PartlyMeasuredError
from bytheway.evaluation.statistics import Estimate, mean, share

FORMAT: Final = 1
"""Of our own files of scores; one that a reader does not know is refused."""


@dataclass(frozen=True)
class ClipScores:
    """What was measured of one clip.

    Attributes:
        clip: the file.
        num_frames, height, width: of the clip; sides in pixels.
        fps: frames a second.
        measurements: by name of the measure.
        failed: for measures that the clip is too short or too small for, what they said, by name.
    """

    clip: ClipFile
    num_frames: int
    height: int
    width: int
    fps: float
    measurements: Mapping[str, Measurement]
    failed: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON, with every frame's and pair's value."""
        made_from = self.clip.made_from
        return {
            "path": str(self.clip.path),
            "prompt": self.clip.prompt,
            "seed": made_from[1] if made_from else None,
            "num_frames": self.num_frames,
            "height": self.height,
            "width": self.width,
            "fps": self.fps,
            "measurements": {name: json_ready(asdict(one)) for name, one in self.measurements.items()},
            "failed": dict(self.failed),
        }


def score_clip(clip: ClipFile, measures: Sequence[Measure]) -> ClipScores:
    """Measure one clip, its frames read once.

    Raises:
        ByTheWayError: the file is no clip or a damaged one, or no measure can be taken of it.
    """
    return checked(tried(clip, measures))


def tried(clip: ClipFile, measures: Sequence[Measure]) -> ClipScores:
    """What can be measured of one clip, be it nothing, and why the rest cannot.

    Raises:
        ByTheWayError: the file is no clip or a damaged one.
    """
    frames, fps = load_video(clip.path)
    found: dict[str, Measurement] = {}
    failed: dict[str, str] = {}
    for measure in measures:
        try:
            made = measure(frames, fps, clip.prompt)
        except ByTheWayError as error:
            made = error.found if isinstance(error, PartlyMeasuredError) else ()
            failed |= {name: str(error) for name in measure.names if name not in {one.name for one in made}}
        found |= {one.name: one for one in made}
    if (stored := _stored_frames(clip.path)) not in (None, len(frames)):
        remark = (
            f"The file holds {stored} frames, of which some are shown longer and are measured as often as they are "
            "shown; VBench takes each once."
        )
        found = {name: replace(one, vbench=False, remarks=(*one.remarks, remark)) for name, one in found.items()}
    count, height, width, _ = frames.shape
    return ClipScores(clip, count, height, width, fps, found, failed)


def checked(scores: ClipScores) -> ClipScores:
    """The same scores. Raises ByTheWayError where nothing could be measured."""
    if scores.failed and not scores.measurements:
        raise ByTheWayError(f"{scores.clip.path}: {next(iter(scores.failed.values()))}")
    return scores


def _stored_frames(path: Path) -> int | None:
    """How many frames a file holds whose frames may be shown longer than others; None for other files."""
    if path.suffix.lower() not in (".gif", ".webp"):
        return None
    with Image.open(path) as image:
        return int(getattr(image, "n_frames", 1))


def measurement_from(stored: Mapping[str, Any]) -> Measurement:
    """A measurement out of JSON."""
    return Measurement(
        **{
            **stored,
            "values": tuple(_number(value) for value in stored["values"]),
            "at": tuple(stored["at"]),
            "backbones": tuple(Backbone(**one) for one in stored["backbones"]),
            "details": {name: tuple(map(_number, series)) for name, series in stored["details"].items()},
            "remarks": tuple(stored["remarks"]),
        }
    )


def names_of(scores: Sequence[ClipScores]) -> list[str]:
    """Every measure that any of the clips has, in the order in which they were taken."""
    return list(dict.fromkeys(name for one in scores for name in (*one.measurements, *one.failed)))


def values_of(scores: Sequence[ClipScores], name: str) -> np.ndarray:
    """A measure's values of the clips, (n,); NaN where it could not be taken. Dynamic degree is 0 or 1."""
    found = (one.measurements.get(name) for one in scores)
    return np.array([math.nan if one is None else float(one.value) for one in found])


def example_of(scores: Sequence[ClipScores], name: str) -> Measurement | None:
    """The first measurement of this name, for what all of them share: unit, direction, backbones."""
    return next((one.measurements[name] for one in scores if name in one.measurements), None)


def summary_of(scores: Sequence[ClipScores], name: str) -> Estimate:
    """The mean over clips, with its 95 % interval over prompts.

    Of yes-or-no measures it is a share, with Wilson's interval where each prompt has one clip.
    """
    values = values_of(scores, name)
    prompts = [one.clip.prompt for one in scores]
    example = example_of(scores, name)
    if example is not None and isinstance(example.value, bool) and len(set(prompts)) == len(prompts):
        present = values[~np.isnan(values)]
        return share(int(present.sum()), len(present))
    return mean(values, prompts)


def scores_json(scores: Sequence[ClipScores], left: int = 0) -> dict[str, Any]:
    """Our own file: every clip with all that was measured, and the summary; `left`: clips not measured yet, if any."""
    return {
        **({"left": left} if left else {}),
        "format": FORMAT,
        "made_with": {"bytheway": bytheway.__version__},
        "summary": {name: json_ready(asdict(summary_of(scores, name))) for name in names_of(scores)},
        "clips": [one.to_dict() for one in scores],
    }


def clip_scores_from(stored: Mapping[str, Any], path: Path) -> ClipScores:
    """One clip's scores out of JSON; `path`: where the clip is now."""
    settings = {name: stored[name] for name in ("prompt", "seed") if stored[name] is not None}
    return ClipScores(
        ClipFile(path, settings),
        stored["num_frames"],
        stored["height"],
        stored["width"],
        stored["fps"],
        {name: measurement_from(one) for name, one in stored["measurements"].items()},
        stored["failed"],
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def json_ready(value: Any) -> Any:
    """JSON has no NaN: null stands for it."""
    if isinstance(value, Mapping):
        return {name: json_ready(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
