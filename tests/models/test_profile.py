"""The settings a pipeline is run with where nothing is said."""

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from diffusers import AnimateDiffPipeline, DiffusionPipeline, HunyuanVideo15Pipeline, HunyuanVideo15Transformer3DModel

import bytheway
from bytheway import ByTheWayError
from bytheway.families.known import preset_for, presets
from bytheway.method import high_band
from bytheway.models import GenerationDefaults, load, profile_of
from bytheway.models.signature import call_signature
from tests.toys import animatediff, joint

WORLD = {
    "defaults": {"num_frames": 12, "size": [64, 48], "steps": 20, "guidance_scale": 4.0, "fps": 6},
    "words": ["a", "ball", "grass", "red"],
    "subjects": ["ball"],
}


def test_world_of_the_folder(video_folder: Path) -> None:
    (video_folder / "world.json").write_text(json.dumps(WORLD))
    assert profile_of(load(str(video_folder), device="cpu")).defaults == GenerationDefaults(
        num_frames=12,
        size=(64, 48),
        steps=20,
        guidance_scale=4.0,
        fps=6,
        vocabulary=frozenset({"a", "ball", "grass", "red"}),
    )


@pytest.mark.parametrize("way", ["copy", "save", "save and load in diffusers", "hub", "moved away"])
def test_a_models_own_settings_travel_with_it(
    way: str, video_folder: Path, tmp_path: Path, publish: Callable[[str, Path], None]
) -> None:
    (video_folder / "world.json").write_text(json.dumps(WORLD | {"preset": "diorama"}))
    expected = profile_of(load(str(video_folder), device="cpu"))
    assert (expected.preset.name, expected.defaults.guidance_scale) == ("diorama", 4.0)
    pipe: Any = load(str(video_folder), device="cpu")
    if way == "copy":
        pipe = load(str(copytree(video_folder, tmp_path / "elsewhere")), device="cpu")
    elif way == "moved away":
        video_folder.rename(tmp_path / "elsewhere")
    else:
        pipe.save_pretrained(tmp_path / "saved")
        video_folder.rename(tmp_path / "elsewhere")
    if way == "save":
        pipe = load(str(tmp_path / "saved"), device="cpu")
    elif way == "save and load in diffusers":
        pipe = AnimateDiffPipeline.from_pretrained(tmp_path / "saved")
    elif way == "hub":
        publish("somebody/saved", tmp_path / "saved")
        pipe = load("somebody/saved", device="cpu")
    made = profile_of(pipe)
    assert (made.preset, made.defaults) == (expected.preset, expected.defaults)
    assert made.unknown_words("a red car") == ["car"]


def test_settings_travel_to_the_pipeline_that_starts_from_a_video(video_folder: Path) -> None:
    (video_folder / "world.json").write_text(json.dumps(WORLD))
    pipe = load(str(video_folder), start="video", device="cpu")
    again = AnimateDiffPipeline.from_pipe(pipe)
    assert [profile_of(one).defaults.guidance_scale for one in (pipe, again)] == [4.0, 4.0]


def test_damaged_world_in_a_saved_pipeline(video_folder: Path) -> None:
    index = video_folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_world": [1]}))
    with pytest.raises(ByTheWayError, match=r"_world in model_index.json of .* is no JSON object"):
        load(str(video_folder), device="cpu")


def test_damaged_world(video_folder: Path) -> None:
    pipe = AnimateDiffPipeline.from_pretrained(video_folder)
    wrong = [[], {}, WORLD | {"defaults": 3}, WORLD | {"defaults": {"size": [64]}}, WORLD | {"words": None}]
    types = {"num_frames": 2.5, "size": "ab", "steps": "2", "guidance_scale": "4", "fps": None}
    wrong += [WORLD | {"defaults": WORLD["defaults"] | {name: value}} for name, value in types.items()]
    wrong += [WORLD | {"words": [1, 2]}]
    for content in ("[" * 10**5, *map(json.dumps, wrong)):
        (video_folder / "world.json").write_text(content)
        with pytest.raises(ByTheWayError, match=r"world.json of .* is damaged"):
            profile_of(pipe)


def test_other_pipelines_have_animatediffs_at_the_size_of_their_unet(tiny_pipeline: Any) -> None:
    assert profile_of(tiny_pipeline).defaults == GenerationDefaults(
        num_frames=16, size=(16, 16), steps=25, guidance_scale=7.5, fps=8, vocabulary=None
    )


def test_world_of_the_current_folder_is_nobodys(
    tiny_pipeline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "world.json").write_text(json.dumps(WORLD))
    monkeypatch.chdir(tmp_path)
    assert profile_of(tiny_pipeline).defaults.vocabulary is None


