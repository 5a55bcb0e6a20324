"""What is recorded, in which rows, and how they are saved."""

import csv
import gc
import html
import json
import sys
import weakref
from xml.etree import ElementTree

import pytest
import torch

from bytheway import ByTheWayConfig, ByTheWayError, enhanced, observe
from bytheway.attention.measures import Measures
from bytheway.families.sites import find_sites
from bytheway.record import Entry, Record, Row
from tests.toys.tiny import generate, make_pipeline

HALF = ByTheWayConfig(active_steps=0.5)
COLUMNS = [
    "run", "step", "timestep", "block", "module", "attention", "window", "video",
    "energy", "energy_after", "disparity", "beta",
]  # fmt: skip


@pytest.fixture(scope="module")
def pipe():
    return make_pipeline()


@pytest.fixture(scope="module")
def record(pipe):
    with enhanced(pipe, HALF) as run:
        generate(pipe, ["a red ball", "a blue star"], num_inference_steps=4)
    return run.record


@pytest.fixture(scope="module")
def observed(pipe):
    with observe(pipe) as run:
        generate(pipe, num_inference_steps=2)
    return run.record


def test_a_row_for_each_active_step_site_and_video(record):
    rows = record.rows()
    expected = {
        (step, f"up_blocks.{block}", module, attention, video)
        for step in (0, 1)
        for block in (1, 2, 3)
        for module in (0, 1)
        for attention in (0, 1)
        for video in (0, 1)
    }
    assert {(row.step, row.block, row.module, row.attention, row.video) for row in rows} == expected
    assert len(rows) == len(record) == len(expected)
    assert {(row.step, row.timestep) for row in rows} == {(0, 999.0), (1, 666.0)}
    assert {(row.run, row.window) for row in rows} == {(0, 0)}


def test_energies_stay_within_their_range_and_do_not_fall(record):
    for row in record.rows():
        assert 1 / 8 - 1e-5 <= row.energy <= 1 + 1e-5
        assert row.energy_after >= row.energy - 1e-5
        assert row.beta >= 1.5


def test_the_anchor_has_no_disparity_and_the_least_beta(record):
    for row in record.rows():
        if row.block == "up_blocks.1":
            assert row.disparity is None
            assert row.beta == 1.5
        else:
            assert row.disparity > 0
    assert any(row.beta > 1.5 for row in record.rows())


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_disparity_and_energy_do_not_depend_on_alpha_where_nothing_has_acted_yet(pipe, alpha):
    """The first call's anchor block is the model's own; so is what the site after it sees when beta is 1."""
    with observe(pipe) as run:
        generate(pipe, num_inference_steps=1)
    own = {(row.block, row.module, row.attention): row for row in run.record.rows()}
    with enhanced(pipe, active_steps=1.0, alpha=alpha, beta=1.0) as run:
        generate(pipe, num_inference_steps=1)
    for row in run.record.rows()[:5]:
        same = own[row.block, row.module, row.attention]
        assert row.energy == pytest.approx(same.energy, rel=1e-4)
        assert row.disparity == (None if same.disparity is None else pytest.approx(same.disparity, rel=1e-4))


def test_observe_records_every_site_of_every_step_and_changes_nothing(pipe, observed):
    with observe(pipe, ByTheWayConfig(active_steps=0)) as run:
        video = generate(pipe, num_inference_steps=2)
    assert torch.equal(video, generate(pipe, num_inference_steps=2))
    assert run.record.rows() == observed.rows()
    sites = {(site.block, *site.index) for site in find_sites(pipe.unet, HALF)}
    rows = observed.rows()
    assert {(row.step, row.block, row.module, row.attention) for row in rows} == {
        (step, *site) for step in (0, 1) for site in sites
    }
    assert len(rows) == 2 * len(sites)
    for row in rows:
        assert row.beta == 1
        assert row.energy_after == pytest.approx(row.energy, rel=1e-5)  # sums of other numbers
        assert (row.disparity is not None) is (row.block in ("up_blocks.2", "up_blocks.3"))


def test_observe_takes_another_anchor(pipe):
    with observe(pipe, ByTheWayConfig(anchor_block="up_blocks.0")) as run:
        generate(pipe, num_inference_steps=1)
    compared = {row.block for row in run.record.rows() if row.disparity is not None}
    assert compared == {"up_blocks.1", "up_blocks.2", "up_blocks.3"}


def test_conditional_half_is_what_is_recorded(pipe):
    """Another negative prompt does not change the first call's measures; another prompt does."""
    first = []
    for prompt, negative in (("a red ball", "snow"), ("a red ball", "grass"), ("a blue star", "snow")):
        with observe(pipe) as run:
            generate(pipe, prompt, negative_prompt=negative, num_inference_steps=1)
        first.append([row.energy for row in run.record.rows()])
    assert first[0] == pytest.approx(first[1], rel=1e-5)
    assert first[0] != pytest.approx(first[2], rel=1e-5)


def test_recording_costs_nothing_when_off(pipe, monkeypatch):
    monkeypatch.setattr(Record, "add", lambda *_: pytest.fail("recorded"))
    monkeypatch.setattr("bytheway.attention.whole.measure_maps", lambda *_: pytest.fail("measured"))
    monkeypatch.setattr("bytheway.method.disparity", lambda *_: pytest.fail("measured"))
    monkeypatch.setattr("bytheway.attention.tiles.TiledSite._measures", lambda *_: pytest.fail("measured"))
    with enhanced(pipe, HALF, record=False) as run:
        generate(pipe)
    assert run.record is None


