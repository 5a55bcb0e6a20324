"""Runs that wait after their active steps: what is finished is bit for bit the clip of its seed alone."""

import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.hooks import FirstBlockCacheConfig
from PIL import Image

from bytheway.clips.inputs import ImageInput, VideoInput
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.families.known import denoiser_of
from bytheway.generation.clip import Clip
from bytheway.generation.job import Job, check
from bytheway.generation.paused import PausedRun, check_can_wait
from bytheway.generation.request import Request
from bytheway.generation.run import generate
from bytheway.generation.sample import Glimpse, Step
from tests.toys import animatediff, joint, temporal, tiny, videocrafter
from tests.toys.parts import reading_prompts

CONFIG = ByTheWayConfig(alpha=0.6, beta=4.0, tau=7, active_steps=0.5)
JOINT = ByTheWayConfig(alpha=0, beta=2.5, tau=1, active_steps=0.5)
REQUEST = Request(("a red ball bounces",), seed=7, num_frames=4, width=16, height=16, steps=4, num_videos=3)
SIZES: dict[str, dict[str, Any]] = {
    "cogvideox": {"width": 48, "height": 32, "num_frames": 16},
    "wan": {"width": 48, "height": 32, "num_frames": 13},
    "ltx": {"width": 64, "height": 32, "num_frames": 13},
}
IN_DIFFUSERS = pytest.mark.filterwarnings("ignore:__array__ implementation", "ignore:In CPU autocast")


def image(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8))


FIRST = ImageInput(image(0), "cat.png")
FOOTAGE = VideoInput(np.stack([np.asarray(image(seed)) for seed in range(4)]), 5.0, "in.gif")


def with_scheduler(name: str, **settings: Any) -> Any:
    pipe = tiny.make_pipeline()
    pipe.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config, **settings)
    return pipe


def offloaded() -> Any:
    pipe = tiny.make_pipeline()
    pipe.enable_model_cpu_offload(device=torch.device("cpu"))
    return pipe


def embedded(name: str, scheduler: Callable[[Any], Any] = lambda scheduler: scheduler) -> tuple[Any, Request]:
    pipe, call = joint.FACTORIES[name]()
    pipe.scheduler = scheduler(pipe.scheduler)
    return reading_prompts(pipe, call), replace(REQUEST, config=JOINT, **SIZES[name])


def cogvideox_dpm() -> tuple[Any, Request]:
    return embedded("cogvideox", lambda old: diffusers.CogVideoXDPMScheduler.from_config(old.config))


def wan_unipc() -> tuple[Any, Request]:
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
    return embedded("wan", lambda old: diffusers.UniPCMultistepScheduler(**flow))


ENHANCED = replace(REQUEST, config=CONFIG)
CASES: dict[str, Callable[[], tuple[Any, Request]]] = {
    "animatediff": lambda: (tiny.make_pipeline(), ENHANCED),
    "recorded": lambda: (tiny.make_pipeline(), replace(ENHANCED, record=True)),
    "vanilla, observed": lambda: (tiny.make_pipeline(), replace(REQUEST, record=True)),
    "multistep": lambda: (with_scheduler("DPMSolverMultistepScheduler"), ENHANCED),
    "ancestral": lambda: (with_scheduler("EulerAncestralDiscreteScheduler"), ENHANCED),
    "order of two": lambda: (with_scheduler("HeunDiscreteScheduler"), ENHANCED),
    "one noise for all": lambda: (with_scheduler("LCMScheduler"), ENHANCED),
    "offloaded": lambda: (offloaded(), ENHANCED),
    "from a video": lambda: (animatediff.video_to_video()[0], replace(ENHANCED, video=FOOTAGE, strength=0.5, steps=8)),
    # These two draw from torch's global generator.
    "SparseCtrl": lambda: (animatediff.sparse_controlnet()[0], replace(ENHANCED, images=(FIRST,))),
    "I2VGenXL, without callbacks": lambda: (temporal.i2vgenxl()[0], replace(ENHANCED, images=(FIRST,))),
    "ModelScope, with the old callbacks": lambda: (temporal.text_to_video()[0], ENHANCED),
    "VideoCrafter2": lambda: (videocrafter.make_pipeline(), ENHANCED),
    "CogVideoX": lambda: embedded("cogvideox"),
    "CogVideoX, DPM": cogvideox_dpm,
    "Wan": lambda: embedded("wan"),
    "Wan, multistep": wan_unipc,
    "LTX-Video": lambda: embedded("ltx"),
}


