"""What choosing among seeds gives is reckoned from recorded clips; on an untrained model, and on made-up records."""

from pathlib import Path

import numpy as np
import pytest

from research.selection.__main__ import study
from research.selection.compare import chosen, differences, page, ways_to_choose
from research.study.sampling import Arrays

SITES = np.array(["up_blocks.0", "up_blocks.1", "up_blocks.2"])


def clips(prompts: int = 20, seeds: int = 4, steps: int = 6) -> list[Arrays]:
    """Energy tells the flow, and from the third step on disparity tells the confidence."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(prompts):
        flow, confidence = rng.uniform(0, 2, seeds), rng.uniform(0.5, 1, seeds)
        energy = np.tile((0.1 + 0.02 * flow)[:, None, None], (1, steps, 3))
        disparity = 3 + 0.2 * rng.normal(size=(seeds, steps, 3))
        disparity[:, 2:] = (4 - confidence)[:, None, None]
        disparity[..., 0] = np.nan
        made.append(
            {
                "energy": energy,
                "energy_after": energy,
                "disparity": disparity,
                "beta": np.ones_like(energy),
                "sites": SITES,
                "flow": flow,
                "confidence": confidence,
                **{name: rng.integers(0, 2, seeds) for name in ("broken", "subject", "motion")},
                "near_static": (flow < 0.5).astype(float),
                "motion_range": 10 * flow,
            }
        )
    return made


def test_choosing_by_motion_gives_motion_and_no_way_beats_hindsight() -> None:
    made = clips()
    ways, skills = ways_to_choose(made, active=2)
    assert list(ways) == ["plain rule", "fit of the active steps", "fit of the whole record", "best in hindsight"]
    assert skills["fit of the active steps, motion"].value > 0.95
    assert (
        skills["fit of the whole record, structure"].value > 0.95 > skills["fit of the active steps, structure"].value
    )
    found = {name: differences(made, chosen(way, 4, "motion"), 4) for name, way in ways.items()}
    for one in found.values():
        assert one["flow"].low > 0
        assert one["near_static"].high < 0
        assert one["flow"].value <= found["best in hindsight"]["flow"].value + 1e-9
    assert chosen(ways["best in hindsight"], 2, "structure") == [int(one["confidence"][:2].argmax()) for one in made]


def test_the_page() -> None:
    said: list[str] = []
    page(clips(), 2, [2, 4], ["motion", "both"], said.append)
    text = "\n".join(said)
    assert text.count("Best of") == 4
    assert "| a random seed |" in text
    assert "| best in hindsight |" in text


def test_made_once_and_gone_on_with(
    model_folder: Path,
    judge_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.nice", lambda by: 0)
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)

    def run(prompts: int, **options: bool) -> str:
        study(prompts, [2], str(model_folder), True, judge_folder, tmp_path, 2, 1, **{"show": False, **options})
        return capsys.readouterr().out

    assert "prompt 2/2" in run(2)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    assert len(files) == 2
    out = run(3)
    assert "prompt 3/3" in out
    assert "prompt 1/3" not in out
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert "3 prompts" in run(3, show=True)
