"""Frames that are no numbers: the sentence names what is to blame, and the precision only where it is a half."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bytheway.errors import ByTheWayError
from bytheway.generation.run import generate

SMALL: dict[str, Any] = {"num_frames": 2, "height": 16, "width": 16, "steps": 2, "seed": 1}


def sentence(pipe: Any) -> ByTheWayError:
    with pytest.raises(ByTheWayError) as raised:
        list(generate(pipe, "a red ball", **SMALL))
    return raised.value


@pytest.mark.parametrize("component", ["unet", "vae"])
def test_a_weight(tiny_pipeline: Any, component: str) -> None:
    name, weight = list(getattr(tiny_pipeline, component).named_parameters())[-1]
    with torch.no_grad():
        weight.view(-1)[0] = torch.nan
    said = str(sentence(tiny_pipeline))
    assert "frames hold NaN" in said
    assert f"for so does {name} of the {component}; mend or replace its file." in said


def test_the_scheduler(tiny_pipeline: Any) -> None:
    tiny_pipeline.scheduler.alphas_cumprod[:] = torch.nan
    assert "for so does alphas_cumprod of the scheduler; mend" in str(sentence(tiny_pipeline))


@pytest.mark.parametrize(
    ("dtype", "said", "setting"),
    [
        (torch.float32, "although all weights are finite; lower what amplifies", None),
        (torch.bfloat16, "bfloat16 is a half precision, so try float32.", "dtype"),
    ],
)
def test_an_overflow(pipeline_factory: Callable[..., Any], dtype: torch.dtype, said: str, setting: str | None) -> None:
    pipe = pipeline_factory().to(dtype)
    decode = pipe.vae.decode
    pipe.vae.decode = lambda latents, **more: decode(latents * torch.inf, **more)
    error = sentence(pipe)
    assert said in str(error)
    assert error.setting == setting
