"""``python -m training.diorama.report``: what the shipped model does on 256 prompts, as the judge reads it.

Half of the prompts are combinations of attributes that were never trained on. Every figure stands beside the same
figure of real renders of the same scenes, and, with ``--enhanced``, of the same prompts and seeds under ByTheWay.
"""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from diffusers import AnimateDiffPipeline
from rich.progress import track
from torch import Tensor

from bytheway import enhanced
from training.diorama.__main__ import SHIPPED
from training.diorama.architecture import NUM_FRAMES
from training.diorama.judge import FACTORS, Judge, Reading, accuracy, labels_of, train_judge
from training.diorama.sample import GUIDANCE, STEPS
from training.diorama.world import Scene, all_scenes, caption, render, split

BATCH = 8
STATIC_PIXELS = 2.0
MOVING = ("left", "right", "jump")


def prompts(count: int, seed: int) -> list[tuple[Scene, str]]:
    """``count`` scenes with captions, the even ones from training combinations, the odd ones from unseen ones."""
    rng = random.Random(seed)
    sides = [[scene for scene in all_scenes() if split(scene) == which] for which in ("train", "unseen")]
    return [(scene, caption(scene, rng)) for index in range(count) for scene in [rng.choice(sides[index % 2])]]


def measure(reading: Reading, scenes: list[Scene]) -> dict[str, float]:
    """Means over clips of what the judge reads; the definitions stand in the model card."""
    right = (labels_of(reading.scenes()) == labels_of(scenes)).float().mean(0)
    centre, area = reading.tracks()
    moving = torch.tensor([scene.motion in MOVING for scene in scenes])
    motion_range = torch.cdist(centre, centre).amax((1, 2))
    opinions = reading.subject.softmax(-1)
    certainty = opinions.amax(-1) * (opinions.argmax(-1) == opinions.mean(1).argmax(-1, keepdim=True))
    broken = (certainty < 0.5).sum(1) > 2
    return dict(zip(FACTORS, right.tolist(), strict=True)) | {
        "motion_range": float(motion_range[moving].mean()),
        "path": float(centre.diff(dim=1).norm(dim=-1).sum(1)[moving].mean()),
        "jerk": float(centre.diff(n=3, dim=1).norm(dim=-1).mean()),
        "near_static": float((motion_range[moving] < STATIC_PIXELS).float().mean()),
        "broken": float(broken.float().mean()),
        "area_variation": float((area.std(1) / area.mean(1)).mean()),
    }


def generate(pipe: AnimateDiffPipeline, texts: list[str], seed: int) -> Tensor:
    """Clips (n, F, 3, H, W) in [-1, 1], each from its own seed."""
    parts = []
    for start in track(range(0, len(texts), BATCH), "generating"):
        batch = texts[start : start + BATCH]
        generators = [torch.Generator().manual_seed(seed + start + index) for index in range(len(batch))]
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


def main(
    out: Annotated[Path, typer.Option(help="Folder of the judge and of the report.")] = Path("runs/diorama"),
    model: Annotated[Path, typer.Option(help="The diffusers folder to report on.")] = SHIPPED,
    count: Annotated[int, typer.Option(help="Prompts.")] = 256,
    with_enhanced: Annotated[bool, typer.Option("--enhanced", help="Also under ByTheWay, same seeds.")] = False,
    seed: int = 10_000,
    judge_steps: int = 1000,
    minutes: Annotated[float, typer.Option(help="Stop training the judge after this time.")] = float("inf"),
) -> None:
    """Train the judge where it is missing, generate, judge, and write ``report.json``."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    judge = train_judge(out / "judge", judge_steps, device, time.monotonic() + 60 * minutes).cpu()
    chosen = prompts(count, seed)
    scenes, texts = [scene for scene, _ in chosen], [text for _, text in chosen]
    generator = torch.Generator().manual_seed(seed)
    columns = {"renders": 2 * render(scenes, generator).frames - 1}
    report: dict[str, object] = {
        "prompts": count,
        "seed": seed,
        "device": str(device),
        "threads": torch.get_num_threads(),
    }
    report["judge_accuracy"] = _fresh_accuracy(judge, seed + 1)

    pipe = AnimateDiffPipeline.from_pretrained(model).to(device)
    pipe.set_progress_bar_config(disable=True)
    began = time.monotonic()
    columns["vanilla"] = generate(pipe, texts, seed)
    report["seconds_per_clip"] = (time.monotonic() - began) / count
    if with_enhanced:
        with enhanced(pipe, record=False):
            columns["enhanced"] = generate(pipe, texts, seed)

    readings = {name: judge.read(clips) for name, clips in columns.items()}
    report["all"] = {name: measure(reading, scenes) for name, reading in readings.items()}
    for side, offset in (("train", 0), ("unseen", 1)):
        report[side] = {name: measure(_every_second(r, offset), scenes[offset::2]) for name, r in readings.items()}
    clips = {name: (127.5 * (frames.clamp(-1, 1) + 1)).round().byte().numpy() for name, frames in columns.items()}
    np.savez_compressed(out / "report.npz", allow_pickle=False, **clips)
    report["scenes"] = [asdict(scene) | {"prompt": text} for scene, text in chosen]
    path = out / "report.json"
    path.with_suffix(".tmp").write_text(json.dumps(report, indent=1) + "\n")
    os.replace(path.with_suffix(".tmp"), path)
    print(table(report))


def _fresh_accuracy(judge: Judge, seed: int, count: int = 512) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    rng = random.Random(seed)
    scenes = [rng.choice(all_scenes()) for _ in range(count)]
    return accuracy(judge, scenes, 2 * render(scenes, generator).frames - 1)


def _every_second(reading: Reading, offset: int) -> Reading:
    return Reading(*(tensor[offset::2] for tensor in vars(reading).values()))


def table(report: dict[str, object]) -> str:
    """The report as a Markdown table, one row per measure and side."""
    sides = {side: report[side] for side in ("all", "train", "unseen")}
    names = list(sides["all"])  # type: ignore[call-overload]
    lines = ["| prompts | measure | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for side, columns in sides.items():
        for key in columns[names[0]]:  # type: ignore[index]
            values = " | ".join(f"{columns[name][key]:.3f}" for name in names)  # type: ignore[index]
            lines.append(f"| {side} | {key.replace('_', ' ')} | {values} |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
