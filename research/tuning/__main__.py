"""``python -m research.tuning``: the paper's settings, auto, searches and the preset, on prompts that none has seen.

Each search has a budget of clips of its own, with the objectives that diorama's judge reads; what it chose is compared
with the rest by the judge as well, paired with vanilla clips of the same seeds. What is there is not made again, and
the process is a nice one.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import AnimateDiffPipeline

from bytheway.cli.errors import reported
from bytheway.cli.run import in_words
from bytheway.config import AUTO_SETTINGS, AutoConfig, ByTheWayConfig
from bytheway.evaluation.statistics import mean
from bytheway.evaluation.suites import usual_prompts
from bytheway.generation.request import Request
from bytheway.models.profile import profile_of
from bytheway.tuning.outcome import draw_front, outcome_of
from bytheway.tuning.plan import Budget, split_prompts
from bytheway.tuning.resolving import CLIPS, find_settings
from bytheway.tuning.search import Search
from bytheway.tuning.space import space_of
from research.diorama.architecture import NUM_FRAMES
from research.diorama.measures import prompts as drawn
from research.markdown import table
from research.selection.compare import MEASURES
from research.study.reading import open_readers
from research.study.sampling import Sampling, open_pipeline
from research.study.tables import figure
from research.study.variants import PAPER, preset_of
from research.tuning.clips import OBJECTIVES, JudgedClips

app = typer.Typer(help=__doc__, pretty_exceptions_enable=False, rich_markup_mode=None, add_completion=False)


@app.command()
@reported()
def study(
    prompts: Annotated[int, typer.Option(min=2, help="That none has seen, to compare by.")] = 256,
    to_search: Annotated[int, typer.Option(min=6, help="Prompts to search by, at most.")] = 24,
    budget: Annotated[list[int] | None, typer.Option(min=12, help="Clips of a search; repeatable. 50 and 500.")] = None,
    model: Annotated[str, typer.Option(help="A packaged model or a folder of its kind.")] = "diorama",
    judge: Annotated[Path, typer.Option(help="Folder of judge.safetensors and outlines.safetensors.")] = Path(
        "runs/diorama/judge"
    ),
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("runs/tuning"),
    steps: Annotated[int, typer.Option(min=2, help="Denoising steps.")] = Sampling.steps,
    seed: Annotated[int, typer.Option(help="Of prompts and clips; those to search by have the next.")] = 60_000,
) -> None:
    """Make what is missing, then print what each way of finding settings gives."""
    os.nice(10)
    torch.set_num_threads(1)
    readers = open_readers(judge)

    @cache
    def pipe() -> AnimateDiffPipeline:
        return open_pipeline(model, torch.device("cuda" if torch.cuda.is_available() else "cpu"))

    folder = out / Path(model).absolute().name / f"{steps}-{seed}"
    profile = profile_of(pipe())
    space = space_of(pipe(), profile, NUM_FRAMES)
    preset = preset_of(Path(model).name).config
    assert preset is not None
    auto = find_settings(pipe(), AutoConfig(preset, AUTO_SETTINGS), Request(("any",), seed=0, steps=steps), model=model)
    configs: dict[str, ByTheWayConfig] = {"the paper's": PAPER, "the preset": preset, "auto": auto.config}
    # As many are drawn as leave the searches theirs when some are held out.
    searched = drawn(2 * to_search, seed + 1)
    seen = {text for _, text in searched} | set(usual_prompts(CLIPS, of_world=True))
    for clips in sorted(set(budget or [50, 500])):
        texts, _ = split_prompts([text for _, text in searched], Budget(clips=clips))
        by_text = {text: scene for scene, text in searched}
        chosen = [(by_text[text], text) for text in texts[:to_search]]
        place = folder / f"search-{clips}"
        evaluate = JudgedClips(place / "clips", pipe, readers, chosen, Sampling(seed=seed + 1, steps=steps))
        search = Search(place, space, OBJECTIVES, len(chosen), evaluate, (preset, auto.config), seed)
        ends = Budget(clips=clips).ends(evaluate.spent)
        search.run(ends, lambda one, whole: print(f"{in_words(one.config)}{'' if whole else ' (dropped)'}", flush=True))
        found = outcome_of(search)
        draw_front(place / "front.png", found, OBJECTIVES)
        configs[f"search, {clips} clips"] = found.chosen.config
    unseen = [one for one in drawn(4 * prompts, seed) if one[1] not in seen][:prompts]
    _page(JudgedClips(folder / "compared", pipe, readers, unseen, Sampling(seed=seed, steps=steps)), configs)


def _page(clips: JudgedClips, configs: dict[str, ByTheWayConfig]) -> None:
    """Print the settings, and the difference of each to vanilla clips."""
    vanilla = clips.all_of(None, list(MEASURES))
    rows = [("vanilla", *(figure(mean(vanilla[name]), unit) for name, (_, unit) in MEASURES.items()))]
    for name, config in configs.items():
        own = clips.all_of(config, list(MEASURES))
        gains = {measure: mean(own[measure] - vanilla[measure]) for measure in MEASURES}
        rows.append((name, *(figure(gains[measure], unit, bold=True) for measure, (_, unit) in MEASURES.items())))
    print(f"\n{len(clips.prompts)} prompts; below vanilla: differences to it, paired, with 95 % bootstrap intervals.\n")
    print(table(("", *(heading for heading, _ in MEASURES.values())), rows))
    anchors = {name: config.anchor_block or "the preset's" for name, config in configs.items()}
    print()
    print(table(("", "settings", "anchor"), [(name, in_words(one), anchors[name]) for name, one in configs.items()]))


if __name__ == "__main__":
    app()
