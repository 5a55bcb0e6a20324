"""Runs of pipelines that start from images or a video, and of those with other calls than AnimateDiff's."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLLTXVideo
from PIL import Image

from bytheway.clips.inputs import ImageInput, VideoInput, read_video
from bytheway.clips.write import save_video
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.generation.job import changes_to_request, check
from bytheway.generation.request import Request
from bytheway.generation.run import generate
from bytheway.generation.sample import Step
from bytheway.models.profile import profile_of
from bytheway.models.starts import starting_from
from tests.toys import animatediff, joint, temporal
from tests.toys.parts import reading_prompts

REQUEST = Request(prompts=("a red ball bounces",), seed=7, num_frames=4, width=16, height=16, steps=2)
CONFIG = ByTheWayConfig(alpha=0.6, beta=4.0, tau=7, active_steps=0.5)


def image(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8))


def footage(frames: int = 6, fps: float = 5.0) -> VideoInput:
    return VideoInput(np.stack([np.asarray(image(seed)) for seed in range(frames)]), fps, "in.gif")


# Of LTX-Video's images, and of Mochi on a CPU.
IN_DIFFUSERS = pytest.mark.filterwarnings("ignore:__array__ implementation", "ignore:In CPU autocast")
FIRST = ImageInput(image(0), "cat.png")
LAST = ImageInput(image(1), "dog.png", -1)


@pytest.fixture(scope="module")
def sparse() -> Any:
    return animatediff.sparse_controlnet()[0]


@pytest.fixture(scope="module")
def video_to_video() -> Any:
    return animatediff.video_to_video()[0]


@pytest.fixture(scope="module")
def pia() -> Any:
    return animatediff.pia()[0]


def frames_of(pipe: Any, request: Request, on_step: Callable[[Step], None] = lambda step: None) -> Any:
    return next(generate(pipe, request, on_step)).frames


def test_images_steer_their_frames(sparse: Any) -> None:
    """The result depends on prompt, seed and images alone, though SparseCtrl draws from torch's own generator."""
    request = replace(REQUEST, images=(FIRST, LAST), config=CONFIG)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    clip = next(generate(sparse, request))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    np.testing.assert_array_equal(frames_of(sparse, request), clip.frames)
    other = replace(request, images=(FIRST, replace(LAST, frame=1)))
    assert (frames_of(sparse, other) != clip.frames).any()
    assert clip.settings["images"] == ["cat.png@0", "dog.png@3"]
    assert (clip.settings["video"], clip.settings["strength"]) == (None, None)


def test_a_video_is_the_start_for_its_share_of_the_steps(video_to_video: Any) -> None:
    seen: list[Step] = []
    request = replace(REQUEST, num_frames=None, steps=4, video=footage(), strength=0.5, config=CONFIG)
    clip = next(generate(video_to_video, request, seen.append))
    assert clip.frames.shape == (6, 16, 16, 3)
    assert [(step.done, step.steps, step.active) for step in seen] == [(0, 2, 1), (1, 2, 1), (2, 2, 1)]
    assert (clip.settings["video"], clip.settings["strength"], clip.fps) == ("in.gif", 0.5, 5.0)
    job = check(replace(request, strength=None, num_frames=3), video_to_video)
    assert (job.strength, job.num_frames) == (0.8, 3)


def test_a_long_video_is_not_read_to_its_end(video_to_video: Any, tmp_path: Path) -> None:
    save_video(footage(30).frames, tmp_path / "in", 5, {})
    start = read_video(tmp_path / "in")
    for asked, made in ((None, 16), (3, 3)):
        job = check(replace(REQUEST, num_frames=asked, video=start), video_to_video)
        assert job.video is not None
        assert (job.num_frames, len(job.video.frames)) == (made, made + 1)
    with pytest.raises(ByTheWayError, match="has 30 frames; 31 cannot be made from it"):
        check(replace(REQUEST, num_frames=31, video=start), video_to_video)


def test_a_video_in_patches_of_frames() -> None:
    """CogVideoX 1.5: two latent frames of four frames each, and the first latent one of a frame alone."""
    pipe = starting_from(joint.cogvideox_1_5()[0], "video", None, torch.float32)
    request = replace(REQUEST, num_frames=None, width=48, height=32)
    assert [check(replace(request, video=footage(n)), pipe).num_frames for n in (5, 12, 13, 30)] == [5, 5, 13, 29]
    assert check(replace(request, video=footage(13), num_frames=5), pipe).num_frames == 5
    with pytest.raises(ByTheWayError, match="num_frames is 9; from a video this model makes 5, 13, 21 frames and so"):
        check(replace(request, video=footage(13), num_frames=9), pipe)
    with pytest.raises(ByTheWayError, match=r"in\.gif has 4 frames; 5 cannot be made from it"):
        check(replace(request, video=footage(4)), pipe)


