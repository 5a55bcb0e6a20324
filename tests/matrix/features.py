"""The columns of the matrix: each feature with its test, and how a pipeline's class tells that it does not have it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch

from tests.matrix import generation, lifecycle, techniques
from tests.matrix.rows import Row
from tests.matrix.subject import Subject


@dataclass(frozen=True)
class Feature:
    """One feature.

    Attributes:
        name: in the names of tests.
        title: in the table.
        test: fails where the method and the feature do not go together; its docstring is the meaning of the column.
        method: of the pipeline, which has the feature where it has this; None: every pipeline has the feature.
        arguments: of the pipeline's call, one of which is needed.
    """

    name: str
    title: str
    test: Callable[[Subject], None]
    method: str | None = None
    arguments: tuple[str, ...] = ()

    @property
    def meaning(self) -> str:
        assert self.test.__doc__
        return self.test.__doc__.partition("\n")[0]

    def missing_in(self, row: Row) -> str | None:
        """What the row's pipeline lacks for the feature."""
        if self.method is not None and not hasattr(row.pipeline_class, self.method):
            return f"The pipeline has no `{self.method}`."
        known = inspect.signature(row.pipeline_class.__call__).parameters
        if self.arguments and not known.keys() & set(self.arguments):
            return f"The pipeline's call has no `{self.arguments[0]}`."
        return None


FEATURES: Final = (
    Feature("guidance", "guidance", generation.guidance),
    Feature("no_guidance", "none", generation.no_guidance),
    Feature("batch", "batch", generation.batch),
    Feature(
        "several_videos",
        "videos a prompt",
        generation.several_videos,
        arguments=("num_videos_per_prompt", "num_images_per_prompt"),
    ),
    Feature("float16", "fp16", generation.half_precision(torch.float16)),
    Feature("bfloat16", "bf16", generation.half_precision(torch.bfloat16)),
    Feature("odd_sizes", "odd sizes", generation.odd_sizes),
    *(Feature(f"frames_{count}", f"F {count}", generation.frames(count)) for count in (8, 16, 24, 32)),
    *(Feature(f"steps_{count}", f"N {count}", generation.steps(count)) for count in (1, 2, 4)),
    Feature("free_init", "FreeInit", generation.free_init, method="enable_free_init"),
    Feature("free_noise", "FreeNoise", generation.free_noise, method="enable_free_noise"),
    Feature("ip_adapter", "IP-Adapter", techniques.ip_adapter, method="load_ip_adapter"),
    Feature("lora", "LoRA", techniques.lora),
    Feature("slicing", "slicing", techniques.slicing),
    Feature("model_offload", "model offload", techniques.model_offload),
    Feature("group_offload", "group offload", techniques.group_offload),
    Feature("layerwise_casting", "casting", techniques.layerwise_casting),
    Feature("compile", "compile", techniques.compiled),
    Feature("save_and_load", "save, load", lifecycle.save_and_load),
    Feature("remove", "remove", lifecycle.remove),
    Feature("apply_twice", "twice", lifecycle.apply_twice),
    Feature("callback", "callback", lifecycle.callback, arguments=("callback_on_step_end", "callback")),
)
