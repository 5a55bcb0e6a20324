"""The names, what they say, and what they do not cost."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bytheway.families.known import preset_of_model, presets
from bytheway.models import known_models, registry
from bytheway.models.registry import VOCABULARY, is_present, source_of


def test_packaged_model_comes_first() -> None:
    assert known_models()[0].name == "diorama"
    assert source_of(known_models()[0]) == "in the package"


def test_names_are_unique_and_presets_exist() -> None:
    models = known_models()
    assert len({model.name for model in models}) == len(models)
    assert {preset_of_model(model).name for model in models} <= presets().keys()


def test_packaged_model_is_present_when_its_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "packaged_folder", lambda: tmp_path)
    packaged = known_models()[0]
    assert not is_present(packaged)
    (tmp_path / "model_index.json").touch()
    assert is_present(packaged)


def test_hub_model_is_present_when_both_parts_are_cached(
    image_folder: Path, adapter_folder: Path, publish: Callable[[str, Path], None]
) -> None:
    model = next(model for model in known_models() if model.name == "animatediff-v2")
    assert model.base
    assert model.motion_adapter
    assert not is_present(model)
    publish(model.base, image_folder)
    assert not is_present(model)
    publish(model.motion_adapter, adapter_folder)
    assert is_present(model)
    assert source_of(model) == f"{model.base} + {model.motion_adapter}"


def test_checkpoint_of_the_hub_is_present_when_it_is_cached(
    tmp_path: Path, publish: Callable[[str, Path], None]
) -> None:
    model = next(model for model in known_models() if model.name == "videocrafter2")
    assert source_of(model) == "VideoCrafter/VideoCrafter2 (model.ckpt)"
    assert not is_present(model)
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "model.ckpt").touch()
    publish("VideoCrafter/VideoCrafter2", tmp_path / "repository")
    assert not is_present(model)
    (tmp_path / "vocabulary").mkdir()
    (tmp_path / "vocabulary" / "tokenizer.json").touch()
    publish(VOCABULARY, tmp_path / "vocabulary")
    assert is_present(model)


def test_listing_the_models_does_not_import_torch() -> None:
    code = "import bytheway.models.registry as m, sys; [m.is_present(k) for k in m.known_models()]"
    code += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
