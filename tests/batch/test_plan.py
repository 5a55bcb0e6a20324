"""Plans: ids come from content, batches never change, shards and restarts cover everything once."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytheway.batch.plan import Batch, Plan, Shard, Sweep, Task
from bytheway.batch.rows import Row
from bytheway.errors import ByTheWayError
from bytheway.evaluation.experiment.arms import parse_arm
from tests.batch.conftest import FACTS

ROOT = Path(__file__).parents[2]
PlanOf = Callable[..., Plan]
PROMPTS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), min_size=1, max_size=8)


def plan(prompts: list[str], batch_size: int = 1, shard: str = "1/1", seeds: int = 1, arms: str = "enhanced") -> Plan:
    sweep = Sweep(tuple(map(parse_arm, arms.split(","))), seeds)
    rows = [Row("here", prompt) for prompt in prompts]
    return Plan(lambda: rows, sweep, FACTS, batch_size=batch_size, shard=Shard.parse(shard))


def names(one: Plan) -> list[str]:
    return [task.name for batch in one.batches() for task in batch.tasks]


def sizes(one: Plan) -> dict[str, int]:
    return {task.name: len(batch.tasks) for batch in one.batches() for task in batch.tasks}


@given(PROMPTS, PROMPTS, st.integers(1, 4))
def test_adding_rows_never_renumbers(before: list[str], added: list[str], batch_size: int) -> None:
    """Rows that follow change no name and no batch that was full; what is there is not made again."""
    old, new = plan(before, batch_size), plan(before + added, batch_size)
    assert names(new)[: len(before)] == names(old)
    full = [batch for batch in old.batches() if len(batch.tasks) == batch_size]
    assert list(new.batches())[: len(full)] == full
    survey = new.survey(names(old))
    assert survey.there == len(set(before))
    assert survey.left.sum() == len(set(added) - set(before))


def test_ids_go_by_what_is_in_files_and_not_by_where_they_are(tmp_path: Path) -> None:
    for name, content in (("a.png", b"a"), ("b.png", b"b"), ("copy.png", b"a")):
        (tmp_path / name).write_bytes(content)
    for folder, name, content in (("one", "w", b"a"), ("two", "w", b"b"), ("three", "v", b"a"), ("same", "w", b"a")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(content)

    def id_of(**settings: object) -> str:
        rows = [Row("here", "a ball", settings)]
        [batch] = Plan(lambda: rows, Sweep((parse_arm("enhanced"),)), FACTS).batches()
        return batch.tasks[0].id

    a, b, copy = (f"{tmp_path}/{name}.png" for name in ("a", "b", "copy"))
    of = [id_of(), *(id_of(image=(one,)) for one in (a, b, f"{a}@-1")), id_of(sketch=(a,)), id_of(image=(a, b))]
    of += [
        id_of(video=a),
        id_of(video=b),
        id_of(video=a, strength=0.5),
        id_of(lora=(a,)),
        id_of(lora=(f"{a}=0.5",)),
        id_of(lora=("x/y",)),
        *(id_of(lora=(f"{tmp_path}/{folder}",)) for folder in ("one", "two", "three")),
    ]
    assert len(set(of)) == len(of)
    assert id_of(image=(a,)) == id_of(image=(copy,))
    assert id_of(lora=(f"{a}=0.5",)) == id_of(lora=(f"{copy}=0.5",))
    assert id_of(lora=(f"{tmp_path}/one",)) == id_of(lora=(f"{tmp_path}/same",))
    assert of[0] == names(plan(["a ball"]))[0].removeprefix("enhanced/").removesuffix(".mp4")


def test_clips_that_start_from_files_are_made_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    rows = [Row("here", prompt, {"image": (f"{tmp_path}/a.png",)}) for prompt in "ab"]
    rows += [Row("here", prompt, {"lora": ("x/y",)}) for prompt in "cd"]
    batches = Plan(lambda: rows, Sweep((parse_arm("enhanced"),)), FACTS, batch_size=2).batches()
    assert [len(batch.tasks) for batch in batches] == [1, 1, 2]


@given(PROMPTS, st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
def test_shards_cover_everything_once(prompts: list[str], batch_size: int, count: int, seeds: int) -> None:
    whole = plan(prompts, batch_size, seeds=seeds, arms="vanilla,enhanced")
    parts = [plan(prompts, batch_size, f"{index}/{count}", seeds, "vanilla,enhanced") for index in range(1, count + 1)]
    assert sorted(names(whole)) == sorted(name for part in parts for name in names(part))
    for part in parts:
        assert sizes(part).items() <= sizes(whole).items() or len(set(prompts)) < len(prompts)


@given(PROMPTS, st.integers(1, 4), st.data())
def test_what_is_left_is_made_in_the_batches_of_the_plan(
    prompts: list[str], batch_size: int, data: st.DataObject
) -> None:
    whole = plan(prompts, batch_size)
    there = data.draw(st.sets(st.sampled_from(names(whole))))
    survey = whole.survey(there)
    left = list(whole.left(survey))
    assert [batch.tasks for batch in left] == [
        batch.tasks for batch, kept in zip(whole.batches(), _kept(whole, survey.left.tolist()), strict=True) if kept
    ]
    wanted = [task.name for batch in left for task in batch.wanted()]
    assert sorted(wanted) == sorted(set(names(whole)) - there)
    assert sorted(whole.there(survey)) == sorted(there)


def _kept(whole: Plan, left: list[bool]) -> list[bool]:
    flags = iter(left)
    return [max([next(flags) for _ in batch.tasks]) for batch in whole.batches()]


def task(**changes: object) -> Task:
    (batch,) = plan(["a red ball"]).batches()
    return replace(batch.tasks[0], **changes)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a blue ball"},
        {"negative_prompt": "blur"},
        {"seed": 1},
        {"num_frames": 8},
        {"width": 32},
        {"height": 32},
        {"steps": 3},
        {"guidance_scale": 7.5},
        {"fps": 4.0},
        {"free_init": True},
        {"config": None},
        {"config": {"alpha": 0.1}},
        {"weights": "f" * 16},
        {"dtype": "float16"},
    ],
)
def test_everything_that_decides_a_clip_is_in_its_id(change: dict[str, object]) -> None:
    assert task(**change).id != task().id


def test_ids_are_those_of_earlier_runs() -> None:
    """They are names of files: a change of this number makes every clip of every user anew."""
    assert task().name == "enhanced/7575c7f27f4375e8.mp4"
    assert task(arm="other").id == task().id


def test_ids_do_not_depend_on_the_process(plan_of: PlanOf) -> None:
    told = "from tests.batch.test_plan import names, plan\n"
    told += "print(*names(plan(['a', 'b'], arms='vanilla,alpha=0.4 beta=3')))"
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    run = subprocess.run([sys.executable, "-c", told], env=env, capture_output=True, text=True, check=True)
    assert run.stdout.split() == names(plan(["a", "b"], arms="vanilla,alpha=0.4 beta=3"))


def test_a_jobs_file_that_grows_is_said() -> None:
    prompts = ["a"]
    growing = Plan(lambda: [Row("here", one) for one in prompts], Sweep((parse_arm("enhanced"),)), FACTS)
    survey = growing.survey([])
    prompts.append("b")
    with pytest.raises(ByTheWayError, match="has grown while it was read"):
        list(growing.left(survey))


def test_what_is_left_open_and_what_the_model_would_choose_are_one(plan_of: PlanOf) -> None:
    rows = [Row("1", "a"), Row("2", "a", {"steps": 25, "fps": 8}), Row("3", "a", {}, {"alpha": 0.6})]
    (name,) = set(names(plan_of(rows)))
    survey = plan_of(rows).survey([])
    assert survey.clips == 1
    assert survey.left.tolist() == [True, False, False]
    assert plan_of(rows).survey([name]).clips == 1


def test_a_row_has_its_own_seed_arm_and_method(plan_of: PlanOf) -> None:
    rows = [Row("1", "a", {"seed": 7}, {"beta": 3.0}), Row("2", "b", arm=parse_arm("vanilla"))]
    made = [one for batch in plan_of(rows, arms="enhanced,vanilla", seeds=2).batches() for one in batch.tasks]
    told = [(one.prompt, one.arm, one.seed, one.config and one.config["beta"]) for one in made]
    assert sorted(told, key=str) == sorted(
        [
            ("a", "enhanced", 7, 3.0),
            ("a", "enhanced", 8, 3.0),
            ("a", "vanilla", 7, None),
            ("a", "vanilla", 8, None),
            ("b", "vanilla", 0, None),
            ("b", "vanilla", 1, None),
        ],
        key=str,
    )


def test_only_clips_of_the_same_settings_are_made_at_once(plan_of: PlanOf) -> None:
    rows = [Row("1", "a"), Row("2", "b"), Row("3", "c", {"steps": 2}), Row("4", "d", {"steps": 2}), Row("5", "e")]
    batches = [[one.prompt for one in batch.tasks] for batch in plan_of(rows, batch_size=3).batches()]
    assert batches == [["a", "b"], ["c", "d"], ["e"]]


def test_arms_are_made_side_by_side(plan_of: PlanOf) -> None:
    batches = plan_of(["a", "b", "c"], arms="vanilla,enhanced", batch_size=2).batches()
    assert [(batch.tasks[0].arm, "".join(one.prompt for one in batch.tasks)) for batch in batches] == [
        ("vanilla", "ab"),
        ("enhanced", "ab"),
        ("vanilla", "c"),
        ("enhanced", "c"),
    ]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/2", "1/2/3", "²/3"])
def test_a_shard_counts_from_one(text: str) -> None:
    with pytest.raises(ByTheWayError, match="from 1 to N"):
        Shard.parse(text)


def test_parts_of_a_batch_are_those_that_are_wanted() -> None:
    tasks = tuple(one for batch in plan(["a", "b", "c"], 3).batches() for one in batch.tasks)
    batch = Batch(tasks, (True, False, True))
    assert batch.wanted() == [tasks[0], tasks[2]]
    assert batch.apart() == [Batch((tasks[0],)), Batch((tasks[2],))]
