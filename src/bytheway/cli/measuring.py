"""What the commands that measure clips have in common: their options, and measuring with a bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from bytheway.evaluation.choice import MeasureChoice
    from bytheway.evaluation.clip_files import ClipFile
    from bytheway.evaluation.measures.measure import Measure
    from bytheway.evaluation.scores import ClipScores

MEASURES = "Measures"
_NO_MEMORY = (
    "There is not enough memory to measure; try a smaller --measure-batch, --measure-dtype float16 or "
    "--measure-device cpu."
)

Names: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--measures",
        metavar="NAMES",
        help="What to measure, separated by commas (see bytheway measures); networks are fetched where they are not "
        "here. Default: the usual ones whose networks are on this machine.",
        rich_help_panel=MEASURES,
    ),
]
Device: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--measure-device",
        metavar="NAME",
        help="Where networks measure: cpu, cuda, mps. Default: the fastest one.",
        rich_help_panel=MEASURES,
    ),
]
Weights: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        metavar="NETWORK=PATH",
        help='A local folder or file for a network, such as "DINO ViT-B/16=dino". Repeatable.',
        rich_help_panel=MEASURES,
    ),
]
FlowNetwork: TypeAlias = Annotated[
    Literal["raft", "rife"] | None,
    typer.Option(
        "--flow",
        help="The network for optical flow: raft, as VBench has it, or rife. Default: RAFT where it can be had.",
        rich_help_panel=MEASURES,
    ),
]
Brought: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--bring",
        metavar="MEASURE=FILE",
        help="A TorchScript network of your own for a measure: an interpolator for motion_smoothness (AMT-S.pt is "
        "VBench's, by its name), MUSIQ.pt for imaging_quality, or one that scores frames under a new name. Repeatable.",
        rich_help_panel=MEASURES,
    ),
]

Offline: TypeAlias = Annotated[
    bool, typer.Option("--offline", help="Fetch no network to measure with.", rich_help_panel=MEASURES)
]
MeasureDtype: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--measure-dtype",
        metavar="NAME",
        help="What networks measure in: float32, float16 or bfloat16.",
        show_default="float32",
        rich_help_panel=MEASURES,
    ),
]
MeasureBatch: TypeAlias = Annotated[
    int,
    typer.Option(
        "--measure-batch", metavar="N", help="Frames given to a network at once, at most.", rich_help_panel=MEASURES
    ),
]


def measure_choice(
    names: list[str] | None,
    device: str | None,
    weights: list[str] | None,
    flow: Literal["raft", "rife"] | None,
    brought: list[str] | None,
    *,
    dtype: str | None = None,
    batch: int = 8,
    offline: bool = False,
) -> MeasureChoice:
    """The choice that the options say."""
    from bytheway.evaluation.choice import MeasureChoice

    chosen = [name.strip() for text in names or () for name in text.split(",")]
    return MeasureChoice(
        tuple(name for name in chosen if name) or None,
        device,
        dtype,
        weights=dict(_split(text, "--weights") for text in weights or ()),
        flow=flow,
        brought=dict(_split(text, "--bring") for text in brought or ()),
        offline=offline,
        batch_size=batch,
    )


def _split(text: str, option: str) -> tuple[str, str]:
    from bytheway.errors import ByTheWayError

    name, sign, path = text.partition("=")
    if not sign or not name or not path:
        raise ByTheWayError(f"{option} is {text!r}; write a name, an equals sign and a path.")
    return name, path


def load_measures(choice: MeasureChoice) -> tuple[Measure, ...]:
    """The measures, ready; says which of the usual ones are left out, and why."""
    from bytheway.cli.run import quieten_libraries
    from bytheway.cli.tables import note

    note("Loading the measures")
    quieten_libraries()
    with memory_named():
        measures, left_out = choice.load()
    reasons: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        note(f"Left out: {', '.join(names)}. {reason}")
    if left_out:
        note(f"--measures fetches what it names, such as --measures {next(iter(left_out))}.")
    return measures


@contextmanager
def memory_named(clip: Path | None = None) -> Iterator[None]:
    """A block in which a lack of memory is a sentence, on a clip where one is given, whose others are measured still.

    Raises:
        ByTheWayError: there was not enough memory.
    """
    from bytheway.errors import ByTheWayError, is_out_of_memory

    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise ByTheWayError(_NO_MEMORY if clip is None else f"{clip}: {_NO_MEMORY}") from None


@dataclass
class Scored:
    """What came of measuring clips.

    Attributes:
        scores: of the clips that could be measured.
        failures: what is wrong with the others, in sentences.
        interrupt: what broke it off; None where it came to its end.
    """

    scores: list[ClipScores] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    interrupt: KeyboardInterrupt | None = None


def score_all(clips: Sequence[ClipFile], measures: Sequence[Measure]) -> Scored:
    """The scores of the clips; those that are there where it is interrupted."""
    from bytheway.cli.progress import CountProgress
    from bytheway.errors import ByTheWayError
    from bytheway.evaluation.scores import score_clip

    found = Scored()
    try:
        with CountProgress("measuring", len(clips)) as progress:
            for clip in clips:
                progress.begin(clip.name)
                try:
                    with memory_named(clip.path):
                        found.scores.append(score_clip(clip, measures))
                except ByTheWayError as error:
                    found.failures.append(str(error))
                else:
                    reasons = dict.fromkeys(found.scores[-1].failed.values())
                    found.failures += [f"{clip.path}: {reason}" for reason in reasons]
                progress.advance()
    except KeyboardInterrupt as interrupt:
        found.interrupt = interrupt
    return found


def complain(failures: Sequence[str], done: str) -> None:
    """Raise ByTheWayError where something is missing from what was done: the sentence itself where it is one."""
    from bytheway.cli.tables import warn
    from bytheway.errors import ByTheWayError

    if len(failures) == 1:
        raise ByTheWayError(failures[0])
    for sentence in failures:
        warn(sentence)
    if failures:
        raise ByTheWayError(f"{done}, but {len(failures)} things are missing from it; the warnings above say what.")
