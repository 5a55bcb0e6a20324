"""Where fits are kept, and which is found."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bytheway.diagnosis.folder import data_folder
from bytheway.diagnosis.store import find_fit, fingerprint_of, fit_path, fits_folder, save_fit
from bytheway.errors import ByTheWayError
from tests.diagnosis.test_prediction import FIT

CONDITIONS = {"steps": 4, "config": {"alpha": 0.6, "guided_blocks": None}}


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("BYTHEWAY_DATA", str(tmp_path))
    return tmp_path


def test_a_fit_is_found_for_the_very_weights_and_settings(tiny_pipeline: Any) -> None:
    fit = replace(FIT, fingerprint=fingerprint_of(tiny_pipeline), conditions=CONDITIONS)
    assert find_fit("tiny", tiny_pipeline, CONDITIONS) is None
    assert save_fit(fit).parent == fits_folder("tiny")
    assert find_fit("tiny", tiny_pipeline, CONDITIONS) == fit
    assert find_fit("tiny", tiny_pipeline, CONDITIONS | {"steps": 5}) is None
    assert find_fit("other", tiny_pipeline, CONDITIONS) is None
    next(iter(tiny_pipeline.unet.up_blocks[1].parameters())).data.add_(1)
    assert find_fit("tiny", tiny_pipeline, CONDITIONS) is None


def test_another_noise_schedule_is_another_model(tiny_pipeline: Any) -> None:
    before = fingerprint_of(tiny_pipeline)
    assert fingerprint_of(tiny_pipeline) == before
    tiny_pipeline.scheduler.register_to_config(beta_end=0.01)
    assert fingerprint_of(tiny_pipeline) != before


def test_weights_are_not_looked_at_where_no_fit_is(tiny_pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bytheway.diagnosis.store.fingerprint_of", lambda pipe: pytest.fail("looked"))
    assert find_fit("tiny", tiny_pipeline, CONDITIONS) is None


@pytest.mark.parametrize("model", ["diorama", "owner/name", "/a/b/model.safetensors", "../../etc", "..", "", "a" * 400])
def test_names_stay_within_the_folder(model: str, folder: Path) -> None:
    path = Path(os.path.normpath(fit_path(model, "abc", CONDITIONS)))
    assert path.parents[1] == folder / "fits"
    assert len(path.parent.name) <= 80


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("not json", "is damaged: it holds no JSON object"),
        ("[1]", "is damaged: it holds no JSON object"),
        (b"\x80\x04\x95".decode("latin-1"), "is damaged: it holds no JSON object"),
        ("{}", "damaged or none of bytheway's"),
        (json.dumps(FIT.to_dict()), "is the fit of another model or other settings"),
        ("[" * 100_000, "is damaged"),
        ('{"a": "' + "b" * (2 << 20) + '"}', "is larger than any; remove it"),
    ],
)
def test_hostile_and_foreign_files_are_refused_in_a_sentence(tiny_pipeline: Any, content: str, said: str) -> None:
    path = fit_path("tiny", fingerprint_of(tiny_pipeline), CONDITIONS)
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(ByTheWayError, match=said) as raised:
        find_fit("tiny", tiny_pipeline, CONDITIONS)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("platform", "place"),
    [
        ("linux", ".local/share/bytheway"),
        ("darwin", "Library/Application Support/bytheway"),
        ("win32", "AppData/Local/bytheway"),
    ],
)
def test_the_folder_of_the_platform(monkeypatch: pytest.MonkeyPatch, platform: str, place: str) -> None:
    for name in ("BYTHEWAY_DATA", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    assert data_folder() == Path.home() / place


def test_the_folder_that_linux_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BYTHEWAY_DATA")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert data_folder() == tmp_path / "data" / "bytheway"
