"""What a pipeline, or a bare denoiser, was given, and the mark that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final
from weakref import WeakSet, ref

from bytheway.apply.steps import StepTracker
from bytheway.config import ByTheWayConfig
from bytheway.families.pipeline import VideoPipeline
from bytheway.families.sites import TemporalAttention
from bytheway.record import Record

_MARK: Final = "_bytheway"
# Of this many schedulers the runs are followed; beyond that the first ones are forgotten.
_MOST_SCHEDULERS: Final = 64


@dataclass(eq=False)
class Applied:
    """What a pipeline, or a bare denoiser, was given.

    Attributes:
        config: of the method.
        enhance: False: the method is off and every site of every step is only recorded.
        record: where measures go; None: none are made.
        scheduler, classifier_free_guidance: for a loop of one's own; a pipeline that runs tells both itself.
        attentions: where the temporal self-attentions are; None: as the family declares.
        also: what else is recorded of the same forwards, where the method is off: disparities to other anchors.
        steps: of the scheduler that was last in use.
        before: for what a block gives, what was there before it.
        open: whether the block that gives it still runs; None: no block does.
    """

    config: ByTheWayConfig
    enhance: bool = True
    record: Record | None = None
    scheduler: Any = None
    classifier_free_guidance: bool | None = None
    attentions: Sequence[TemporalAttention] | None = None
    also: tuple[Applied, ...] = ()
    steps: StepTracker = field(init=False)
    before: Applied | None = field(init=False, default=None)
    open: bool | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._runs = count()
        self._trackers: dict[int, tuple[Any, StepTracker]] = {}
        self.steps = StepTracker(self.config.active_steps, self._runs)

    def steps_of(self, scheduler: Any) -> StepTracker:
        """Where the runs with this scheduler are; pipelines that share a denoiser may run at once, each with one."""
        if id(scheduler) not in self._trackers:
            tracker = StepTracker(self.config.active_steps, self._runs)
            # With the scheduler itself, so that no other gets its number.
            self._trackers.setdefault(id(scheduler), (scheduler, tracker))
            while len(self._trackers) > _MOST_SCHEDULERS:
                self._trackers.pop(next(iter(self._trackers)), None)
        _, self.steps = self._trackers[id(scheduler)]
        return self.steps

    def earlier(self) -> Applied | None:
        """What was there before, less the blocks that have ended since."""
        one = self.before
        while one is not None and one.open is False:
            one = one.before
        return one

    def __deepcopy__(self, memo: dict[int, Any]) -> Applied:
        """For a copy of the denoiser, which records nothing: its numbers would be mixed up with others."""
        copy = memo[id(self)] = replace(self, record=None)
        return copy


class Mark:
    """Says in the attributes of a pipeline that the method was put on it.

    Whoever has the mark is enhanced: the pipeline itself, and shallow copies of it. What was applied lasts as long as
    one of them does, and what a block gives as long as the block.

    Attributes:
        known_to: the installations that have something for it.
    """

    def __init__(self, pipeline: VideoPipeline | None) -> None:
        """
        Args:
            pipeline: the one that is to be marked; None where it is not known.
        """
        self._pipeline = None if pipeline is None else ref(pipeline)
        self.known_to: WeakSet[Any] = WeakSet()

    def __deepcopy__(self, memo: dict[int, Any]) -> Mark:
        # The pipeline that is being copied, if it is one that is.
        copy = memo[id(self)] = Mark(memo.get(id(self._marked())))
        return copy

    def __reduce__(self) -> Any:
        """Of a pipeline whose denoiser is without the method by now, or is another: it says nothing any more."""
        return Mark, (None,)

    @classmethod
    def of(cls, pipeline: VideoPipeline) -> Mark | None:
        """The mark of a pipeline, if it has one."""
        mark: Mark | None = vars(pipeline).get(_MARK)
        return mark

    @classmethod
    def take_off(cls, pipeline: VideoPipeline) -> None:
        """A pipeline without a mark of its own stays as it is."""
        vars(pipeline).pop(_MARK, None)

    def write(self) -> None:
        """Put it on the pipeline that is to be marked, in the place of an earlier one."""
        vars(self._marked())[_MARK] = self

    def erase(self) -> None:
        """Take it off the pipeline that was marked, if that has it still."""
        pipeline = self._marked()
        if pipeline is not None and vars(pipeline).get(_MARK) is self:
            del vars(pipeline)[_MARK]

    @property
    def scheduler(self) -> Any:
        """Of the pipeline that was marked, while there is one."""
        return getattr(self._marked(), "scheduler", None)

    def _marked(self) -> VideoPipeline | None:
        return None if self._pipeline is None else self._pipeline()
