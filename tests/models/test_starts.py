"""Pipelines that start from images or a video, made of those that do not."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AnimateDiffPipeline,
    AnimateDiffSparseControlNetPipeline,
    AnimateDiffVideoToVideoPipeline,
    SparseControlNetModel,
    WanPipeline,
)

from bytheway import ByTheWayError
from bytheway.families.family import Start
from bytheway.models import load, profile_of
from bytheway.models.registry import known_model_of
from bytheway.models.starts import starting_from
from tests.apply import joint_checks
from tests.toys import animatediff, joint

Publish = Callable[[str, Path], None]


@pytest.fixture(scope="module")
def sparse_pipe() -> Any:
    return animatediff.sparse_controlnet()[0]


@pytest.fixture
def controlnet_folder(sparse_pipe: Any, tmp_path: Path) -> Path:
    sparse_pipe.controlnet.save_pretrained(tmp_path / "sparse")
    return tmp_path / "sparse"


@pytest.fixture
def text_folder(masters: Path, pipeline_factory: Callable[..., Any]) -> Path:
    """The tiny text-to-video pipeline whose parts those of `tests.family` have."""
    if not (masters / "text").exists():
        pipeline_factory().save_pretrained(masters / "text")
    return masters / "text"


@pytest.fixture
def refused(tiny_pipeline: Any) -> Callable[..., None]:
    """Checks the sentence with which the tiny text-to-video pipeline is left as it is."""

    def check(because: str, start: Start | None = None, controlnet: Path | str | None = None) -> None:
        with pytest.raises(ByTheWayError, match=re.escape(because)) as refusal:
            starting_from(tiny_pipeline, start, None if controlnet is None else str(controlnet), torch.float32)
        assert "\n" not in str(refusal.value)

    return check


def test_images_bring_sparsectrl(text_folder: Path, controlnet_folder: Path, sparse_pipe: Any) -> None:
    pipe = load(str(text_folder), start="image", controlnet=str(controlnet_folder), device="cpu")
    assert isinstance(pipe, AnimateDiffSparseControlNetPipeline)
    assert pipe.config._name_or_path == str(text_folder)
    pipe.set_progress_bar_config(disable=True)
    _, call = animatediff.sparse_controlnet()
    made, expected = (made_by(one, call) for one in (pipe, sparse_pipe))
    torch.testing.assert_close(made, expected)


def made_by(pipe: Any, call: dict[str, Any]) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return pipe(**call, num_inference_steps=1, generator=torch.Generator().manual_seed(0)).frames


def test_a_controlnet_of_the_hub(text_folder: Path, controlnet_folder: Path, publish: Publish) -> None:
    publish("guoyww/animatediff-sparsectrl-scribble", controlnet_folder)
    for name in ("sparsectrl-scribble", "guoyww/animatediff-sparsectrl-scribble"):
        pipe = load(str(text_folder), controlnet=name, device="cpu")
        assert isinstance(pipe.controlnet, SparseControlNetModel)


def test_a_video_brings_video_to_video(text_folder: Path) -> None:
    pipe = load(str(text_folder), start="video", device="cpu")
    assert isinstance(pipe, AnimateDiffVideoToVideoPipeline)
    assert load(str(text_folder), device="cpu").__class__ is AnimateDiffPipeline


@pytest.mark.parametrize(
    ("name", "made"), [("cogvideox", "CogVideoXVideoToVideoPipeline"), ("wan", "WanVideoToVideoPipeline")]
)
def test_a_video_for_joint_attention(name: str, made: str) -> None:
    """The same run as that of the pipeline that is built from a video."""
    pipe, expected = joint.FACTORIES[name]()[0], joint.FACTORIES[f"{name}_video2video"]()
    built = starting_from(pipe, "video", None, torch.float32)
    built.set_progress_bar_config(disable=True)
    assert type(built).__name__ == made
    assert starting_from(built, "video", None, torch.float32) is built
    torch.testing.assert_close(*(joint_checks.generate(one, expected[1]) for one in (built, expected[0])))


@pytest.mark.parametrize("name", ["wan_2_2", "wan_first_frame"])
def test_wan_2_2_does_not_start_from_a_video(name: str) -> None:
    """What is new in it has no place in the pipeline that does."""
    source = joint.FACTORIES[name]()[0]
    pipe = WanPipeline(**_parts_of(source, WanPipeline), expand_timesteps=source.config["expand_timesteps"])
    with pytest.raises(ByTheWayError, match=r"\(WanPipeline\) does not start from a video; leave it out"):
        starting_from(pipe, "video", None, torch.float32)


def _parts_of(pipe: Any, pipeline_class: Any) -> dict[str, Any]:
    known = inspect.signature(pipeline_class).parameters
    return {name: part for name, part in pipe.components.items() if name in known}


def test_a_pipeline_that_takes_images_is_kept_and_given_no_sketch(
    sparse_pipe: Any, controlnet_folder: Path, tmp_path: Path
) -> None:
    pia = animatediff.pia()[0]
    scribble = animatediff.sparse_controlnet_scribble()[0]
    assert starting_from(pia, "image", None, torch.float32) is pia
    assert starting_from(scribble, "sketch", None, torch.float32) is scribble
    for pipe in (pia, sparse_pipe):
        with pytest.raises(ByTheWayError, match="takes images and no sketches"):
            starting_from(pipe, "sketch", None, torch.float32)
        with pytest.raises(ByTheWayError, match="takes no SparseCtrl; leave the ControlNet"):
            starting_from(pipe, "image", str(controlnet_folder), torch.float32)


def test_refusals(refused: Callable[..., None], controlnet_folder: Path, tmp_path: Path) -> None:
    refused("does not start from an image; leave it out", "image")
    refused("There is no ControlNet 'nowhere'; give sparsectrl-rgb, sparsectrl", controlnet="nowhere")
    refused("holds no SparseCtrl", controlnet=tmp_path)
    refused("takes no SparseCtrl", "video", controlnet="sparsectrl-rgb")
    refused("somebody/sparse is not on this machine", controlnet="somebody/sparse")
    refused("takes images and no sketches", "sketch", controlnet=controlnet_folder)
    config = controlnet_folder / "config.json"
    config.write_text(config.read_text().replace('"cross_attention_dim": 32', '"cross_attention_dim": 48'))
    refused("does not fit this model: its cross_attention_dim is 48, the model's is 32", controlnet=controlnet_folder)


def test_a_damaged_controlnet(refused: Callable[..., None], controlnet_folder: Path) -> None:
    weights = controlnet_folder / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refused("damaged or cut short", controlnet=controlnet_folder)


def test_a_known_name_is_base_adapter_controlnet_and_lora(
    image_folder: Path,
    adapter_folder: Path,
    tmp_path: Path,
    publish: Publish,
    pipeline_factory: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SparseCtrl's LoRA comes along, and its authors' guidance."""
    added: list[list[str]] = []
    monkeypatch.setattr("bytheway.models.loading.add_loras", lambda pipe, loras, own: added.append([*own, *loras]))
    publish("SG161222/Realistic_Vision_V5.1_noVAE", image_folder)
    publish("guoyww/animatediff-motion-adapter-v1-5-3", adapter_folder)
    pipe = load("animatediff", lora=["mine=0.5"], device="cpu")
    assert added == [["mine=0.5"]]
    assert known_model_of(pipe).name == "animatediff"
    animatediff.sparse_controlnet()[0].controlnet.save_pretrained(tmp_path / "sparse")
    publish("guoyww/animatediff-sparsectrl-rgb", tmp_path / "sparse")
    pipe = load("sparsectrl-rgb", lora=["mine=0.5"], device="cpu")
    assert isinstance(pipe, AnimateDiffSparseControlNetPipeline)
    assert added[1] == ["guoyww/animatediff-motion-lora-v1-5-3", "mine=0.5"]
    assert known_model_of(pipe).name == "sparsectrl-rgb"
    assert (profile_of(pipe).defaults.steps, profile_of(pipe).defaults.guidance_scale) == (25, 8.5)
