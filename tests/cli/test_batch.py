"""`bytheway batch` in this process, on the tiny pipeline: what is there stays, and everything is made once."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from PIL import Image
from typer.testing import Result

from bytheway.batch.board import Steps
from bytheway.batch.driver import Tally
from bytheway.batch.maker import Maker
from bytheway.batch.plan import Batch, Facts
from bytheway.cli.progress import BatchProgress, _steps
from bytheway.clips.inputs import read_video
from bytheway.clips.read import read_metadata
from bytheway.clips.write import save_video
from bytheway.generation.clip import Clip
from tests.cli.conftest import SMALL
from tests.toys import animatediff

Command = Callable[..., Result]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def batch(bytheway: Command, tiny_pipeline: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs `bytheway batch jobs.txt -o out` with these arguments, on the tiny pipeline and three prompts."""
    monkeypatch.setattr("bytheway.models.choice.load", lambda model, **choice: tiny_pipeline)
    (tmp_path / "jobs.txt").write_text("a red ball\na star on snow\na fish\n")
    return lambda *arguments: bytheway("batch", "jobs.txt", "-o", "out", *SMALL, *arguments)


def clips(folder: Path) -> dict[str, str]:
    """The digest of the frames of every clip, by prompt and arm."""
    found = {}
    for path in sorted(folder.glob("*/*.mp4")):
        settings = read_metadata(path)
        assert (settings["id"], settings["arm"]) == (path.stem, path.parent.name)
        found[f"{settings['arm']}: {settings['prompt']}"] = settings["frames_sha256"]
    return found


