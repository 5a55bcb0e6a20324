"""What ComfyUI asks a pack of nodes for."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import ComfyExtension

from bytheway.comfyui.models import ByTheWayAnimateDiff, ByTheWayVideo
from bytheway.comfyui.pipelines import ByTheWayLoad, ByTheWaySample
from bytheway.comfyui.records import ByTheWayDiagnose, ByTheWayRecord


class ByTheWayExtension(ComfyExtension):  # type: ignore[misc]
    """The nodes of the pack."""

    async def get_node_list(self) -> list[Any]:
        return [ByTheWayAnimateDiff, ByTheWayVideo, ByTheWayLoad, ByTheWaySample, ByTheWayRecord, ByTheWayDiagnose]


async def comfy_entrypoint() -> ByTheWayExtension:
    """The pack, as ComfyUI calls for it."""
    return ByTheWayExtension()
