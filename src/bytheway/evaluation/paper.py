"""The paper's Table 2 beside an experiment, and what differs in how both were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from bytheway.evaluation.experiment.arms import ENHANCED, FREE_INIT, VANILLA
from bytheway.evaluation.report.words import interval, number
from bytheway.evaluation.scores import ClipScores, example_of, names_of, summary_of

SOURCE: Final = (
    "Table 2 of ByTheWay (arXiv 2410.06241v3), taken from a published summary of the paper, whose Table 1 agrees with "
    "what is known of it; not held against the paper's own pages."
)
TABLE_2: Final[Mapping[str, Mapping[str, Mapping[str, float]]]] = {
    "AnimateDiff": {
        VANILLA: {
            "subject_consistency": 0.9318,
            "motion_smoothness": 0.9474,
            "dynamic_degree": 0.4073,
            "aesthetic_quality": 0.6376,
        },
        FREE_INIT: {
            "subject_consistency": 0.9712,
            "motion_smoothness": 0.9713,
            "dynamic_degree": 0.2941,
            "aesthetic_quality": 0.6571,
        },
        ENHANCED: {
            "subject_consistency": 0.9744,
            "motion_smoothness": 0.9786,
            "dynamic_degree": 0.5245,
            "aesthetic_quality": 0.6609,
        },
    },
    "VideoCrafter2": {
        VANILLA: {
            "subject_consistency": 0.9732,
            "motion_smoothness": 0.9749,
            "dynamic_degree": 0.4086,
            "aesthetic_quality": 0.6477,
        },
        ENHANCED: {
            "subject_consistency": 0.9852,
            "motion_smoothness": 0.9863,
            "dynamic_degree": 0.5547,
            "aesthetic_quality": 0.6598,
        },
    },
}
"""By base model and arm."""
MEASURES: Final = tuple(TABLE_2["AnimateDiff"][VANILLA])
HEADS: Final = ("", *MEASURES)


def table_2(scores: Mapping[str, Sequence[ClipScores]], model: str) -> list[tuple[str, ...]]:
    """Rows of `HEADS`: the paper's of both its models, and those of the arms of an experiment.

    Args:
        scores: of the clips, by the arm's name.
        model: what the experiment's is called.
    """
    rows = [
        (f"paper: {base}{'' if arm == VANILLA else f' +{arm}'}", *(number(values[name]) for name in MEASURES))
        for base, arms in TABLE_2.items()
        for arm, values in arms.items()
    ]
    for arm, its in scores.items():
        cells = []
        for name in MEASURES:
            taken = _taken(its, name)
            found = summary_of(its, taken) if taken else None
            cells.append("–" if found is None else f"{number(found.value)} [{interval(found)}]")
        rows.append((f"here: {model}{'' if arm == VANILLA else f' +{arm}'}", *cells))
    return rows


def what_differs(scores: Mapping[str, Sequence[ClipScores]], model: str) -> list[str]:
    """What keeps the paper's numbers and ours from being compared, in sentences."""
    its = next(iter(scores.values()))
    first = its[0]
    prompts = len({one.clip.prompt for one in its})
    said = [
        f"The model here is {model}; the paper's are AnimateDiff with Realistic Vision V5.1, of 512x512 pixels, and "
        "VideoCrafter2, of 512x320.",
        f"Here {len(its)} clips of {prompts} prompts make an arm, of {first.num_frames} frames at {first.width}x"
        f"{first.height}; the paper's prompts and their number are not published.",
    ]
    lacking: list[str] = []
    for name in MEASURES:
        taken = _taken(its, name)
        example = example_of(its, taken) if taken else None
        if example is None:
            lacking.append(name)
        elif not example.vbench:
            by = ", ".join(backbone.name for backbone in example.backbones)
            said.append(f"{name} is measured with {by} here, not with VBench's network, so its numbers do not compare.")
    if lacking:
        said.append(f"Not measured here: {', '.join(lacking)}.")
    said.append("The paper gives no intervals; those here are over prompts.")
    return [*said, SOURCE]


def _taken(scores: Sequence[ClipScores], name: str) -> str | None:
    """The measurement that stands for a measure: itself, else the same with another network."""
    return next((one for one in names_of(scores) if one == name or one.startswith(f"{name}_")), None)
