"""``python -m research.diorama.report``: what the shipped model does on 256 prompts, as the judge reads it.

Half of the prompts are combinations of attributes that were never trained on. Every figure stands beside the same
figure of real renders of the same scenes. What ByTheWay changes is measured by ``python -m research.study``.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from diffusers import AnimateDiffPipeline
from rich.progress import track
from torch import Tensor

from bytheway.cli.errors import reported
from bytheway.files import check_file, write_text, written
from bytheway.models import load
from research.diorama.architecture import NUM_FRAMES
from research.diorama.judge import Judge, accuracy, train_judge
from research.diorama.measures import MOVING, Measures, measure, prompts
from research.diorama.outlines import Outlines, train_outlines
from research.diorama.sample import GUIDANCE, STEPS
from research.diorama.world import MOTIONS, Scene, all_scenes, render

BATCH = 8


def generate(pipe: AnimateDiffPipeline, texts: list[str], seed: int) -> Tensor:
    """Clips (n, F, 3, H, W) in [-1, 1], each from its own seed; under bfloat16 autocast where that is faster."""
    parts = []
    for start in track(range(0, len(texts), BATCH), "generating"):
        batch = texts[start : start + BATCH]
        generators = [torch.Generator().manual_seed(seed + start + index) for index in range(len(batch))]
        with torch.autocast(pipe.device.type, torch.bfloat16, enabled=pipe.device.type != "cpu"):
            video = pipe(
                batch,
                num_frames=NUM_FRAMES,
                num_inference_steps=STEPS,
                guidance_scale=GUIDANCE,
                generator=generators,
                output_type="pt",
            ).frames
        parts.append(2 * video.float().cpu() - 1)
    return torch.cat(parts)


@reported()
def main(
    out: Annotated[Path, typer.Option(help="Folder of the judge and of the report.")] = Path("runs/diorama"),
    model: Annotated[str, typer.Option(help="What to report on: a packaged model or a diffusers folder.")] = "diorama",
    count: Annotated[int, typer.Option(min=1, help="Prompts.")] = 256,
    seed: int = 10_000,
    judge_steps: Annotated[int, typer.Option(min=1)] = 2400,
    outline_steps: Annotated[int, typer.Option(min=1)] = 1200,
) -> None:
    """Generate, train judge and outlines where they are missing, judge, and write ``report.json`` and the clips."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    check_file(out / "report.json")
    judge = train_judge(out / "judge", judge_steps, device).cpu()
    outlines = train_outlines(out / "judge", outline_steps, device).cpu()
    chosen = prompts(count, seed)
    texts = [text for _, text in chosen]
    pipe = load(model, device=device, dtype="float32")
    pipe.set_progress_bar_config(disable=True)

    clips = {"vanilla": generate(pipe, texts, seed)}
    report: dict[str, Any] = {
        "prompts": count,
        "seed": seed,
        "steps": STEPS,
        "guidance": GUIDANCE,
        "device": str(device),
        "threads": torch.get_num_threads(),
    }
    pixels = {name: (127.5 * (frames.clamp(-1, 1) + 1)).round().byte().numpy() for name, frames in clips.items()}
    with written(out / "report.npz") as draft:
        np.savez_compressed(draft, allow_pickle=False, **pixels)

    report |= judged(judge, outlines, [scene for scene, _ in chosen], clips, seed)
    report["scenes"] = [asdict(scene) | {"prompt": text} for scene, text in chosen]
    write_text(out / "report.json", json.dumps(report, indent=1) + "\n")
    print(json.dumps({key: value for key, value in report.items() if key != "scenes"}, indent=1))


def judged(
    judge: Judge, outlines: Outlines, scenes: list[Scene], clips: dict[str, Tensor], seed: int
) -> dict[str, Any]:
    """The judge's own accuracy, its means over all, trained and unseen combinations, and how far ways spread."""
    renders = 2 * render(scenes, torch.Generator().manual_seed(seed)).frames - 1
    seen = {
        name: measure(judge.read(frames), scenes) | {"misshapen": outlines.misshapen(frames).double().numpy()}
        for name, frames in ({"renders": renders} | clips).items()
    }
    sides = {"all": slice(None), "train": slice(0, None, 2), "unseen": slice(1, None, 2)}
    figures: dict[str, Any] = {
        side: {name: _means(seen[name], which) for name in ("renders", "vanilla")} for side, which in sides.items()
    }
    figures["spread"] = {name: spread(seen[name], scenes) for name in seen}
    figures["by_motion"] = by_motion(seen["vanilla"], scenes)
    figures["judge_accuracy"] = fresh_accuracy(judge, seed + 1)
    return figures


def spread(measures: Measures, scenes: list[Scene]) -> dict[str, list[float]]:
    """For each motion that goes somewhere, the 5th and the 95th percentile of its clips' motion ranges, in pixels."""
    found = {}
    for motion in MOVING:
        ranges = measures["motion_range"][[scene.motion == motion for scene in scenes]]
        if len(ranges):
            found[motion] = np.percentile(ranges, (5, 95)).tolist()
    return found


def by_motion(measures: Measures, scenes: list[Scene]) -> dict[str, dict[str, float]]:
    """For each motion, how many clips were to show it and how many do; the share that is broken and the jerk."""
    found = {}
    for motion in MOTIONS:
        which = np.array([scene.motion == motion for scene in scenes])
        if which.any():
            shown = {"clips": int(which.sum()), "as_prompted": int(measures["motion"][which].sum())}
            found[motion] = shown | {name: float(measures[name][which].mean()) for name in ("broken", "jerk")}
    return found


def fresh_accuracy(judge: Judge, seed: int, count: int = 512) -> dict[str, float]:
    """The judge's accuracy per attribute on ``count`` renders it has not seen, every combination equally likely."""
    rng = random.Random(seed)
    scenes = [rng.choice(all_scenes()) for _ in range(count)]
    return accuracy(judge, scenes, 2 * render(scenes, torch.Generator().manual_seed(seed)).frames - 1)


def _means(measures: Measures, which: slice) -> dict[str, float]:
    return {name: float(np.nanmean(values[which])) for name, values in measures.items()}


if __name__ == "__main__":
    typer.run(main)
