"""Which model is asked for: plain data that can be told to another machine. Importing this imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bytheway.families.family import Start
from bytheway.families.pipeline import VideoPipeline
from bytheway.models.loading import load
from bytheway.models.lora import add_loras
from bytheway.models.registry import known_model_of


@dataclass(frozen=True)
class ModelChoice:
    """The model of a run, by the arguments of `bytheway.load`."""

    model: str
    motion_adapter: str | None
    lora: tuple[str, ...]
    device: str | None
    dtype: str | None
    start: Start | None = None
    controlnet: str | None = None

    def load(self) -> VideoPipeline:
        """The pipeline, on its device, without progress bars of its own."""
        pipe = load(
            self.model,
            motion_adapter=self.motion_adapter,
            lora=self.lora,
            start=self.start,
            controlnet=self.controlnet,
            device=self.device,
            dtype=self.dtype,
        )
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def change_loras(self, pipe: Any, loras: tuple[str, ...]) -> None:
        """Put these LoRAs on the pipeline of this choice, on top of its own, in the place of others that were so.

        Raises:
            ByTheWayError: as in `bytheway.load`.
        """
        if hasattr(pipe, "unload_lora_weights"):
            pipe.unload_lora_weights()
        known = known_model_of(pipe)
        add_loras(pipe, [*self.lora, *loras], own=known.lora if known else ())

    def settings(self) -> dict[str, Any]:
        """What a clip says about its model."""
        return {
            "model": self.model,
            "motion_adapter": self.motion_adapter,
            "lora": list(self.lora),
            "start": self.start,
            "controlnet": self.controlnet,
        }
