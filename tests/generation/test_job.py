"""A request becomes a checked job once; clips from prompts alone; one pipeline makes one batch at a time."""

import inspect
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import AnimateDiffPipeline

import bytheway
from bytheway.clips import inputs
from bytheway.clips.inputs import VideoInput
from bytheway.clips.read import load_video, read_metadata
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError, ByTheWayWarning
from bytheway.generation.job import beyond_training, check
from bytheway.generation.request import Request
from bytheway.generation.run import Clip, generate
from bytheway.generation.sample import Step
from bytheway.models import profile_of
from tests.toys import animatediff, joint

REQUEST = Request(prompts=("a red ball bounces",), seed=7, num_frames=4, width=16, height=16, steps=2)
CONFIG = ByTheWayConfig(alpha=0.6, beta=4.0, tau=7, active_steps=0.5)
SMALL: dict[str, Any] = {"seed": 7, "num_frames": 4, "width": 16, "height": 16, "steps": 2}


def video(frames: int) -> VideoInput:
    pictures = np.random.default_rng(0).integers(0, 256, (frames, 24, 32, 3), dtype=np.uint8)
    return VideoInput(pictures, 5.0, "in.gif")


def test_asked_once_and_scaled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One comparison from a video: one look at the call's signature, one scaling of each frame that is used."""
    pipe, _ = animatediff.video_to_video()
    looked, scaled = [], []
    signature, fit = inspect.signature, inputs.fit

    def counting_signature(function: Any, *args: Any, **kwargs: Any) -> inspect.Signature:
        looked.append(getattr(function, "__func__", function))
        return signature(function, *args, **kwargs)

    def counting_fit(image: Any, *size: int) -> Any:
        scaled.append(np.asarray(image).tobytes())
        return fit(image, *size)

    monkeypatch.setattr(inspect, "signature", counting_signature)
    monkeypatch.setattr(inputs, "fit", counting_fit)
    start = video(6)
    (clip,) = generate(pipe, replace(REQUEST, config=CONFIG, compare=True, video=start))
    assert clip.vanilla is not None
    assert looked.count(type(pipe).__call__) == 1
    assert sorted(scaled) == sorted(frame.tobytes() for frame in start.frames[:4])


def test_a_job_says_what_is_made(tiny_pipeline: Any) -> None:
    request = replace(REQUEST, prompts=("a ball", "a star"), num_videos=2)
    job = check(request, profile_of(tiny_pipeline))
    assert [(clip.index, clip.prompt, clip.seed) for clip in job.clips] == [
        (0, "a ball", 7),
        (1, "a ball", 8),
        (2, "a star", 7),
        (3, "a star", 8),
    ]
    assert (job.free_init_iterations, job.strength, job.video, job.inputs) == (None, None, None, {})


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"width": 20}, "size"),
        ({"num_frames": 33}, "num_frames"),
        ({"steps": 1001}, "steps"),
        ({"video": video(4)}, "model"),
    ],
)
def test_errors_say_which_setting_they_are_about(tiny_pipeline: Any, changes: dict[str, Any], setting: str) -> None:
    with pytest.raises(ByTheWayError) as refusal:
        check(replace(REQUEST, **changes), tiny_pipeline)
    assert refusal.value.setting == setting


def test_a_request_is_refused_when_it_is_made_not_when_its_first_clip_is_asked_for(tiny_pipeline: Any) -> None:
    with pytest.raises(ByTheWayError, match="multiples of 8"):
        generate(tiny_pipeline, replace(REQUEST, width=20))


def test_a_prompt_is_enough(tiny_pipeline: Any, tmp_path: Path) -> None:
    """The preset's settings are used; without a seed one is drawn, and told in the settings."""
    for clip in bytheway.generate(tiny_pipeline, "a red ball", **SMALL):
        clip.save(tmp_path / "ball.gif")
    settings = read_metadata(tmp_path / "ball.gif")
    assert ByTheWayConfig.from_dict(settings["config"]) == profile_of(tiny_pipeline).preset.config
    assert (settings["seed"], settings["prompt"]) == (7, "a red ball")
    drawn = [
        clip.settings["seed"] for clip in generate(tiny_pipeline, ["a ball", "a star"], **{**SMALL, "seed": 2**40})
    ]
    assert drawn == [2**40, 2**40]
    assert Request(("a ball",)).seed != Request(("a ball",)).seed


