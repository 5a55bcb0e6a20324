"""`bytheway tune`: settings of the method that suit a model, by its own maps at once, or by a search on clips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bytheway.cli.errors import reported
from bytheway.cli.measuring import Brought, Device, FlowNetwork, Weights
from bytheway.cli.options import Dtype, ModelDevice, Quiet, Steps
from bytheway.cli.tables import quiet as silence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bytheway.cli.run import ModelChoice

SEARCH = "Search"


def command(
    model: Annotated[str, typer.Argument(help="A name (see bytheway models), hub id, folder or checkpoint file.")],
    motion_adapter: Annotated[
        str | None, typer.Option(metavar="NAME", help="Motion modules for an image model: hub id, folder or file.")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Prompts from a text file, one a line. Default: from all over a suite."),
    ] = None,
    clips: Annotated[
        int | None,
        typer.Option(
            min=4,
            metavar="N",
            help="Whose first steps are looked at; the rest of them is not made. Default: 8.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the first clip; the next has N+1.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A .toml or .json that --config of other commands takes."),
    ] = None,
    device: ModelDevice = None,
    dtype: Dtype = None,
    search: Annotated[
        bool,
        typer.Option(
            "--search", help="Try settings on whole clips that are measured (Optuna).", rich_help_panel=SEARCH
        ),
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Of the search: clips, scores, journal, picture. One that is there goes on where it stopped, also by "
            "several commands at once. Default: search-MODEL.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="N|TIME",
            help="Clips to search by, such as 200, the default, or a time, such as 90min or 2h. Clips of held-out "
            "prompts come on top.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    objectives: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Measures that are to rise (see bytheway measures), separated by commas; a minus before one that is "
            "to fall. Default: optical flow, else the change of the pixels; consistency of subject, else of the "
            "background; and, where its network is brought, overall_consistency (the prompt).",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    steps: Steps = None,
    measure_device: Device = None,
    weights: Weights = None,
    flow: FlowNetwork = None,
    bring: Brought = None,
    quiet: Quiet = False,
) -> None:
    """Find alpha, beta, tau and more for a model: from the first steps of a few vanilla clips, or by a search."""
    with reported(), silence(quiet):
        from bytheway.cli.prompts import read_prompts
        from bytheway.cli.run import ModelChoice
        from bytheway.errors import ByTheWayError
        from bytheway.files import check_file

        if output is not None:
            if output.suffix not in (".toml", ".json"):
                raise ByTheWayError(f"{output} is neither a .toml nor a .json file; give it one of these two endings.")
            check_file(output)
        chosen = None if prompts is None else tuple(read_prompts(prompts))
        choice = ModelChoice(model, motion_adapter, (), device, dtype)
        if not search:
            if any((folder, budget, objectives, steps, measure_device, weights, flow, bring)):
                raise ByTheWayError("Only a search measures clips; give --search, or leave its options out.")
            _derive(choice, clips or 8, seed, chosen, output)
            return
        if clips is not None:
            raise ByTheWayError("A search makes whole clips, as many as --budget says; leave --clips out.")
        from bytheway.cli.measuring import measure_choice
        from bytheway.cli.searching import run_search
        from bytheway.tuning.plan import parse_budget

        run_search(
            choice,
            folder or Path(f"search-{Path(model).name}"),
            parse_budget(budget or "200"),
            measure_choice(None, measure_device, weights, flow, bring),
            prompts=chosen,
            objectives=None if objectives is None else [one.strip() for one in objectives.split(",") if one.strip()],
            steps=steps,
            seed=seed,
            output=output,
        )


def _derive(choice: ModelChoice, clips: int, seed: int, prompts: Sequence[str] | None, output: Path | None) -> None:
    """Say, and save, what the maps of vanilla clips ask for."""
    from bytheway.cli.run import in_words
    from bytheway.cli.tables import note, print_settings, print_table
    from bytheway.config import AUTO_SETTINGS, AutoConfig

    pipe = choice.load()
    from bytheway.generation.request import Request
    from bytheway.models.profile import profile_of
    from bytheway.tuning.resolving import CLIPS, find_settings, vanilla_clips

    profile, vanilla = profile_of(pipe), None
    if (clips, seed, prompts) != (CLIPS, 0, None):
        vanilla = vanilla_clips(profile, Request(("any",), seed=seed), clips, seed, prompts)
    preset = profile.preset.config
    resolved = find_settings(
        pipe,
        AutoConfig(preset, AUTO_SETTINGS),
        vanilla=vanilla,
        model=choice.model,
        on_clip=lambda clip: note(f"{clip.index + 1}/{clips}: {clip.prompt}"),
    )
    note(resolved.sentence)
    found = resolved.settings
    rows = [
        (name, f"{one.energy:.3f}", f"{one.distance:.3f}", f"{one.alpha:.2f}") for name, one in found.blocks.items()
    ]
    print_table(("guided block", "energy", "distance to the anchor", "alpha up to"), rows)
    print_settings("why", dict(found.reasons))
    print_settings(f"settings for {choice.model}", {"auto": in_words(found.config), "preset": in_words(preset)})
    if output is not None:
        found.config.save(output)
        note(f"{output} holds them; give it as --config.")
