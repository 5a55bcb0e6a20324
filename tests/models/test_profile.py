"""The settings a pipeline is run with where nothing is said."""

import json
from pathlib import Path
from typing import Any

import pytest
from diffusers import DiffusionPipeline, HunyuanVideo15Pipeline, HunyuanVideo15Transformer3DModel

from bytheway import ByTheWayError
from bytheway.families.known import preset_for, presets
from bytheway.method import high_band
from bytheway.models import GenerationDefaults, generation_defaults, load
from tests.toys import joint_models

WORLD = {
    "defaults": {"num_frames": 12, "size": [64, 48], "steps": 20, "guidance_scale": 4.0, "fps": 6},
    "words": ["a", "ball", "grass", "red"],
    "subjects": ["ball"],
}


def test_world_of_the_folder(video_folder: Path) -> None:
    (video_folder / "world.json").write_text(json.dumps(WORLD))
    assert generation_defaults(load(str(video_folder), device="cpu")) == GenerationDefaults(
        num_frames=12,
        size=(64, 48),
        steps=20,
        guidance_scale=4.0,
        fps=6,
        vocabulary=frozenset({"a", "ball", "grass", "red"}),
    )


def test_damaged_world(video_folder: Path) -> None:
    pipe = load(str(video_folder), device="cpu")
    wrong = [[], {}, WORLD | {"defaults": 3}, WORLD | {"defaults": {"size": [64]}}, WORLD | {"words": None}]
    types = {"num_frames": 2.5, "size": "ab", "steps": "2", "guidance_scale": "4", "fps": None}
    wrong += [WORLD | {"defaults": WORLD["defaults"] | {name: value}} for name, value in types.items()]
    wrong += [WORLD | {"words": [1, 2]}]
    for content in ("[" * 10**5, *map(json.dumps, wrong)):
        (video_folder / "world.json").write_text(content)
        with pytest.raises(ByTheWayError, match=r"world.json of .* is damaged"):
            generation_defaults(pipe)


def test_other_pipelines_have_animatediffs_at_the_size_of_their_unet(tiny_pipeline: Any) -> None:
    assert generation_defaults(tiny_pipeline) == GenerationDefaults(
        num_frames=16, size=(16, 16), steps=25, guidance_scale=7.5, fps=8, vocabulary=None
    )


def test_world_of_the_current_folder_is_nobodys(
    tiny_pipeline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "world.json").write_text(json.dumps(WORLD))
    monkeypatch.chdir(tmp_path)
    assert generation_defaults(tiny_pipeline).vocabulary is None


def test_size_of_a_unet_that_is_not_square(tiny_pipeline: Any) -> None:
    tiny_pipeline.unet.register_to_config(sample_size=(40, 64))
    assert generation_defaults(tiny_pipeline).size == (128, 80)


def test_preset_is_the_architectures(tiny_pipeline: Any) -> None:
    assert preset_for(tiny_pipeline).name == "animatediff"


def test_preset_of_the_packaged_model(video_folder: Path) -> None:
    (video_folder / "world.json").write_text(json.dumps({**WORLD, "preset": "diorama"}))
    assert preset_for(load(str(video_folder), device="cpu")).name == "diorama"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cogvideox_1_5", (81, (1360, 768), 50, 6, 16)),
        ("wan", (81, (832, 480), 50, 5, 16)),
        ("wan_first_frame", (121, (1280, 704), 50, 5, 24)),
        ("wan_video2video", (81, (832, 480), 50, 5, 16)),
        ("hunyuanvideo", (129, (1280, 720), 50, 6, 24)),
        # The rate that its call tells the model.
        ("ltx", (161, (704, 512), 50, 3, 25)),
        ("mochi", (85, (848, 480), 64, 4.5, 30)),
    ],
)
def test_defaults_are_the_makers(name: str, expected: tuple[Any, ...]) -> None:
    made = generation_defaults(joint_models.FACTORIES[name]()[0])
    assert (made.num_frames, made.size, made.steps, made.guidance_scale, made.fps) == expected


class HunyuanVideo15WithoutVAE(HunyuanVideo15Pipeline):
    vae_scale_factor_spatial = 16

    def __init__(self, transformer: HunyuanVideo15Transformer3DModel) -> None:
        DiffusionPipeline.__init__(self)
        self.register_modules(transformer=transformer)


@pytest.mark.parametrize(("target", "size"), [(640, (848, 480)), (960, (1280, 720))])
def test_sizes_of_hunyuanvideo_1_5(target: int, size: tuple[int, int]) -> None:
    config = {"num_layers": 1, "num_refiner_layers": 1, "num_attention_heads": 1, "attention_head_dim": 10}
    transformer = HunyuanVideo15Transformer3DModel(**config, rope_axes_dim=(2, 4, 4), target_size=target)
    made = generation_defaults(HunyuanVideo15WithoutVAE(transformer))
    assert (made.num_frames, made.size, made.fps) == (121, size, 24)


@pytest.mark.parametrize(
    ("preset", "latent_frames"),
    [
        ("cogvideox", [13, 11]),
        ("wan", [21, 31]),
        ("hunyuanvideo", [33, 31]),
        ("ltx", [21, 16]),
        ("mochi", [15, 28]),
    ],
)
def test_the_band_is_all_but_the_mean_of_usual_clips(preset: str, latent_frames: list[int]) -> None:
    for frames in latent_frames:
        assert high_band(frames, presets()[preset].config.tau).tolist() == [False] + [True] * (frames - 1)