def quiet(step: Step) -> None:
    pass


def runs_of(pipe: Any, job: Job, on_step: Callable[[Step], None] = quiet) -> list[PausedRun]:
    return [PausedRun(pipe, job, clip, on_step) for clip in job.clips]


def alone(pipe: Any, request: Request, seed: int) -> Clip:
    return next(generate(pipe, replace(request, num_videos=1, seed=seed, record=False)))


@IN_DIFFUSERS
@pytest.mark.parametrize("case", CASES)
def test_what_is_finished_is_the_clip_of_its_seed_alone(case: str) -> None:
    """One is stopped, and two go on in another order than they began in."""
    pipe, request = CASES[case]()
    job = check(request, pipe)
    wanted = {seed: alone(pipe, request, seed) for seed in (7, 9)}
    state = torch.get_rng_state()
    first, second, third = runs_of(pipe, job)
    seen = [run.start() for run in (first, second, third)]
    second.stop()
    made = {9: third.finish(), 7: first.finish()}
    assert torch.equal(torch.get_rng_state(), state)
    for glimpse in seen:
        assert glimpse.done == glimpse.active > 0
    for seed, clip in made.items():
        np.testing.assert_array_equal(clip.frames, wanted[seed].frames)
        assert clip.settings == wanted[seed].settings
    assert (made[7].frames != made[9].frames).any()
    again = alone(pipe, request, 7)
    np.testing.assert_array_equal(again.frames, wanted[7].frames)


@pytest.mark.parametrize("config", [CONFIG, None])
def test_what_is_recorded_is_of_the_active_steps_and_of_each_run_alone(config: ByTheWayConfig | None) -> None:
    """Without the method too: what waits and goes on is not observed to its end."""
    pipe = tiny.make_pipeline()
    request = replace(REQUEST, config=config, record=True)
    job = check(replace(request, num_videos=2), pipe)
    whole = [next(generate(pipe, replace(request, num_videos=1, seed=seed))).record for seed in (7, 8)]
    active = 2 if config else 1  # the preset's fifth of four steps
    runs = runs_of(pipe, job)
    seen = [run.start() for run in runs]
    clips = [run.finish() for run in runs]
    for glimpse, clip, record in zip(seen, clips, whole, strict=True):
        assert record is not None
        assert glimpse.record is clip.record
        assert glimpse.record is not None
        assert glimpse.record.rows() == [row for row in record.rows() if row.step < active]
    assert glimpse.record != []


def test_a_run_that_waits_leaves_the_pipeline_to_others() -> None:
    pipe = tiny.make_pipeline()
    vanilla, enhanced = alone(pipe, REQUEST, 8), alone(pipe, ENHANCED, 7)
    run, other = runs_of(pipe, check(replace(ENHANCED, num_videos=2), pipe))
    run.start()
    np.testing.assert_array_equal(alone(pipe, REQUEST, 8).frames, vanilla.frames)
    np.testing.assert_array_equal(run.finish().frames, enhanced.frames)
    other.start()
    other.stop()
    np.testing.assert_array_equal(alone(pipe, REQUEST, 8).frames, vanilla.frames)


def test_runs_take_what_a_thread_goes_by_with_them() -> None:
    """Autocast and torch's number of threads are kept for each thread."""
    pipe = tiny.make_pipeline()
    with torch.autocast("cpu", torch.bfloat16):
        wanted = alone(pipe, ENHANCED, 7)
        run = runs_of(pipe, check(ENHANCED, pipe))[0]
        run.start()
        np.testing.assert_array_equal(run.finish().frames, wanted.frames)
    assert (alone(pipe, ENHANCED, 7).frames != wanted.frames).any()


