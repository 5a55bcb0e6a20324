"""The best of several seeds: which go on, and that they are bit for bit the clips of their seeds alone."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bytheway.config import ByTheWayConfig
from bytheway.diagnosis.curves import curves_of
from bytheway.diagnosis.fit import Fit, Predictor, Skill
from bytheway.diagnosis.prediction import PLAIN_MOTION, Prediction, predict
from bytheway.errors import ByTheWayError
from bytheway.generation.job import PlannedClip
from bytheway.generation.request import Request
from bytheway.generation.run import generate
from bytheway.generation.sample import Step
from bytheway.selection.best import Choice, best_of, choose
from bytheway.selection.latents import MOTION
from tests.generation.test_paused import ENHANCED, IN_DIFFUSERS, REQUEST, alone, embedded
from tests.toys import animatediff, temporal, tiny

TWO = replace(ENHANCED, prompts=("a red ball", "a blue star"))


@pytest.fixture(scope="module")
def pipe() -> Any:
    return tiny.make_pipeline()


def test_the_best_of_each_prompt_go_on_and_are_the_clips_of_their_seeds(pipe: Any) -> None:
    """The steps that are made are those of N beginnings and k ends."""
    choices: list[Choice] = []
    steps: dict[tuple[int, int], int] = {}

    def note(step: Step) -> None:
        clip = step.clips[0]
        steps[clip.index, clip.seed] = step.done

    clips = list(best_of(pipe, TWO, 3, keep=2, aim="motion", on_step=note, on_choice=choices.append))
    assert [choice.prompt for choice in choices] == list(TWO.prompts)
    kept = []
    for choice in choices:
        assert [one.clip.seed for one in choice.candidates] == [7, 8, 9]
        ranked = sorted(choice.candidates, key=lambda one: -one.prediction.motion)
        assert [one.place for one in ranked] == [1, 2, 3]
        assert [one.kept for one in ranked] == [True, True, False]
        kept += [(choice.prompt, one.clip.seed) for one in ranked[:2]]
        assert {steps[one.clip.index, one.clip.seed] for one in ranked[:2]} == {4}
        assert steps[ranked[2].clip.index, ranked[2].clip.seed] == 1  # of its second step nobody was told
    assert [(clip.settings["prompt"], clip.settings["seed"]) for clip in clips] == kept
    for clip in clips[::3]:
        by_itself = alone(pipe, replace(TWO, prompts=(clip.settings["prompt"],)), clip.settings["seed"])
        np.testing.assert_array_equal(clip.frames, by_itself.frames)
        assert clip.settings == by_itself.settings


def test_the_prediction_is_of_the_record_of_that_seed(pipe: Any) -> None:
    choices: list[Choice] = []
    (clip,) = best_of(pipe, ENHANCED, 2, aim="structure", on_choice=choices.append)
    (choice,) = choices
    for one in choice.candidates:
        request = replace(ENHANCED, num_videos=1, seed=one.clip.seed, record=True)
        record = next(generate(pipe, request)).record
        assert record is not None
        assert one.prediction == predict(curves_of(record), None)
        assert one.prediction.motion_by == PLAIN_MOTION
    first = max(choice.candidates, key=lambda one: one.prediction.structure or 0)
    assert first.clip.seed == clip.settings["seed"]


def test_a_fit_turns_the_choice_around(pipe: Any) -> None:
    feature = "energy of up_blocks.3"
    skill = Skill("Spearman's rho", 0.5, 0.4, 0.6)
    less = Predictor("less", "number", (feature,), (0.0,), (1.0,), (-1.0,), 0.0, skill)
    fit = Fit("tiny", "0", {}, 30, {"motion": less}, {})
    choices: list[Choice] = []
    for chosen in (None, fit):
        list(best_of(pipe, ENHANCED, 3, aim="motion", fit=chosen, on_choice=choices.append))
    by_energy, by_fit = choices
    assert by_fit.candidates[0].prediction.motion < 0 < by_energy.candidates[0].prediction.motion
    energies = [-one.prediction.motion for one in by_fit.candidates]
    assert [one.kept for one in by_fit.candidates] == [energy == min(energies) for energy in energies]


@IN_DIFFUSERS
@pytest.mark.parametrize("name", ["cogvideox", "wan", "ltx"])
def test_joint_attention_is_chosen_by_the_predicted_latents(name: str) -> None:
    pipe, request = embedded(name)
    choices: list[Choice] = []
    (clip,) = best_of(pipe, request, 2, on_choice=choices.append)
    assert {one.prediction.motion_by for one in choices[0].candidates} == {MOTION}
    assert len({one.prediction.motion for one in choices[0].candidates}) == 2
    np.testing.assert_array_equal(clip.frames, alone(pipe, request, clip.settings["seed"]).frames)


def test_without_the_method_and_with_a_prompt_as_it_is_generated(pipe: Any) -> None:
    size = {"num_frames": 4, "width": 16, "height": 16, "steps": 4}
    (clip,) = best_of(pipe, "a red ball bounces", 2, seed=7, config=None, **size)
    np.testing.assert_array_equal(clip.frames, alone(pipe, REQUEST, clip.settings["seed"]).frames)
    assert clip.settings["config"] is None


def prediction(motion: float, structure: float | None = 0.0) -> Prediction:
    return Prediction(motion, structure, None, "", "")


@pytest.mark.parametrize(
    ("aim", "keep", "kept"),
    [("motion", 1, [3]), ("structure", 1, [0]), ("both", 1, [1]), ("both", 2, [1, 3]), ("both", 3, [0, 1, 3])],
)
def test_ranks(aim: Any, keep: int, kept: list[int]) -> None:
    """By both the places are 4 and 1, 2 and 2, 3 and 4, 1 and 3: sums of 5, 4, 7 and 4."""
    predictions = [prediction(0.1, 9), prediction(0.3, 8), prediction(0.2, 1), prediction(0.4, 2)]
    clips = [PlannedClip(index, "a ball", index) for index in range(4)]
    choice = choose(clips, predictions, keep, aim)
    assert [one.clip.index for one in choice.candidates if one.kept] == kept


def test_of_equal_ones_each_has_the_mean_of_their_ranks() -> None:
    """By motion 3 and three times 1, by structure 0 to 3: sums of 3, 2, 3 and 4. Were all three 0: 3, 1, 2 and 3."""
    predictions = [prediction(0.0, 4), prediction(1.0, 3), prediction(1.0, 2), prediction(1.0, 1)]
    clips = [PlannedClip(index, "a ball", index) for index in range(4)]
    assert [one.kept for one in choose(clips, predictions, 2, "both").candidates] == [True, True, False, False]


def test_of_equal_ones_the_first_go_on() -> None:
    clips = [PlannedClip(index, "a ball", index) for index in range(3)]
    assert [one.place for one in choose(clips, [prediction(1.0)] * 3, 1, "both").candidates] == [1, 2, 3]


def test_nothing_that_tells_of_structure() -> None:
    clips = [PlannedClip(index, "a ball", index) for index in range(2)]
    with pytest.raises(ByTheWayError, match="aim at motion"):
        choose(clips, [prediction(1.0, None)] * 2, 1, "both")


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({}, {"keep": 0}, "0 of 3 seeds are to be kept"),
        ({}, {"keep": 3}, "3 of 3 seeds are to be kept; keep at least one, and fewer"),
        ({}, {"aim": "beauty"}, "aim is 'beauty'; it must be one of motion, structure, both"),
        ({"compare": True}, {}, "chosen among without a comparison"),
        ({"batch_size": 2}, {}, "made one by one"),
        ({"free_init": True}, {}, "FreeInit denoises a clip 3 times"),
        ({"config": ByTheWayConfig(active_steps=0.0)}, {}, "no active steps to choose after"),
    ],
)
def test_what_cannot_be_chosen_among(pipe: Any, changes: dict[str, Any], options: dict[str, Any], said: str) -> None:
    with pytest.raises(ByTheWayError, match=said):
        best_of(pipe, replace(ENHANCED, **changes), 3, **options)


def test_structure_of_a_model_without_an_anchor() -> None:
    pipe, _ = temporal.latte()
    request = Request(("a",), seed=1, num_frames=6, width=32, height=16, steps=2)
    with pytest.raises(ByTheWayError, match="no anchor block whose disparity would tell of structure; aim at motion"):
        best_of(pipe, request, 2)


@pytest.mark.parametrize("when", ["beginning", "going on", "dropped"])
def test_what_is_broken_off_leaves_nothing_behind(pipe: Any, when: str) -> None:
    threads, wanted = threading.active_count(), alone(pipe, ENHANCED, 7)

    def stop(step: Step) -> None:
        if step.clips[0].seed == 8 and step.done == 1 and when == "beginning":
            raise KeyboardInterrupt
        if step.done == 3 and when == "going on":
            raise KeyboardInterrupt

    clips: Iterator[Any] = best_of(pipe, ENHANCED, 4, keep=3, on_step=stop)
    if when == "dropped":
        next(clips)
        clips.close()  # type: ignore[attr-defined]
    else:
        with pytest.raises(KeyboardInterrupt):
            next(clips)
    assert threading.active_count() == threads
    np.testing.assert_array_equal(alone(pipe, ENHANCED, 7).frames, wanted.frames)


def test_models_whose_runs_cannot_wait() -> None:
    with pytest.raises(ByTheWayError, match="changes its attention for the length of a run"):
        best_of(animatediff.pag()[0], ENHANCED, 2)
