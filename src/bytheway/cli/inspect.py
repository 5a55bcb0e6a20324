"""`bytheway inspect`: where the method acts in a model, and what the records of some clips tell of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bytheway.cli.errors import reported
from bytheway.cli.options import Dtype, ModelDevice

if TYPE_CHECKING:
    from bytheway.families.family import Family
    from bytheway.families.pipeline import VideoPipeline
    from bytheway.families.sites import Site
    from bytheway.models.profile import Profile


def command(
    model: Annotated[str, typer.Argument(help="A name (see bytheway models), hub id, folder or checkpoint file.")],
    motion_adapter: Annotated[
        str | None, typer.Option(metavar="NAME", help="Motion modules for an image model: hub id, folder or file.")
    ] = None,
    clips: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Make N clips with the preset and say what their records tell; of 24 or more also fit how the first "
            "steps tell motion and structure, for --best-of and for a word at 20 %.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="With --clips: pictures of energy, disparity and beta (.png, .svg, .pdf), and beside it of maps.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="With --clips: of the first clip; the next has N+1.")
    ] = 0,
    device: ModelDevice = None,
    dtype: Dtype = None,
) -> None:
    """List the attentions that the method acts in: block, resolution, heads, and their part in it."""
    with reported():
        from bytheway.cli.run import ModelChoice, in_words
        from bytheway.cli.tables import print_settings, print_table
        from bytheway.errors import ByTheWayError
        from bytheway.families.sites import find_sites
        from bytheway.models.profile import profile_of

        if output is not None:
            from bytheway.diagnosis.figures import check_figure

            if clips is None:
                raise ByTheWayError("Pictures are of recorded clips; say how many with --clips.")
            check_figure(output)
        # Without clips nothing is computed, and nothing has to be where that would be quick.
        pipe = ModelChoice(model, motion_adapter, (), "cpu" if clips is None else device, dtype).load()
        profile = profile_of(pipe)
        preset, defaults = profile.preset, profile.defaults
        summary = {
            "family": f"{profile.family.name} ({type(profile.denoiser).__name__})",
            "preset": f"{preset.name}: {in_words(preset.config)}",
            "clip": f"{defaults.num_frames} frames of {defaults.size[0]}x{defaults.size[1]}, {defaults.fps:g} a second",
            "sampling": f"{defaults.steps} steps, guidance {defaults.guidance_scale:g}",
        }
        if profile.has_temporal_maps:
            rows = _blocks(find_sites(profile.denoiser, preset.config), profile)
        else:
            frames, width, height = _grid(profile)
            rows = _layers(pipe, profile.family, f"{width}x{height}")
            summary["tokens"] = f"{frames * width * height} of the video, {frames} latent frames of {width}x{height}"
        print_table(("block", "sites", "resolution", "heads", "role"), rows)
        if defaults.vocabulary is not None:
            summary["words"] = ", ".join(sorted(defaults.vocabulary))
        print_settings(model, summary)
        if clips is not None:
            from bytheway.cli.diagnosing import inspect_clips

            inspect_clips(model, pipe, profile, clips, seed, output)


def _layers(pipe: VideoPipeline, family: Family, resolution: str) -> Iterator[tuple[object, ...]]:
    """A row for each list of blocks whose attention is joint: there are dozens of them, all alike."""
    from bytheway.families.known import denoisers_of
    from bytheway.families.tokens import self_attentions

    for denoiser in denoisers_of(pipe):
        attentions: Any = self_attentions(denoiser, family).items()
        kinds = Counter((path.partition(".")[0], attention.heads) for path, attention in sorted(attentions))
        for (kind, heads), count in kinds.items():
            yield kind, count, resolution, heads, "motion"


def _grid(profile: Profile) -> tuple[int, int, int]:
    """Frames, width and height of the usual clip in tokens."""
    frames, scale = profile.latent_frames(profile.defaults.num_frames), profile.pixels_per_latent
    width, height = profile.defaults.size
    per_frame, rows, columns = profile.patch
    return math.ceil(frames / per_frame), width // scale // columns, height // scale // rows


def _blocks(sites: list[Site], profile: Profile) -> Iterator[tuple[object, ...]]:
    """A row for each block: what its sites have in common, at the size of frames that suits the model."""
    for block, group in groupby(sites, key=lambda site: site.block):
        first, *others = group
        width, height = (
            math.ceil(side / profile.pixels_per_latent / first.downscale) for side in profile.defaults.size
        )
        yield block, 1 + len(others), f"{width}x{height}", first.heads, first.role
