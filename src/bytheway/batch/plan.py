"""What a run makes: each clip a task with an id from its content, and the batches that are made at once.

The plan is the same for every driver that reads the same jobs file, whatever is there already, so that several may
work on it and any may be started again. Importing this imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np

from bytheway.batch.contents import content_of
from bytheway.batch.rows import Row
from bytheway.batch.store import Store
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.evaluation.experiment.arms import Arm

ENDING: Final = ".mp4"
_NAME: Final = re.compile(r".*/[0-9a-f]{16}\.mp4")
# Of a task: where something is, which its id does not go by, and what ids of tasks without it do not have.
_NAMED: Final = ("images", "sketches", "video", "loras", "file")
_SELDOM: Final = ("strength", "content")
_DIGITS: Final = 16  # of an id, hexadecimal: two of 10^6 clips share one with a chance of 3e-8

Item = TypeVar("Item")
Rows: TypeAlias = Callable[[], Iterable[Row]]


@dataclass(frozen=True)
class Facts:
    """What a loaded model says of itself that decides its clips, filled in where a row leaves it open.

    Attributes:
        weights: digest of all its weights, `bytheway.evaluation.provenance.fingerprint`; LoRAs on it: `with_loras`.
        dtype: precision in which it runs.
        preset: the method's settings for it.
        num_frames, width, height, steps, guidance_scale, fps: its defaults.
        pipeline: name of its class.
        preset_name: whose settings `preset` has.
        free_init_iterations: its own, where it has FreeInit on; else None.
    """

    weights: str
    dtype: str
    preset: Mapping[str, Any] = field(hash=False)
    num_frames: int
    width: int
    height: int
    steps: int
    guidance_scale: float
    fps: float
    pipeline: str
    preset_name: str
    free_init_iterations: int | None

    def with_loras(self, strengths: Sequence[float]) -> Facts:
        """These facts where LoRAs are on with such weights, of which no tensor tells: other weights, another digest."""
        if not strengths:
            return self
        told = json.dumps([self.weights, *strengths])
        return replace(self, weights=hashlib.sha256(told.encode()).hexdigest()[:_DIGITS])


@dataclass(frozen=True)
class Task:
    """One clip that is to be made, with all that decides it.

    Attributes:
        arm: name of the folder of its arm.
        prompt, negative_prompt, seed, num_frames, width, height, steps, guidance_scale, fps: as in `Request`; made from
            a video, number of frames and rate are None where they are the video's.
        free_init: whether it is made with FreeInit.
        config: the method's settings as a dictionary; None where the method is left out.
        weights, dtype: of the model.
        strength: as in `Request`.
        images, sketches: that it starts from, each FILE@FRAME.
        video: that it is made from.
        loras: that are put on the model for it, each NAME=WEIGHT.
        content: digest of what is in these files; None where there are none.
        file: where the clip goes below the output; None: arm/id.mp4.
    """

    arm: str
    prompt: str
    negative_prompt: str | None
    seed: int
    num_frames: int | None
    width: int
    height: int
    steps: int
    guidance_scale: float
    fps: float | None
    free_init: bool
    config: Mapping[str, Any] | None = field(hash=False)
    weights: str
    dtype: str
    strength: float | None = None
    images: tuple[str, ...] = ()
    sketches: tuple[str, ...] = ()
    video: str | None = None
    loras: tuple[str, ...] = ()
    content: str | None = None
    file: str | None = None

    @property
    def id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of everything that decides the clip.

        The names of arm and files do not, nor do the device and the number of clips that are made at once.
        """
        names = [name for name in vars(self) if name not in _NAMED]
        names = [name for name in names if name not in _SELDOM or vars(self)[name] is not None]
        content = {name: vars(self)[name] for name in names} | {"arm": None}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]

    @property
    def name(self) -> str:
        """Where the clip is, below the output."""
        return self.file or f"{self.arm}/{self.id}{ENDING}"

    def goes_with(self, other: Task) -> bool:
        """Whether both can be made at once: they differ in prompt and seed only, and start from nothing else."""
        if self.images or self.sketches or self.video is not None:
            return False
        return vars(self) | {"prompt": None, "seed": None} == vars(other) | {"prompt": None, "seed": None}


