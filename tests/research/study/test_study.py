"""The whole study on a model with random weights and an untrained judge: runs, what is left of one, reports."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from typer.testing import CliRunner

from bytheway.errors import ByTheWayError
from research.diorama.judge import FACTORS
from research.diorama.measures import prompts
from research.diorama.world import render
from research.study import sheets, statistics
from research.study.__main__ import app
from research.study.agreement import TRUTHS, Measuring, agreement
from research.study.curves import TRACK, curves
from research.study.plan import SWEEPS_FROM, Extent, Part, Unit, plan
from research.study.reading import FRAME_FEATURES, MOTION_FEATURES, open_readers, read
from research.study.report import write
from research.study.results import MEASURES, Results
from research.study.sampling import Arrays, Sampling
from research.study.store import Place, claim, count_unread, load_arrays, load_readings, load_records, save_arrays
from research.study.variants import (
    BANDS,
    BOTH,
    REFERENCE,
    RENDERS,
    VANILLA,
    WORLD,
    Axis,
    Swap,
    Variant,
    cells,
    preset_of,
    sweep,
)
from research.study.work import Study, run

SAMPLING = Sampling(seed=5, steps=2)
EXTENT = Extent(clips=2, subset=2, pairs=1)
PARTS = [Part.CELLS, Part.SWAP]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "FRECHET_RESAMPLES", 9)


@pytest.fixture(scope="module")
def study(model_folder: Path, judge_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Cells and swaps, and of the sweeps that of the anchor block."""
    made = Study(tmp_path_factory.mktemp("study") / "out", judge_folder, {"diorama": str(model_folder)}, SAMPLING)
    swept = [VANILLA, *sweep(Axis.ANCHOR_BLOCK).values()]
    anchors = [Unit("diorama", variant, SWEEPS_FROM, SWEEPS_FROM + 2) for variant in swept]
    assert run(made, plan(made.models, PARTS, EXTENT) + anchors, processes=1, minutes=5) == 0
    return made


@pytest.fixture
def copy(study: Study, tmp_path: Path) -> Iterator[Study]:
    """The study's results once more, to be spoilt."""
    shutil.copytree(study.out, tmp_path / "out")
    return Study(tmp_path / "out", study.judge, study.models, study.sampling)


@pytest.fixture(scope="module")
def results(study: Study) -> Results:
    return Results(study.out, open_readers(study.judge).name)


def contents(study: Study) -> dict[str, Arrays]:
    return {str(path.relative_to(study.out)): load_arrays(path) for path in sorted(study.out.glob("*/*/[0-9]*.npz"))}


def test_readings_of_renders_are_those_of_the_world(judge_folder: Path) -> None:
    readers = open_readers(judge_folder)
    scenes = [scene for scene, _ in prompts(3, 0)]
    clips = 2 * render(scenes, torch.Generator().manual_seed(0)).frames - 1
    seen = read(readers, clips, scenes)
    assert {len(values) for values in seen.values()} == {3}
    assert set(MEASURES) <= set(seen)
    assert seen["centre"].shape == (3, 16, 2)
    assert seen[FRAME_FEATURES].shape == seen[MOTION_FEATURES].shape == (3, 96)
    assert ((seen["confidence"] > 1 / 8) & (seen["confidence"] <= 1)).all()
    frozen = read(readers, clips[:, :1].expand(-1, 16, -1, -1, -1), scenes)
    assert frozen["consistency"] == pytest.approx(1, abs=1e-5)
    assert frozen["to_first"] == pytest.approx(1, abs=1e-5)
    assert frozen["flow"] == pytest.approx(0, abs=1e-6)
    assert (seen["to_first"] < 1).any()


def test_a_run_leaves_readings_of_everything(study: Study, results: Results) -> None:
    for variant in cells("diorama").values():
        assert results.clips("diorama", variant)["number"][:2].tolist() == [0, 1]
    assert results.clips(WORLD, RENDERS)["subject"].shape == (2,)
    place = Place(study.out, WORLD, REFERENCE.key)
    assert load_readings(place, results.judge)["subject"].shape == (2, REFERENCE.copies)
    assert results.swaps("diorama")["labels"].shape == (1, 3, len(FACTORS))
    assert load_records(Place(study.out, "diorama", VANILLA.key))["energy"].shape[:2] == (2, 2)
    assert load_records(Place(study.out, "diorama", cells("diorama")["+FreeInit"].key)) == {}
    assert results.models == ["diorama"]


