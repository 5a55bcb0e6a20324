"""Among which configs a search looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.families.pipeline import VideoPipeline
from bytheway.models.profile import Profile
from bytheway.tuning.derive import widest_tau
from bytheway.tuning.observing import candidates

MOST_BETA: Final = 10.0
"""The paper's for VideoCrafter2, the largest that anybody is known to use; a preset's where that is more."""
ACTIVE_STEPS: Final = (0.1, 0.5)


class Suggests(Protocol):
    """What of an `optuna.Trial` is used."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...

    def suggest_int(self, name: str, low: int, high: int) -> int: ...

    def suggest_categorical(self, name: str, choices: tuple[str, ...]) -> Any: ...


@dataclass(frozen=True)
class Space:
    """Ranges of the settings that are searched; the others are those of `base`.

    Attributes:
        base: the preset of the model.
        anchors: blocks that could be the anchor, the preset's first; none: the model can only be amplified.
        num_frames: F, the frames that an attention sees.
    """

    base: ByTheWayConfig
    anchors: tuple[str, ...]
    num_frames: int

    def __post_init__(self) -> None:
        if widest_tau(self.num_frames) < 1:
            raise ByTheWayError(
                f"In clips of {self.num_frames} latent frames there is no band to choose; search with 3 or more."
            )

    def suggest(self, trial: Suggests) -> ByTheWayConfig:
        """The config that a trial is to try: rounded, so that its numbers can be read and are the very ones."""
        changes: dict[str, Any] = {
            "beta": round(trial.suggest_float("beta", 1.0, max(MOST_BETA, self.base.beta), log=True), 3),
            "tau": trial.suggest_int("tau", 1, widest_tau(self.num_frames)),
            "active_steps": round(trial.suggest_float("active_steps", *ACTIVE_STEPS, step=0.05), 2),
        }
        if self.anchors:
            changes["alpha"] = round(trial.suggest_float("alpha", 0.0, 1.0, step=0.01), 2)
        if len(self.anchors) > 1:
            anchor = trial.suggest_categorical("anchor_block", self.anchors)
            changes["anchor_block"] = self.base.anchor_block if anchor == self.anchors[0] else anchor
        return self.base.replace(**changes)

    def place_of(self, config: ByTheWayConfig) -> dict[str, Any]:
        """What is to be suggested for a config: itself where it lies in the space, else the nearest in it."""
        low, high = ACTIVE_STEPS
        place: dict[str, Any] = {
            "beta": min(config.beta, max(MOST_BETA, self.base.beta)),
            "tau": min(max(1, config.tau), widest_tau(self.num_frames)),
            "active_steps": round(min(max(config.active_steps, low), high) / 0.05) * 0.05,
        }
        if self.anchors:
            place["alpha"] = round(config.alpha, 2)
        if len(self.anchors) > 1:
            anchor = config.anchor_block
            place["anchor_block"] = anchor if anchor in self.anchors else self.anchors[0]
        return place

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: what makes it another space."""
        return {"base": self.base.to_dict(), "anchors": list(self.anchors), "num_frames": self.num_frames}


def space_of(pipe: VideoPipeline, profile: Profile, num_frames: int) -> Space:
    """The space of a model, for clips of so many frames."""
    preset = profile.preset.config
    levels = getattr(profile.family.attentions, "has_levels", False)
    return Space(preset, candidates(pipe, preset) if levels else (), profile.latent_frames(num_frames))
