"""``python -m research.diorama.card``: the model card and its pictures, from the report's own figures.

Nothing in the card is typed by hand: the figures come from ``report.json``, the pictures from ``report.npz``.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bytheway.cli.errors import reported
from bytheway.clips import contact_sheet
from bytheway.errors import ByTheWayError
from bytheway.files import check_file, write_text, written
from bytheway.models.sources import read_json
from research.diorama import world
from research.diorama.__main__ import SHIPPED
from research.diorama.amplitudes import AMPLITUDES, HIGH, LOW
from research.diorama.architecture import SAMPLED_SHIFT, TRAINED_SHIFT
from research.diorama.captions import WORDED
from research.diorama.denoiser import ENERGY_WEIGHT, TARGET_ENERGY
from research.diorama.journal import STAGES, summary
from research.diorama.measures import NAMES, STATIC_PIXELS
from research.diorama.outlines import LEAST_OVERLAP
from research.markdown import quantity, table

PICTURES = Path(__file__).parents[2] / "docs" / "diorama"
SHOWN = 8
CARD = """# diorama

A small, real AnimateDiff that ships with bytheway: text to 16 frames of 64x64, trained from nothing on a procedural toy
world, so that everything in this project runs on a laptop with no download. It is a toy: it knows {words} words.

![Every second frame of the clips of the first {shown} prompts of the report]({pictures}/contact_sheet.png)

The sheet shows the first {shown} prompts of the report below, none left out: {prompts}.

## The world

One subject ({subjects}) in one of {colour_count} colours ({colours}) in a setting ({settings}) that moves in one way
({motions}). A boat is always at sea; cars, persons and dogs never are; only balls, stars and boxes spin; birds and
boats do not jump; nothing white stands in snow. {scenes} combinations, {unseen} of them never trained on.

How much it moves is free: in every clip of the corpus a way is {reach} pixels long, a jump {height} pixels high (less
where a head would leave the frame), a spin {angle} turns far, each evenly drawn. Of the captions of what moves
{worded} say so with a word where it is true ("slowly", "fast", "quickly"; "a little", "high"), the others leave it
open, and so does a prompt without such a word.

Words: {vocabulary}.

## The parts

| part | what | parameters |
|---|---|---|
| vae | AutoencoderKL, 8x down, 8 latent channels | {vae} |
| text_encoder | CLIP text transformer, 2 layers, width 96 | {text_encoder} |
| unet | UNet2DConditionModel, three levels (8, 4, 2 pixels), channels 64, 96, 144 | {unet} |
| motion_adapter | MotionAdapter, motion modules in every block | {motion_adapter} |

v-prediction on a cosine schedule whose log-SNR is raised by 2 log {shift}, so that the first steps of a clip decide
what it shows, and runs down to -14: the 16 frames of a clip betray its motion through much noise, and only where they
no longer do does the prompt decide it. It was first trained on one raised by 2 log {trained_shift}, and for the last
{respaced} steps on that: the first of {steps} even steps of the other goes to a log-SNR of -2.8, where it can be read
already how much a clip moves. While motion was trained, the energy of every block's temporal maps was capped
(`bytheway.training.EnergyCap`, target {target} for 16 frames, weight {cap_weight}): without that they grow sharp, near
1, where the paper finds those of AnimateDiff between 0.10 and 0.22. Weights in float16 (the text encoder in float32),
safetensors only. Made for {steps} DDIM steps at guidance {guidance}.

## The recipe

`python -m research.diorama` (corpus, autoencoder, spatial stage, motion stage, the sampling schedule, early motion
modules, export), then
`python -m research.diorama.report --count {count}`, `python -m research.study swap --to runs/diorama` and
`python -m research.diorama.card`. These weights:
{clips} rendered clips; {stages}. {hardware} Every start of the command is in `starts.jsonl` of the run's folder, every
loss in `loss.jsonl` of a stage's.

## What it does

{count} prompts, half of them unseen combinations, one clip each ({report_steps} steps, guidance {report_guidance}),
as a judge reads them: a small classifier trained on renders alone. Of fresh renders it reads {judge} right.
"Renders" are the true clips of the same prompts, read by the same judge: what a perfect model would score.

{table}

*Broken*: in more than 2 of 16 frames the judge is less than half sure of the subject it sees in the clip as a whole.
*Misshapen*: in more than 2 of 16 frames what another network takes for the subject has no outline that the renderer
draws (the best overlap is below {overlap}).
*Motion range*: the largest distance between two positions of the subject's centre; *near-static*: below {static} px;
*path*: the way travelled; *jerk*: the mean third difference of the track, which flicker raises.

{motions_table}

{spread_table}

What the method does to it: `docs/evidence` in the repository.
{swap}
## diorama-early

`--model diorama-early` is this model with motion modules that have only begun to learn: made anew on the finished UNet
and trained for {early} steps while all else stayed as it is. It is there to see what the method does to a model whose
motion is poor, as that of the models was for which it was made.

## Limits