def test_what_is_lost_is_made_again_and_is_the_same(copy: Study) -> None:
    before = contents(copy)
    vanilla = Place(copy.out, "diorama", VANILLA.key)
    judge = open_readers(copy.judge).name
    vanilla.samples(0, 2).unlink()
    vanilla.readings(0, 2, judge).unlink()
    Place(copy.out, "diorama", BOTH.key).readings(0, 2, judge).unlink()
    (vanilla.folder / ".123.npz").write_bytes(b"half a file")
    units = plan(copy.models, PARTS, EXTENT)
    assert run(copy, units, processes=1, minutes=0) == 2, "no time, nothing is begun"
    assert run(copy, units, processes=1, minutes=5) == 0
    after = contents(copy)
    assert after.keys() == before.keys()
    for name, arrays in before.items():
        for key, values in arrays.items():
            assert np.array_equal(values, after[name][key], equal_nan=values.dtype.kind == "f"), (name, key)


def test_another_judge_reads_what_is_there(copy: Study, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy.judge / "judge.safetensors")
    (tmp_path / "judge").mkdir()
    shutil.copy(copy.judge / "outlines.safetensors", tmp_path / "judge")
    save_file({name: values + 0.01 for name, values in weights.items()}, tmp_path / "judge" / "judge.safetensors")
    name = open_readers(tmp_path / "judge").name
    place = Place(copy.out, "diorama", VANILLA.key)
    made = place.samples(0, 2).stat().st_mtime_ns
    assert count_unread(copy.out, open_readers(copy.judge).name) == 0
    assert count_unread(copy.out, name) > 5
    again = Study(copy.out, tmp_path / "judge", copy.models, SAMPLING)
    assert run(again, [Unit("diorama", VANILLA, 0, 2)], processes=1, minutes=5) == 0
    assert place.readings(0, 2, name).exists()
    assert place.samples(0, 2).stat().st_mtime_ns == made


def test_other_weights_or_seeds_are_kept_apart(copy: Study) -> None:
    with pytest.raises(ByTheWayError, match="other seed"):
        claim(copy.out, copy.models, Sampling(seed=6, steps=2))
    with pytest.raises(ByTheWayError, match="other weights of diorama"):
        claim(copy.out, {"diorama": "diorama"}, SAMPLING)
    claim(copy.out, {"diorama-early": "diorama"}, SAMPLING)
    claim(copy.out, copy.models, SAMPLING)


def test_blocks_are_joined_by_number(tmp_path: Path) -> None:
    place = Place(tmp_path, "m", "k")
    save_arrays(place.readings(16, 18, "j"), {"x": np.array([[2.0], [3.0]])})
    save_arrays(place.readings(0, 2, "j"), {"x": np.array([[0.0], [1.0]])})
    save_arrays(place.readings(0, 1, "j"), {"x": np.array([[0.0]])})
    save_arrays(place.readings(2, 3, "another"), {"x": np.array([[9.0]])})
    found = load_readings(place, "j")
    assert found["number"].tolist() == [0, 1, 16, 17]
    assert found["x"][:, 0].tolist() == [0, 1, 2, 3]


def test_differences_are_paired_with_vanilla(results: Results) -> None:
    found = results.compare("diorama", cells("diorama"), ["jerk", FRAME_FEATURES])
    assert found is not None
    assert found.n == 2
    assert list(found.values) == ["renders", *cells("diorama")]
    assert list(found.differences) == list(cells("diorama"))[1:]
    before, after = (results.clips("diorama", variant)["jerk"][:2] for variant in (VANILLA, BOTH))
    assert found.differences["both"]["jerk"].value == pytest.approx((after - before).mean())
    assert found.values["vanilla"]["jerk"].value == pytest.approx(before.mean())
    distances = [found.values[name][FRAME_FEATURES].value for name in ("vanilla", "both")]
    assert found.differences["both"][FRAME_FEATURES].value == pytest.approx(distances[1] - distances[0])
    assert results.compare("diorama", BANDS, ["jerk"]) is None


def stored(study: Study, found: dict[Variant, dict[str, float]], first: int) -> Results:
    """Results of a model named another, two prompts of each variant, as a judge named j has read them."""
    for variant, means in found.items():
        arrays = {name: np.array([[mean], [mean]]) for name, mean in means.items()}
        save_arrays(Place(study.out, "another", variant.key).readings(first, first + 2, "j"), arrays)
    return Results(study.out, "j")


