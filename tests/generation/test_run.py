"""A run from prompts to clips, without the command line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import HeunDiscreteScheduler
from diffusers.pipelines.ltx.pipeline_ltx import retrieve_timesteps

from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.generation import sample
from bytheway.generation.job import check
from bytheway.generation.request import Request
from bytheway.generation.run import generate
from bytheway.generation.sample import Step, _own_randomness
from bytheway.models import profile_of

STRONG = ByTheWayConfig(alpha=0.6, beta=4.0, tau=7, active_steps=0.5)
REQUEST = Request(prompts=("a red ball bounces",), seed=7, num_frames=6, width=16, height=16, steps=4)


def test_same_seed_same_frames(tiny_pipeline: Any) -> None:
    first, second = (next(generate(tiny_pipeline, replace(REQUEST, config=STRONG))) for _ in range(2))
    other = next(generate(tiny_pipeline, replace(REQUEST, config=STRONG, seed=8)))
    np.testing.assert_array_equal(first.frames, second.frames)
    assert (first.frames != other.frames).any()
    assert first.frames.shape == (6, 16, 16, 3)


def test_global_seed_is_left_alone(tiny_pipeline: Any) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    next(generate(tiny_pipeline, REQUEST))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["mps", "cuda"])
def test_global_seed_of_an_accelerator_is_left_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device whose generator is played by one of the CPU's."""
    module, own, generator = torch.get_device_module(kind), torch.Generator().manual_seed(1), torch.Generator
    monkeypatch.setattr(module, "get_rng_state", lambda device: own.get_state())
    monkeypatch.setattr(module, "set_rng_state", lambda state, device: own.set_state(state))
    monkeypatch.setattr(torch, "Generator", lambda device: generator())
    before, drawn = own.get_state(), []
    for seed in (7, 7, 8):
        with _own_randomness(SimpleNamespace(_execution_device=torch.device(kind)), seed):
            drawn.append(torch.rand(4, generator=own).tolist())
        assert torch.equal(own.get_state(), before)
    assert drawn[0] == drawn[1] != drawn[2]


def test_clips_do_not_depend_on_each_other(tiny_pipeline: Any) -> None:
    prompts = ("a red ball bounces", "a blue star turns")
    request = replace(REQUEST, prompts=prompts, num_videos=2, config=STRONG, batch_size=1)
    clips = list(generate(tiny_pipeline, request))
    assert [(c.settings["prompt"], c.settings["seed"]) for c in clips] == [(p, s) for p in prompts for s in (7, 8)]
    alone = next(generate(tiny_pipeline, replace(REQUEST, prompts=prompts[1:], seed=8, config=STRONG)))
    np.testing.assert_array_equal(clips[3].frames, alone.frames)
    assert (clips[2].frames != clips[3].frames).any()


def test_comparison_is_vanilla_and_enhanced_of_one_seed(tiny_pipeline: Any) -> None:
    both = next(generate(tiny_pipeline, replace(REQUEST, config=STRONG, compare=True)))
    vanilla = next(generate(tiny_pipeline, REQUEST))
    enhanced = next(generate(tiny_pipeline, replace(REQUEST, config=STRONG)))
    assert both.vanilla is not None
    np.testing.assert_array_equal(both.vanilla, vanilla.frames)
    np.testing.assert_array_equal(both.frames, enhanced.frames)
    assert (vanilla.frames != enhanced.frames).any()
    assert both.shown().shape[2] > 2 * 256
    assert vanilla.shown() is vanilla.frames


def test_settings_make_the_clip_again(tiny_pipeline: Any) -> None:
    request = replace(REQUEST, config=STRONG, negative_prompt="snow", guidance_scale=3.0)
    clip = next(generate(tiny_pipeline, request))
    s = json.loads(json.dumps(clip.settings))
    config = ByTheWayConfig.from_dict(s["config"])
    assert config == STRONG
    sampling = ["seed", "num_frames", "width", "height", "steps", "guidance_scale", "negative_prompt", "fps"]
    again = Request((s["prompt"],), config=config, **{name: s[name] for name in sampling})
    np.testing.assert_array_equal(next(generate(tiny_pipeline, again)).frames, clip.frames)
    assert s["scheduler"] == "DDIMScheduler"
    assert s["versions"].keys() == {"bytheway", "torch", "diffusers", "python"}