@dataclass(frozen=True)
class Batch:
    """Tasks that are made at once; how many they are decides how sums round, so a plan never changes that.

    Attributes:
        tasks: all of them.
        left: which of them are to be kept; the clips of the others are there already. None: all.
    """

    tasks: tuple[Task, ...]
    left: tuple[bool, ...] | None = None

    def kept(self, items: Iterable[Item]) -> Iterator[Item]:
        """Of items that belong to the tasks, in their order, those whose task is to be kept."""
        left = self.left or (True,) * len(self.tasks)
        return (item for item, is_left in zip(items, left, strict=True) if is_left)

    def wanted(self) -> list[Task]:
        """The tasks that are to be kept."""
        return list(self.kept(self.tasks))

    def apart(self) -> list[Batch]:
        """Each that is to be kept by itself."""
        return [Batch((task,)) for task in self.wanted()]


@dataclass(frozen=True)
class Sweep:
    """What is made of every row.

    Attributes:
        arms: the ways of making its clips, where the row has none of its own.
        seeds: how many clips of each way; the first has the seed of the row.
        settings: those of every row that does not give its own, by the names of `bytheway.batch.rows.SETTINGS`.
    """

    arms: tuple[Arm, ...]
    seeds: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ByTheWayError(f"seeds is {self.seeds}; it must be at least 1.")


@dataclass(frozen=True)
class Shard:
    """One of several equal shares of the batches, the `index`-th of `count`, from 1."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that a text such as "3/8" names.

        Raises:
            ByTheWayError: it is none, or counts from 0.
        """
        first, _, second = text.partition("/")
        if first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second):
            return cls(int(first), int(second))
        raise ByTheWayError(f"The shard {text!r} is none; write I/N with I from 1 to N, as 1/8 to 8/8.")


@dataclass(frozen=True, eq=False)
class Survey:
    """Which tasks of a plan are left to be made.

    Attributes:
        left: for every task of the plan, in its order, whether it is to be made, bool (n,).
        present: for every task whether its clip is there, bool (n,); of a task that is named twice once.
    """

    left: np.ndarray
    present: np.ndarray

    @property
    def clips(self) -> int:
        """How many there will be; a task that the rows name twice counts once."""
        return self.there + int(self.left.sum())

    @property
    def there(self) -> int:
        """How many of them are there already."""
        return int(self.present.sum())