def test_no_threads_are_left_and_a_stopped_run_has_left_the_step_it_waited_in() -> None:
    pipe = tiny.make_pipeline()
    before, seen = threading.active_count(), list[Step]()
    runs = runs_of(pipe, check(ENHANCED, pipe), seen.append)
    for run in runs:
        run.start()
    assert threading.active_count() == before + 3
    for run in runs[1:]:
        run.stop()
    runs[0].finish()
    runs[0].stop()
    assert threading.active_count() == before
    assert {step.clips[0].seed: step.done for step in seen} == {7: 4, 8: 1, 9: 1}
    assert not vars(denoiser_of(pipe)).keys() & {"_bytheway"}


@pytest.mark.parametrize("at", [1, 3])
def test_what_on_step_raises_comes_out_where_the_run_is_worked_on(at: int) -> None:
    pipe = tiny.make_pipeline()

    def fail(step: Step) -> None:
        if step.done == at:
            raise KeyError("mine")

    run = runs_of(pipe, check(ENHANCED, pipe), fail)[0]

    def work() -> None:
        run.start()
        run.finish()

    with pytest.raises(KeyError, match="mine"):
        work()


def test_a_run_that_never_steps_its_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tiny.make_pipeline()
    job = check(ENHANCED, pipe)
    nothing = SimpleNamespace(frames=np.zeros((1, 4, 16, 16, 3)))
    monkeypatch.setattr(type(pipe), "__call__", lambda self, **_: nothing)
    with pytest.raises(ByTheWayError, match="takes no step with its scheduler, so that its runs cannot wait"):
        PausedRun(pipe, job, job.clips[0], quiet).start()


def first_block_cache() -> tuple[Any, Request]:
    pipe, request = embedded("cogvideox")
    pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.1))
    return pipe, request


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (lambda: (tiny.make_pipeline(), replace(ENHANCED, free_init=True)), "FreeInit denoises a clip 3 times"),
        (lambda: (animatediff.pag()[0], ENHANCED), r"\(AnimateDiffPAGPipeline\) changes its attention for the length"),
        (first_block_cache, "has a cache on that keeps the state of the run"),
    ],
)
def test_what_cannot_wait_is_refused(case: Callable[[], tuple[Any, Request]], said: str) -> None:
    pipe, request = case()
    with pytest.raises(ByTheWayError, match=said):
        check_can_wait(pipe, check(request, pipe))


@IN_DIFFUSERS
@pytest.mark.parametrize(
    "make",
    [
        lambda: (tiny.make_pipeline(), ENHANCED),
        lambda: (with_scheduler("LCMScheduler"), ENHANCED),
        lambda: (with_scheduler("DPMSolverMultistepScheduler"), ENHANCED),
        lambda: embedded("cogvideox"),
        lambda: embedded("wan"),
        wan_unipc,
    ],
)
def test_the_clip_that_the_model_predicts(make: Callable[[], tuple[Any, Request]]) -> None:
    """At the last step it is the clip itself, in latents, where the last step goes to no noise at all."""
    pipe, request = make()
    pipe.scheduler.register_to_config(timestep_spacing="trailing", set_alpha_to_one=True)
    assert request.config is not None
    job = check(replace(request, config=request.config.replace(active_steps=1.0)), pipe)
    run = PausedRun(pipe, job, job.clips[0], quiet)
    glimpse: Glimpse = run.start()
    run.stop()
    result = glimpse.step.result
    latents = result[0] if isinstance(result, tuple) else result.prev_sample
    predicted = glimpse.step.predicted()
    assert predicted.shape == glimpse.step.arguments["sample"].shape
    torch.testing.assert_close(predicted, latents, atol=2e-2, rtol=2e-2)


def test_a_scheduler_that_does_not_tell_the_predicted_clip() -> None:
    pipe = with_scheduler("PNDMScheduler", skip_prk_steps=True)
    run = PausedRun(pipe, check(ENHANCED, pipe), check(ENHANCED, pipe).clips[0], quiet)
    glimpse = run.start()
    run.stop()
    with pytest.raises(ByTheWayError, match="PNDMScheduler does not tell what the clip is going to be; give the pipe"):
        glimpse.step.predicted()
