"""Settings that are left to a model are found once, said, and written into its clips."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bytheway import apply_bytheway, enhanced, generate, observe, remove_bytheway
from bytheway.config import AutoConfig, ByTheWayConfig
from bytheway.diagnosis.curves import curves_of
from bytheway.errors import ByTheWayError, ByTheWayWarning
from bytheway.generation.request import Request
from bytheway.generation.run import make_clips
from bytheway.models.profile import profile_of
from bytheway.tuning.auto import auto_settings
from bytheway.tuning.resolving import CLIPS, find_settings, vanilla_clips
from tests.toys import joint, tiny

SMALL = {"num_frames": 8, "height": 16, "width": 16, "steps": 4}
LIKE = Request(("a ball",), seed=5, **SMALL)  # type: ignore[arg-type]
ALL = AutoConfig(ByTheWayConfig(), ("alpha", "beta", "tau", "anchor_block"))


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("BYTHEWAY_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def pipe() -> Any:
    return tiny.make_pipeline()


class Calls:
    """How often a denoiser is called."""

    def __init__(self, pipe: Any) -> None:
        self.number = 0
        pipe.unet.register_forward_hook(self.count)

    def count(self, *_: object) -> None:
        self.number += 1


def test_found_by_eight_vanilla_clips_and_not_measured_twice(pipe: Any, folder: Path) -> None:
    calls, begun = Calls(pipe), []
    found = find_settings(pipe, ALL, LIKE, model="Tiny/One", on_clip=lambda clip: begun.append(clip.seed))
    assert begun == list(range(CLIPS)) == list(range(8))
    assert calls.number == CLIPS, "of four steps one is active"
    assert found.kept is not None
    assert found.kept.parent == folder / "auto" / "tiny-one"

    # The same by hand: whole clips, observed one by one for each anchor.
    job = vanilla_clips(profile_of(pipe), LIKE)
    by_anchor: dict[str, list[Any]] = {}
    for anchor in ("up_blocks.1", "up_blocks.2"):
        with observe(pipe, ByTheWayConfig(anchor_block=anchor)) as run:
            clips = make_clips(pipe, job)
            for _ in job.clips:
                run.record._entries.clear()
                next(clips)
                by_anchor.setdefault(anchor, []).append(curves_of(run.record).first(1))
    by_hand = auto_settings(by_anchor, 8, ByTheWayConfig()).config
    assert found.config == by_hand
    assert f"alpha {by_hand.alpha:g}" in found.sentence
    assert f"tau {by_hand.tau}" in found.sentence

    before = calls.number
    again = find_settings(pipe, ALL, LIKE, model="another name", on_clip=lambda clip: pytest.fail("measured again"))
    assert again == found
    other = find_settings(pipe, AutoConfig(ByTheWayConfig(beta=4), ("alpha",)), LIKE)
    assert other.config.beta == 4
    assert calls.number == before
    find_settings(pipe, ALL, Request(("a ball",), seed=0, num_frames=4, height=16, width=16, steps=4))
    assert calls.number == before + CLIPS, "of other frames nothing is known"


def test_the_methods_own_functions_accept_auto(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ByTheWayConfig(alpha=0.25, beta=3.5, tau=2, anchor_block="up_blocks.2")
    asked = []

    def find(pipe: Any, config: AutoConfig, like: Any, **how: Any) -> Any:
        asked.append((config, like))
        return type("Found", (), {"config": config.with_found(found), "sentence": "Found for this model: x."})

    monkeypatch.setattr("bytheway.tuning.resolving.find_settings", find)
    with pytest.warns(ByTheWayWarning, match="Found for this model"), enhanced(pipe, alpha="auto", beta=2.0) as run:
        assert run.config == ByTheWayConfig(alpha=0.25, beta=2.0)
    with pytest.warns(ByTheWayWarning), enhanced(pipe, {"tau": "auto"}, alpha=0.1) as run:
        assert run.config == ByTheWayConfig(alpha=0.1, tau=2)
    with pytest.warns(ByTheWayWarning):
        apply_bytheway(pipe, ALL)
    remove_bytheway(pipe)
    assert [config.auto for config, _ in asked] == [("alpha",), ("tau",), ALL.auto]
    with pytest.warns(ByTheWayWarning):
        clip = next(generate(pipe, "a ball", seed=5, config={"alpha": "auto", "beta": 2.0}, **SMALL))
    assert clip.settings["config"] == ByTheWayConfig(alpha=0.25, beta=2.0).to_dict()
    assert clip.settings["auto"] == ["alpha"]
    assert asked[-1][1].steps == 4, "of clips like these"
    plain = next(generate(pipe, "a ball", seed=5, config={"beta": 2.0}, **SMALL))
    assert "auto" not in plain.settings


def test_really_found_where_a_pipeline_is_called_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tiny.make_pipeline()
    calls = Calls(pipe)
    with pytest.warns(ByTheWayWarning, match="Found for this model: alpha .* vanilla clips, kept in "):
        clip = next(generate(pipe, "a ball", seed=5, config={"alpha": "auto"}, **SMALL))
    assert calls.number == CLIPS + 4
    assert isinstance(clip.settings["config"]["alpha"], float)


def test_where_nothing_can_be_found(pipe: Any) -> None:
    with pytest.raises(ByTheWayError, match="alpha cannot be auto for a bare denoiser"):
        apply_bytheway(pipe.unet, alpha="auto")
    with pytest.raises(ByTheWayError, match="has no temporal attention maps, which beta would be found from; give num"):
        find_settings(joint.wan()[0], AutoConfig(ByTheWayConfig(alpha=0), ("beta",)))
    with pytest.raises(ByTheWayError, match="alpha cannot be auto in a request"):
        Request(("a ball",), config=AutoConfig(ByTheWayConfig(), ("alpha",)))  # type: ignore[arg-type]
    with pytest.raises(ByTheWayError, match="active_steps cannot be auto"):
        apply_bytheway(pipe, active_steps="auto")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda stored: "no json", "is damaged: it holds no JSON object"),
        (lambda stored: json.dumps({}), "is damaged or none of bytheway's; remove it, and it is measured anew"),
        (lambda stored: json.dumps(stored | {"anchors": {"up_blocks.1": [3]}}), "is damaged or none of bytheway's"),
        (lambda stored: json.dumps(stored | {"fingerprint": "f" * 16}), "is of another model or other settings"),
        (
            lambda stored: re.sub(r'"timesteps": \[[^]]+', '"timesteps": ["much"', json.dumps(stored)),
            "is damaged or none of",
        ),
        (lambda stored: json.dumps(stored).replace(": [0.", ": [NaN, 0.", 1), "is damaged or none of bytheway's"),
        (lambda stored: json.dumps(stored) + " " * (2 << 20), "is larger than any; remove it"),
    ],
)
def test_hostile_and_foreign_files_are_refused_in_a_sentence(pipe: Any, damage: Any, said: str) -> None:
    path = Path(find_settings(pipe, ALL, LIKE).kept or "")
    path.write_text(damage(json.loads(path.read_text())))
    with pytest.raises(ByTheWayError, match=said) as raised:
        find_settings(pipe, ALL, LIKE)
    assert "\n" not in str(raised.value)
