"""What a search in a folder is of, and how long it goes on."""

import json
import time
from pathlib import Path

import pytest

from bytheway.errors import ByTheWayError
from bytheway.tuning.plan import FACTS, Budget, agreed_facts, parse_budget, split_prompts


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("200", Budget(clips=200)),
        (" 12 ", Budget(clips=12)),
        ("90min", Budget(minutes=90)),
        ("1.5h", Budget(minutes=90)),
    ],
)
def test_budgets(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["", "11", "200.5", "0h", "-3", "2 days", "1e3", "min", "9" * 30])
def test_no_budgets(text: str) -> None:
    with pytest.raises(ByTheWayError, match="give 12 or more clips, such as 200, or a time, such as 90min"):
        parse_budget(text)


def test_when_it_is_over() -> None:
    spent = [0]
    is_over = Budget(clips=12).ends(lambda: spent[0])
    assert not is_over()
    spent[0] = 12
    assert is_over()
    assert not Budget(minutes=1).ends(lambda: 1000)()
    soon = Budget(minutes=0.001).ends(lambda: 0)
    time.sleep(0.07)
    assert soon()


def test_prompts_are_split_once_for_all() -> None:
    prompts = [f"prompt {k}" for k in range(30)]
    searched, held = split_prompts([*prompts, "prompt 3"], Budget(minutes=10))
    assert len(held) == 10
    assert len({prompts.index(one) // 10 for one in held}) == 3, "from all over the list"
    assert sorted([*searched, *held]) == sorted(prompts), "each once"
    assert split_prompts(prompts, Budget(minutes=10)) == (searched, held)
    few, same = split_prompts(prompts, Budget(clips=60))
    assert (few, same) == (searched[:7], held), "eight candidates or more are to be had for the budget"
    assert [len(part) for part in split_prompts(prompts[:12], Budget(clips=1000))] == [6, 6]
    with pytest.raises(ByTheWayError, match="11 prompts are too few: 6 to search by and 6 that are held out"):
        split_prompts(prompts[:11], Budget(clips=50))


def test_whoever_goes_on_does_the_same(tmp_path: Path) -> None:
    asked = {"model": {"lora": ("a",)}, "objectives": ["flow_mean"]}
    facts = agreed_facts(tmp_path, asked, lambda: {"prompts": ["a", "b"]})
    assert agreed_facts(tmp_path, asked, lambda: pytest.fail("is decided already")) == json.loads(json.dumps(facts))
    with pytest.raises(ByTheWayError, match="holds a search that began otherwise \\(objectives\\)"):
        agreed_facts(tmp_path, {**asked, "objectives": ["flow_top5"]}, dict)


@pytest.mark.parametrize("content", ["no json", "{}", '{"format": 7, "asked": {}}', '{"format": 1, "asked": 3}'])
def test_foreign_files(tmp_path: Path, content: str) -> None:
    (tmp_path / FACTS).write_text(content)
    with pytest.raises(ByTheWayError, match="damaged"):
        agreed_facts(tmp_path, {"seed": 1}, dict)
