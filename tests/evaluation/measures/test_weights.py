"""Where weights of transformers' models are found, and the sentences for where they are not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import torch

from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.backbones import dino, weights
from bytheway.evaluation.measures.backbones.clip import VIT_B, Clip
from bytheway.evaluation.measures.backbones.dino import DINO, Dino
from bytheway.evaluation.measures.backbones.weights import model_files
from bytheway.evaluation.measures.placement import Placement
from bytheway.files import sha256_of
from tests.evaluation.measures.goldens import needs_goldens

CPU = Placement(torch.device("cpu"))
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def fill(cache: Path, repository: str, folder: Path) -> Path:
    """The files of a folder as the hub's client keeps them: large ones under their hash, linked to by their names."""
    place = cache / f"models--{repository.replace('/', '--')}"
    snapshot = place / "snapshots" / COMMIT
    for made in (snapshot, place / "blobs", place / "refs"):
        made.mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    shutil.copy(folder / "config.json", snapshot)
    blob = place / "blobs" / sha256_of(folder / "model.safetensors")
    shutil.copy(folder / "model.safetensors", blob)
    (snapshot / "model.safetensors").symlink_to(blob)
    return blob


@needs_goldens
def test_what_is_in_the_cache_is_used_and_nothing_fetched(
    cache: Path, dino_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(cache, DINO.repository, dino_folder)
    monkeypatch.setattr(weights, "hub_file", None)  # nobody may call it
    for offline in (True, False):
        network = Dino(CPU, offline=offline)
        assert network.backbone.source == "facebook/dino-vitb16"
        assert network.backbone.sha256 == sha256_of(dino_folder / "model.safetensors")


@needs_goldens
def test_that_a_folder_is_the_published_network_is_somebodys_word(
    dino_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its shape does not give it another name already."""
    assert Dino(CPU, dino_folder).remarks == ()
    config = json.loads((dino_folder / "config.json").read_text())
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "patch_size")
    monkeypatch.setattr(dino, "DINO", replace(DINO, shape=tuple(config[name] for name in names)))
    network = Dino(CPU, dino_folder)
    assert network.backbone.name == DINO.name
    assert f"are those in {dino_folder}, whose hash is not a known one" in network.remarks[0]


@needs_goldens
def test_damaged_files_in_the_cache_are_found(cache: Path, dino_folder: Path) -> None:
    blob = fill(cache, DINO.repository, dino_folder)
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    with pytest.raises(ByTheWayError, match=r"^The weights of DINO ViT-B/16 in .* are damaged; remove the file"):
        Dino(CPU, offline=True)


def test_no_weights_and_nothing_to_be_fetched(cache: Path) -> None:
    with pytest.raises(ByTheWayError, match=r"^The weights of DINO ViT-B/16 \(facebook/dino-vitb16\) are not on this"):
        Dino(CPU, offline=True)


def test_no_weights_and_no_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ByTheWayError, match=r"^openai/clip-vit-base-patch32 is not on this machine and the hub cannot"):
        Clip(VIT_B, CPU)


def test_each_file_is_fetched_that_is_not_there(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of the two files that weights may be in, the one that the hub has."""
    asked = []

    def fetch(repository: str, file: str) -> Path | None:
        asked.append((repository, file))
        return None if file == "model.safetensors" else tmp_path / file

    monkeypatch.setattr(weights, "hub_file", fetch)
    assert model_files(DINO, None, offline=False) == tmp_path / "pytorch_model.bin"
    assert asked == [(DINO.repository, name) for name in ("model.safetensors", "pytorch_model.bin", "config.json")]
    monkeypatch.setattr(weights, "hub_file", lambda *_: None)
    with pytest.raises(ByTheWayError, match=r"^facebook/dino-vitb16 on the hub has no weights of DINO ViT-B/16"):
        model_files(DINO, None, offline=False)


@needs_goldens
@pytest.mark.parametrize("left_out", ["config.json", "model.safetensors", "all"])
def test_a_folder_that_holds_no_model(dino_folder: Path, tmp_path: Path, left_out: str) -> None:
    folder = tmp_path / "folder"
    if left_out != "all":
        shutil.copytree(dino_folder, folder)
        (folder / left_out).unlink()
    with pytest.raises(ByTheWayError, match=r"folder holds no DINO ViT-B/16; give a folder with config\.json and"):
        Dino(CPU, folder)


@needs_goldens
def test_a_folder_of_another_model(clip_folder: Path) -> None:
    with pytest.raises(ByTheWayError, match=r"lacks weights of DINO ViT-B/16, such as \w+|cannot be loaded"):
        Dino(CPU, clip_folder)


@needs_goldens
def test_pickled_weights_are_opened_for_tensors_only(dino: Dino, dino_folder: Path, tmp_path: Path) -> None:
    shutil.copy(dino_folder / "config.json", tmp_path)
    from safetensors.torch import load_file

    tensors = load_file(dino_folder / "model.safetensors")
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    pixels = torch.rand(1, 3, 224, 224)
    assert torch.equal(Dino(CPU, tmp_path)(pixels), dino(pixels))
    torch.save({**tensors, "code": print}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ByTheWayError, match="holds something other than tensors"):
        Dino(CPU, tmp_path)