It draws what its words name and nothing else; words it has not read are spelt in letters it cannot use. Fine limbs are
soft, since a latent pixel covers 8x8 pixels. Figures above say how often subject and motion miss the prompt. Faces,
text, camera motion and several subjects are not in its world. It cannot make anything that could be mistaken for a
photograph.
"""


@reported()
def main(
    out: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Folder of the run, its report and its judge.")
    ] = Path("runs/diorama"),
    shipped: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Folder of the exported pipeline.")
    ] = SHIPPED,
    pictures: Annotated[Path, typer.Option(help="Folder of the pictures that the card shows.")] = PICTURES,
) -> None:
    """Write MODEL_CARD.md into the shipped folder, and the pictures it shows beside the documentation."""
    check_file(pictures / "contact_sheet.png")
    report = read_json(str(out), "report.json")
    if report is None:
        raise ByTheWayError(f"There is no report.json in {out}; python -m research.diorama.report writes one.")
    with np.load(out / "report.npz") as clips:
        rows = _rows(report, clips["vanilla"][:SHOWN])
    with written(pictures / "contact_sheet.png") as draft:
        contact_sheet(rows, height=96).save(draft, optimize=True)
    if (out / "swap.png").exists():
        with written(pictures / "swap.png") as draft:
            shutil.copyfile(out / "swap.png", draft)
    write_text(shipped / "MODEL_CARD.md", card(report, out, shipped, pictures))


def _rows(report: dict[str, Any], clips: np.ndarray) -> list[tuple[str, np.ndarray]]:
    prompts = [scene["prompt"] for scene in report["scenes"]]
    return list(zip(prompts, clips.transpose(0, 1, 3, 4, 2), strict=False))


def card(report: dict[str, Any], out: Path, shipped: Path, pictures: Path) -> str:
    """The text of the card, whose links to the pictures hold where it lies."""
    shown_from = Path(os.path.relpath(pictures, shipped)).as_posix()
    scenes = world.all_scenes()
    parts = ("vae", "text_encoder", "unet", "motion_adapter")
    facts = json.loads((shipped / "world.json").read_text())
    return CARD.format(
        words=len(facts["words"]),
        vocabulary=", ".join(facts["words"]),
        subjects=", ".join(world.SUBJECTS),
        colour_count=len(world.COLOURS),
        colours=", ".join(world.COLOURS),
        settings=", ".join(world.SETTINGS),
        motions=", ".join(world.MOTIONS),
        scenes=len(scenes),
        reach=_range("left"),
        height=_range("jump"),
        angle=_range("spin"),
        worded=quantity(WORDED * (1 - (HIGH - LOW)), "%"),
        unseen=sum(world.split(scene) == "unseen" for scene in scenes),
        steps=facts["defaults"]["steps"],
        guidance=f"{facts['defaults']['guidance_scale']:g}",
        report_steps=report["steps"],
        report_guidance=f"{report['guidance']:g}",
        motions_table=_motions(report),
        spread_table=_spread(report),
        shown=SHOWN,
        prompts="; ".join(f'"{scene["prompt"]}"' for scene in report["scenes"][:SHOWN]),
        count=report["prompts"],
        judge=", ".join(f"{name} {quantity(value, '%')}" for name, value in report["judge_accuracy"].items()),
        table=_table(report, ("all", "train", "unseen"), ("renders", "vanilla")),
        static=f"{STATIC_PIXELS:g}",
        overlap=LEAST_OVERLAP,
        clips=len(list((out / "corpus").glob("scenes-*.json"))) * 128,
        stages=", ".join(f"{name} {_steps(out / name)} steps" for name in STAGES if name != "early"),
        target=TARGET_ENERGY,
        cap_weight=ENERGY_WEIGHT,
        hardware=summary(out),
        pictures=shown_from,
        swap=_swap(out / "swap.md", shown_from),
        early=_steps(out / "early"),
        respaced=_steps(out / "respaced"),
        shift=f"{SAMPLED_SHIFT:g}",
        trained_shift=f"{TRAINED_SHIFT:g}",
        **{part: f"{_parameters(shipped / part) / 1e6:.2f} M" for part in parts},
    )


def _range(motion: str) -> str:
    least, greatest = AMPLITUDES[motion]
    return f"{least:g} to {greatest:g}"


def _table(report: dict[str, Any], sides: tuple[str, ...], columns: tuple[str, ...]) -> str:
    heads = [f"{column}, {side}" for side in sides for column in columns]
    lines = [
        [name, *(quantity(report[side][column][key], unit) for side in sides for column in columns)]
        for key, (name, unit) in NAMES.items()
    ]
    return table(["", *heads], lines)


def _motions(report: dict[str, Any]) -> str:
    lines = [
        [motion, f"{row['clips']}", f"{row['as_prompted']}", quantity(row["broken"], "%"), quantity(row["jerk"], "px")]
        for motion, row in report["by_motion"].items()
    ]
    return table(["motion", "clips", "as prompted", "broken", "jerk"], lines)


def _spread(report: dict[str, Any]) -> str:
    """Motion ranges that 5 % and 95 % of the clips stay below, of renders and of the model."""
    columns = ("renders", "vanilla")
    lines = [
        [motion, *(" to ".join(quantity(value, "px") for value in report["spread"][name][motion]) for name in columns)]
        for motion in report["spread"]["vanilla"]
    ]
    return table(["motion range, 5th to 95th percentile", *columns], lines)


def _swap(section: Path, pictures: str) -> str:
    """The section that `python -m research.study swap` has written, if it has, with its picture's new place."""
    text = section.read_text(encoding="utf-8") if section.exists() else ""
    return text and "\n" + text.replace("(swap.png)", f"({pictures}/swap.png)")


def _steps(stage: Path) -> int:
    return int(json.loads((stage / "loss.jsonl").read_text().splitlines()[-1])["step"])


def _parameters(part: Path) -> int:
    from safetensors import safe_open

    (weights,) = part.glob("*.safetensors")
    with safe_open(weights, "np") as tensors:
        return sum(int(np.prod(tensors.get_slice(name).get_shape())) for name in tensors.keys())  # noqa: SIM118


if __name__ == "__main__":
    typer.run(main)
