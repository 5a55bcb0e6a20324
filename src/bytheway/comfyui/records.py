"""The node that shows what was measured: ByTheWay (record)."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from bytheway.comfyui.inputs import Recorded, schema


class ByTheWayRecord(io.ComfyNode):  # type: ignore[misc]
    """ByTheWay (record): energies, disparity and beta as a picture and as text."""

    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            node_id="ByTheWayRecord",
            display_name="ByTheWay (record)",
            description="Draws what the method has measured while a clip was made: the motion energy of each block "
            "before and after, how far each is from the anchor block (disparity), and how much its fast changes were "
            "amplified (beta). Turn 'record' on in the node that samples or that has the method.",
            search_aliases=["plot", "energy", "disparity", "beta"],
            inputs=[
                Recorded.Input("recorded", tooltip="RECORD of ByTheWay (AnimateDiff) or ByTheWay (sample)."),
                io.AnyType.Input(
                    "after",
                    optional=True,
                    tooltip="Anything that is there when sampling is finished, such as the sampler's LATENT, so that "
                    "this node waits for it. Needed with ByTheWay (AnimateDiff).",
                ),
            ],
            outputs=[
                io.Image.Output(id="plot", display_name="IMAGE", tooltip="Step by step, one line for each block."),
                io.String.Output(id="text", display_name="text", tooltip="The same numbers, as tables."),
            ],
        )

    @classmethod
    def execute(cls, recorded: Any, after: Any = None) -> Any:
        from bytheway.comfyui.images import picture_as_image
        from bytheway.comfyui.plot import draw, tables

        return io.NodeOutput(picture_as_image(draw(recorded.record)), tables(recorded.record))
