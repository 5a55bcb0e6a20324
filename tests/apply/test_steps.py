"""The window of active steps: with every scheduler, with FreeInit, with part of a run; and by hand."""

import math

import diffusers
import pytest
import torch
from diffusers import AnimateDiffVideoToVideoPipeline, DDIMScheduler, EulerDiscreteScheduler, HeunDiscreteScheduler

from bytheway import ByTheWayConfig, ByTheWayError, enhanced
from bytheway.apply.steps import StepTracker, count_active, timestep_index
from tests.toys.tiny import generate, make_pipeline

# diffusers' schedulers hand tensors to numpy in ways that numpy 2 warns of.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context:DeprecationWarning"),
]

HALF = ByTheWayConfig(active_steps=0.5)
SMALL = {"num_frames": 4, "height": 8, "width": 8}


@pytest.fixture(scope="module")
def pipe():
    return make_pipeline(channels=(32, 32), cross_attention=False)


@pytest.fixture(autouse=True)
def ddim(pipe):
    """Every test begins with the scheduler the pipeline came with."""
    scheduler = pipe.scheduler
    yield
    pipe.scheduler = scheduler


def calls(run):
    """(run, step, timestep) of each recorded call of the denoiser, in order."""
    rows = run.record.rows()
    first = (rows[0].block, rows[0].module, rows[0].attention)
    return [(row.run, row.step, row.timestep) for row in rows if (row.block, row.module, row.attention) == first]