def test_record(tiny_pipeline: Any) -> None:
    active = next(generate(tiny_pipeline, replace(REQUEST, config=STRONG, record=True))).record
    assert active is not None
    assert {row.step for row in active.rows()} == {0, 1}
    watched = next(generate(tiny_pipeline, replace(REQUEST, record=True))).record
    assert watched is not None
    assert {row.step for row in watched.rows()} == {0, 1, 2, 3}
    assert {row.beta for row in watched.rows()} == {1.0}
    assert next(generate(tiny_pipeline, replace(REQUEST, config=STRONG))).record is None


def test_model_defaults(tiny_pipeline: Any) -> None:
    job = check(Request(prompts=("a",), seed=1), tiny_pipeline)
    assert (job.num_frames, job.width, job.height, job.steps, job.steps_run) == (16, 16, 16, 25, 25)
    assert (job.guidance_scale, job.fps) == (7.5, 8.0)
    assert check(Request(prompts=("a",), seed=1, guidance_scale=0.0), tiny_pipeline).guidance_scale == 0


def test_steps_tell_the_window(tiny_pipeline: Any) -> None:
    seen: list[Step] = []
    next(generate(tiny_pipeline, replace(REQUEST, config=STRONG, compare=True), seen.append))
    assert [(s.variant, s.done, s.steps, s.active) for s in seen] == [
        *(("vanilla", done, 4, 0) for done in range(5)),
        *(("enhanced", done, 4, 2) for done in range(5)),
    ]


def test_steps_of_free_init(tiny_pipeline: Any) -> None:
    seen: list[Step] = []
    plain = next(generate(tiny_pipeline, replace(REQUEST, steps=2)))
    clip = next(generate(tiny_pipeline, replace(REQUEST, steps=2, free_init=True), seen.append))
    assert [(s.iteration, s.done) for s in seen] == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]
    assert {s.iterations for s in seen} == {3}
    assert (clip.frames != plain.frames).any()
    assert not tiny_pipeline.free_init_enabled


@pytest.mark.parametrize("free_init", [False, True])
def test_a_pipeline_that_has_free_init_on_keeps_its_own(tiny_pipeline: Any, free_init: bool) -> None:
    tiny_pipeline.enable_free_init(num_iters=2)
    seen: list[Step] = []
    clip = next(generate(tiny_pipeline, replace(REQUEST, steps=1, free_init=free_init), seen.append))
    assert {s.iterations for s in seen} == {2}
    assert seen[-1].iteration == 1
    assert clip.settings["free_init"] is True
    assert (tiny_pipeline.free_init_enabled, tiny_pipeline._free_init_num_iters) == (True, 2)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' Heun with numpy 2
def test_steps_of_a_scheduler_of_order_two(tiny_pipeline: Any) -> None:
    tiny_pipeline.scheduler = HeunDiscreteScheduler.from_config(tiny_pipeline.scheduler.config)
    seen: list[Step] = []
    next(generate(tiny_pipeline, replace(REQUEST, config=STRONG), seen.append))
    assert [s.done for s in seen] == [0, 0, 1, 1, 2, 2, 3, 4]
    assert {(s.steps, s.active) for s in seen} == {(4, 2)}


def test_breaking_off_gives_the_pipeline_back(tiny_pipeline: Any) -> None:
    before = next(generate(tiny_pipeline, REQUEST)).frames

    def stop(step: Step) -> None:
        if step.done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(generate(tiny_pipeline, replace(REQUEST, config=STRONG, free_init=True), stop))
    np.testing.assert_array_equal(next(generate(tiny_pipeline, REQUEST)).frames, before)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompts": ()}, "prompt is empty"),
        ({"prompts": ("a ball", " \n")}, "prompt is empty"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, "seed is 9223372036854775808"),
        ({"num_frames": 0}, "num_frames is 0"),
        ({"num_videos": 0}, "num_videos is 0"),
        ({"steps": -3}, "steps is -3"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"compare": True}, "comparison needs"),
    ],
)
def test_impossible_requests(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ByTheWayError, match=said):
        replace(REQUEST, **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 20}, "20x16; both must be multiples of 8"),
        ({"num_frames": 33}, "at most 32 frames"),
        ({"steps": 1001}, "schedule has 1000"),
    ],
)
def test_requests_beyond_the_model(tiny_pipeline: Any, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ByTheWayError, match=said):
        next(generate(tiny_pipeline, replace(REQUEST, **changes)))