class Plan:
    """Rows, seeds and arms as batches of tasks, always the same ones in the same order.

    Args:
        rows: gives the rows anew at each call; they are read once for every pass over the plan.
        sweep: what is made of every row.
        facts: of the model.
        batch_size: how many clips are made at once, at most.
        shard: only the batches of this one are in the plan.
    """

    def __init__(
        self, rows: Rows, sweep: Sweep, facts: Facts, *, batch_size: int = 1, shard: Shard | None = None
    ) -> None:
        self._rows, self._sweep, self._facts = rows, sweep, facts
        self._batch_size = batch_size
        self._shard = shard or Shard()

    def survey(self, there: Iterable[str]) -> Survey:
        """What is left to be made where clips of these names are there.

        Eight bytes are kept of every task and of every clip that is there.
        """
        keys = np.frombuffer(array("Q", (_key(task.name) for batch in self.batches() for task in batch.tasks)), "u8")
        _, firsts = np.unique(keys, return_index=True)
        is_first = np.zeros(len(keys), dtype=bool)
        is_first[firsts] = True
        present = np.isin(keys, np.frombuffer(array("Q", map(_key, there)), "u8"))
        return Survey(is_first & ~present, is_first & present)

    def clips_in(self, store: Store) -> Iterator[str]:
        """The names of the clips that are in the folders of a store that the plan fills, whoever made them."""
        arms = {arm.folder for arm in self._sweep.arms} | {row.arm.folder for row in self._rows() if row.arm}
        for arm in sorted(arms):
            yield from (name for name in store.names(arm) if _NAME.fullmatch(name))

    def there(self, survey: Survey) -> Iterator[str]:
        """The names of the clips of the plan that were there at a survey."""
        tasks = (task for batch in self.batches() for task in batch.tasks)
        yield from (task.name for task, is_there in zip(tasks, survey.present, strict=True) if is_there)

    def batches(self) -> Iterator[Batch]:
        """Every batch, whatever is there."""
        for number, batch in enumerate(self._all()):
            if number % self._shard.count == self._shard.index - 1:
                yield batch

    def left(self, survey: Survey) -> Iterator[Batch]:
        """The batches of which at least one task is left to be made."""
        place = 0
        for batch in self.batches():
            left = tuple(survey.left[place : place + len(batch.tasks)].tolist())
            if len(left) < len(batch.tasks):
                raise ByTheWayError("The jobs file has grown while it was read; give the command again.")
            if any(left):
                yield Batch(batch.tasks, left)
            place += len(left)

    def _all(self) -> Iterator[Batch]:
        """A batch for each arm is open at a time: full, or met by a task of other settings, it goes."""
        waiting: dict[str, list[Task]] = {}
        for task in self._tasks():
            mine = waiting.setdefault(task.arm, [])
            if mine and (len(mine) == self._batch_size or not mine[0].goes_with(task)):
                yield Batch(tuple(mine))
                mine.clear()
            mine.append(task)
        yield from (Batch(tuple(mine)) for mine in waiting.values())

    def _tasks(self) -> Iterator[Task]:
        """Every task: row by row, seed by seed, arm by arm, so that pairs are whole early."""
        for row in self._rows():
            given = {**self._sweep.settings, **row.settings}
            first = given.pop("seed", 0)
            for seed in range(first, first + self._sweep.seeds):
                for arm in (row.arm,) if row.arm is not None else self._sweep.arms:
                    yield self._task(row, arm, seed, given)

    def _task(self, row: Row, arm: Arm, seed: int, given: Mapping[str, Any]) -> Task:
        facts = self._facts
        changes = json.dumps({**arm.changes, **row.method}, sort_keys=True)
        images, sketches, loras = (given.get(name, ()) for name in ("image", "sketch", "lora"))
        video = given.get("video")
        usual = (facts.num_frames, facts.fps) if video is None else (None, None)
        num_frames, fps = given.get("num_frames", usual[0]), given.get("fps", usual[1])
        return Task(
            arm=arm.folder,
            prompt=row.prompt,
            negative_prompt=given.get("negative_prompt"),
            seed=seed,
            num_frames=num_frames,
            width=given.get("width", facts.width),
            height=given.get("height", facts.height),
            steps=given.get("steps", facts.steps),
            guidance_scale=float(given.get("guidance_scale", facts.guidance_scale)),
            fps=None if fps is None else float(fps),
            free_init=arm.free_init,
            config=_config(json.dumps(dict(facts.preset)), changes) if arm.method else None,
            weights=facts.weights,
            dtype=facts.dtype,
            strength=given.get("strength"),
            images=images,
            sketches=sketches,
            video=video,
            loras=loras,
            content=content_of(images, sketches, video, loras),
        )


@lru_cache(maxsize=1024)
def _config(preset: str, changes: str) -> Mapping[str, Any]:
    """The method's settings, from JSON; a sweep has few of them for its many clips."""
    return ByTheWayConfig.from_dict(json.loads(preset)).replace(**json.loads(changes)).to_dict()


def _key(name: str) -> int:
    """A number of 64 bits that stands for the name of a clip: its id, changed by its arm."""
    arm, _, file = name.rpartition("/")
    return int(file.removesuffix(ENDING), 16) ^ _key_of_arm(arm)


@lru_cache(maxsize=1024)
def _key_of_arm(arm: str) -> int:
    return int.from_bytes(hashlib.sha256(arm.encode()).digest()[:8])