def on_make(monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> None:
    """Do something before the first batch is made."""
    make, done = Maker.make, []

    def first(self: Maker, batch: Batch, *more: Any) -> Any:
        if not done:
            done.append(True)
            do()
        return make(self, batch, *more)

    monkeypatch.setattr(Maker, "make", first)


def test_every_clip_is_made_once_as_it_is_made_alone(batch: Command, bytheway: Command, tmp_path: Path) -> None:
    result = batch("--arms", "vanilla,enhanced")
    assert result.exit_code == 0, result.output
    assert "made: 6" in result.stdout
    found = clips(tmp_path / "out")
    assert len(found) == 6
    assert len(set(found.values())) == 6
    alone = bytheway("generate", "a star on snow", "--seed", 0, "-o", "alone.mp4", *SMALL)
    assert alone.exit_code == 0, alone.output
    assert found["enhanced: a star on snow"] == read_metadata(tmp_path / "alone.mp4")["frames_sha256"]
    table = pandas.read_parquet(tmp_path / "out" / "manifest")
    assert dict(zip(table.arm + ": " + table.prompt, table.frames_sha256, strict=True)) == found
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/*")}
    again = batch("--arms", "vanilla,enhanced")
    assert again.exit_code == 0
    assert "6 are there, 0 are to be made" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/*")} == before


def test_rows_that_are_added_are_made_and_no_others(batch: Command, tmp_path: Path) -> None:
    batch()
    before = {path.name for path in tmp_path.glob("out/enhanced/*")}
    (tmp_path / "jobs.txt").write_text("a tree\na fish\na red ball\na star on snow\n")
    result = batch()
    assert "4 clips of 4 rows: 3 are there, 1 are to be made" in result.stderr
    assert len({path.name for path in tmp_path.glob("out/enhanced/*")} - before) == 1
    assert "made: 1" in result.stdout


def test_a_jobs_file_that_changes_meanwhile_is_made_as_it_was(
    batch: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody edits it while the model is loaded."""
    facts = Maker.facts

    def edited(self: Maker) -> Facts:
        (tmp_path / "jobs.txt").write_text("a red ball\n")
        return facts(self)

    monkeypatch.setattr(Maker, "facts", edited)
    result = batch()
    assert result.exit_code == 0, result.output
    assert sorted(clips(tmp_path / "out")) == ["enhanced: a fish", "enhanced: a red ball", "enhanced: a star on snow"]


def test_a_row_that_is_there_twice_is_made_once(batch: Command, tmp_path: Path) -> None:
    (tmp_path / "jobs.txt").write_text("a red ball\na red ball\na fish\n")
    result = batch("--batch-size", 3)
    assert "2 clips of 3 rows" in result.stderr
    assert "made: 2" in result.stdout
    assert len(pandas.read_parquet(tmp_path / "out" / "manifest")) == 2


def test_a_batch_with_a_clip_missing_is_made_as_it_was_planned(batch: Command, tmp_path: Path) -> None:
    """Sums of another size round otherwise."""
    batch("--batch-size", 3)
    found = clips(tmp_path / "out")
    files = sorted(tmp_path.glob("out/enhanced/*.mp4"))
    kept = files[1].stat().st_mtime_ns
    files[0].unlink()
    result = batch("--batch-size", 3)
    assert "2 are there, 1 are to be made" in result.stderr
    assert clips(tmp_path / "out") == found
    assert read_metadata(files[0])["batch_size"] == 3
    assert files[1].stat().st_mtime_ns == kept
    assert len(pandas.read_parquet(tmp_path / "out" / "manifest")) == 4  # made twice, since it was removed


def test_what_cannot_be_made_is_set_aside_and_the_rest_made(batch: Command, bytheway: Command, tmp_path: Path) -> None:
    rows = [{"prompt": "a red ball"}, {"prompt": "../../../bad", "width": 20}, {"prompt": "nul \x00 and \x1b[31m"}]
    (tmp_path / "jobs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = bytheway("batch", "jobs.jsonl", "-o", "out", *SMALL)
    assert result.exit_code == 1
    assert sorted(clips(tmp_path / "out")) == ["enhanced: a red ball", "enhanced: nul \x00 and \x1b[31m"]
    (failures,) = (tmp_path / "out" / "failures").iterdir()
    (line,) = map(json.loads, failures.read_text().splitlines())
    assert (line["prompt"], line["attempts"]) == ("../../../bad", 1)
    assert "must be multiples of" in line["error"]
    assert "1 clips were set aside" in result.stderr
    (tmp_path / "jobs.jsonl").write_text(json.dumps(rows[0]) + "\n")
    assert bytheway("batch", "jobs.jsonl", "-o", "out", *SMALL).exit_code == 0
    assert list((tmp_path / "out" / "failures").iterdir()) == []


def test_rows_of_a_lost_manifest_are_read_from_the_clips(batch: Command, tmp_path: Path) -> None:
    batch()
    (manifest,) = (tmp_path / "out" / "manifest").iterdir()
    before = pandas.read_parquet(manifest).sort_values("id", ignore_index=True)
    manifest.unlink()
    assert "made: 0" in batch().stdout
    after = pandas.read_parquet(tmp_path / "out" / "manifest")
    pandas.testing.assert_frame_equal(
        after.sort_values("id", ignore_index=True), before.sort_values("id", ignore_index=True)
    )


def test_a_damaged_clip_is_said_and_kept(batch: Command, tmp_path: Path) -> None:
    batch()
    found = clips(tmp_path / "out")
    damaged = min(tmp_path.glob("out/enhanced/*"))
    damaged.write_bytes(damaged.read_bytes()[:40])
    for manifest in (tmp_path / "out" / "manifest").iterdir():
        manifest.unlink()
    result = batch()
    assert result.exit_code == 1
    assert damaged.name in result.stderr
    assert "Remove it" in result.stderr
    assert damaged.stat().st_size == 40
    damaged.unlink()
    assert batch().exit_code == 0
    assert clips(tmp_path / "out") == found


def test_a_dry_run_makes_nothing(batch: Command, tmp_path: Path) -> None:
    result = batch("--dry-run", "--seeds", 2)
    assert result.exit_code == 0
    assert "to be made: 6" in result.stdout
    assert list((tmp_path / "out").iterdir()) == []


def test_shards_make_everything_between_them(batch: Command, tmp_path: Path) -> None:
    for shard in ("1/2", "2/2"):
        assert batch("--shard", shard).exit_code == 0
    assert len(clips(tmp_path / "out")) == 3
    assert "3 are there, 0 are to be made" in batch().stderr


def test_two_drivers_on_one_folder_make_everything_once(
    batch: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second begins and ends while the first is at its first clip."""
    others: list[Result] = []
    on_make(monkeypatch, lambda: others.append(batch()))
    result = batch()
    assert (result.exit_code, others[0].exit_code) == (0, 0)
    assert len(clips(tmp_path / "out")) == 3
    assert len(pandas.read_parquet(tmp_path / "out" / "manifest")) == 3


@pytest.mark.parametrize(("presses", "made"), [(1, 1), (2, 0)])
def test_ctrl_c_finishes_what_is_at_work_and_twice_drops_it(
    batch: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, presses: int, made: int
) -> None:
    on_make(monkeypatch, lambda: [os.kill(os.getpid(), signal.SIGINT) for _ in range(presses)] and None)
    result = batch()
    assert result.exit_code == 130
    assert len(clips(tmp_path / "out")) == made
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    assert batch().exit_code == 0
    assert len(clips(tmp_path / "out")) == len(pandas.read_parquet(tmp_path / "out" / "manifest")) == 3


def test_a_full_disk_ends_the_run_and_the_same_command_goes_on(
    batch: Command, tmp_path: Path, nearly_full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    with nearly_full_disk(100):
        result = batch()
    assert result.exit_code == 2
    assert "cannot be written: File too large" in result.stderr or "cannot be written" in result.stderr
    assert not list(tmp_path.glob("out/*/*"))
    assert batch().exit_code == 0
    assert len(clips(tmp_path / "out")) == 3


def test_a_full_scratch_folder_ends_the_run_and_blames_no_clip(
    batch: Command,
    tmp_path: Path,
    nearly_full_disk: Callable[[int], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the clips go there is room: they are written in the scratch folder first."""
    save = Clip.save

    def save_on_full_disk(self: Clip, *arguments: Any, **more: Any) -> Any:
        with nearly_full_disk(100):
            return save(self, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Clip, "save", save_on_full_disk)
        result = batch()
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
    assert not list(tmp_path.glob("out/*/*"))
    assert batch().exit_code == 0


def test_an_error_of_the_model_is_tried_again_and_then_set_aside(
    batch: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(pipe: object, job: Any, on_step: object = None) -> Any:
        raise RuntimeError("The device is bad.")

    with monkeypatch.context() as patch:
        patch.setattr("bytheway.batch.maker.make_clips", fail)
        assert batch("--attempts", 2).exit_code == 1
    (failures,) = (tmp_path / "out" / "failures").iterdir()
    told = [json.loads(line) for line in failures.read_text().splitlines()]
    assert {(one["error"], one["attempts"]) for one in told} == {("RuntimeError: The device is bad.", 2)}
    assert batch().exit_code == 0


def test_without_ray_a_sentence_says_what_it_is_for(batch: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = batch("--workers", 2)
    assert result.exit_code == 2
    assert "need Ray, which is not installed: pip install ray" in result.stderr


def test_without_pyarrow_clips_are_made_all_the_same(
    batch: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = batch()
    assert result.exit_code == 0
    assert "There will be no manifest: it needs pyarrow" in result.stderr
    assert len(clips(tmp_path / "out")) == 3
    assert not (tmp_path / "out" / "manifest").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--shard", "0/2"], "from 1 to N"),
        (["--shard", "1/2", "--workers", "2"], "without Ray"),
        (["--arms", "vanilla,nonsense"], "no arm 'nonsense'"),
        (["--seeds", "0"], "seeds is 0"),
        (["--batch-size", "0"], "batch_size is 0"),
        (["--size", "20x20"], "set aside"),
    ],
)
def test_wrong_options_are_said(batch: Command, arguments: list[str], said: str) -> None:
    result = batch(*arguments)
    assert result.exit_code == (1 if said == "set aside" else 2)
    assert said in result.stderr


def test_help_and_planning_import_neither_ray_nor_torch() -> None:
    """Only workers need torch, and only clusters Ray."""
    told = "import sys, bytheway.batch.driver, bytheway.batch.farm, bytheway.batch.rows, bytheway.batch.journal\n"
    told += "print(sorted({'ray', 'torch', 'fsspec', 'pyarrow'} & sys.modules.keys()))"
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run([sys.executable, "-c", told], env=env, capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


@pytest.fixture
def from_files(bytheway: Command, tiny_pipeline: Any, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `bytheway batch jobs.jsonl -o out` on tiny pipelines, by what the clips start from."""
    pipes = {None: tiny_pipeline, "image": animatediff.sparse_controlnet()[0], "video": animatediff.video_to_video()[0]}
    monkeypatch.setattr("bytheway.models.choice.load", lambda model, **choice: pipes[choice["start"]])
    Image.fromarray(np.full((20, 40, 3), 90, np.uint8)).save("cat.png")
    save_video(np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8), "in", 5, {})

    def run(*rows: dict[str, Any]) -> Result:
        Path("jobs.jsonl").write_text(
            "".join(json.dumps({"prompt": "a ball", "seed": 3, **row}) + "\n" for row in rows)
        )
        return bytheway("batch", "jobs.jsonl", "-o", "out", "--size", "16x16", "--steps", 2)

    return run


def made() -> list[dict[str, Any]]:
    return sorted((read_metadata(path) for path in Path("out").glob("*/*.mp4")), key=lambda one: one["prompt"])


def test_clips_that_start_from_images(from_files: Command) -> None:
    result = from_files({"image": ["cat.png", "cat.png@-1"], "num_frames": 4}, {"prompt": "other", "image": "cat.png"})
    assert result.exit_code == 0, result.output
    here = Path("cat.png").resolve()
    assert [one["images"] for one in made()] == [[f"{here}@0", f"{here}@3"], [f"{here}@0"]]
    assert {one["start"] for one in made()} == {"image"}


def test_clips_that_are_made_from_a_video_have_its_frames_and_rate(from_files: Command) -> None:
    result = from_files({"video": "in", "strength": 0.5})
    assert result.exit_code == 0, result.output
    [clip] = made()
    assert (clip["video"], clip["strength"], clip["num_frames"]) == (str(Path("in").resolve()), 0.5, 6)
    assert clip["fps"] == read_video("in").fps


def test_rows_of_two_kinds_are_refused_before_a_model_is_loaded(from_files: Command) -> None:
    result = from_files({"image": "cat.png"}, {"prompt": "other"})
    assert result.exit_code == 2
    assert "jobs.jsonl, line 2 starts from its prompt alone, and jobs.jsonl, line 1 from images" in result.stderr


def test_a_lora_is_on_for_its_row_alone(from_files: Command, tiny_pipeline: Any) -> None:
    torch.manual_seed(2)
    tiny_pipeline.unet.add_adapter(LoraConfig(r=2, target_modules=r".*motion_modules.*to_q", init_lora_weights=False))
    layers = {name: tensor.detach() for name, tensor in get_peft_model_state_dict(tiny_pipeline.unet).items()}
    tiny_pipeline.save_lora_weights("zoom", unet_lora_layers=layers)
    tiny_pipeline.unload_lora_weights()
    assert from_files({"prompt": "a"}, {"prompt": "c"}).exit_code == 0
    plain = {one["prompt"]: one["frames_sha256"] for one in made()}
    shutil.rmtree("out")
    result = from_files({"prompt": "a"}, {"prompt": "b", "lora": "zoom=5"}, {"prompt": "b"}, {"prompt": "c"})
    assert result.exit_code == 0, result.output
    clips = made()
    assert {one["prompt"]: one["frames_sha256"] for one in clips if one["prompt"] != "b"} == plain
    with_lora, without = sorted((one for one in clips if one["prompt"] == "b"), key=lambda one: -len(one["lora"]))
    assert (with_lora["lora"], without["lora"]) == ([f"{Path('zoom').resolve()}=5"], [])
    assert with_lora["frames_sha256"] != without["frames_sha256"]


def test_the_weight_of_a_lora_of_the_run_makes_other_clips(batch: Command) -> None:
    """No tensor tells it. (Loading is not what is tested: the model stays the same one.)"""
    for weights, kinds in (((), 1), (("0.5",), 2), (("5",), 3), (("0.50",), 3), (("0.5", "5"), 4)):
        result = batch(*(part for weight in weights for part in ("--lora", f"zoom={weight}")))
        assert result.exit_code == 0, result.output
        assert len({clip["weights"] for clip in made()}) == kinds
        assert len(made()) == 3 * kinds


def test_how_far_the_clip_at_work_is_is_told(batch: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tally] = []
    monkeypatch.setattr(BatchProgress, "__call__", lambda self, tally: seen.append(replace(tally)))
    assert batch().exit_code == 0
    steps = [one.steps[0] for one in seen if one.steps]
    assert {one.steps for one in steps} == {4}
    assert [one.done for one in steps if one.done][:4] == [1, 2, 3, 4]


def test_what_the_bar_says_of_many_workers() -> None:
    tally = Tally(20, 0, steps={worker: Steps(worker, 25) for worker in range(9)})
    assert _steps(tally) == "steps 0/25 1/25 2/25 3/25 4/25 5/25 6/25 7/25 ..."
    assert _steps(Tally(20, 0)) == ""
