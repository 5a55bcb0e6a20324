"""``python -m benchmarks.selection``: what recording, predicting and choosing add to an active step.

Runs of one active step, recorded and not, in turns; on a CPU in CPU seconds, which other work on the machine leaves
alone. Predicting and choosing are done once a clip, and are set against its active steps (a fifth of 25).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Annotated

import numpy as np
import torch
import typer

from benchmarks.cases import CASES, QUICK, Model
from benchmarks.columns import COLUMNS, OURS, RECORDED
from benchmarks.models import Subject
from benchmarks.timing import interleave, now
from bytheway import enhanced
from bytheway.cli.errors import reported
from bytheway.diagnosis.curves import curves_of
from bytheway.diagnosis.prediction import Prediction, predict
from bytheway.errors import ByTheWayError
from bytheway.families.known import denoiser_of
from bytheway.generation.job import PlannedClip
from bytheway.selection.best import choose

app = typer.Typer(help=__doc__, pretty_exceptions_enable=False, rich_markup_mode=None, add_completion=False)
ACTIVE, SEEDS = 5, 8


@app.command()
@reported()
def benchmark(
    case: Annotated[Model, typer.Option(help="One with temporal maps.")] = Model.DIORAMA,
    rounds: Annotated[int, typer.Option(min=3, help="Of the two runs.")] = 20,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    quick: Annotated[bool, typer.Option("--quick", help="Toy sizes: does it still run?")] = False,
) -> None:
    """Print what each part costs, as a share of an active step."""
    if CASES[case].joint:
        raise ByTheWayError("Models with joint attention are not recorded; choose one with temporal maps.")
    place = torch.device(device)
    subject = CASES[case].make(CASES[case].scales[QUICK if quick else device], place)
    columns = {name: partial(_step, subject, name, place) for name in (OURS, RECORDED)}
    for run in columns.values():
        run()
    steps = interleave(columns, rounds, float("inf"))
    plain = float(np.median(steps[OURS]))
    differences = np.subtract(steps[RECORDED], steps[OURS])
    predicting, choosing = _afterwards(subject, place)
    clock = "CPU seconds" if device == "cpu" else "seconds"
    low, median, high = np.percentile(differences, [25, 50, 75]) / plain
    print(f"{CASES[case].title}: an active step takes {plain:.4g} {clock}, the median of {len(differences)}")
    print(f"recording adds {median:+.2%} of it (quartiles of the paired differences {low:+.2%}, {high:+.2%})")
    print(f"reading the record and predicting, once a clip: {predicting / (ACTIVE * plain):.2%} of its active steps")
    print(f"choosing among {SEEDS}: {choosing / (SEEDS * ACTIVE * plain):.3%} of theirs")


def _step(subject: Subject, column: str, device: torch.device) -> float:
    """Of one active step, from the call of the denoiser on."""
    clock = time.process_time if device.type == "cpu" else lambda: now(device)
    times: list[float] = []
    handles = [
        denoiser_of(subject.pipe).register_forward_pre_hook(lambda *_: times.append(clock())),
        denoiser_of(subject.pipe).register_forward_hook(lambda *_: times.append(clock())),
    ]
    try:
        with COLUMNS[column](subject.pipe, 1):
            subject.run(1, output_type="latent")
    finally:
        for handle in handles:
            handle.remove()
    return times[-1] - times[0]


def _afterwards(subject: Subject, device: torch.device) -> tuple[float, float]:
    """Seconds of predicting from a record of as many steps as are usually active, and of choosing among seeds."""
    with enhanced(subject.pipe, active_steps=1.0) as run:
        subject.run(ACTIVE, output_type="latent")
    now(device)
    prediction = predict(curves_of(run.record), None)
    predicting = _seconds(lambda: predict(curves_of(run.record), None))
    clips = [PlannedClip(index, "", index) for index in range(SEEDS)]
    predictions = [Prediction(index % 3, index % 5, None, *[prediction.motion_by] * 2) for index in range(SEEDS)]
    return predicting, _seconds(lambda: choose(clips, predictions, 1, "both"))


def _seconds(function: Callable[[], object]) -> float:
    """The median of ten calls."""
    times = []
    for _ in range(10):
        begin = time.process_time()
        function()
        times.append(time.process_time() - begin)
    return float(np.median(times))


if __name__ == "__main__":
    app()
