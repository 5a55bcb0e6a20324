"""Whether the kernels are right on this machine: each against whole maps in float64, within what roundings explain."""

from __future__ import annotations

import time
from itertools import product
from typing import Final

import torch

from bytheway import ByTheWayConfig
from bytheway.attention import Anchor, Layout
from bytheway.attention import triton as kernels

# Frames and channels of a head, those of published models first.
SIZES: Final = ((16, 40), (16, 80), (16, 64), (16, 160), (8, 40), (24, 80), (32, 64), (48, 40), (64, 160))
DTYPES: Final = (torch.float16, torch.bfloat16, torch.float32)


def check_kernels(device: torch.device, quick: bool, end: float) -> tuple[list[str], list[str]]:
    """What became of each size and precision, and what was not tried.

    Args:
        end: by the monotonic clock; nothing is begun after it.
    """
    # Triton's interpreter, which the quick form has, multiplies no bfloat16.
    sizes, dtypes = (SIZES[4:6], (torch.float16, torch.float32)) if quick else (SIZES, DTYPES)
    heads, layout = (2, Layout(2, 1, (2, 2))) if quick else (8, Layout(2, 1, (32, 32)))
    words, missing = [], []
    for (frames, channels), dtype in product(sizes, dtypes):
        name = f"{frames} frames, {heads} heads of {channels} channels, {str(dtype).removeprefix('torch.')}"
        if time.monotonic() > end:
            missing.append(f"{name}: there was no time")
            continue
        found = _check(layout, frames, heads, channels, dtype, device)
        if found is None:
            missing.append(f"{name}: Triton does not run here, or its kernels do not support this")
        else:
            words.append(f"{name}: {found}")
    return words, missing


@torch.no_grad()
def _check(
    layout: Layout, frames: int, heads: int, channels: int, dtype: torch.dtype, device: torch.device
) -> str | None:
    """Right or wrong in words; None where the kernels do not run."""
    height, width = layout.height_width
    coarse = layout._replace(height_width=(height // 2, width // 2))
    generator = torch.Generator(device).manual_seed(frames * channels)
    query, key, value = (
        torch.randn(_rows(layout), frames, heads * channels, generator=generator, device=device)
        .to(dtype)
        .unflatten(-1, (heads, channels))
        .transpose(1, 2)
        for _ in range(3)
    )
    logits = 2 * torch.randn(_rows(coarse), heads, frames, frames, generator=generator, device=device)
    anchor = Anchor(logits.softmax(-1).to(dtype), coarse)
    if not kernels.supports(query, key, value, anchor.attn):
        return None
    from bytheway.attention.triton.deviation import Site, deviations_of
    from bytheway.attention.triton.guided import guided_attention

    site = Site(query, key, value, layout, anchor, channels**-0.5, ByTheWayConfig())
    try:
        deviations = deviations_of(site, *guided_attention(*site))
    except Exception as error:  # whatever Triton, its compiler or the driver has to say
        return f"WRONG: it does not run ({type(error).__name__}: {error})."
    assert deviations is not None
    wrong = [one for one in deviations if not one.explained()]
    return f"WRONG: {'; '.join(map(str, wrong))}." if wrong else f"right; {deviations[0]}."


def _rows(layout: Layout) -> int:
    return layout.parts * layout.height_width[0] * layout.height_width[1]