def test_config_none_leaves_the_method_out(tiny_pipeline: Any) -> None:
    (plain,) = generate(tiny_pipeline, "a red ball bounces", config=None, **SMALL)
    (vanilla,) = generate(tiny_pipeline, REQUEST)
    assert plain.settings["config"] is None
    np.testing.assert_array_equal(plain.frames, vanilla.frames)


def test_a_request_with_other_settings_beside_it(tiny_pipeline: Any) -> None:
    with pytest.raises(ByTheWayError, match="The request says everything; put steps into it"):
        generate(tiny_pipeline, REQUEST, steps=3)
    with pytest.raises(TypeError, match="'sede'"):
        generate(tiny_pipeline, "a ball", sede=3)


@pytest.mark.parametrize(("name", "scale", "size"), [("a.gif", None, 256), ("a.gif", 3, 48), ("a", None, 16)])
def test_saving_enlarges_videos_and_keeps_the_pixels_of_pngs(
    tiny_pipeline: Any, tmp_path: Path, name: str, scale: int | None, size: int
) -> None:
    (clip,) = generate(tiny_pipeline, REQUEST)
    assert clip.save(tmp_path / name, scale=scale) == tmp_path / name
    frames, fps = load_video(tmp_path / name)
    assert (frames.shape, fps) == ((4, size, size, 3), clip.fps)
    assert read_metadata(tmp_path / name)["scale"] == size // 16


class Meeting:
    """Two threads: the first waits in its first step until the other has tried."""

    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = first, second
        self.begun, self.tried = threading.Event(), threading.Event()
        self.made: list[Clip] = []

    def wait(self, step: Step) -> None:
        self.begun.set()
        assert self.tried.wait(60)

    def __call__(self) -> ByTheWayError | None:
        """What the second call says, after which the first goes on."""
        thread = threading.Thread(target=lambda: self.made.extend(generate(self.first, REQUEST, self.wait)))
        thread.start()
        try:
            assert self.begun.wait(60)
            self.made += generate(self.second, REQUEST)
        except ByTheWayError as error:
            return error
        finally:
            self.tried.set()
            thread.join()
        return None


def test_two_runs_of_one_pipeline_at_once(tiny_pipeline: Any) -> None:
    (alone,) = generate(tiny_pipeline, REQUEST)
    meeting = Meeting(tiny_pipeline, tiny_pipeline)
    refusal = meeting()
    assert "is making other clips at the moment; wait" in str(refusal)
    np.testing.assert_array_equal(meeting.made[0].frames, alone.frames)
    np.testing.assert_array_equal(next(generate(tiny_pipeline, REQUEST)).frames, alone.frames)


def test_two_pipelines_with_one_scheduler_at_once(tiny_pipeline: Any) -> None:
    other = AnimateDiffPipeline(**tiny_pipeline.components)
    meeting = Meeting(tiny_pipeline, other)
    assert "another with the same scheduler" in str(meeting())


def test_pipelines_that_share_a_unet_are_two(tiny_pipeline: Any) -> None:
    parts = tiny_pipeline.components
    scheduler = parts["scheduler"].from_config(parts["scheduler"].config)
    other = AnimateDiffPipeline(**parts | {"scheduler": scheduler})
    other.set_progress_bar_config(disable=True)
    assert other.unet is tiny_pipeline.unet
    meeting = Meeting(tiny_pipeline, other)
    assert meeting() is None
    np.testing.assert_array_equal(meeting.made[0].frames, meeting.made[1].frames)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, ByTheWayError("no")])
def test_a_pipeline_is_free_again_after_a_run_that_was_broken_off(
    tiny_pipeline: Any, error: type[BaseException] | BaseException
) -> None:
    def stop(step: Step) -> None:
        raise error

    with pytest.raises(error if isinstance(error, type) else type(error)):
        next(generate(tiny_pipeline, REQUEST, stop))
    next(generate(tiny_pipeline, REQUEST))