def test_the_rate_is_told_to_models_that_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, told = joint.ltx()[0], []

    class Told(Exception):
        pass

    def tell(denoiser: Any, args: Any, kwargs: dict[str, Any]) -> None:
        told.append(kwargs["rope_interpolation_scale"][0])
        raise Told

    pipe.transformer.register_forward_pre_hook(tell, with_kwargs=True)
    monkeypatch.setattr(pipe, "encode_prompt", lambda **_: (*embedded(), *embedded()))
    for fps in (None, 50.0):
        with pytest.raises(Told):
            next(generate(pipe, replace(REQUEST, num_frames=9, width=32, height=32, fps=fps)))
    assert told == [pytest.approx(pipe.vae_temporal_compression_ratio / rate) for rate in (25, 50)]


@IN_DIFFUSERS
@pytest.mark.parametrize("name", sorted(joint.FACTORIES))
def test_as_many_frames_as_are_said_are_made(name: str) -> None:
    """The rule of each pipeline, held against what it makes."""
    if name in ("wan_animate", "wan_vace_references", "wan_video2video", "cogvideox_video2video"):
        pytest.skip("from a video, the number of frames is the video's")
    pipe, call = joint.FACTORIES[name]()
    profile = profile_of(pipe)
    call.pop("latent_window_size", None)
    for asked in (8, 11, 13, 34) if name == "framepack" else (8, 11, 13):
        said = profile.frames_made(asked)
        settings = call | {"num_frames": asked, "output_type": "pt"}
        assert len(pipe(**settings, generator=torch.Generator().manual_seed(0)).frames[0]) == said, asked


