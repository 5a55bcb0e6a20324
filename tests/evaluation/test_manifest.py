"""Manifests: what is written is read again, by our commands and by pandas."""

from pathlib import Path
from typing import Any

import pandas
import pytest

from bytheway.clips.frames import Frames
from bytheway.clips.read import read_metadata
from bytheway.clips.write import save_video
from bytheway.errors import ByTheWayError
from bytheway.evaluation.clip_files import find_clips
from bytheway.evaluation.manifest import COLUMNS, row_of, write_rows


@pytest.fixture
def manifest(tmp_path: Path, frames: Frames) -> Path:
    """Of two clips, in two files, one of them named in both."""
    folder = tmp_path / "out" / "manifest"
    folder.mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for arm, seed in (("vanilla", 1), ("enhanced", 2)):
        path = tmp_path / "out" / arm / f"{seed}.mp4"
        save_video(frames, path, 8, {"prompt": "a red ball", "seed": seed, "arm": arm})
        rows.append(row_of(f"{arm}/{seed}.mp4", read_metadata(path)))
    write_rows(rows[:1], folder / "a.parquet")
    write_rows(rows, folder / "b.parquet")
    return folder


def test_a_manifest_stands_for_its_clips(manifest: Path) -> None:
    clips = find_clips([manifest])
    assert [clip.path for clip in clips] == [
        manifest.parent / "vanilla" / "1.mp4",
        manifest.parent / "enhanced" / "2.mp4",
    ]
    assert [clip.made_from for clip in clips] == [("a red ball", 1), ("a red ball", 2)]
    assert find_clips([manifest / "a.parquet"]) == clips[:1]
    assert clips == find_clips([manifest.parent / "vanilla", manifest.parent / "enhanced"])


def test_pandas_reads_it_as_it_is(manifest: Path) -> None:
    table = pandas.read_parquet(manifest)
    assert list(table) == list(COLUMNS)
    assert sorted(table.seed) == [1, 1, 2]
    assert table.frames_sha256.str.len().tolist() == [64, 64, 64]


def test_damaged_and_other_files_are_refused(manifest: Path, tmp_path: Path) -> None:
    file = manifest / "a.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ByTheWayError, match=r"a\.parquet is damaged or no file of a manifest"):
        find_clips([manifest])
    for table in ({"path": [None], "settings": ["{}"]}, {"path": ["a.mp4"], "settings": ["{"]}, {"other": [1]}):
        pandas.DataFrame(table).to_parquet(file)
        with pytest.raises(ByTheWayError, match="names no clip"):
            find_clips([file])