def test_a_run_that_is_left_between_its_clips_does_not_keep_the_pipeline(tiny_pipeline: Any) -> None:
    clips = generate(tiny_pipeline, replace(REQUEST, num_videos=2))
    next(clips)
    next(generate(tiny_pipeline, REQUEST))
    assert next(clips).settings["seed"] == 8


@pytest.mark.parametrize(
    ("size", "num_frames", "said"),
    [
        ((64, 64), 16, None),
        ((72, 64), 16, None),
        ((96, 64), 24, None),
        ((128, 64), 16, "16 frames of 64x64, and 16 frames of 128x64 are asked for"),
        ((104, 64), 16, "16 frames of 104x64"),
        ((96, 40), 16, "16 frames of 96x40"),  # as large, and too long
        ((48, 48), 16, "16 frames of 48x48"),
        ((64, 64), 25, "25 frames of 64x64"),
        ((64, 64), 8, None),
        ((64, 64), 7, "7 frames of 64x64"),
    ],
)
def test_what_a_model_was_not_made_for_is_said(
    tiny_pipeline: Any, size: tuple[int, int], num_frames: int, said: str | None
) -> None:
    """A square model of 64x64, and 16 frames."""
    tiny_pipeline.unet.register_to_config(sample_size=32)
    job = check(replace(REQUEST, num_frames=num_frames, width=size[0], height=size[1]), tiny_pipeline)
    sentences = beyond_training(job)
    assert len(sentences) == (said is not None)
    assert all(sentence.startswith("This model (AnimateDiffPipeline) was made for 16 f") for sentence in sentences)
    assert said is None or said in sentences[0]


def test_free_noise_is_made_for_any_length(tiny_pipeline: Any) -> None:
    request = replace(REQUEST, num_frames=32)
    assert len(beyond_training(check(request, tiny_pipeline))) == 1
    tiny_pipeline.enable_free_noise(context_length=16, context_stride=8)
    assert beyond_training(check(request, tiny_pipeline)) == []


@pytest.mark.parametrize(
    ("name", "size", "num_frames", "said"),
    [
        ("wan", (1280, 720), 81, None),
        ("wan", (832, 480), 5, None),  # joint attention is made for short clips, too
        ("wan", (832, 480), 161, "was made for 81 frames of 832x480 or 1280x720, and 161 frames of 832x480 are asked"),
        ("wan", (256, 256), 81, "81 frames of 256x256"),
        ("wan 5B", (1280, 704), 121, None),
        ("wan 5B", (832, 480), 121, "was made for 121 frames of 1280x704,"),
        ("cogvideox_1_5", (768, 768), 161, None),
        ("hunyuanvideo", (960, 544), 129, None),
        ("ltx", (256, 256), 257, None),
        ("ltx", (704, 512), 393, "was made for 161 or 257 frames, and 393 frames are asked for"),
        ("mochi", (848, 480), 163, None),
    ],
)
def test_what_the_makers_say_works_is_not_warned_of(
    name: str, size: tuple[int, int], num_frames: int, said: str | None
) -> None:
    pipe, _ = joint.FACTORIES[name.partition(" ")[0]]()
    if name == "wan 5B":
        pipe.register_to_config(expand_timesteps=True)
    sentences = beyond_training(check(replace(REQUEST, num_frames=num_frames, width=size[0], height=size[1]), pipe))
    assert len(sentences) == (said is not None)
    assert said is None or said in sentences[0]


def test_the_packaged_model_is_made_for_what_its_folder_says() -> None:
    pipe = bytheway.load("diorama", device="cpu")
    sentence = (
        "was made for 16 frames of 64x64, and 16 frames of 128x64 are asked for, at which its clips may fall apart"
    )
    with pytest.warns(ByTheWayWarning, match=sentence):
        generate(pipe, "a red ball rolling to the right on grass", width=128, height=64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generate(pipe, "a red ball rolling to the right on grass")