def test_csv(record, tmp_path):
    record.save(tmp_path / "run.csv")
    with open(tmp_path / "run.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == COLUMNS
    assert [float(line["energy"]) for line in table] == [row.energy for row in record.rows()]
    assert table[0]["disparity"] == ""
    assert [path.name for path in tmp_path.iterdir()] == ["run.csv"]


def test_json_lines(record, tmp_path):
    record.save(str(tmp_path / "run.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert [Row(**line) for line in lines] == record.rows()


def test_pandas(record):
    pytest.importorskip("pandas")
    table = record.to_pandas()
    assert list(table.columns) == COLUMNS
    assert len(table) == len(record)
    assert table.disparity.isna().sum() == len(record) / 3


def test_without_pandas(record, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ByTheWayError, match="pandas, which is not installed"):
        record.to_pandas()


def test_a_record_does_not_keep_the_model():
    pipe = make_pipeline(channels=(32, 32))
    with enhanced(pipe, HALF) as run:
        generate(pipe)
    denoiser = weakref.ref(pipe.unet)
    del pipe
    gc.collect()
    assert denoiser() is None
    assert run.record.rows()


def test_a_record_of_nothing(tmp_path):
    empty = Record()
    assert (len(empty), empty.rows()) == (0, [])
    empty.save(tmp_path / "nothing.csv")
    assert (tmp_path / "nothing.csv").read_text().splitlines() == [",".join(COLUMNS)]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("run.txt", "neither a .csv nor a .jsonl"),
        ("run.csv/run.csv", "run.csv/run.csv cannot be written: Not a directory"),
    ],
)
def test_files_that_cannot_be_saved(record, tmp_path, path, words):
    (tmp_path / "run.csv").touch()
    with pytest.raises(ByTheWayError, match=words):
        record.save(tmp_path / path)
    assert [found.name for found in tmp_path.iterdir()] == ["run.csv"]


BLOCKS = ["up_blocks.1", "up_blocks.2", "up_blocks.3"]
HEAD = ["block", "sites", "energy", "enhanced", "disparity", "beta", "largest"]


def mean(numbers):
    return sum(numbers) / len(numbers)


def test_a_record_shows_itself_as_a_table(record):
    title, head, *lines = repr(record).splitlines()
    assert title == "Record of 48 rows, 1 run, 2 steps, 2 videos"
    assert head.split() == HEAD
    assert [line.split()[0] for line in lines] == BLOCKS
    for block, line in zip(BLOCKS, lines, strict=True):
        rows = [row for row in record.rows() if row.block == block]
        disparity = "–" if block == "up_blocks.1" else f"{mean([row.disparity for row in rows]):.3f}"
        assert line.split()[1:] == [
            "4",
            f"{mean([row.energy for row in rows]):.3f}",
            f"{mean([row.energy_after for row in rows]):.3f}",
            disparity,
            f"{mean([row.beta for row in rows]):.2f}",
            f"{max(row.beta for row in rows):.2f}",
        ]


def test_a_record_in_a_notebook(record):
    """The same cells, as a table that is well-formed."""
    table = ElementTree.fromstring(record._repr_html_())
    assert table.find("caption").text == repr(record).splitlines()[0]
    assert [cell.text for cell in table.iter("th")] == HEAD
    cells = [[cell.text for cell in line.iter("td")] for line in table.iter("tr")][1:]
    assert cells == [line.split() for line in repr(record).splitlines()[2:]]


def test_a_record_of_nothing_shows_itself():
    assert repr(Record()) == "Record of 0 rows, 0 runs, 0 steps, 0 videos"
    assert len(ElementTree.fromstring(Record()._repr_html_())) == 1


def test_names_of_blocks_are_no_html():
    record = Record()
    numbers = Measures(*(torch.ones(1) for _ in range(4)))
    record.add(Entry(0, 0, 1.0, "<b>&", (0, 0), 0, numbers))
    assert "<td>&lt;b&gt;&amp;</td>" in record._repr_html_()


def test_a_run_shows_where_it_is(pipe):
    with enhanced(pipe, HALF) as run:
        assert repr(run).splitlines()[0] == "Run: not begun"
        generate(pipe, num_inference_steps=4)
    place, config, *table = repr(run).splitlines()
    assert place == "Run: step 4 of 4, 2 active"
    assert config == repr(HALF)
    assert "\n".join(table) == repr(run.record)
    assert run._repr_html_() == (
        f"<p>Run: step 4 of 4, 2 active<br><code>{html.escape(repr(HALF))}</code></p>{run.record._repr_html_()}"
    )
    with observe(pipe) as run:
        generate(pipe, num_inference_steps=2)
    assert repr(run).startswith("Run: step 2 of 2, none active\n")


def test_a_run_without_a_record_shows_itself(pipe):
    with enhanced(pipe, HALF, record=False) as run:
        generate(pipe, num_inference_steps=1)
    assert repr(run) == f"Run: step 1 of 1, 1 active\n{HALF!r}\nNo record"
    assert run._repr_html_().endswith("</p>No record")


def test_nothing_is_fetched_until_it_is_shown(record, monkeypatch):
    fetched = []
    fetch = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda tensor: fetched.append(tensor) or fetch(tensor))
    assert len(record) == 48
    assert not fetched
    repr(record)
    assert len(fetched) == 5  # a column each: timesteps, energies before and after, disparities, betas
