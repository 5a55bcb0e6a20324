"""The files that VBench writes, made anew from its own numbers of four clips."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bytheway.errors import ByTheWayError
from bytheway.evaluation.clip_files import ClipFile
from bytheway.evaluation.measures.measure import Measurement
from bytheway.evaluation.scores import ClipScores
from bytheway.evaluation.suites import SUITES, prompts_of
from bytheway.evaluation.vbench_files import check_names, write_vbench_files

WROTE = Path(__file__).parent / "vbench_wrote"
COSINES = json.loads((WROTE / "subject_cosines.json").read_text())
BY_PROMPT = {
    "a person swimming in ocean-0": "ad_compare_old_0",
    "a person swimming in ocean-1": "ad_compare_new_0",
    "a person giving a presentation to a room full of colleagues-0": "ad_model_06_03",
    "a person giving a presentation to a room full of colleagues-1": "vc_t2v_duck",
}


def read(name: str) -> Any:
    return json.loads((WROTE / f"{name}.json").read_text())


def measured(name: str, entry: dict[str, Any], clip: str) -> Measurement:
    """What our measure gives where VBench has this entry."""
    values = [float(entry["video_results"])]
    if name == "subject_consistency":
        both = zip(COSINES[clip]["to_previous"], COSINES[clip]["to_first"], strict=True)
        values = [(max(0.0, before) + max(0.0, first)) / 2 for before, first in both]
    elif name == "background_consistency":
        values = [entry["video_sim"] / entry["cnt_per_video"]] * entry["cnt_per_video"]
    at = tuple(range(len(values)))
    return Measurement(name, entry["video_results"], tuple(values), at, "pair", "", "higher", vbench=True)


def scores_of(results: dict[str, Any]) -> list[ClipScores]:
    """Our scores of the clips in VBench's results, in its order."""
    clips: dict[str, dict[str, Measurement]] = {}
    for name, (_, entries) in results.items():
        for entry in entries:
            path = entry["video_path"]
            clip = BY_PROMPT.get(Path(path).stem, Path(path).stem)
            clips.setdefault(path, {})[name] = measured(name, entry, clip)
    return [ClipScores(ClipFile(Path(path)), 16, 64, 64, 8.0, found) for path, found in clips.items()]


def same(ours: Any, theirs: Any) -> bool:
    """The same in structure, order, strings and booleans, and in numbers as far as float32 knows them."""
    if isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, float):
        return bool(ours == pytest.approx(theirs, rel=1e-7, abs=0))
    return type(ours) is type(theirs) and bool(ours == theirs)


@pytest.mark.parametrize("mode", ["custom", "standard"])
def test_both_files_are_those_of_vbench(mode: str, tmp_path: Path) -> None:
    scores = scores_of(read(f"{mode}_eval_results"))
    written = write_vbench_files(str(tmp_path / "name"), scores)
    assert [path.name for path in written] == ["name_eval_results.json", "name_full_info.json"]
    for path, kind in zip(written, ("eval_results", "full_info"), strict=True):
        text, theirs = path.read_text(), (WROTE / f"{mode}_{kind}.json").read_text()
        assert same(json.loads(text), json.loads(theirs)), kind
        numbers = re.compile(r"\d\.\d+")
        assert numbers.sub("x", text) == numbers.sub("x", theirs), "spaces, lines and signs as well"


def test_clips_of_the_suite_in_two_folders_are_refused() -> None:
    """VBench looks for each name once, so that clips of one of the folders would be lost; others have their paths."""
    places = [Path(folder) / f"{next(iter(BY_PROMPT))}.mp4" for folder in "ab"]
    check_names([ClipFile(places[0])])
    with pytest.raises(ByTheWayError, match=r"a/a person .*-0.mp4 and b/.*-0.mp4 have the same name.*one folder"):
        check_names([ClipFile(place) for place in places])
    check_names([*(ClipFile(place) for place in places), ClipFile(Path("mine-0.mp4"))])


def test_long_clips_weigh_more_in_the_consistencies_alone(tmp_path: Path) -> None:
    results = read("custom_eval_results")
    write_vbench_files(str(tmp_path / "n"), scores_of(results))
    ours = json.loads((tmp_path / "n_eval_results.json").read_text())
    clips = [entry["video_results"] for entry in results["subject_consistency"][1]]
    assert abs(ours["subject_consistency"][0] - sum(clips) / len(clips)) > 0.1
    assert ours["dynamic_degree"][0] == 0.5


def test_what_is_not_vbenchs_is_left_out(tmp_path: Path) -> None:
    """A number that another network gave must not be taken for VBench's."""
    scores = scores_of({"motion_smoothness": read("custom_eval_results")["motion_smoothness"]})
    rife = Measurement("motion_smoothness_rife", 0.9, (0.9,), (1,), "pair", "", "higher", vbench=False)
    more = [ClipScores(one.clip, 16, 64, 64, 8.0, {**one.measurements, rife.name: rife}) for one in scores]
    write_vbench_files(str(tmp_path / "n"), more)
    assert list(json.loads((tmp_path / "n_eval_results.json").read_text())) == ["motion_smoothness"]
    alone = [ClipScores(one.clip, 16, 64, 64, 8.0, {rife.name: rife}) for one in scores]
    with pytest.raises(ByTheWayError, match="None of the measures is one of VBench's dimensions"):
        write_vbench_files(str(tmp_path / "m"), alone)
    assert not (tmp_path / "m_eval_results.json").exists()


def test_suites() -> None:
    assert {name: len(prompts_of(name)) for name in SUITES} == {
        "diorama": 32,
        "vbench-background": 86,
        "vbench-flickering": 75,
        "vbench": 165,
        "vbench-subject": 72,
        "vbench-motion": 72,
        "vbench-aesthetic": 93,
    }
    assert prompts_of("vbench-motion") == prompts_of("vbench-subject")
    for name in SUITES:
        assert len(set(prompts_of(name))) == len(prompts_of(name))
    with pytest.raises(ByTheWayError, match="There is no suite 'vbnch'; the suites are diorama, vbench-background"):
        prompts_of("vbnch")


def test_dioramas_suite_has_only_words_that_it_knows() -> None:
    folder = Path(__file__).parents[2] / "src/bytheway/models/diorama"
    known = set(json.loads((folder / "world.json").read_text())["words"])
    assert {word for prompt in prompts_of("diorama") for word in prompt.split()} <= known
