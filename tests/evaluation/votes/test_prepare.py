"""A study drawn from an experiment, and its blind clips."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from bytheway.clips.read import load_video, read_metadata
from bytheway.clips.write import save_video
from bytheway.errors import ByTheWayError
from bytheway.evaluation.experiment.folder import open_experiment
from bytheway.evaluation.votes.clips import alter, change, copy_without_traces
from bytheway.evaluation.votes.prepare import Wanted, pairs_of, prepare
from bytheway.evaluation.votes.study import Study
from tests.toys.experiments import FPS, FRAMES, PROMPTS, STEP, clip_of, make_experiment

TRACES = (b"vanilla", b"enhanced", b"seed", b"toy", b"sha256", b"x264", b"Lavf", b"Lavc", b"frozen", b"shuffled")


def study_of(run: Path, folder: Path, wanted: Wanted | None = None, seed: int = 0) -> Study:
    folder.mkdir(exist_ok=True)
    return prepare(open_experiment(run), folder, wanted or Wanted(), seed)[0]


def test_clips_have_the_same_frames_and_no_traces(made: Path, tmp_path: Path) -> None:
    study = study_of(made, tmp_path / "clips", Wanted(checks=0.25))
    files = {path.stem: path for path in (tmp_path / "clips").iterdir()}
    assert set(files) == {clip for pair in study.all_pairs for clip in pair.clips}
    originals = {
        (arm.name, prompt): path
        for arm in open_experiment(made).arms
        for prompt, path in zip(PROMPTS, open_experiment(made).clips(arm), strict=True)
    }
    assert b"x264" in originals["vanilla", PROMPTS[0]].read_bytes()
    for pair in study.pairs:
        for arm, clip in zip(pair.arms, pair.clips, strict=True):
            theirs, fps = load_video(originals[arm, pair.prompt])
            ours, same_fps = load_video(files[clip])
            assert np.array_equal(ours, theirs)
            assert (pair.frames, pair.fps) == (len(ours), fps) == (FRAMES, same_fps)
            assert pair.size == ours.shape[2:0:-1]
    for path in files.values():
        content = path.read_bytes()
        assert [trace for trace in TRACES if trace in content] == []
        with pytest.raises(ByTheWayError, match="carries no settings"):
            read_metadata(path)
        assert len(path.stem) == 32, "a random id"


def test_ids_are_not_of_the_seed_but_the_rest_is(made: Path, tmp_path: Path) -> None:
    one, other = (study_of(made, tmp_path / name) for name in ("one", "other"))
    assert not {clip for pair in one.all_pairs for clip in pair.clips} & {
        clip for pair in other.all_pairs for clip in pair.clips
    }
    assert [(check.prompt, check.altered) for check in one.checks] == [
        (check.prompt, check.altered) for check in other.checks
    ]


def test_checks_are_shuffled_and_frozen_in_turn(made: Path, tmp_path: Path) -> None:
    study = study_of(made, tmp_path / "clips", Wanted(checks=0.25))
    assert (study.pairs_each, len(study.checks), study.repeats_each, study.items_each) == (6, 2, 2, 10)
    assert [check.altered for check in study.checks] == ["shuffled", "frozen"]
    shuffled, frozen = (
        [load_video(tmp_path / "clips" / f"{clip}.mp4")[0] for clip in check.clips] for check in study.checks
    )
    bars = [round(int((frame.astype(int).sum((0, 2)) > 40_000).argmax()) / STEP) for frame in shuffled[1]]
    assert sorted(bars) == list(range(FRAMES))
    assert bars != list(range(FRAMES))
    assert np.abs(np.diff(frozen[1].astype(int), axis=0)).max() <= 6, "but for the encoder"
    assert np.abs(frozen[1][0].astype(int) - frozen[0][0]).mean() < 6
    assert all(check.prompt in PROMPTS and check.arms[0] in ("vanilla", "enhanced") for check in study.checks)


def test_of_shuffled_orders_one_that_jumps_is_taken() -> None:
    frames = np.repeat(np.arange(16, dtype=np.uint8)[:, None, None, None] * 10, 8, axis=1).repeat(8, 2).repeat(3, 3)
    drawn = [change(frames[np.random.default_rng(k).permutation(16)]) for k in range(200)]
    assert change(alter(frames, "shuffled", np.random.default_rng(0))) > np.median(drawn)


def test_still_clips_make_no_fair_check(tmp_path: Path) -> None:
    run = make_experiment(tmp_path / "run", prompts=PROMPTS[:2], still=True).folder
    with pytest.raises(ByTheWayError, match="No clip moves enough to be told from its frozen or shuffled version"):
        study_of(run, tmp_path / "clips")
    assert study_of(run, tmp_path / "other", Wanted(checks=0)).items_each == 2


def test_every_two_arms_and_seeds_are_pairs(tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path / "run", "vanilla,enhanced,beta=3", PROMPTS[:2], seeds=2)
    pairs, left_out = pairs_of(experiment)
    assert left_out == []
    assert [(pair.prompt, pair.seed, pair.arms) for pair, _ in pairs[:4]] == [
        (PROMPTS[0], 0, ("vanilla", "enhanced")),
        (PROMPTS[0], 0, ("vanilla", "beta=3")),
        (PROMPTS[0], 0, ("enhanced", "beta=3")),
        (PROMPTS[0], 1, ("vanilla", "enhanced")),
    ]
    assert len(pairs) == 2 * 2 * 3


def test_what_is_missing_or_differs_is_left_out_and_named(made: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(made, tmp_path / "run"))
    experiment = open_experiment(run)
    first, second, third, *rest = experiment.clips(experiment.arms[1])
    first.unlink()
    save_video(clip_of(1, 1, 4), second, FPS, {"prompt": ""}, overwrite=True)
    save_video(clip_of(1, 2), third, 8.0, {"prompt": ""}, overwrite=True)
    _, left_out = prepare(experiment, tmp_path, Wanted(), 0)
    assert len(left_out) == 3
    assert left_out[0] == f"{first} is not there; the pair is left out."
    assert all("differ in length, rate or size" in sentence for sentence in left_out[1:])
    for path in (second, third, *rest):
        path.unlink()
    with pytest.raises(ByTheWayError, match="holds no pair of clips; make them with `bytheway evaluate`"):
        pairs_of(experiment)


def test_a_damaged_clip_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no clip")
    with pytest.raises(ByTheWayError, match="damaged or no mp4"):
        copy_without_traces(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(pairs=0), "Everybody is shown 0 pairs; give 1 or more."),
        (Wanted(questions=("beauty",)), "There is no question 'beauty'; the questions are video_quality,"),
        (Wanted(questions=()), "No question is named"),
        (Wanted(checks=0.5), "The share of attention checks is 0.5; it must be from 0 to 0.25."),
        (Wanted(checks=float("nan")), "must be from 0 to 0.25"),
        (Wanted(questions=("video_quality",)), "known answer to motion_consistency alone"),
    ],
)
def test_what_no_study_can_have_is_refused(made: Path, tmp_path: Path, wanted: Wanted, said: str) -> None:
    with pytest.raises(ByTheWayError, match=said):
        study_of(made, tmp_path / "clips", wanted)
    assert list((tmp_path / "clips").iterdir()) == []


def test_a_study_that_has_begun_stays_as_it_is(study: Study) -> None:
    for same in (Wanted(), Wanted(6, study.questions, 0.1), Wanted(pairs=100)):
        same.check_same(study)
    for other, said in (
        (Wanted(pairs=3), "has begun with pairs 6 and stays so"),
        (Wanted(checks=0.2), "has begun with checks 0.1 and stays so"),
        (Wanted(questions=("video_quality",)), "has begun with questions video_quality, structure_rationality, motion"),
    ):
        with pytest.raises(ByTheWayError, match=said):
            other.check_same(study)


def test_a_study_comes_back_from_json(study: Study) -> None:
    assert Study.from_json(study.to_json()) == study
    with pytest.raises(ByTheWayError, match="another version"):
        Study.from_json(study.to_json().replace('"format": 1', '"format": 2'))