def test_size_of_a_unet_that_is_not_square(tiny_pipeline: Any) -> None:
    tiny_pipeline.unet.register_to_config(sample_size=(40, 64))
    assert profile_of(tiny_pipeline).defaults.size == (128, 80)


def test_preset_is_the_architectures(tiny_pipeline: Any) -> None:
    assert preset_for(tiny_pipeline).name == "animatediff"


def test_preset_of_the_packaged_model(video_folder: Path) -> None:
    (video_folder / "world.json").write_text(json.dumps({**WORLD, "preset": "diorama"}))
    assert preset_for(load(str(video_folder), device="cpu")).name == "diorama"


@pytest.mark.parametrize("preset", ["nothing", ["diorama"], {}])
def test_a_preset_that_there_is_not(video_folder: Path, preset: object) -> None:
    (video_folder / "world.json").write_text(json.dumps({**WORLD, "preset": preset}))
    with pytest.raises(ByTheWayError, match=r"names a preset .*, which there is not"):
        preset_for(load(str(video_folder), device="cpu"))


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
    made = profile_of(joint.FACTORIES[name]()[0]).defaults
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
    made = profile_of(HunyuanVideo15WithoutVAE(transformer)).defaults
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


def test_what_a_pipeline_accepts_and_requires(tiny_pipeline: Any) -> None:
    text, sparse, video = map(
        profile_of, (tiny_pipeline, animatediff.sparse_controlnet()[0], animatediff.video_to_video()[0])
    )
    assert [one.accepts("images") for one in (text, sparse, video)] == [False, True, False]
    assert [one.accepts("video") for one in (text, sparse, video)] == [False, False, True]
    assert [(one.requires("images"), one.requires("video")) for one in (text, sparse, video)] == [
        (False, False),
        (True, False),
        (False, True),
    ]
    assert video.call.defaults["strength"] == 0.8
    assert text.call.arguments({"steps": 3, "video": [1], "negative_prompt": None}) == {"num_inference_steps": 3}
    assert (text.family.name, text.preset.name, text.denoiser) == ("AnimateDiff", "animatediff", tiny_pipeline.unet)
    assert (text.supports_free_init, text.has_temporal_maps, text.one_at_a_time) == (True, True, None)
    assert (text.pixels_per_latent, text.size_unit, text.longest_clip, text.longest_schedule) == (2, 8, 32, 1000)


def test_the_latent_frames_of_a_clip() -> None:
    """CogVideoX 1.5: the first latent frame is one frame, the others are four, and a token has two of them."""
    profile = profile_of(joint.FACTORIES["cogvideox_1_5"]()[0])
    assert [profile.latent_frames(frames) for frames in (1, 5, 81)] == [1, 2, 21]
    assert profile.lengths_from_video[:3] == range(5, 29, 8)
    assert not profile.has_temporal_maps


def test_a_setting_that_means_something_else() -> None:
    """LTX's video is a condition beside the prompt, and its image need not be there."""
    call = call_signature(joint.ltx_condition()[0])
    assert {"video", "strength"} <= inspect.signature(type(joint.ltx_condition()[0]).__call__).parameters.keys()
    assert not call.accepts("video")
    assert call.accepts("images")
    assert call.required == frozenset()


def test_a_state_that_changes_what_is_possible(tiny_pipeline: Any) -> None:
    tiny_pipeline.enable_free_noise(context_length=4, context_stride=4)
    tiny_pipeline.enable_free_init(num_iters=2)
    profile = profile_of(tiny_pipeline)
    assert (profile.longest_clip, profile.one_at_a_time) == (None, "FreeNoise makes clips")
    assert profile.free_init_iterations == 2


def test_pipelines_have_a_type() -> None:
    """Anything goes for a pipeline only where it is built, and where the stack is searched for one.

    ComfyUI's models are no pipelines, and their types are not to be had.
    """
    package = Path(str(bytheway.__file__)).parent
    untyped = re.compile(r"\b(pipe|pipeline|model)\s*:\s*Any\b")
    comfyui = re.compile(r"\b(pipe|pipeline)\s*:\s*Any\b")
    found = [
        f"{file.relative_to(package)}: {line.strip()}"
        for file in sorted(package.rglob("*.py"))
        if file.relative_to(package).parts[0] != "models" and file.relative_to(package) != Path("apply/caller.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if (comfyui if file.relative_to(package).parts[0] == "comfyui" else untyped).search(line)
    ]
    assert found == []
