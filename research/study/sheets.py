"""Contact sheets of the first prompts, whatever their clips came out like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from bytheway.clips import contact_sheet
from bytheway.files import written
from research.diorama.measures import prompts
from research.study.results import BASELINE, Results
from research.study.sampling import decode, open_pipeline, pixels
from research.study.store import Place, load_first
from research.study.variants import BANDS, BOTH, VANILLA, Variant, preset_of

PROMPTS = 4
BAND_PROMPTS = 2


def write_sheets(results: Results, models: Mapping[str, str], to: Path) -> dict[str, str]:
    """Vanilla, the model's preset and the paper's settings, and bands; the pictures' names with captions."""
    written = {}
    for model, source in models.items():
        enhanced = {BASELINE: VANILLA, "enhanced": preset_of(model), "with the paper's settings": BOTH}
        sheets = {
            f"vanilla_enhanced-{model}.png": (enhanced, PROMPTS, "vanilla, its preset, the paper's settings"),
            f"bands-{model}.png": (BANDS, BAND_PROMPTS, "vanilla, and bands of the temporal attention"),
        }
        for name, (variants, count, what) in sheets.items():
            if _write_sheet(to / name, results, model, source, variants, count):
                written[name] = f"{model}, the first {count} prompts: {what}"
    return written


def _write_sheet(
    path: Path, results: Results, model: str, source: str, variants: Mapping[str, Variant], count: int
) -> bool:
    """False where not all of the variants have clips of the first prompts."""
    latents = [load_first(Place(results.out, model, variant.key), count) for variant in variants.values()]
    if any(some is None for some in latents):
        return False
    pipe = open_pipeline(source, torch.device("cpu"))
    clips = [decode(pipe, torch.from_numpy(some)) for some in latents]
    frames = [pixels(some) for some in clips]
    rows: list[tuple[str, np.ndarray]] = []
    for number, (_, text) in enumerate(prompts(count, results.sampling.seed)):
        rows += [(f"{name}: {text}", some[number]) for name, some in zip(variants, frames, strict=True)]
    with written(path) as draft:
        contact_sheet(rows, height=96).save(draft, optimize=True)
    return True