@IN_DIFFUSERS
@pytest.mark.parametrize(
    ("name", "asked", "made"),
    [
        ("hunyuanvideo", 16, 13),
        ("hunyuanvideo_image2video_concat", 9, 9),
        ("hunyuanvideo_image2video_concat", 16, 9),
        ("cogvideox", 12, 9),
        ("cogvideox", 16, 16),
        ("mochi", 12, 7),
        ("wan", 16, 17),
        ("wan_vace", 16, 17),
        ("framepack", 16, 37),
        ("ltx", 9, 9),
    ],
)
def test_the_number_of_frames_is_said_before_the_run_and_kept_as_it_was_made(
    name: str, asked: int, made: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, call = joint.FACTORIES[name]()
    monkeypatch.setattr("diffusers.utils.is_ftfy_available", lambda: True)
    pipe = reading_prompts(pipe, call)
    images = (ImageInput(image(0), "0.png", 0),) if profile_of(pipe).requires("images") else ()
    width, height = call.get("width", 32), call.get("height", 32)
    request = replace(REQUEST, num_frames=asked, width=width, height=height, steps=2, images=images)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clips = generate(pipe, request)
        said = [str(warning.message) for warning in caught if " makes " in str(warning.message)]
    sentence = f"This model ({type(pipe).__name__}) makes {made} frames where {asked} are asked for."
    assert said == [sentence] * (made != asked)
    assert (sentence in changes_to_request(check(request, pipe))) == (made != asked)
    (clip,) = clips
    assert len(clip.frames) == clip.settings["num_frames"] == made
    assert check(replace(request, num_frames=made), pipe).num_frames == made


def test_the_sections_of_framepack_are_runs_of_their_own() -> None:
    job = check(Request(("a",), seed=1, num_frames=91, images=(FIRST,)), joint.framepack()[0])
    assert (job.iterations, job.num_frames, job.width, job.height, job.fps) == (3, 109, 832, 480, 30)


def test_what_starts_from_more_than_a_prompt_and_one_video_is_left_to_python() -> None:
    with pytest.raises(ByTheWayError, match=r"\(WanAnimatePipeline\) starts from more .*; use its pipeline in Python"):
        check(REQUEST, joint.wan_animate()[0])


@pytest.mark.parametrize("name", ["wan_image2video", "wan_video2video", "wan_vace"])
def test_a_package_that_is_missing_is_said_before_the_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, _ = joint.FACTORIES[name]()
    sentence = rf"{type(pipe).__name__} reads prompts with the package ftfy; install it \(pip install ftfy\)\."
    monkeypatch.setattr("diffusers.utils.is_ftfy_available", lambda: False)
    with pytest.raises(ByTheWayError, match=sentence):
        generate(pipe, REQUEST)
    monkeypatch.setattr("diffusers.utils.is_ftfy_available", lambda: True)
    starts: dict[str, Any] = {"wan_image2video": {"images": (FIRST,)}, "wan_video2video": {"video": footage(9)}}
    assert check(replace(REQUEST, num_frames=5, **starts.get(name, {})), pipe).num_frames == 5


def embedded() -> tuple[torch.Tensor, torch.Tensor]:
    """A prompt as LTX-Video's text encoder has it, and which of its tokens count."""
    return torch.zeros(1, 5, 12), torch.ones(1, 5, dtype=torch.bool)


@pytest.mark.parametrize("noise", ["scheduler's", "decoder's"])
def test_noise_without_a_generator_is_the_seeds(monkeypatch: pytest.MonkeyPatch, noise: str) -> None:
    """LTX-Video hands its scheduler no generator, and the decoder of version 0.9.1 makes noise of its own."""
    pipe = joint.ltx()[0]
    assert not profile_of(pipe).draws_unseeded
    if noise == "scheduler's":
        pipe.scheduler.register_to_config(stochastic_sampling=True)
    else:
        pipe.vae = joint.seeded(AutoencoderKLLTXVideo, **{**pipe.vae.config, "decoder_inject_noise": (True,) * 5})
        for name, parameter in pipe.vae.named_parameters():
            if "per_channel_scale" in name:
                parameter.fill_(1.0)
    monkeypatch.setattr(pipe, "encode_prompt", lambda **_: (*embedded(), *embedded()))
    request = replace(REQUEST, num_frames=9, width=32, height=32)
    torch.manual_seed(1)
    clip = frames_of(pipe, request)
    torch.manual_seed(2)
    np.testing.assert_array_equal(frames_of(pipe, request), clip)
    assert (frames_of(pipe, replace(request, seed=8)) != clip).any()


def test_an_image_is_the_start_of_pia(pia: Any) -> None:
    clip = frames_of(pia, replace(REQUEST, images=(FIRST,), config=CONFIG))
    assert clip.shape == (4, 16, 16, 3)
    assert (frames_of(pia, replace(REQUEST, images=(replace(LAST, frame=0),), config=CONFIG)) != clip).any()


def test_a_controlnet_takes_an_image_for_every_frame() -> None:
    pipe, _ = animatediff.controlnet()
    stills = tuple(ImageInput(image(frame), f"{frame}.png", frame) for frame in range(4))
    clip = frames_of(pipe, replace(REQUEST, steps=1, images=stills))
    np.testing.assert_array_equal(frames_of(pipe, replace(REQUEST, steps=1, images=stills[::-1])), clip)
    with pytest.raises(ByTheWayError, match="takes an image for each of its frames, and no others"):
        check(replace(REQUEST, images=stills[:3]), pipe)


def test_what_is_done_to_the_inputs_is_said(sparse: Any, video_to_video: Any, tiny_pipeline: Any) -> None:
    request = replace(REQUEST, images=(FIRST, ImageInput(image(0).crop((0, 0, 16, 16)), "small.png", 1)))
    assert changes_to_request(check(request, sparse)) == ["cat.png is 32x24; it is scaled and cut to 16x16."]
    assert changes_to_request(check(replace(REQUEST, video=footage()), video_to_video)) == [
        "in.gif is longer than the clip; its first 4 frames are used.",
        "in.gif is 32x24; it is scaled and cut to 16x16.",
    ]
    assert changes_to_request(check(REQUEST, tiny_pipeline)) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": (FIRST,), "video": footage()}, "from images or from a video, not from both"),
        ({"seed": 2**63 - 1, "num_videos": 2}, "seed is 9223372036854775807; it must lie between 0 and"),
        ({"strength": 0.5}, "give the video"),
        ({"video": footage(), "strength": 0.0}, "strength is 0; it must be greater than 0"),
        ({"video": footage(), "strength": 1.5}, "strength is 1.5; it must be"),
    ],
)
def test_impossible_starts(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ByTheWayError, match=said):
        replace(REQUEST, **changes)


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("sparse", {}, "starts from an image; give one"),
        ("sparse", {"images": (replace(FIRST, frame=4),)}, "is to be in frame 4, but the clip has the frames 0 to 3"),
        ("sparse", {"images": (FIRST, replace(LAST, frame=-4))}, "Two images are for the same frame"),
        ("pia", {"images": (FIRST, LAST)}, "takes one image, for frame 0, and no others"),
        ("pia", {"images": (LAST,)}, "takes one image, for frame 0"),
        ("video_to_video", {}, "starts from a video; give one"),
        ("video_to_video", {"images": (FIRST,)}, "takes no image"),
        ("video_to_video", {"video": footage(3)}, "in.gif has 3 frames; 4 cannot be made from it"),
        ("video_to_video", {"video": footage(), "strength": 0.2}, "A strength of 0.2 leaves none of 2 steps"),
        ("sparse", {"video": footage()}, "takes no video"),
    ],
)
def test_starts_that_do_not_fit_the_model(
    name: str, changes: dict[str, Any], said: str, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(ByTheWayError, match=said):
        check(replace(REQUEST, **changes), request.getfixturevalue(name))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' Euler with numpy 2
@pytest.mark.parametrize("name", ["text_to_video", "video_to_video", "stable_video_diffusion"])
def test_calls_unlike_animatediffs(name: str) -> None:
    """No FreeInit, no FreeNoise; steps told in the old way; no prompt, and guidance by frame."""
    if name not in temporal.FACTORIES:
        pytest.skip("this diffusers does not have it")
    pipe, call = temporal.FACTORIES[name](frames=4)
    starts: dict[str, Any] = (
        {"images": (FIRST,)} if "image" in call else {"video": footage()} if "video" in call else {}
    )
    seen: list[Step] = []
    request = replace(REQUEST, width=32, steps=2, config=CONFIG.replace(alpha=0.1), **starts)
    clip = next(generate(pipe, request, seen.append))
    assert clip.frames.shape == (4, 16, 32, 3)
    steps = 1 if "video" in call else 2
    assert [(step.done, step.steps) for step in seen] == [(done, steps) for done in range(steps + 1)]
    assert clip.settings["free_init"] is False
    with pytest.raises(ByTheWayError, match="cannot be run with FreeInit"):
        check(replace(request, free_init=True), pipe)


def test_i2vgenxl_skips_a_layer_of_its_text_encoder_as_it_was_trained() -> None:
    """It steps without telling, and its last norm is where the pipeline looks for it in no transformers since 5."""
    if "i2vgenxl" not in temporal.FACTORIES:
        pytest.skip("this diffusers does not have it")
    pipe, _ = temporal.FACTORIES["i2vgenxl"](frames=4)
    request = replace(REQUEST, steps=1, images=(FIRST,), config=CONFIG.replace(alpha=0.1))
    clip = frames_of(pipe, request)
    assert clip.shape == (4, 16, 16, 3)
    assert not hasattr(pipe.text_encoder, "text_model")
    with torch.no_grad():
        pipe.text_encoder.encoder.layers[-1].mlp.fc2.weight.add_(1.0)  # of the layer that is skipped
    np.testing.assert_array_equal(frames_of(pipe, request), clip)


def test_ltx_with_conditions_does_without_any() -> None:
    pipe, _ = joint.ltx_condition()
    request = Request(prompts=("a",), seed=1, num_frames=9, width=64, height=32)
    assert check(request, pipe).inputs == {}
    assert check(replace(request, images=(FIRST,)), pipe).inputs["images"].size == (64, 32)
    with pytest.raises(ByTheWayError, match="takes no video"):
        check(replace(request, video=footage(9)), pipe)


def test_images_and_a_video_at_once() -> None:
    pipe, _ = animatediff.video_to_video_controlnet()
    with pytest.raises(ByTheWayError, match="starts from images and a video at once"):
        check(replace(REQUEST, video=footage()), pipe)


def test_defaults_of_calls_unlike_animatediffs() -> None:
    if "stable_video_diffusion" not in temporal.FACTORIES:
        pytest.skip("this diffusers does not have it")
    pipe, _ = temporal.FACTORIES["stable_video_diffusion"](frames=4)
    asked = check(Request(prompts=("a",), seed=1, images=(FIRST,)), pipe)
    assert (asked.num_frames, asked.width, asked.height, asked.steps) == (4, 1024, 576, 25)
    assert (asked.guidance_scale, asked.fps) == (3.0, 7.0)
    with pytest.raises(ByTheWayError, match="takes no negative prompt"):
        check(Request(prompts=("a",), seed=1, images=(FIRST,), negative_prompt="snow"), pipe)
