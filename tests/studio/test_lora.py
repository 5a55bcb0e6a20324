"""LoRAs in the studio, for real: a tiny one on the packaged model, from the form to the clip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file

from bytheway.clips.frames import Frames
from bytheway.models.choice import ModelChoice
from bytheway.studio.forms import form_of, wish_of
from bytheway.studio.history import History
from bytheway.studio.service import Studio
from bytheway.studio.tickets import Status
from tests.studio.test_service import PATIENCE, ended
from tests.toys.studio_server import FORM


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA on the queries of diorama's temporal attention, as diffusers saves it."""
    torch.manual_seed(2)
    pipe: Any = ModelChoice("diorama", None, (), "cpu", None).load()
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=r".*motion_modules.*attn\d\.to_q", init_lora_weights=False))
    layers = {name: tensor.detach() for name, tensor in get_peft_model_state_dict(pipe.unet).items()}
    folder = tmp_path_factory.mktemp("lora")
    pipe.save_lora_weights(folder, unet_lora_layers=layers)
    return folder / "pytorch_lora_weights.safetensors"


class Exact(History):
    """A history that has the frames as they were made too, for mp4 is lossy."""

    def save(self, frames: Frames, *rest: Any) -> str:
        self.latest = frames
        return super().save(frames, *rest)


@pytest.fixture
def history(tmp_path: Path) -> Exact:
    return Exact(tmp_path / "clips")


@pytest.fixture
def studio(history: Exact) -> Iterator[Studio]:
    studio = Studio(history)
    yield studio
    studio.close(PATIENCE)


def made(studio: Studio, **changes: Any) -> Status:
    form = {**FORM, "method": "off", "steps": "2", **changes}
    return ended(studio.ask("ann", wish_of(form, studio.history, "cpu")))


def test_a_lora_changes_the_clip_and_comes_back_with_its_settings(studio: Studio, history: Exact, lora: Path) -> None:
    assert made(studio).state == "done"
    plain = history.latest
    status = made(studio, lora=f"{lora}=0.8")
    changed = history.latest
    assert (plain != changed).any()
    settings = history.entry(status.made[0].name).settings
    assert settings["lora"] == [f"{lora}=0.8"]
    made(studio)
    assert (history.latest == plain).all(), "it is off again"
    made(studio, lora=form_of(settings, history)["lora"])
    assert (history.latest == changed).all()


def test_a_lora_that_is_none_is_a_sentence_and_the_studio_goes_on(studio: Studio, tmp_path: Path) -> None:
    broken, other = tmp_path / "broken.safetensors", tmp_path / "other.safetensors"
    broken.write_bytes(b"none")
    layer = "unet.down_blocks.9.attn.to_q.lora"
    save_file({f"{layer}_A.weight": torch.ones(2, 4), f"{layer}_B.weight": torch.ones(4, 2)}, other)
    for text in (str(broken), str(other), str(tmp_path / "missing.safetensors"), "owner/name=much"):
        status = made(studio, lora=text)
        assert status.state == "failed"
        assert text.partition("=")[0] in status.said
        assert "\n" not in status.said
        assert "no fault of yours" not in status.said
    assert made(studio).state == "done"
