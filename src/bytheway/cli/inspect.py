"""`bytheway inspect`: where the method acts in a model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bytheway.cli.errors import reported

if TYPE_CHECKING:
    from bytheway.sites import Site


def command(
    model: Annotated[str, typer.Argument(help="A name (see bytheway models), hub id, folder or checkpoint file.")],
    motion_adapter: Annotated[
        str | None, typer.Option(metavar="NAME", help="Motion modules for an image model: hub id, folder or file.")
    ] = None,
) -> None:
    """List a model's temporal attentions: block, resolution, heads, and their part in the method."""
    with reported():
        from bytheway.cli.run import ModelChoice, in_words
        from bytheway.cli.tables import print_settings, print_table
        from bytheway.config import PRESETS
        from bytheway.models import generation_defaults, preset_for
        from bytheway.sites import architecture_of, denoiser_of, find_sites

        pipe = ModelChoice(model, motion_adapter, (), "cpu", None).load()
        preset = preset_for(pipe)
        denoiser = denoiser_of(pipe)
        sites = find_sites(denoiser, PRESETS[preset])
        defaults = generation_defaults(pipe)
        print_table(("block", "sites", "resolution", "heads", "role"), _blocks(sites, defaults.size, pipe))
        summary = {
            "architecture": f"{architecture_of(denoiser).name} ({type(denoiser).__name__})",
            "preset": f"{preset}: {in_words(PRESETS[preset])}",
            "clip": f"{defaults.num_frames} frames of {defaults.size[0]}x{defaults.size[1]}, {defaults.fps:g} a second",
            "sampling": f"{defaults.steps} steps, guidance {defaults.guidance_scale:g}",
        }
        if defaults.vocabulary is not None:
            summary["words"] = ", ".join(sorted(defaults.vocabulary))
        print_settings(model, summary)


def _blocks(sites: list[Site], size: tuple[int, int], pipe: Any) -> Iterator[tuple[object, ...]]:
    """A row for each block: what its sites have in common, at the size of frames that suits the model."""
    for block, group in groupby(sites, key=lambda site: site.block):
        first, *others = group
        width, height = (math.ceil(side / pipe.vae_scale_factor / first.downscale) for side in size)
        yield block, 1 + len(others), f"{width}x{height}", first.heads, first.role
