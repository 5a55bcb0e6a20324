"""The folder that is the database."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bytheway.clips.read import load_video, read_metadata
from bytheway.errors import ByTheWayError
from bytheway.studio.history import LARGEST, History, settings_in
from tests.toys.experiments import clip_of

SETTINGS = {"prompt": "A <b>red</b> ball: 100%!", "seed": 7, "model": "diorama", "config": {"alpha": 0.2}}


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "clips")


def test_a_clip_says_how_it_was_made(history: History) -> None:
    name = history.save(clip_of(1, 0), clip_of(0, 0), 8.0, SETTINGS, {"steps": [0]})
    assert name.endswith("-7-a-b-red-b-ball-100")
    enhanced, vanilla = history.entry(name), history.entry(f"{name}-vanilla")
    assert enhanced.settings["prompt"] == SETTINGS["prompt"]
    assert (enhanced.partner, vanilla.partner) == (vanilla.name, enhanced.name)
    assert (enhanced.enhanced, vanilla.enhanced) == (True, False)
    assert (vanilla.settings["config"], vanilla.settings["seed"]) == (None, 7)
    assert history.curves(name) == {"steps": [0]}
    assert history.curves(f"{name}-vanilla") is None
    assert History(history.folder).entry(name).settings == enhanced.settings


def test_the_latest_comes_first_and_words_are_found(history: History) -> None:
    first = history.save(clip_of(0, 0), None, 8.0, SETTINGS)
    second = history.save(clip_of(0, 0), None, 8.0, SETTINGS | {"prompt": "Ein grüner Stern", "lora": ["zoom=0.5"]})
    third = history.save(clip_of(0, 0), clip_of(1, 0), 8.0, SETTINGS)
    assert [one.name for one in history.entries("BALL red")] == [third, f"{third}-vanilla", first]
    assert third > first, "in one second or in two"
    assert [one.name for one in history.entries("grüner")] == [second]
    assert [one.name for one in history.entries("zoom")] == [second]
    assert history.entries("ball star") == []
    assert len(history.entries()) == 4


def test_deleting_can_be_undone(history: History) -> None:
    name = history.save(clip_of(0, 0), None, 8.0, SETTINGS)
    history.delete(name)
    assert history.entries() == []
    with pytest.raises(ByTheWayError, match="no such clip"):
        history.delete(name)
    assert history.save(clip_of(0, 0), None, 8.0, SETTINGS) != name, "its name stays its own"
    history.restore(name)
    assert name in [one.name for one in history.entries()]
    with pytest.raises(ByTheWayError, match="among the deleted"):
        history.restore(name)


@pytest.mark.parametrize("ending", ["mp4", "gif", "webp"])
def test_downloads_have_their_settings_inside(history: History, ending: str) -> None:
    name = history.save(clip_of(1, 0), None, 8.0, SETTINGS)
    path = history.export(name, ending)
    assert path.suffix == f".{ending}"
    assert read_metadata(path)["prompt"] == SETTINGS["prompt"]
    assert load_video(path)[0].shape == clip_of(1, 0).shape
    assert settings_in(path)["seed"] == 7


def test_no_other_format_is_given_out(history: History) -> None:
    name = history.save(clip_of(1, 0), None, 8.0, SETTINGS)
    with pytest.raises(ByTheWayError, match="mp4, gif, webp"):
        history.export(name, "../x")


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "..", "", "a/b", "a\0b", "deleted/x", "A", "x" * 200, "%2e"]
)
def test_no_name_leads_out_of_the_folder(history: History, name: str) -> None:
    (history.folder.parent / "secret.mp4").write_bytes(b"x")
    for call in (history.entry, history.delete, history.restore, history.curves):
        with pytest.raises(ByTheWayError, match="no such clip"):
            call(name)
    with pytest.raises(ByTheWayError):
        history.export(name, "mp4")


def test_what_is_no_clip_is_passed_over(history: History) -> None:
    name = history.save(clip_of(0, 0), None, 8.0, SETTINGS)
    (history.folder / "20200101-broken.mp4").write_bytes(b"no video")
    (history.folder / "20200101-link.mp4").symlink_to(history.entry(name).path)
    (history.folder / ".bytheway-draft-x").mkdir()
    (history.folder / ".bytheway-draft-x" / "draft.mp4").write_bytes(b"killed here")
    assert [one.name for one in history.entries()] == [name]


def test_what_clips_start_from_is_kept_under_names_of_ours(history: History, tmp_path: Path) -> None:
    given = tmp_path / "..; rm -rf ~ <img src=x>.PNG"
    given.write_bytes(b"a picture")
    kept = history.keep_input(given)
    assert kept.parent == history.folder / "inputs"
    assert set(kept.stem) <= set("0123456789abcdef")
    assert kept.suffix == ".png"
    assert history.keep_input(given) == kept
    assert history.kept_input(str(kept)) == kept
    for other in ("/etc/passwd", str(given), f"{kept.parent}/../../secret", kept.name, ""):
        assert history.kept_input(other) is None


def test_too_much_is_refused_unread(history: History, tmp_path: Path) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as opened:
        opened.truncate(LARGEST + 1)
    for call in (history.keep_input, settings_in):
        with pytest.raises(ByTheWayError, match="more than 256 MB"):
            call(large)
    with pytest.raises(ByTheWayError, match="no ending"):
        history.keep_input(tmp_path / "noending")


def test_a_given_clip_tells_no_path(tmp_path: Path) -> None:
    broken = tmp_path / "secret place.mp4"
    broken.write_bytes(np.zeros(100, dtype=np.uint8).tobytes())
    with pytest.raises(ByTheWayError) as told:
        settings_in(broken)
    assert str(tmp_path) not in str(told.value)
