"""The manifest of a batch run as arms that are set against each other, for the judge and for votes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from bytheway.clips.read import read_metadata
from bytheway.errors import ByTheWayError
from bytheway.evaluation.experiment.manifest_clips import open_clips
from bytheway.evaluation.judge import run as judge
from bytheway.evaluation.manifest import row_of, write_rows
from bytheway.evaluation.votes import prepare as votes

Batch = Callable[[Iterable[tuple[str, str, int]]], Path]
CLIPS = [
    ("enhanced", "a star", 7), ("vanilla", "a ball", 7), ("enhanced", "a ball", 9), ("beta=3", "a ball", 9),
    ("vanilla", "a ball", 9), ("enhanced", "a ball", 7), ("beta=3", "a ball", 7), ("vanilla", "a star", 7),
    ("beta=3", "a star", 7), ("vanilla", "alone", 1),
]  # fmt: skip


@pytest.fixture
def batch(save: Callable[..., Path], tmp_path: Path) -> Batch:
    """The manifest of a batch run with clips of these arms, prompts and seeds, a few rows in each of its files."""

    def made(clips: Iterable[tuple[str, str, int]]) -> Path:
        rows = []
        for number, (arm, prompt, seed) in enumerate(clips):
            path = save(f"out/{arm}/{number}.mp4", 20 * number, prompt=prompt, seed=seed, arm=arm)
            rows.append(row_of(f"{arm}/{number}.mp4", read_metadata(path)))
        folder = tmp_path / "out" / "manifest"
        folder.mkdir()
        for begin in range(0, len(rows), 4):
            write_rows(rows[begin : begin + 4], folder / f"{begin}.parquet")
        return folder

    return made


def test_pairs_of_the_judge_are_of_one_prompt_and_seed_against_vanilla(batch: Batch, tmp_path: Path) -> None:
    clips = open_clips(batch(CLIPS))
    assert clips.folder == tmp_path / "out"
    assert [arm.name for arm in clips.arms] == ["vanilla", "beta=3", "enhanced"]
    pairs, missing = judge.pairs_of(clips, judge.arms_of(clips, ["enhanced"]), None)
    assert missing == []
    out = tmp_path / "out"
    assert [(one.prompt, one.seed_index, one.arms) for one in pairs] == [
        ("a ball", 7, ("vanilla", "enhanced")),
        ("a ball", 9, ("vanilla", "enhanced")),
        ("a star", 7, ("vanilla", "enhanced")),
    ]
    assert [one.paths for one in pairs] == [
        (out / "vanilla" / "1.mp4", out / "enhanced" / "5.mp4"),
        (out / "vanilla" / "4.mp4", out / "enhanced" / "2.mp4"),
        (out / "vanilla" / "7.mp4", out / "enhanced" / "0.mp4"),
    ]


def test_pairs_of_votes_are_of_every_two_arms(batch: Batch) -> None:
    pairs, left_out = votes.pairs_of(open_clips(batch(CLIPS)))
    assert left_out == []
    assert len(pairs) == 3 * 3
    assert {(pair.prompt, pair.seed) for pair, _ in pairs} == {("a ball", 7), ("a ball", 9), ("a star", 7)}


def test_one_file_of_a_manifest_stands_for_its_clips(batch: Batch, tmp_path: Path) -> None:
    clips = open_clips(batch(CLIPS[1:3] + CLIPS[4:6]) / "0.parquet")
    assert clips.folder == tmp_path / "out"
    assert clips.places() == [("a ball", 7), ("a ball", 9)]


def test_a_clip_keeps_its_place_when_another_seed_comes(batch: Batch, save: Callable[..., Path]) -> None:
    """So that votes on it are still its own: a seed that sorts before is another clip."""
    folder = batch(CLIPS[1:2] + CLIPS[5:6])
    (before,) = open_clips(folder).places()
    rows = []
    for arm in ("vanilla", "enhanced"):
        path = save(f"out/{arm}/more.mp4", prompt="a ball", seed=3, arm=arm)
        rows.append(row_of(f"{arm}/more.mp4", read_metadata(path)))
    write_rows(rows, folder / "more.parquet")
    clips = open_clips(folder)
    assert clips.clips(clips.arms[0])[clips.places().index(before)].name == "0.mp4"


@pytest.mark.parametrize(
    ("clips", "said"),
    [
        (CLIPS[:1], "names no clips of one prompt and seed in two arms"),
        ([CLIPS[0], CLIPS[1]], "names no clips of one prompt and seed in two arms"),
        ([*CLIPS, CLIPS[0]], "carry the same prompt and seed; leave one of them out"),
    ],
)
def test_what_cannot_be_paired(batch: Batch, clips: list[tuple[str, str, int]], said: str) -> None:
    with pytest.raises(ByTheWayError, match=said):
        open_clips(batch(clips))


def test_a_folder_without_either(tmp_path: Path) -> None:
    with pytest.raises(ByTheWayError, match="holds no experiment"):
        open_clips(tmp_path)
