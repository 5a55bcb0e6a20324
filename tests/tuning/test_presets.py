"""Presets that were tuned here: what --config accepts, and files that are none."""

import json
from pathlib import Path

import pytest

from bytheway.config import ByTheWayConfig
from bytheway.tuning.presets import TunedPreset, save_preset, tuned_presets

PRESET = TunedPreset("owner/name", "0123456789abcdef", ByTheWayConfig(alpha=0.3, beta=2.5), {"flow_mean": "+0.5"})


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("BYTHEWAY_DATA", str(tmp_path))
    return tmp_path


def test_a_preset_is_kept_and_found() -> None:
    assert tuned_presets() == ([], [])
    path = save_preset(PRESET, {"objectives": ["flow_mean"]})
    assert ByTheWayConfig.load(path) == PRESET.config
    assert tuned_presets() == ([(path, PRESET)], [])
    later = TunedPreset(PRESET.model, PRESET.fingerprint, ByTheWayConfig(beta=3.0), {})
    assert save_preset(later, {"objectives": ["flow_mean"]}) == path, "a later search of the same takes its place"
    save_preset(PRESET, {"objectives": ["flow_top5"]})
    assert len(tuned_presets()[0]) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("not json", "is damaged: it holds no JSON object"),
        ("[" * 100_000, "is damaged"),
        ("{}", "is damaged or no preset of bytheway's; remove it"),
        (json.dumps({"format": 2}), "is damaged or no preset of bytheway's"),
        (json.dumps({"format": 1, "model": 3, "fingerprint": "a", "gains": {}}), "is damaged or no preset"),
        (json.dumps({"format": 1, "model": "m", "fingerprint": "a", "gains": [1]}), "is damaged or no preset"),
        (json.dumps({"format": 1, "model": "m", "fingerprint": "a", "gains": {"a": {}}}), "is damaged or no preset"),
        (json.dumps({"format": 1, "model": "m", "fingerprint": "a", "gains": {}}), "cannot be read"),
        ('{"a": "' + "b" * (2 << 20) + '"}', "is larger than any; remove it"),
    ],
)
def test_hostile_and_foreign_files_are_refused_and_the_others_are_there(content: str, said: str, folder: Path) -> None:
    path = save_preset(PRESET, {})
    (folder / "presets" / "other").mkdir()
    (folder / "presets" / "other" / "bad.json").write_text(content)
    found, refused = tuned_presets()
    assert found == [(path, PRESET)]
    assert len(refused) == 1
    assert said in refused[0]
    assert "\n" not in refused[0]


def test_a_hostile_config_beside_it(folder: Path) -> None:
    path = save_preset(PRESET, {})
    path.write_text('alpha = "__import__"\n')
    assert tuned_presets()[1] == ["alpha is '__import__'; it must lie between 0 and 1."]