def test_the_best_setting_moves_more_breaks_less_and_loses_nothing(copy: Study) -> None:
    vanilla = {"subject": 0.5, "motion": 0.5, "broken": 0.5, "misshapen": 0.5, "dynamic": 0.5}
    found = {
        VANILLA: vanilla,
        sweep(Axis.BETA)["3"]: vanilla | {"motion": 0.0, "dynamic": 1.0},
        sweep(Axis.BETA)["5"]: vanilla | {"misshapen": 1.0, "dynamic": 1.0},
        sweep(Axis.STRENGTH)["0.1, 3"]: vanilla | {"dynamic": 0.9},
        sweep(Axis.ALPHA)["0.4"]: vanilla | {"dynamic": 0.75, "broken": 0.25},
    }
    best = stored(copy, found, SWEEPS_FROM).best("another")
    assert best is not None
    assert best.variant == sweep(Axis.ALPHA)["0.4"]
    assert (best.dynamic.value, best.broken.value) == (0.25, -0.25)
    assert Results(copy.out, "j").best("diorama") is None, "this judge has read nothing of it"


def test_the_prompts_of_the_sweeps_are_none_of_the_others(copy: Study) -> None:
    found = {VANILLA: {"jerk": 1.0}, BOTH: {"jerk": 2.0}}
    swept = stored(copy, found, SWEEPS_FROM)
    assert swept.compare("another", cells("another"), ["jerk"]) is None
    found_again = swept.sweep("another", Axis.ALPHA, ["jerk"])
    assert found_again is not None
    assert found_again.differences["0.6"]["jerk"].value == 1
    units = plan({"diorama": ""}, [Part.CELLS, Part.BANDS, Part.SWEEPS], EXTENT)
    firsts = {unit.first >= SWEEPS_FROM for unit in units if unit.treatment == sweep(Axis.BETA)["3"]}
    assert firsts == {True}
    assert {unit.first >= SWEEPS_FROM for unit in units if unit.treatment == BOTH} == {True, False}


@pytest.mark.parametrize(
    ("dynamic", "broken", "verdict", "holds"),
    [(0.1, -0.1, "helps", True), (0.1, 0.0, "neither", False), (0.1, 0.1, "does harm", False)],
)
def test_the_claim_is_held_against_the_figures(
    copy: Study, tmp_path: Path, dynamic: float, broken: float, verdict: str, holds: bool
) -> None:
    readings = {measure: 0.5 for measure in MEASURES if measure not in (FRAME_FEATURES, MOTION_FEATURES)}
    changed = readings | {"dynamic": 0.5 + dynamic, "broken": 0.5 + broken}
    shutil.rmtree(copy.out / "diorama")
    shutil.rmtree(copy.out / WORLD)
    write(stored(copy, {VANILLA: readings, preset_of("another"): changed}, 0), {}, tmp_path)
    text = (tmp_path / "results.md").read_text()
    assert f"| {verdict} |" in text
    assert ("The claim **holds**" in text) == holds


def test_a_part_alone_can_be_reported(copy: Study) -> None:
    """Sweeps bring what they are compared with; without the renders there are no distances to them."""
    alone = plan(copy.models, [Part.SWEEPS], EXTENT)
    assert {VANILLA, RENDERS, REFERENCE} <= {unit.treatment for unit in alone}
    shutil.rmtree(copy.out / WORLD)
    found = Results(copy.out, open_readers(copy.judge).name).compare("diorama", cells("diorama"), MEASURES)
    assert found is not None
    assert np.isnan(found.values["both"][FRAME_FEATURES].value)
    assert not np.isnan(found.values["both"]["jerk"].value)


def test_a_report_refuses_clips_of_another_model(copy: Study, tmp_path: Path) -> None:
    options = ["--out", str(copy.out), "--judge", str(copy.judge), "--to", str(tmp_path / "docs")]
    refused = CliRunner().invoke(app, ["report", *options, "--model", "diorama"])
    assert refused.exit_code == 2
    assert "other weights of diorama" in refused.stderr
    assert not (tmp_path / "docs").exists()


def test_without_a_judge_nothing_is_begun(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["run", "--out", str(tmp_path / "out"), "--judge", str(tmp_path)])
    assert refused.exit_code == 2
    assert "no judge.safetensors" in refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("place", "said"),
    [("--out", "file/study.json cannot be written"), ("--to", "file/swap.md cannot"), ("--judge", "judge.safetensors")],
)
def test_places_that_are_none(study: Study, tmp_path: Path, place: str, said: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "judge.safetensors").write_text("no weights")
    shutil.copy(study.judge / "outlines.safetensors", tmp_path / "damaged")
    where = {"--out": tmp_path / "out", "--judge": study.judge, "--to": tmp_path / "docs"}
    where[place] = tmp_path / ("damaged" if place == "--judge" else "file")
    refused = CliRunner().invoke(app, ["swap", *(str(part) for option in where.items() for part in option)])
    assert refused.exit_code == 2
    assert said in refused.stderr
    assert not any(where[new].exists() for new in ("--out", "--to") if new != place)


