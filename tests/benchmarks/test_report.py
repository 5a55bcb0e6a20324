"""Tables from results that were kept."""

from pathlib import Path

import pytest

from benchmarks.plot import draw
from benchmarks.report import full, short, with_short
from benchmarks.results import Measurement, Part, path_of, read, save
from bytheway.errors import ByTheWayError

ROOT = Path(__file__).parents[2]
MACHINE = {"hardware": "a chip", "threads": "2", "load before": "0.1", "versions": "torch 9", "date": "2026-01-02"}
TIMES = {"vanilla": [10.0, 100.0, 10.0], "ours": [11.0, 110.0, 12.0], "plain": [14.0, 140.0, 14.0]}


def results() -> dict[str, dict[str, Part]]:
    core = [
        Measurement("anchor", "up_blocks.1, float32", "ms", TIMES),
        Measurement("guided", "up_blocks.2, float32", "ms", TIMES),
        Measurement("guided", "up_blocks.3, float32", "ms", TIMES),
        Measurement("guided", "up_blocks.3, bfloat16", "ms", TIMES),
    ]
    curves = [Measurement("frames", f"{frames} frames", "ms", TIMES, x=frames) for frames in (8, 16)]
    step = [
        Measurement("memory", "memory", "MiB", {"vanilla": [1000.0], "ours": [1002.0], "plain": [1500.0]}),
        Measurement("syncs", "values fetched", "", {"vanilla": [4.0], "ours": [4.0], "plain": [22.0]}),
    ]
    run = [Measurement("run", "a run", "ms", TIMES | {"FreeInit": [30.0, 300.0, 31.0]}, note="reckoned")]
    return {
        "model": {
            "core": Part("A model", "16 frames", MACHINE, core, ["mostly bmm."]),
            "curves": Part("A model", "16 frames", MACHINE, curves),
            "step": Part("A model", "16 frames of 64x64", MACHINE, step),
            "run": Part("A model", "16 frames of 64x64", MACHINE, run, missing=["FreeInit: no such thing"]),
        }
    }


def cells(table: str, name: str) -> list[str]:
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith(f"| {name}")]
    assert len(lines) == 1, name
    return lines[0][1:]


def test_results_are_kept_as_they_are(tmp_path: Path) -> None:
    assert read(tmp_path, "cpu") == {}
    save(tmp_path / "new", "cpu", results())
    assert read(tmp_path / "new", "cpu") == results()
    assert read(tmp_path / "new", "cuda") == {}


@pytest.mark.parametrize("content", ["", "[]", '{"model": {"run": {"title": "A model"}}}', '{"model": []}'])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    path_of(tmp_path, "cpu").write_text(content)
    with pytest.raises(ByTheWayError, match="holds no results of this benchmark"):
        read(tmp_path, "cpu")


def test_the_short_table() -> None:
    table = short(results())
    assert cells(table, "anchor attention, up_blocks.1") == ["10 ms", "1.100", "1.400", "–"]
    assert cells(table, "guided attention, up_blocks.3, float32") == ["10 ms", "1.100", "1.400", "–"]
    assert cells(table, "memory") == ["1000 MiB", "1.002", "1.500", "–"]
    assert cells(table, "values fetched") == ["4", "+0", "+18", "–"]
    assert cells(table, "a run") == ["10 ms", "1.100", "1.400", "3.000"]
    assert "up_blocks.2" not in table
    assert "bfloat16" not in table
    assert table.endswith("\n\na chip, 2 threads; torch 9; 2026-01-02.")


def test_the_full_tables_say_what_was_reached_and_what_is_missing() -> None:
    table = full(results(), "plot.png")
    quartiles = ["3", "10 ms", "1.100 (1.100 to 1.150)", "1.400 (1.400 to 1.400)"]
    assert cells(table, "guided attention, up_blocks.2") == [*quartiles, "–", "1.2: reached", "4.0: reached"]
    assert cells(table, "anchor attention") == [*quartiles, "–", "1.05: missed", "4.0: reached"]
    assert cells(table, "values fetched")[-2:] == ["+0: reached", "–"]
    assert cells(table, "a run (reckoned)")[4] == "3.000 (3.000 to 3.050)"
    assert "steps, runs and memory cost on top of vanilla](plot.png)" in table
    assert "- mostly bmm." in table
    assert "- Not measured: FreeInit: no such thing." in table
    assert "Load before: 0.1." in table


@pytest.mark.parametrize(
    ("ours", "words"),
    [
        ([1.0, 1.0, 1.004], "1.005: reached"),
        ([1.0, 1.0, 1.04], "1.005: reached, within its spread"),
        ([0.99, 1.01, 1.04], "1.005: missed, within its spread"),
        ([1.01, 1.01, 1.04], "1.005: missed"),
    ],
)
def test_a_goal_that_quartiles_do_not_tell(ours: list[float], words: str) -> None:
    run = Measurement("run", "a run", "ms", {"vanilla": [1.0] * 3, "ours": ours})
    table = full({"model": {"run": Part("A model", "", MACHINE, [run])}}, "plot.png")
    assert cells(table, "a run")[-2] == words


@pytest.mark.parametrize(
    ("ours", "plain", "words"),
    [
        ([1.1, 1.1, 1.1], [1.2, 1.2, 1.2], "2.0: missed"),
        ([0.9, 0.9, 1.1], [1.5, 1.5, 1.5], "ours has none"),
        ([0.8, 1.1, 1.2], [1.5, 1.5, 1.5], "that of ours is within its spread"),
        ([1.1, 1.1, 1.1], [0.9, 0.9, 0.9], "plain has none"),
        ([1.1, 1.1, 1.1], [0.8, 1.2, 1.2], "that of plain is within its spread"),
    ],
)
def test_overheads_are_compared_where_they_can_be_told(ours: list[float], plain: list[float], words: str) -> None:
    run = Measurement("run", "a run", "ms", {"vanilla": [1.0] * 3, "ours": ours, "plain": plain})
    table = full({"model": {"run": Part("A model", "", MACHINE, [run])}}, "plot.png")
    assert cells(table, "a run")[-1] == words


def test_machines_have_a_line_each() -> None:
    run = Measurement("run", "a run", "ms", TIMES)
    parts = {name: Part("A model", "", MACHINE | {"threads": name}, [run]) for name in ("1", "2")}
    assert short({"model": parts}).endswith(
        "a chip, 1 threads; torch 9; 2026-01-02.<br>\na chip, 2 threads; torch 9; 2026-01-02."
    )


def test_the_page_shows_what_was_measured() -> None:
    page = (ROOT / "docs" / "benchmarks" / "README.md").read_text(encoding="utf-8")
    measured = read(ROOT / "docs" / "benchmarks", "cpu")
    assert short(measured) in page
    assert with_short(page, "cpu", measured) == page


def test_the_short_table_is_put_between_the_markers_of_its_device() -> None:
    page = "Above.\n<!-- python -m benchmarks: cpu -->\nold\n<!-- end -->\nBelow.\n"
    start, end = page.split("old")
    assert with_short(page, "cpu", results()) == start + short(results()) + end
    assert with_short(page, "cuda", results()) == page


def test_long_times_are_in_seconds() -> None:
    run = Measurement("run", "a run", "ms", {"vanilla": [12_340.0], "ours": [12_340.0]})
    assert cells(short({"model": {"run": Part("A model", "", MACHINE, [run])}}), "a run")[0] == "12.3 s"


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    draw(results(), path)
    assert path.read_bytes().startswith(b"\x89PNG")
