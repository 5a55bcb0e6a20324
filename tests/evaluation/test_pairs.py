"""Which clips belong together."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bytheway.errors import ByTheWayError
from bytheway.evaluation.clip_files import find_clips
from bytheway.evaluation.pairs import Pairing, pair

Save = Callable[..., Path]


@pytest.fixture
def paired(tmp_path: Path) -> Callable[[], Pairing]:
    return lambda: pair(find_clips([tmp_path / "A"]), find_clips([tmp_path / "B"]))


def shown(pairing: Pairing) -> tuple[list[tuple[str, str]], list[str]]:
    pairs = [(first.path.name, second.path.name) for first, second in pairing.pairs]
    return pairs, [f"{clip.path.parent.name}/{clip.path.name}" for clip in pairing.alone]


def test_by_name_whatever_the_ending(save: Save, paired: Callable[[], Pairing]) -> None:
    for name in ("A/x.mp4", "A/y.gif", "A/z.mp4", "B/x.webp", "B/y.gif", "B/w.mp4"):
        save(name)
    assert shown(paired()) == ([("x.mp4", "x.webp"), ("y.gif", "y.gif")], ["A/z.mp4", "B/w.mp4"])


def test_by_prompt_and_seed_whatever_the_name(save: Save, paired: Callable[[], Pairing]) -> None:
    save("A/0001.gif", prompt="a cat", seed=1)
    save("A/0002.gif", prompt="a dog", seed=1)
    save("B/0001.gif", prompt="a dog", seed=1)
    save("B/0007.gif", prompt="a cat", seed=1)
    assert shown(paired()) == ([("0001.gif", "0007.gif"), ("0002.gif", "0001.gif")], [])


def test_numbers_of_other_prompts_and_seeds_are_no_pair(save: Save, paired: Callable[[], Pairing]) -> None:
    save("A/1.gif", prompt="a cat", seed=1)
    save("B/1.gif", prompt="a dog", seed=1)
    with pytest.raises(ByTheWayError, match=r"No clip has a partner: .*1.gif and .*1.gif share neither"):
        paired()
    save("A/2.gif", prompt="a cow", seed=1)
    save("B/2.gif", prompt="a cow", seed=2)
    save("A/3.gif", prompt="a hen", seed=1)
    save("B/3.gif")
    assert shown(paired()) == ([("3.gif", "3.gif")], ["A/1.gif", "A/2.gif", "B/1.gif", "B/2.gif"])


def test_two_clips_that_would_both_fit_are_named(save: Save, paired: Callable[[], Pairing]) -> None:
    save("A/1.gif")
    save("B/1.gif")
    save("B/1.mp4")
    with pytest.raises(ByTheWayError, match=r"1.gif and .*1.mp4 have the same name; leave one"):
        paired()
    (Path(find_clips([save("B/1.mp4")])[0].path)).unlink()
    save("A/2.gif", prompt="a cat", seed=1)
    save("A/3.gif", prompt="a cat", seed=1)
    with pytest.raises(ByTheWayError, match=r"2.gif and .*3.gif carry the same prompt and seed; leave one"):
        paired()


@pytest.mark.parametrize("settled", ["x", "9"])
def test_no_clip_is_in_two_pairs(save: Save, paired: Callable[[], Pairing], settled: str) -> None:
    """Settings come first, whatever the order; a name pairs only what is left."""
    save(f"A/{settled}.gif", prompt="a cat", seed=1)
    save("A/0.gif")
    save("B/0.gif", prompt="a cat", seed=1)
    assert shown(paired()) == ([(f"{settled}.gif", "0.gif")], ["A/0.gif"])