@pytest.mark.parametrize(
    "name",
    [
        "DDIMScheduler",
        "DDPMScheduler",
        "DEISMultistepScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "EulerAncestralDiscreteScheduler",
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "LCMScheduler",
        "LMSDiscreteScheduler",
        "PNDMScheduler",
        "UniPCMultistepScheduler",
    ],
)
def test_the_first_half_of_the_steps_is_active(pipe, name):
    pipe.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config)
    plain = generate(pipe, num_inference_steps=5, **SMALL)
    with enhanced(pipe, HALF) as run:
        video = generate(pipe, num_inference_steps=5, **SMALL)
    timesteps, order = pipe.scheduler.timesteps.tolist(), pipe.scheduler.order
    active = math.ceil(math.ceil(len(timesteps) / order) / 2)
    assert calls(run) == [(0, index // order, t) for index, t in enumerate(timesteps[: active * order])]
    assert run.steps.active_steps == active
    assert video.isfinite().all()
    assert (video - plain).abs().max() > 1e-3


def test_order_2_calls_the_denoiser_twice_a_step(pipe):
    pipe.scheduler = HeunDiscreteScheduler.from_config(pipe.scheduler.config)
    with enhanced(pipe, ByTheWayConfig(active_steps=0.2)) as run:
        generate(pipe, num_inference_steps=5, **SMALL)
    assert [step for _, step, _ in calls(run)] == [0, 0]
    assert run.steps.steps == 5


@pytest.mark.parametrize(("fast", "steps"), [(False, [4, 4]), (True, [2, 4])])
def test_free_init_opens_the_window_in_each_iteration(pipe, fast, steps):
    pipe.enable_free_init(num_iters=2, use_fast_sampling=fast)
    with enhanced(pipe, HALF) as run:
        generate(pipe, num_inference_steps=4, **SMALL)
    pipe.disable_free_init()
    expected = [(iteration, step) for iteration, number in enumerate(steps) for step in range(number // 2)]
    assert [(number, step) for number, step, _ in calls(run)] == expected


def test_each_generation_is_a_run(pipe):
    with enhanced(pipe, HALF) as run:
        for _ in range(3):
            generate(pipe, num_inference_steps=2, **SMALL)
    assert [(number, step) for number, step, _ in calls(run)] == [(0, 0), (1, 0), (2, 0)]


@pytest.mark.parametrize("scheduler", [DDIMScheduler, HeunDiscreteScheduler, EulerDiscreteScheduler])
def test_video_to_video_counts_the_steps_it_runs(pipe, scheduler):
    components = pipe.components | {"scheduler": scheduler.from_config(pipe.scheduler.config)}
    to_video = AnimateDiffVideoToVideoPipeline(**components)
    to_video.set_progress_bar_config(disable=True)
    frames = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def convert():
        return to_video(
            video=[list(frames)],
            prompt="a red ball",
            height=8,
            width=8,
            num_inference_steps=8,
            strength=0.5,
            generator=torch.Generator().manual_seed(0),
            output_type="latent",
        ).frames

    plain = convert()
    with enhanced(to_video, HALF) as run:
        video = convert()
    order = to_video.scheduler.order
    begun = to_video.scheduler.timesteps.tolist()[4 * order : 6 * order]
    assert calls(run) == [(0, index // order, t) for index, t in enumerate(begun)]
    assert (video - plain).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("fraction", "steps", "active"),
    [(0.2, 25, 5), (0.2, 50, 10), (0.2, 26, 6), (0.2, 1, 1), (0.1, 30, 3), (0.07, 100, 7), (0.0, 25, 0), (1.0, 25, 25)],
)
def test_share_of_steps_is_rounded_up(fraction, steps, active):
    assert count_active(fraction, steps) == active


def test_steps_are_found_from_views_numbers_and_copies():
    scheduler = DDIMScheduler()
    for convert in (lambda t: t, lambda t: t[None], lambda t: t.expand(4), int, float, torch.clone, torch.Tensor.float):
        scheduler.set_timesteps(10)
        window = StepTracker(0.2)
        places = []
        for t in scheduler.timesteps:
            window.locate(convert(t), scheduler)
            places.append((window.run, window.step, window.active))
        assert places == [(0, step, step < 2) for step in range(10)]
        assert (window.steps, window.active_steps) == (10, 2)


def test_timesteps_listed_twice_are_told_apart_by_the_scheduler():
    scheduler = HeunDiscreteScheduler()
    scheduler.set_timesteps(4)
    window, steps = StepTracker(0.5), []
    sample = torch.zeros(1)
    for t in scheduler.timesteps:
        sample = scheduler.scale_model_input(sample, t)
        window.locate(float(t), scheduler)
        steps.append(window.step)
        sample = scheduler.step(sample, t, sample).prev_sample
    assert steps == [0, 0, 1, 1, 2, 2, 3]


def test_a_run_may_start_late_and_go_back():
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(10)
    window = StepTracker(0.5)
    places = []
    for index in (6, 7, 8, 9, 6, 7, 2):
        window.locate(scheduler.timesteps[index], scheduler)
        places.append((window.run, window.step, window.steps))
    assert places == [(0, 0, 4), (0, 1, 4), (0, 2, 4), (0, 3, 4), (0, 0, 4), (0, 1, 4), (0, 0, 8)]


def test_a_run_may_end_early():
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(10)
    window = StepTracker(0.5)
    window.locate(scheduler.timesteps[0], scheduler, num_timesteps=4)
    assert (window.steps, window.active_steps) == (4, 2)


def test_unknown_timestep():
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(10)
    with pytest.raises(ByTheWayError, match="timestep 5000"):
        StepTracker(0.2).locate(5000, scheduler)


def test_rounds_over_the_same_timesteps():
    """A pipeline that works tile by tile counts the steps of all its tiles."""
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(5)
    window = StepTracker(0.2)
    active = []
    for timestep in [*scheduler.timesteps, *scheduler.timesteps]:
        window.locate(timestep, scheduler, num_timesteps=10)
        active.append(window.active)
    assert active == [True, False, False, False, False] * 2


def test_timesteps_are_found_whatever_the_default_device():
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(4)
    with torch.device("meta"):
        assert timestep_index(float(scheduler.timesteps[2]), scheduler.timesteps, scheduler) == 2