def test_a_bug_in_a_run_is_no_refusal(tiny_pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_pipeline, "encode_prompt", lambda *args, **kwargs: [None])
    with pytest.raises(ValueError, match="not enough values to unpack") as raised:  # in a line of diffusers
        next(generate(tiny_pipeline, REQUEST))
    assert not isinstance(raised.value, ByTheWayError)


def test_a_pipeline_that_makes_no_videos() -> None:
    class Painter:
        def __call__(self, prompt: str, width: int) -> None: ...

    with pytest.raises(ByTheWayError, match=r"\(Painter\) is asked for neither frames nor a video"):
        check(REQUEST, Painter())


@pytest.mark.parametrize("setting", ["timestep_spacing", "prediction_type"])
def test_what_diffusers_refuses_in_a_run_is_a_sentence(tiny_pipeline: Any, setting: str) -> None:
    tiny_pipeline.scheduler.register_to_config(**{setting: "nothing"})
    with pytest.raises(ByTheWayError, match=r"^This model \(AnimateDiffPipeline\) cannot be run so: .*nothing"):
        next(generate(tiny_pipeline, REQUEST))


def test_inputs_that_the_pipeline_refuses_are_a_sentence(tiny_pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is that it does not take; ours are checked before."""
    monkeypatch.setattr(sample, "_each", lambda values: values[0] if isinstance(values[0], torch.Generator) else 5)
    with pytest.raises(ByTheWayError, match=r"\(AnimateDiffPipeline\) cannot be run so: `prompt` has to be of type"):
        next(generate(tiny_pipeline, REQUEST))


def test_a_scheduler_that_does_not_fit_its_pipeline_is_a_sentence(tiny_pipeline: Any) -> None:
    with (
        pytest.raises(ByTheWayError, match=r"cannot be run so: The current scheduler class .* custom sigmas"),
        sample._refusals_said(tiny_pipeline),
    ):
        retrieve_timesteps(tiny_pipeline.scheduler, sigmas=[1.0, 0.5])


def test_what_on_step_raises_stays_what_it_is(tiny_pipeline: Any) -> None:
    def stop(step: Step) -> None:
        if step.done == 1:
            raise ValueError("enough")

    with pytest.raises(ValueError, match=r"^enough$"):
        next(generate(tiny_pipeline, REQUEST, stop))


def test_a_schedule_without_steps(tiny_pipeline: Any) -> None:
    tiny_pipeline.scheduler.register_to_config(num_train_timesteps=0)
    with pytest.raises(ByTheWayError, match="schedule has 0"):
        check(REQUEST, tiny_pipeline)


def test_unknown_words(tiny_pipeline: Any, tmp_path: Path, world: Callable[[Path], None]) -> None:
    assert profile_of(tiny_pipeline).unknown_words("a galloping horse") == []
    world(tmp_path)
    tiny_pipeline.register_to_config(_name_or_path=str(tmp_path))
    prompt = "A red Ball, galloping on the moon's moon; red!"
    profile = profile_of(tiny_pipeline)
    assert profile.unknown_words(prompt) == ["galloping", "the", "moon's", "moon"]
    assert profile.unknown_words("A red ball.") == []


@pytest.fixture
def world() -> Callable[[Path], None]:
    """Writes the `world.json` of a model that knows a few words."""

    def write(folder: Path) -> None:
        defaults = {"num_frames": 5, "size": [24, 16], "steps": 3, "guidance_scale": 4.0, "fps": 6}
        content = {"words": ["a", "red", "ball", "on"], "defaults": defaults}
        (folder / "world.json").write_text(json.dumps(content))

    return write


def test_defaults_of_a_world(tiny_pipeline: Any, tmp_path: Path, world: Callable[[Path], None]) -> None:
    world(tmp_path)
    tiny_pipeline.register_to_config(_name_or_path=str(tmp_path))
    clip = next(generate(tiny_pipeline, Request(prompts=("a red ball",), seed=1)))
    assert clip.frames.shape == (5, 16, 24, 3)
    assert (clip.settings["steps"], clip.settings["guidance_scale"], clip.fps) == (3, 4.0, 6.0)
