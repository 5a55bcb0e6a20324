"""Pictures are drawn, and what cannot be is said before anything is made."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bytheway.diagnosis.curves import curves_of
from bytheway.diagnosis.figures import check_figure, draw_curves, draw_maps
from bytheway.errors import ByTheWayError
from tests.diagnosis.records import curves, record_of

MAP = np.full((6, 6), 1 / 6, np.float32)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


@pytest.mark.parametrize("clips", [[curves()], [curves(energy=0.1), curves(apart=(1.0, 1.5, 2.0))]])
@pytest.mark.parametrize("beta", [1.5, None])
def test_curves(tmp_path: Path, clips: list[object], beta: float | None) -> None:
    draw_curves(tmp_path / "a.png", clips, num_frames=16, least_beta=beta)  # type: ignore[arg-type]
    assert size_of(tmp_path / "a.png") == (round(130 * (1.2 + 3 * 2.6)), round(130 * (0.9 + 2.0 * (3 if beta else 2))))


def test_curves_of_a_model_without_an_anchor(tmp_path: Path) -> None:
    draw_curves(
        tmp_path / "a.svg", [curves_of(record_of({"down_blocks.0": [0.2, 0.3]}, {}))], num_frames=6, least_beta=2
    )
    assert "down_blocks.0" in (tmp_path / "a.svg").read_text() or (tmp_path / "a.svg").stat().st_size > 1000


def test_maps(tmp_path: Path) -> None:
    draw_maps(tmp_path / "a.png", {"up_blocks.1": [MAP] * 9, "up_blocks.2": [MAP] * 9}, range(9))
    assert size_of(tmp_path / "a.png") == (round(130 * (1.6 + 1.9 * 5)), (130 * 5))


@pytest.mark.parametrize(
    ("name", "said"), [("a.txt", "is no name for a picture; let it end in .png"), ("b.png", "is a")]
)
def test_places_that_are_refused(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "b.png").mkdir()
    with pytest.raises(ByTheWayError, match=said):
        check_figure(tmp_path / name)


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ByTheWayError, match=r"^Pictures need matplotlib; install it \(pip install matplotlib\)\.$"):
        check_figure(tmp_path / "a.png")
