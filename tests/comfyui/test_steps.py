"""Which step a forward is made in."""

import pytest
import torch

from bytheway.errors import ByTheWayError
from tests.comfyui.fakes import options


def test_first_middle_and_last_step() -> None:
    from bytheway.comfyui.steps import step_of

    assert [step_of(options(step)) for step in range(5)] == [(step, 5) for step in range(5)]


def test_noise_between_two_levels_is_of_the_step_that_goes_there() -> None:
    from bytheway.comfyui.steps import step_of

    for sigma, step in ((5.0, 0), (4.5, 0), (4.0 * (1 - 1e-7), 1), (3.2, 1), (0.4, 4), (7.0, 0)):
        said = options() | {"sigmas": torch.tensor([sigma, sigma])}
        assert step_of(said) == (step, 5), sigma


def test_sampler_without_levels_is_said() -> None:
    from bytheway.comfyui.steps import step_of

    with pytest.raises(ByTheWayError, match="noise levels"):
        step_of({"sigmas": torch.tensor([1.0])})