def test_a_store_whose_note_is_damaged(study: Study, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("{")
    where = ["--out", str(tmp_path), "--judge", str(study.judge), "--to", str(tmp_path / "docs")]
    refused = CliRunner().invoke(app, ["report", *where])
    assert refused.exit_code == 2
    assert "study.json of" in refused.stderr


def test_curves_end_at_the_prompts_themselves(results: Results) -> None:
    found = curves(results, "diorama")
    assert list(found) == [*FACTORS, TRACK]
    track = found[TRACK]
    assert track.first[0].value == 0
    assert track.first[-1].value == 1
    assert track.second[0].value == 1
    assert len(track.first) == SAMPLING.steps + 1


def test_the_report_holds_every_section(
    study: Study, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "PROMPTS", 2)
    write(results, study.models, tmp_path)
    text = (tmp_path / "results.md").read_text()
    for picture in (
        "differences",
        "swap",
        "sweeps-place",
        "disparity",
        "structure",
        "energy",
        "beta",
        "vanilla_enhanced-diorama",
    ):
        assert f"({picture}.png)" in text
        assert (tmp_path / f"{picture}.png").stat().st_size > 5000
    assert "2 prompts" in text
    assert "anchor_block" in text
    assert "mid_block" in text
    assert "sweeps-strength.png" not in text
    assert "guided less as made" in text
    regime = text.partition("## Are these models that the method is for?")[2].partition("## ")[0]
    assert "| energy in up_blocks.1, 5th to 95th percentile of clips | 0.10 to 0.22 | 0." in regime
    assert "| near-static (prompts that move) | many |" in regime
    for start in (
        "| ρ of energy in up_blocks.1 with flow | about 0.9 |",
        "| disparity in up_blocks.1 at the last step",
    ):
        assert start in regime


def test_the_command_line(study: Study, model_folder: Path, tmp_path: Path) -> None:
    base = ["--out", str(tmp_path / "out"), "--judge", str(study.judge), "--model", str(model_folder)]
    small = ["--steps", "2", "--processes", "1"]
    done = CliRunner().invoke(app, ["swap", *base, *small, "--pairs", "1", "--to", str(tmp_path / "docs")])
    assert done.exit_code == 0, done.output
    assert "Everything is done." in done.output
    assert (tmp_path / "docs" / "swap.png").exists()
    assert "(swap.png)" in (tmp_path / "docs" / "swap.md").read_text()
    assert Swap().key in {path.name for path in (tmp_path / "out" / "diorama").iterdir()}
    late = CliRunner().invoke(app, ["run", *base, *small, "--part", "bands", "--subset", "2", "--minutes", "0"])
    assert "7 of 7 units are left" in late.output
    report = CliRunner().invoke(app, ["report", *base, "--to", str(tmp_path / "docs")])
    assert report.exit_code == 0, report.output
    text = (tmp_path / "docs" / "results.md").read_text()
    assert "python -m research.study run --part swap" in text
    assert str(tmp_path) not in text


def test_measures_are_held_against_the_truth(copy: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the prompts that were asked for, clip by clip; the correlations are those of scipy."""
    results = Results(copy.out, open_readers(copy.judge).name)
    rng = np.random.default_rng(0)
    truth = {name: rng.normal(size=30) for name in TRUTHS} | {"number": np.arange(30)}
    found = {"temporal_flickering": truth["jerk"] + rng.normal(size=30)}
    monkeypatch.setattr(Results, "clips", lambda self, model, variant: truth)
    monkeypatch.setattr(Measuring, "of", lambda *_: found | {"number": np.arange(30)})
    measuring = Measuring(results)
    monkeypatch.setattr(measuring, "names", list(found))
    told = agreement(measuring, "diorama", copy.models["diorama"], 20)
    assert told is not None
    assert told.n == 20
    expected = spearmanr(found["temporal_flickering"][:20], truth["jerk"][:20]).statistic
    assert told.clips["temporal_flickering"]["jerk"].value == pytest.approx(expected)


def test_the_page_of_agreement(copy: Study, tmp_path: Path) -> None:
    folder, judge = copy.models["diorama"], str(copy.judge)
    command = ["agreement", "--out", str(copy.out), "--judge", judge, "--model", folder, "--to", str(tmp_path / "page")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    page = (tmp_path / "page" / "agreement.md").read_text()
    assert "## diorama, 2 clips" in page
    assert "| temporal_flickering | 0." in page
    assert "subject_consistency: " in page, "what could not be measured is named"
    kept = sorted(copy.out.glob("diorama/*/*.measures-*.npz"))
    assert {path.parent.name for path in kept} == {"vanilla", preset_of("diorama").key}
    times = [path.stat().st_mtime_ns for path in kept]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert [path.stat().st_mtime_ns for path in kept] == times
    assert (tmp_path / "page" / "agreement.md").read_text() == page
