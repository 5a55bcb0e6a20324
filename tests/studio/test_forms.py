"""What a page may send, and what it is given back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bytheway.clips.write import save_video
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.studio.forms import choices, form_of, wish_of
from bytheway.studio.history import History
from tests.toys.experiments import clip_of
from tests.toys.studio_server import FORM


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "clips")


def test_a_form_is_a_wish(history: History) -> None:
    form = {
        **FORM,
        "method": "own",
        "alpha": 0.3,
        "beta": "2.5",
        "tau": "4",
        "active_steps": "0.4",
        "lora": "owner/zoom=0.5,\n other ",
        "negative_prompt": " blurred ",
        "width": "",
        "compare": True,
    }
    wish = wish_of(form, history, "cpu")
    assert wish.method == ByTheWayConfig(0.3, 2.5, 4, 0.4)
    assert (wish.choice.model, wish.choice.lora, wish.choice.device) == ("diorama", ("owner/zoom=0.5", "other"), "cpu")
    request = wish.request
    assert (request.seed, request.num_frames, request.steps, request.width) == (5, 8, 3, None)
    assert (request.negative_prompt, wish.compare) == ("blurred", True)
    assert wish_of({**FORM, "method": "off"}, history).method is None
    assert wish_of({**FORM, "seed": str(2**63 - 1)}, history).request.seed == 2**63 - 1
    assert wish_of({**FORM, "seed": ""}, history).request.seed != wish_of({**FORM, "seed": ""}, history).request.seed


def test_grids_and_seeds(history: History) -> None:
    axes = [{"setting": "alpha", "values": "0.1; 0.4"}, {"setting": "seed", "values": "1, 2 3"}]
    wish = wish_of({**FORM, "kind": "grid", "grid": axes, "compare": True}, history)
    assert [axis.values for axis in wish.grid] == [(0.1, 0.4), (1, 2, 3)]
    assert not wish.compare
    best = wish_of({**FORM, "kind": "seeds", "seeds": "4", "keep": "2", "aim": "motion"}, history).best
    assert best is not None
    assert (best.seeds, best.keep, best.aim) == (4, 2, "motion")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt": " "}, "prompt is empty"),
        ({"prompt": ["a"]}, "must be a text"),
        ({"prompt": "a" * 5000}, "at most 4000"),
        ({"seed": "-1"}, "between 0"),
        ({"seed": "1e99"}, "seed is"),
        ({"seed": "9" * 25}, "seed is"),
        ({"steps": "3.5"}, "whole number"),
        ({"steps": "nan"}, "must be a number"),
        ({"steps": True}, "must be a number"),
        ({"steps": {}}, "must be a number"),
        ({"method": "magic"}, "one of preset"),
        ({"method": "own"}, "alpha is missing"),
        ({"method": "own", "alpha": 2, "beta": 1, "tau": 1, "active_steps": 1}, "between 0 and 1"),
        ({"kind": "grid", "grid": [{"setting": "alpha", "values": "0.1, x"}]}, "must be a number"),
        ({"kind": "grid", "grid": ["alpha"]}, "no form"),
        ({"kind": "grid", "grid": [{}] * 17}, "at most 16"),
        ({"kind": "seeds"}, "fewer than are begun"),
        ({"inputs": [{"file": "../../etc/passwd", "kind": "image"}]}, "not there any more"),
        ({"inputs": [{"file": "a\0b", "kind": "image"}]}, "not there any more"),
    ],
)
def test_what_is_no_form_is_said(history: History, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ByTheWayError, match=said):
        wish_of({**FORM, **changes}, history)


@pytest.mark.parametrize("form", [None, [], "x", 3])
def test_what_is_no_object_is_said(history: History, form: Any) -> None:
    with pytest.raises(ByTheWayError, match="no form"):
        wish_of(form, history)


def test_clips_start_from_files_that_were_given(history: History, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    save_video(clip_of(1, 0), tmp_path / "clip.mp4", 8.0)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    image, video, broken = (history.keep_input(tmp_path / name).name for name in ("red.png", "clip.mp4", "broken.png"))
    wish = wish_of({**FORM, "inputs": [{"file": image, "kind": "sketch", "frame": 2}]}, history)
    assert (wish.choice.start, wish.request.images[0].frame, wish.request.images[0].sketch) == ("sketch", 2, True)
    moving = wish_of({**FORM, "inputs": [{"file": video, "kind": "video"}], "strength": "0.5"}, history)
    assert (moving.choice.start, moving.request.strength) == ("video", 0.5)
    assert moving.request.video is not None
    assert len(moving.request.video.frames) < 3, "a waiting ticket holds no whole video"
    both = [{"file": image, "kind": "image"}, {"file": video, "kind": "video"}]
    with pytest.raises(ByTheWayError, match="other kinds"):
        wish_of({**FORM, "inputs": both}, history)
    with pytest.raises(ByTheWayError, match="The file cannot be read") as told:
        wish_of({**FORM, "inputs": [{"file": broken, "kind": "image"}]}, history)
    assert str(tmp_path) not in str(told.value)


def test_settings_become_the_form_again(history: History, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    kept = history.keep_input(tmp_path / "red.png")
    settings = {
        "model": "diorama",
        "prompt": "<b>bold</b>",
        "seed": 2**60 + 1,
        "steps": 3,
        "fps": 8.0,
        "lora": ["a=1", "b"],
        "images": [f"{kept}@3", "/etc/passwd@0"],
        "start": "image",
        "video": None,
        "config": ByTheWayConfig(0.3, 2.0, 5).to_dict(),
    }
    form = form_of(settings, history)
    assert form["inputs"] == [{"file": kept.name, "kind": "image", "frame": 3}]
    assert (form["method"], form["alpha"], form["beta"]) == ("own", 0.3, 2.0)
    wish = wish_of(form, history)
    assert (wish.request.prompts, wish.request.seed) == (("<b>bold</b>",), 2**60 + 1)
    assert wish.choice.lora == ("a=1", "b")
    assert wish.method == ByTheWayConfig(0.3, 2.0, 5)
    json.dumps(form)


def test_a_form_without_a_model_means_the_studios(history: History) -> None:
    assert wish_of({**FORM, "model": " "}, history, model="owner/own").choice.model == "owner/own"


def test_seeds_of_a_grid_are_exact(history: History) -> None:
    form = {**FORM, "kind": "grid", "grid": [{"setting": "seed", "values": f"{2**60 + 1}, 7"}]}
    wish = wish_of(form, history)
    assert wish.grid[0].values == (2**60 + 1, 7)
    assert wish.cells()[0].label == f"seed {2**60 + 1}"


def test_no_field_of_the_method_is_lost_and_what_is_left_out_is_said(history: History) -> None:
    config = ByTheWayConfig(0.3, 2.0, 5, 0.4, "ratio", "up_blocks.2", ("up_blocks.3",))
    settings = {"prompt": "a ball", "config": config.to_dict(), "images": ["/elsewhere/red.png@0"], "free_init": True}
    form = form_of(settings, history)
    assert wish_of(form, history).method == config
    assert [sentence.partition(" is ")[0].partition(" are ")[0] for sentence in form["left_out"]] == [
        "The files that it starts from",
        "FreeInit, which the form does not have,",
    ]
    plain = form_of({"config": ByTheWayConfig().to_dict()}, history)
    assert (plain["others"], plain["left_out"]) == ("", [])
    assert form_of({"video": "/elsewhere/clip.mp4"}, history)["left_out"]
    for others in ("[]", "{", '{"alpha": 2, "x": 1}'):
        with pytest.raises(ByTheWayError):
            wish_of({**form, "others": others}, history)


def test_settings_of_strangers_do_no_harm(history: History) -> None:
    strange = {"prompt": 3, "seed": [1], "config": {"alpha": 99, "x": 1}, "images": "x", "lora": 5, "fps": float("inf")}
    form = form_of(strange, history)
    assert (form["prompt"], form["seed"], form["method"], form["inputs"], form["fps"]) == ("", "", "preset", [], "")
    assert form_of({"config": None}, history)["method"] == "off"


def test_the_form_offers_what_the_package_knows() -> None:
    offered = choices()
    (diorama,) = [one for one in offered["models"] if one["name"] == "diorama"]
    assert (diorama["here"], diorama["preset"]) == (True, "diorama")
    assert all(one["source"] for one in offered["presets"])
    names = {one["name"] for one in offered["presets"]}
    assert {one["preset"] for one in offered["models"]} <= names
    json.dumps(offered)
