"""Which measures are made ready, and that they give what they say they give."""

import numpy as np
import pytest

from bytheway.errors import ByTheWayError
from bytheway.evaluation.choice import USUAL, MeasureChoice
from bytheway.evaluation.measures.measure import KINDS


def test_the_usual_ones_are_those_whose_networks_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is measured or named; nothing is fetched, and every measure gives the names that it says."""
    monkeypatch.setattr(
        "bytheway.evaluation.measures.backbones.weights.hub_file", lambda *arguments: pytest.fail("nothing is fetched")
    )
    measures, left_out = MeasureChoice(device="cpu").load()
    clip = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), np.uint8)
    given = []
    for measure in measures:
        names = tuple(one.name for one in measure(clip, 8.0, "a cat"))
        assert names == measure.names
        given += names
    assert "temporal_flickering" in given
    for name in USUAL:
        assert any(one == name or one.startswith(f"{name}_") for one in given) != (name in left_out)
    assert all(reason.endswith(".") for reason in left_out.values())


def test_a_name_that_no_measure_has_is_refused_at_once() -> None:
    with pytest.raises(ByTheWayError, match="There is no measure 'beauty'; the measures are subject_consistency, "):
        MeasureChoice(("flow_mean", "beauty"))
    assert MeasureChoice(("beauty",), brought={"beauty": "net.pt"}).names == ("beauty",)
    assert set(USUAL) <= set(KINDS)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (MeasureChoice(device="cpu", brought={"motion_smoothness": "typo.pt"}), "There is no TorchScript file typo.pt"),
        (MeasureChoice(device="cpu", brought={"mine": "typo.pt"}), "There is no TorchScript file typo.pt"),
        (MeasureChoice(device="cpu", weights={"DINO ViT-B/16": "typo"}), "typo holds no DINO ViT-B/16"),
        (MeasureChoice(device="cpu", flow="raft"), "RAFT"),
    ],
)
def test_what_something_was_given_for_is_never_left_out(
    choice: MeasureChoice, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_raft() -> None:
        raise ByTheWayError("RAFT requires torchvision, which is not installed.")

    monkeypatch.setattr("bytheway.evaluation.measures.backbones.raft.torchvision_flow", no_raft)
    with pytest.raises(ByTheWayError, match=said):
        choice.load()


def test_nothing_is_fetched_offline_though_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bytheway.evaluation.measures.backbones.weights.hub_file", lambda *arguments: pytest.fail("nothing is fetched")
    )
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *arguments: None)
    with pytest.raises(ByTheWayError, match="nothing is fetched offline"):
        MeasureChoice(("subject_consistency",), device="cpu", offline=True).load()


def test_how_networks_compute_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}
    monkeypatch.setattr(
        "bytheway.evaluation.measures.loading.load_measures", lambda names, **options: given.update(options) or ()
    )
    MeasureChoice(("flow_mean",), device="cpu", dtype="bfloat16", batch_size=2, offline=True).load()
    assert {name: given[name] for name in ("device", "dtype", "batch_size", "offline")} == {
        "device": "cpu",
        "dtype": "bfloat16",
        "batch_size": 2,
        "offline": True,
    }
