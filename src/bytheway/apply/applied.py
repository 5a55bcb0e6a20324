"""What a pipeline, or a bare denoiser, was given, and the mark that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final
from weakref import ref

from bytheway.apply.steps import StepTracker
from bytheway.config import ByTheWayConfig
from bytheway.families.pipeline import VideoPipeline
from bytheway.families.sites import TemporalAttention
from bytheway.record import Record

_MARK: Final = "_bytheway"


@dataclass(eq=False)
class Applied:
    """What a pipeline, or a bare denoiser, was given.

    Attributes:
        config: of the method.
        enhance: False: the method is off and every site of every step is only recorded.
        record: where measures go; None: none are made.
        scheduler, classifier_free_guidance: for a loop of one's own; a pipeline that runs tells both itself.
        attentions: where the temporal self-attentions are; None: as the family declares.
        steps: of the scheduler that was last in use.
    """

    config: ByTheWayConfig
    enhance: bool = True
    record: Record | None = None
    scheduler: Any = None
    classifier_free_guidance: bool | None = None
    attentions: Sequence[TemporalAttention] | None = None
    steps: StepTracker = field(init=False)

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
        _, self.steps = self._trackers[id(scheduler)]
        return self.steps

    def copied(self) -> Applied:
        """The same for a copy of the denoiser, which records nothing: its numbers would be mixed up with others."""
        return replace(self, record=None)


class Mark:
    """Says in the attributes of a pipeline that the method was put on it.

    Whoever has the mark is enhanced: the pipeline itself, and shallow copies of it. What was applied lasts as long as
    one of them does.
    """

    def __init__(self, pipeline: VideoPipeline) -> None:
        self._pipeline = ref(pipeline)
        vars(pipeline)[_MARK] = self

    def __deepcopy__(self, memo: dict[int, Any]) -> Mark:
        copy = memo[id(self)] = object.__new__(Mark)
        # The pipeline that is being copied, if it is one that is.
        copy._pipeline = ref(memo.get(id(self._pipeline()), copy))
        return copy

    @classmethod
    def of(cls, pipeline: VideoPipeline) -> Mark | None:
        """The mark of a pipeline, if it has one."""
        mark: Mark | None = vars(pipeline).get(_MARK)
        return mark

    @classmethod
    def take_off(cls, pipeline: VideoPipeline) -> None:
        """A pipeline without a mark of its own stays as it is."""
        vars(pipeline).pop(_MARK, None)

    def erase(self) -> None:
        """Take it off the pipeline that was marked, if that has it still."""
        pipeline = self._pipeline()
        if pipeline is not None and vars(pipeline).get(_MARK) is self:
            del vars(pipeline)[_MARK]

    @property
    def scheduler(self) -> Any:
        """Of the pipeline that was marked, while there is one."""
        return getattr(self._pipeline(), "scheduler", None)
