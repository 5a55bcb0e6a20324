"""``python -m benchmarks``: an enhanced run against a vanilla one on diorama, interleaved in one process.

Per pair of runs the times of the active steps, of the other steps and of the whole run are divided by those of the
vanilla run beside it; the table shows medians and quartiles of these ratios.
"""

from __future__ import annotations

import json
import platform
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from bytheway import enhanced
from bytheway.models import generation_defaults, load
from bytheway.window import count_active

PROMPT = "a red ball bouncing on grass"


def step_seconds(pipe: Any, steps: int, with_method: bool) -> np.ndarray:
    """Seconds of each denoising step of one run, (steps,)."""
    marks: list[float] = []

    def mark(*_: Any) -> dict[str, Any]:
        if pipe.device.type == "cuda":
            torch.cuda.synchronize()
        marks.append(time.perf_counter())
        return {}

    defaults = generation_defaults(pipe)
    with enhanced(pipe, record=False) if with_method else nullcontext():
        pipe(
            PROMPT,
            num_frames=defaults.num_frames,
            num_inference_steps=steps + 1,
            guidance_scale=defaults.guidance_scale,
            generator=torch.Generator().manual_seed(0),
            callback_on_step_end=mark,
            output_type="latent",
        )
    return np.diff(marks)


def main(
    pairs: Annotated[int, typer.Option(help="Vanilla and enhanced runs, interleaved.")] = 15,
    steps: Annotated[int, typer.Option(min=5, help="Denoising steps that are timed.")] = 25,
    out: Annotated[Path, typer.Option(help="Where to write the results as JSON.")] = Path("runs/benchmark.json"),
) -> None:
    """Time diorama with and without the method."""
    pipe = load("diorama")
    pipe.set_progress_bar_config(disable=True)
    times = {name: np.empty((pairs, steps)) for name in ("vanilla", "enhanced")}
    step_seconds(pipe, 2, True)
    for pair in range(pairs):
        for name in sorted(times, reverse=bool(pair % 2)):
            times[name][pair] = step_seconds(pipe, steps, name == "enhanced")
    # The first of the steps has no mark before it: of one more than asked for, it is left out, and so is its activity.
    active = count_active(0.2, steps + 1) - 1
    parts = {"active step": slice(0, active), "other step": slice(active, None), "run": slice(None)}
    rows = {name: _ratio(times, part, name == "run") for name, part in parts.items()}
    machine = (
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    results = {"model": "diorama", "device": str(pipe.device), "machine": machine, "pairs": pairs, "rows": rows}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"diorama on {pipe.device} ({machine}), {pairs} interleaved pairs of {steps} steps\n")
    print("| | vanilla, ms | enhanced, ms | ratio (median) | quartiles |\n|---|---|---|---|---|")
    for name, row in rows.items():
        low, high = row["quartiles"]
        print(
            f"| {name} | {row['vanilla']:.1f} | {row['enhanced']:.1f} | {row['ratio']:.3f} | {low:.3f} to {high:.3f} |"
        )


def _ratio(times: dict[str, np.ndarray], part: slice, whole: bool) -> dict[str, Any]:
    reduce = np.sum if whole else np.median
    seconds = {name: reduce(values[:, part], axis=1) for name, values in times.items()}
    ratios = seconds["enhanced"] / seconds["vanilla"]
    medians = {name: 1000 * float(np.median(values)) for name, values in seconds.items()}
    return {**medians, "ratio": float(np.median(ratios)), "quartiles": np.quantile(ratios, [0.25, 0.75]).tolist()}


if __name__ == "__main__":
    typer.run(main)
