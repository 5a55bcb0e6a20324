"""`bytheway tune`: settings of the method that suit a model, derived from its own maps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bytheway.cli.errors import reported
from bytheway.cli.options import Dtype, ModelDevice, Quiet
from bytheway.cli.tables import quiet as silence


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
        int, typer.Option(min=4, metavar="N", help="Whose first steps are looked at; the rest of them is not made.")
    ] = 8,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the first clip; the next has N+1.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A .toml or .json that --config of other commands takes."),
    ] = None,
    device: ModelDevice = None,
    dtype: Dtype = None,
    quiet: Quiet = False,
) -> None:
    """Derive alpha, beta, tau and the anchor block for a model from the first steps of a few vanilla clips."""
    with reported(), silence(quiet):
        from bytheway.cli.prompts import read_prompts
        from bytheway.cli.run import ModelChoice, in_words
        from bytheway.cli.tables import note, print_settings, print_table
        from bytheway.errors import ByTheWayError
        from bytheway.files import check_file

        if output is not None:
            if output.suffix not in (".toml", ".json"):
                raise ByTheWayError(f"{output} is neither a .toml nor a .json file; give it one of these two endings.")
            check_file(output)
        chosen = None if prompts is None else tuple(read_prompts(prompts))
        pipe = ModelChoice(model, motion_adapter, (), device, dtype).load()

        from bytheway.generation.request import Request
        from bytheway.models.profile import profile_of
        from bytheway.tuning.auto import auto_settings
        from bytheway.tuning.observing import candidates, first_steps
        from bytheway.tuning.resolving import CLIPS, keep, vanilla_clips

        profile = profile_of(pipe)
        if not profile.has_temporal_maps:
            raise ByTheWayError(f"This model ({profile.pipeline}) has no temporal attention maps to record.")
        job = vanilla_clips(profile, Request(("any",), seed=seed), clips, seed, chosen)
        preset = profile.preset.config
        curves = first_steps(
            pipe,
            job,
            preset,
            candidates(pipe, preset),
            lambda clip: note(f"{clip.index + 1}/{clips}: {clip.prompt}"),
        )
        if (clips, seed, chosen) == (CLIPS, 0, None):
            keep(pipe, job, preset, curves, model)
        found = auto_settings(curves, profile.latent_frames(job.num_frames), preset)
        rows = [
            (name, f"{one.energy:.3f}", f"{one.distance:.3f}", f"{one.alpha:.2f}") for name, one in found.blocks.items()
        ]
        print_table(("guided block", "energy", "distance to the anchor", "alpha up to"), rows)
        print_settings("why", dict(found.reasons))
        print_settings(f"settings for {model}", {"auto": in_words(found.config), "preset": in_words(preset)})
        if output is not None:
            found.config.save(output)
            note(f"{output} holds them; give it as --config.")
