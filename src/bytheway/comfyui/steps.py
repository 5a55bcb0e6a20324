"""Which step of the sampler a forward is made in, by what ComfyUI tells its models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bytheway.errors import ByTheWayError

# Noise levels that differ by rounding are one.
_ROUNDING: Final = 1e-5


def step_of(options: Mapping[str, Any]) -> tuple[int, int]:
    """Number of the step, from 0, and how many steps the sampler's run has.

    Samplers of second order call the model between two noise levels of the schedule, in the step that goes from one to
    the other. Waits for the device once.

    Args:
        options: the `transformer_options` of the forward, with the run's noise levels `sample_sigmas` (steps + 1,) and
            the present one, `sigmas`.

    Raises:
        ByTheWayError: the sampler does not tell them.
    """
    schedule, sigmas = options.get("sample_sigmas"), options.get("sigmas")
    if schedule is None or sigmas is None:
        raise ByTheWayError(
            "This sampler does not tell its noise levels, so that nobody knows which of its steps are the first ones; "
            "use KSampler or SamplerCustom, or take ByTheWay off the model."
        )
    sigma = sigmas.flatten()[:1].to(schedule)
    reached = int((schedule[:-1] >= sigma * (1 - _ROUNDING)).sum())
    return max(reached - 1, 0), len(schedule) - 1
