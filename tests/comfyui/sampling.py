"""Inputs of nodes, and ByTheWay (sample) called with them."""

from __future__ import annotations

from typing import Any, Final

PROMPT: Final = "a red ball rolling to the right on grass"
WHOLE: Final = {"self_guidance": 0.6, "motion": 1.5, "band": 7, "active_share": 0.2, "adaptive": "sqrt"}


def sample(pipe: Any, **changed: Any) -> Any:
    """What the node hands out: lists of frames, fps, settings and records, and how was chosen."""
    from bytheway.comfyui.pipelines import ByTheWaySample

    inputs = {
        "prompt": PROMPT, "negative_prompt": "", "seed": 3, "steps": 2, "guidance": 0.0, "frames": 8, "width": 0,
        "height": 0, "preset": "by model", **WHOLE, "enlarge": 1, "record": False, "best_of": 1, "keep": 1,
        "aim": "both",
    }  # fmt: skip
    return ByTheWaySample.execute(pipe, **inputs | changed)
