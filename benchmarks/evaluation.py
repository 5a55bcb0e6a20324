"""``python -m benchmarks.evaluation``: what each measure of `bytheway score` costs a clip, in seconds and memory.

Networks whose weights are not in the package have random ones of their own size here: they take as long.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
import torch
import typer

from benchmarks.machine import describe
from benchmarks.statistics import ratio, spread
from benchmarks.timing import interleave
from bytheway.cli.errors import reported
from bytheway.clips.frames import Frames
from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.backbones.clip import VIT_B, VIT_L
from bytheway.evaluation.measures.backbones.dino import DINO
from bytheway.evaluation.measures.backbones.importing import torchvision_flow
from bytheway.evaluation.measures.backbones.weights import Published
from bytheway.evaluation.measures.dynamic_degree import FLOW_MEASURES
from bytheway.evaluation.measures.loading import load_measures
from bytheway.evaluation.measures.measure import Measure
from bytheway.files import check_file, write_text
from research.markdown import table

OUT: Final = Path(__file__).parents[1] / "docs" / "benchmarks"
FRAMES, SIDE, FPS = 16, 512, 8.0
TOGETHER, ONE = "8 at once", "one at a time"
BATCHES: Final[Mapping[str, int]] = {TOGETHER: 8, ONE: 1}
"""How many frames, or pairs, are given to a network at once; VBench gives one to DINO, RAFT and AMT."""

app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None, add_completion=False)


@dataclass(frozen=True)
class Case:
    """Measures that come out of one computation.

    Attributes:
        title: in the table.
        measures: their names.
        network: the flow's; None where no flow is asked for.
        weights: folders or files of random weights, by backbone.
    """

    title: str
    measures: tuple[str, ...]
    network: Literal["rife", "raft"] | None = None
    weights: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """Of one case.

    Attributes:
        title: its.
        seconds: of the processor for a clip, one for each round, by how much was given to the network at once.
        peak: MiB that the process held at most, 8 at once.
        before: MiB of the process with torch and the package, before the networks are there.
    """

    title: str
    seconds: dict[str, list[float]]
    peak: float
    before: float


@app.command(help=__doc__)
@reported()
def benchmark(
    rounds: Annotated[int, typer.Option(min=1, help="Clips measured of each.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Of each process.")] = 1,
    side: Annotated[int, typer.Option(min=64, help="Of the frames, in pixels.")] = SIDE,
    only: Annotated[list[str] | None, typer.Option(help="Part of a row's title; may be given again.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of measures-cpu.json and measures-cpu.md.")] = OUT,
) -> None:
    """Measure each case in a process of its own, and write the table."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    check_file(out / "measures-cpu.md")
    torch.set_num_threads(threads)
    machine = describe(torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        cases, missing = _cases(Path(folder), only or [])
        costs = []
        for case in cases:
            costs.append(_alone(partial(cost, case, rounds, threads, side)))
            print(case.title, flush=True)
    setting = f"{FRAMES} frames of {side}x{side}, float32"
    found = {"setting": setting, "machine": machine, "missing": missing, "costs": [asdict(one) for one in costs]}
    write_text(out / "measures-cpu.json", json.dumps(found, indent=1) + "\n")
    write_text(out / "measures-cpu.md", page(setting, machine, costs, missing) + "\n")


def cost(case: Case, rounds: int, threads: int, side: int) -> Cost:
    """What a case costs in this very process, which has done nothing else."""
    torch.set_num_threads(threads)
    frames = np.random.default_rng(0).integers(0, 256, (FRAMES, side, side, 3), np.uint8)
    before = held_at_most()
    columns: dict[str, Callable[[], float]] = {}
    peak = 0.0
    for name, size in BATCHES.items():
        measures = load_measures(
            case.measures,
            device="cpu",
            batch_size=size,
            offline=True,
            weights=case.weights,
            flow=case.network,
        )
        columns[name] = partial(_seconds, measures, frames)
        columns[name]()
        peak = peak or held_at_most()
    return Cost(case.title, interleave(columns, rounds, float("inf")), peak, before)


def held_at_most() -> float:
    """MiB of memory that this process has held at once so far (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def page(setting: str, machine: Mapping[str, str], costs: Sequence[Cost], missing: Sequence[str]) -> str:
    """The table, with the conditions under which it was measured."""
    lines = []
    for one in costs:
        together, alone = spread(one.seconds[TOGETHER]), ratio(one.seconds[ONE], one.seconds[TOGETHER])
        lines.append(
            [
                one.title,
                f"{together.median:.2f} s ({together.low:.2f} to {together.high:.2f})",
                f"{alone.median:.2f} ({alone.low:.2f} to {alone.high:.2f})",
                f"{one.peak:.0f} MiB",
                f"{one.peak - one.before:.0f} MiB",
            ]
        )
    heads = ["", "a clip", "times that, one at a time", "process at its most", "of that, networks and work"]
    return "\n\n".join(
        [
            "# What the measures cost",
            f"Written by `python -m benchmarks.evaluation`. A clip is {setting}. Seconds of the processor, medians of "
            "rounds with quartiles, each row in a process of its own, 8 frames or pairs given to the network at once. "
            "The decoding of the clip, once for all measures, is not in it. Where a network's weights are not in its "
            "package, they are random here.",
            table(heads, lines),
            f"{machine['hardware']}, threads: {machine['threads']}; {machine['versions']}; {machine['date']}. Load "
            f"before: {machine['load before']}.",
            *([f"Not measured: {'; '.join(missing)}"] if missing else []),
        ]
    )


def _seconds(measures: Sequence[Measure], frames: Frames) -> float:
    """Of the processor, which do not grow where something else runs on the machine."""
    begin = time.process_time()
    for one in measures:
        one(frames, FPS)
    return time.process_time() - begin


def _alone(call: Callable[[], Cost]) -> Cost:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(call).result()


def _cases(folder: Path, only: Sequence[str]) -> tuple[list[Case], list[str]]:
    """What can be measured here, and what cannot, with the reason."""
    vision = {DINO.name: DINO, VIT_B.name: VIT_B, VIT_L.name: VIT_L}
    cases = [
        Case(f"subject consistency ({DINO.name})", ("subject_consistency",)),
        Case(f"background consistency ({VIT_B.name})", ("background_consistency",)),
        Case(f"aesthetic quality ({VIT_L.name})", ("aesthetic_quality",)),
        Case("motion smoothness (RIFE 4)", ("motion_smoothness",)),
        Case("temporal flickering", ("temporal_flickering",)),
        Case("dynamic degree and the four flow measures (RIFE 4)", FLOW_MEASURES, "rife"),
        Case("dynamic degree and the four flow measures (RAFT-large)", FLOW_MEASURES, "raft"),
    ]
    chosen = [case for case in cases if not only or any(part in case.title for part in only)]
    found, missing = [], []
    for case in chosen:
        weights = {name: str(_random(one, folder)) for name, one in vision.items() if f"({name})" in case.title}
        if case.network == "raft":
            try:
                weights = {"RAFT-large": str(_random_raft(folder))}
            except ByTheWayError as error:
                missing.append(f"{case.title}: {error}")
                continue
        found.append(Case(case.title, case.measures, case.network, weights))
    return found, missing


def _random(published: Published, folder: Path) -> Path:
    """A folder with a network of the published size."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, ViTConfig, ViTModel

    width, layers, heads, patch = published.shape
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "patch_size": patch,
        "image_size": 224,
    }
    place = folder / published.repository.replace("/", "--")
    if published is DINO:
        ViTModel(ViTConfig(**sizes), add_pooling_layer=False).save_pretrained(place)
    else:
        projected = CLIPVisionConfig(**sizes, projection_dim=768 if published is VIT_L else 512)
        CLIPVisionModelWithProjection(projected).save_pretrained(place)
    return place


def _random_raft(folder: Path) -> Path:
    network = torchvision_flow().raft_large(weights=None)
    torch.save(network.state_dict(), folder / "raft.pth")
    return folder / "raft.pth"


if __name__ == "__main__":
    app()
