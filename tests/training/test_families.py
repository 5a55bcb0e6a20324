"""The energy cap on every declared family with temporal attention, against what `observe` records of it."""

import inspect
from collections.abc import Callable

import pytest
import torch

from bytheway import ByTheWayError, observe
from bytheway.training import EnergyCap
from tests.toys import joint, videocrafter
from tests.toys.temporal import FACTORIES, Made, run

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def videocrafter2() -> Made:
    return videocrafter.make_pipeline(), {
        "prompt": "a red ball bounces",
        "num_frames": 6,
        "height": 16,
        "width": 16,
        "output_type": "latent",
    }


@pytest.mark.parametrize("make", [*FACTORIES.values(), videocrafter2])
def test_energies_are_those_that_observe_records(make: Callable[[], Made], monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, call = make()
    with observe(pipe) as observed:
        expected_frames = run(pipe, call, steps=2, guidance_scale=1.0)
    expected: dict[str, list[float]] = {}
    rows = observed.record.rows()
    for row in rows:
        if row.step == rows[-1].step:
            expected.setdefault(row.block, []).append(row.energy)
    # diffusers turns gradients off in a decorator.
    monkeypatch.setattr(type(pipe), "__call__", inspect.unwrap(type(pipe).__call__))
    with EnergyCap(pipe) as cap:
        frames = run(pipe, call, steps=2, guidance_scale=1.0)
    assert torch.equal(frames, expected_frames)
    means = {block: sum(values) / len(values) for block, values in expected.items()}
    assert {block: energy.item() for block, energy in cap.energies().items()} == pytest.approx(means, rel=1e-3)


def test_joint_attention_over_space_and_time_is_refused() -> None:
    with pytest.raises(ByTheWayError, match="no temporal self-attentions"):
        EnergyCap(joint.cogvideox()[0])
