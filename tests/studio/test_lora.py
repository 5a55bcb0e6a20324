"""LoRAs in the studio, for real: a tiny one on the packaged model, from the form to the clip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file

from bytheway.clips.read import load_video
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


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(History(tmp_path / "clips"))
    yield studio
    studio.close(PATIENCE)


def made(studio: Studio, **changes: Any) -> Status:
    form = {**FORM, "method": "off", "steps": "2", **changes}
    return ended(studio.ask("ann", wish_of(form, studio.history, "cpu")))


def frames(studio: Studio, status: Status) -> Any:
    assert status.state == "done", status.said
    return load_video(studio.history.entry(status.made[0].name).path)[0]


def apart(one: Any, other: Any) -> float:
    """Mean difference of two clips, in bytes; that of one clip written twice is below 1."""
    return float(abs(one.astype(int) - other).mean())


def test_a_lora_changes_the_clip_and_comes_back_with_its_settings(studio: Studio, lora: Path) -> None:
    plain = frames(studio, made(studio))
    status = made(studio, lora=f"{lora}=3")
    changed = frames(studio, status)
    difference = apart(plain, changed)
    settings = studio.history.entry(status.made[0].name).settings
    assert settings["lora"] == [f"{lora}=3"]
    again = form_of(settings, studio.history)
    assert again["lora"] == f"{lora}=3"
    off, on = (frames(studio, made(studio, lora=text)) for text in ("", again["lora"]))
    assert apart(off, plain) < difference / 4, "it is off again"
    assert apart(on, changed) < difference / 4


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
