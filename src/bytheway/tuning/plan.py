"""What a search in a folder is of, so that whoever goes on with it does the same; and how long it goes on."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bytheway.errors import ByTheWayError
from bytheway.evaluation.statistics import FEWEST_PROMPTS
from bytheway.files import read_json_object, write_text

FACTS: Final = "search.json"
FORMAT: Final = 1
_SHARE_HELD_OUT: Final = 3  # one prompt in so many
_TRIALS: Final = 8  # at least so many are to be had for a budget, in clips of all prompts


@dataclass(frozen=True)
class Budget:
    """How long a search goes on: until there are so many clips, vanilla ones included, or so many minutes have passed.

    Held-out clips come on top.
    """

    clips: int | None = None
    minutes: float | None = None

    def ends(self, spent: Callable[[], int]) -> Callable[[], bool]:
        """Whether it is over, asked from now on; `spent` counts clips."""
        deadline = None if self.minutes is None else time.monotonic() + 60 * self.minutes

        def is_over() -> bool:
            if deadline is not None:
                return time.monotonic() >= deadline
            return self.clips is not None and spent() >= self.clips

        return is_over


def parse_budget(text: str) -> Budget:
    """The budget that a text says: "200" are clips, "90min" and "1.5h" are time.

    Raises:
        ByTheWayError: it says none, or one that is too small for any search.
    """
    match = re.fullmatch(r"\s*(\d{1,6}(?:\.\d+)?)\s*(min|h)?\s*", text)
    number, unit = (float(match[1]), match[2]) if match else (0.0, None)
    if unit is None and number == int(number) and number >= 2 * FEWEST_PROMPTS:
        return Budget(clips=int(number))
    if unit is not None and number > 0:
        return Budget(minutes=number * (60 if unit == "h" else 1))
    raise ByTheWayError(
        f"The budget is {text!r}; give {2 * FEWEST_PROMPTS} or more clips, such as 200, or a time, such as 90min.",
        setting="budget",
    )


def split_prompts(prompts: Sequence[str], budget: Budget) -> tuple[list[str], list[str]]:
    """Prompts to search by, and prompts that are held out: one in three, six at least, drawn once for all.

    Of a budget in clips eight trials are to be had at least, so that it may ask for fewer prompts than there are.

    Raises:
        ByTheWayError: there are too few.
    """
    different = list(dict.fromkeys(prompts))
    if len(different) < 2 * FEWEST_PROMPTS:
        raise ByTheWayError(
            f"{len(different)} prompts are too few: {FEWEST_PROMPTS} to search by and {FEWEST_PROMPTS} that are held "
            "out are the least that tells anything; give more.",
            setting="prompts",
        )
    random.Random(0).shuffle(different)
    count = max(FEWEST_PROMPTS, len(different) // _SHARE_HELD_OUT)
    held, to_search = different[:count], different[count:]
    if budget.clips is not None:
        to_search = to_search[: max(FEWEST_PROMPTS, budget.clips // _TRIALS)]
    return to_search, held


def agreed_facts(folder: Path, asked: Mapping[str, Any], made: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """The facts of the search in a folder, which is begun where there is none.

    Args:
        folder: of the search.
        asked: what has to be the same for whoever goes on.
        made: what is decided at the beginning.

    Raises:
        ByTheWayError: the folder holds another search, or something else.
    """
    path = folder / FACTS
    there = read_json_object(path, str(path))
    if there is None:
        facts = {"format": FORMAT, "asked": dict(asked), **made()}
        write_text(path, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        return facts
    before = there.get("asked")
    if there.get("format") != FORMAT or not isinstance(before, dict):
        raise ByTheWayError(f"{path} is damaged or of another version; give another folder.", setting="folder")
    wanted = json.loads(json.dumps(dict(asked)))
    for name, value in wanted.items():
        if before.get(name) != value:
            raise ByTheWayError(
                f"{folder} holds a search that began otherwise ({name}); go on as it did, or give another folder.",
                setting="folder",
            )
    return there
