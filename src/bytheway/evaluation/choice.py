"""Which measures are wanted, as plain data, and making them ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.measure import KINDS, Measure

if TYPE_CHECKING:
    from bytheway.evaluation.measures.backbones.brought import Brought

USUAL: Final = (
    "subject_consistency",
    "background_consistency",
    "motion_smoothness",
    "temporal_flickering",
    "dynamic_degree",
    "flow_mean",
    "aesthetic_quality",
)
"""What is measured where nothing is chosen, as far as the networks for it are on this machine."""


@dataclass(frozen=True)
class MeasureChoice:
    """The measures of an evaluation, as `bytheway.evaluation.measures.loading.load_measures` accepts them.

    Attributes:
        names: of the measures, beside those that a network is brought for; None: the usual ones whose networks are on
            this machine, and nothing is fetched.
        device, dtype: where and how networks compute; None: on the fastest device, in float32.
        weights: folders or files by the name of the backbone.
        flow: the network for flow; None: RAFT where it can be had, else RIFE.
        brought: TorchScript files by the measure that they are for.
        offline: fetch nothing, also not for measures that are named.
        batch_size: how many frames or pairs of small frames are given to a network at once.
    """

    names: tuple[str, ...] | None = None
    device: str | None = None
    dtype: str | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    flow: Literal["raft", "rife"] | None = None
    brought: Mapping[str, str] = field(default_factory=dict)
    offline: bool = False
    batch_size: int = 8

    def __post_init__(self) -> None:
        """Raise ByTheWayError for a name that no measure has, before anybody waits for torch."""
        for name in self.names or ():
            if name not in KINDS and name not in self.brought:
                raise ByTheWayError(f"There is no measure {name!r}; the measures are {', '.join(KINDS)}.")

    def load(self) -> tuple[tuple[Measure, ...], dict[str, str]]:
        """The measures, ready to be called; and of the usual ones those that are left out, with the reason.

        Raises:
            ByTheWayError: a measure that was asked for, or for which a network was given, cannot be had, or none can.
        """
        if self.names is not None:
            return self.load_named(tuple(dict.fromkeys((*self.names, *self.brought)))), {}
        measures: list[Measure] = []
        left_out: dict[str, str] = {}
        of_flow = tuple(name for name in USUAL if KINDS[name].backbones == KINDS["flow_mean"].backbones)
        for group in dict.fromkeys(of_flow if name in of_flow else (name,) for name in (*USUAL, *self.brought)):
            try:
                measures += self.load_named(group, offline=True)
            except ByTheWayError as error:
                if any(map(self._is_asked_for, group)):
                    raise
                left_out |= dict.fromkeys(group, str(error))
        if not measures:
            raise ByTheWayError(f"Nothing can be measured: {next(iter(left_out.values()))}")
        return tuple(measures), left_out

    def _is_asked_for(self, name: str) -> bool:
        """Whether something was given for a measure, which leaving it out would pass over."""
        backbones = KINDS[name].backbones if name in KINDS else ()
        of_flow = self.flow is not None and backbones == KINDS["flow_mean"].backbones
        return name in self.brought or of_flow or not self.weights.keys().isdisjoint(backbones)

    def load_named(self, names: tuple[str, ...], *, offline: bool = False) -> tuple[Measure, ...]:
        """These measures alone, ready to be called; `offline`: nothing is fetched for them.

        Raises:
            ByTheWayError: one of them cannot be had.
        """
        from bytheway.evaluation.measures.backbones.brought import Brought
        from bytheway.evaluation.measures.loading import load_measures

        brought: dict[str, Brought] = {name: Brought(file) for name, file in self.brought.items() if name in names}
        return load_measures(
            names,
            device=self.device,
            dtype=self.dtype,
            batch_size=self.batch_size,
            offline=offline or self.offline,
            weights=self.weights,
            flow=self.flow,
            brought=brought,
        )
