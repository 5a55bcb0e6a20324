"""The plain form does what ours does, so that their costs may be compared."""

from typing import Any

import pytest
import torch

from benchmarks import core
from benchmarks.cases import Block
from benchmarks.columns import COLUMNS, OURS, PLAIN, VANILLA
from bytheway import ByTheWayConfig
from bytheway.attention.layout import VideoTokens
from tests.toys import joint, tiny

CPU = torch.device("cpu")


def run(pipe: Any, call: dict[str, Any], column: str, steps: int = 2) -> torch.Tensor:
    settings = call | {"num_inference_steps": steps, "generator": torch.Generator().manual_seed(0)}
    with COLUMNS[column](pipe, steps):
        return pipe(**settings).frames


def subject(name: str) -> tuple[Any, dict[str, Any]]:
    if name == "cogvideox":
        return joint.cogvideox()
    call = {"prompt": "a red ball bounces", "num_frames": 8, "height": 16, "width": 16, "guidance_scale": 5.0}
    return tiny.make_pipeline(), call | {"output_type": "latent"}


@pytest.mark.parametrize("name", ["animatediff", "cogvideox"])
def test_plain_and_ours_make_the_same_frames(name: str) -> None:
    pipe, call = subject(name)
    vanilla, ours, plain = (run(pipe, call, column) for column in (VANILLA, OURS, PLAIN))
    torch.testing.assert_close(plain, ours, rtol=1e-3, atol=1e-4)
    assert (plain - vanilla).abs().max() > 100 * (plain - ours).abs().max()
    torch.testing.assert_close(run(pipe, call, VANILLA), vanilla, rtol=0, atol=0)


@pytest.mark.parametrize("heads", [2, 4])
def test_the_attentions_that_are_timed_are_the_same(heads: int) -> None:
    anchor, block = Block("anchor", (2, 3), 32, 4), Block("guided", (4, 6), 16, heads)
    for site, guide in ((anchor, None), (block, anchor)):
        made = core.forms(site, guide, ByTheWayConfig(beta=3.0), torch.float32, CPU, frames=8)
        vanilla, ours, plain = made[VANILLA](), made[OURS]().output, made[PLAIN]()
        assert vanilla.shape == (2 * site.size[0] * site.size[1], 8, site.channels)
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
        assert (ours - vanilla).abs().max() > 1e-2


def test_the_joint_attentions_that_are_timed_differ_by_beta_alone() -> None:
    """What is timed of ours leaves the values as they are; the plain form with beta 1 does too."""
    config = ByTheWayConfig(alpha=0.0, beta=1.0)
    made = core.joint_forms(VideoTokens(5, 4, 6), 2, 16, config, torch.float32, CPU)
    vanilla = made[VANILLA]()
    assert vanilla.shape == (2, 29, 16)
    for column in (OURS, OURS, PLAIN):
        torch.testing.assert_close(made[column](), vanilla, rtol=1e-4, atol=1e-5)
