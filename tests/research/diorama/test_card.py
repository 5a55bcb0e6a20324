"""The model card says what the report found, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from research.diorama.__main__ import SHIPPED
from research.diorama.card import PICTURES, SHOWN, card
from research.diorama.measures import NAMES

STAGES = {"autoencoder": 11, "spatial": 22, "motion": 33, "respaced": 40, "early": 44}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for stage, steps in STAGES.items():
        (tmp_path / stage).mkdir()
        rows = [{"step": 1, "time": 100}, {"step": steps, "time": 100 + 36 * steps}]
        (tmp_path / stage / "loss.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    start = {"time": 90, "command": [], "processes": 2, "hardware": "2 abacuses", "torch": "2"}
    (tmp_path / "starts.jsonl").write_text(json.dumps(start) + "\n")
    return tmp_path


@pytest.fixture
def report() -> dict[str, Any]:
    """Every measure of every column has a value of its own."""
    sides = ("all", "train", "unseen")
    columns = [(side, name) for side in sides for name in ("renders", "vanilla")]
    figures: dict[str, Any] = {side: {} for side in sides}
    for number, (side, name) in enumerate(columns):
        figures[side][name] = {measure: (10 * number + at) / 1000 for at, measure in enumerate(NAMES)}
    return figures | {
        "prompts": 256,
        "scenes": [{"prompt": f"prompt {number}"} for number in range(SHOWN + 1)],
        "judge_accuracy": {"subject": 0.875},
        "steps": 7,
        "guidance": 2.5,
        "spread": {"renders": {"left": [3.0, 25.0]}, "vanilla": {"left": [4.0, 21.5]}},
        "by_motion": {"jump": {"clips": 5, "as_prompted": 4, "broken": 0.2, "jerk": 1.25}},
    }


def test_the_card_tells_the_reports_figures(report: dict[str, Any], run: Path) -> None:
    text = card(report, run, SHIPPED, PICTURES)
    assert "| subject as prompted | 0.0 % | 1.0 % | 2.0 % | 3.0 % | 4.0 % | 5.0 % |" in text
    assert "subject 87.5 %" in text
    assert "(7 steps, guidance 2.5),\nas" in text, "as the report was made, whatever the model's defaults are now"
    assert "| jump | 5 | 4 | 20.0 % | 1.25 px |" in text
    assert "| left | 3.00 px to 25.00 px | 4.00 px to 21.50 px |" in text
    assert "autoencoder 11 steps, spatial 22 steps, motion 33 steps, respaced 40 steps. Trained for 1.5 hours" in text
    assert "(autoencoder 0.1, spatial 0.2, motion 0.3, respaced 0.4, early 0.4) by 2 processes on 2 abacuses." in text
    assert "a way is 2 to 26 pixels long, a jump 1.8 to 18.75 pixels high (less" in text
    assert "a spin 0.04 to 0.5 turns far" in text
    assert "\n32.0 % say so with a word" in text
    assert "target 0.16 for 16 frames, weight 0.3" in text
    assert "trained for 44 steps" in text
    assert f'"prompt {SHOWN - 1}".' in text
    assert "](../../../../docs/diorama/contact_sheet.png)" in text
    assert "swap.png" not in text


def test_the_card_takes_up_the_swapped_prompts(report: dict[str, Any], run: Path) -> None:
    (run / "swap.md").write_text("## When it is decided\n\n![curves](swap.png)\n")
    text = card(report, run, SHIPPED, PICTURES)
    assert "![curves](../../../../docs/diorama/swap.png)" in text
    assert text.index("| jump |") < text.index("## When it is decided") < text.index("## diorama-early")


def test_the_pictures_of_the_shipped_card_are_in_the_repository() -> None:
    shown = re.findall(r"!\[[^]]*\]\(([^)]*)\)", (SHIPPED / "MODEL_CARD.md").read_text(encoding="utf-8"))
    assert shown
    for picture in shown:
        assert (SHIPPED / picture).resolve().parent == PICTURES
        assert (SHIPPED / picture).is_file()
