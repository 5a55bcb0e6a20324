"""The nodes that show what was measured: ByTheWay (record), ByTheWay (diagnose)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from bytheway.comfyui.inputs import Recorded, schema

if TYPE_CHECKING:
    from bytheway.comfyui.seen import Recording
    from bytheway.diagnosis.findings import Finding


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
            inputs=_inputs(),
            outputs=[
                io.Image.Output(id="plot", display_name="IMAGE", tooltip="Step by step, one line for each block."),
                io.String.Output(id="text", display_name="text", tooltip="The same numbers, as tables."),
            ],
        )

    @classmethod
    def check_lazy_status(cls, recorded: Recording | None, **after: Any) -> list[str]:
        return [] if recorded is None else list(after)

    @classmethod
    def execute(cls, recorded: Recording | None, after: Any = None) -> Any:
        from bytheway.comfyui.images import picture_as_image
        from bytheway.comfyui.plot import draw, tables
        from bytheway.comfyui.seen import required

        record = required(recorded).record
        return io.NodeOutput(picture_as_image(draw(record)), tables(record))


class ByTheWayDiagnose(io.ComfyNode):  # type: ignore[misc]
    """ByTheWay (diagnose): what the records of a model's clips tell of it, as sentences and as a picture."""

    @classmethod
    def define_schema(cls) -> Any:
        return schema(
            node_id="ByTheWayDiagnose",
            display_name="ByTheWay (diagnose)",
            description="Says what the records of a model's clips tell of it and of them: whether the anchor is too "
            "sharp, clips are near-static or fall apart, beta is at its floor, the method acts too early or too late; "
            "each with the numbers, the limit, where that comes from, and what to try. Turn 'record' on in the node "
            "that samples or that has the method. A fit of the model (bytheway inspect MODEL --clips 24) is used where "
            "there is one.",
            search_aliases=["findings", "near-static", "why", "advice"],
            is_input_list=True,
            inputs=_inputs(),
            outputs=[
                io.Image.Output(
                    id="plot",
                    display_name="IMAGE",
                    tooltip="Energy, disparity and beta over the active steps, a column for each block.",
                ),
                io.String.Output(id="text", display_name="text", tooltip="A finding on each topic, and what to try."),
            ],
        )

    @classmethod
    def check_lazy_status(cls, recorded: Sequence[Recording | None], **after: Any) -> list[str]:
        return [] if None in recorded else list(after)

    @classmethod
    def execute(cls, recorded: Sequence[Recording | None], after: Any = None) -> Any:
        from bytheway.comfyui.images import figure_as_image
        from bytheway.comfyui.seen import required
        from bytheway.diagnosis.figures import curves_figure
        from bytheway.diagnosis.findings import diagnose

        seen = [required(one).seen() for one in recorded]
        clips, first = [one.curves for one in seen], seen[0]
        findings = diagnose(
            clips, least_beta=first.least_beta, num_frames=first.num_frames, noise=first.noise, fit=first.fit
        )
        figure = curves_figure(clips, num_frames=first.num_frames, least_beta=first.least_beta)
        return io.NodeOutput(figure_as_image(figure), "\n\n".join(map(_in_words, findings)))


def _inputs() -> list[Any]:
    return [
        Recorded.Input("recorded", tooltip="RECORD of ByTheWay (AnimateDiff) or ByTheWay (sample)."),
        io.AnyType.Input(
            "after",
            optional=True,
            lazy=True,  # where nothing is recorded, that is said before anybody samples
            tooltip="Anything that is there when sampling is finished, such as the sampler's LATENT, so that "
            "this node waits for it. Needed with ByTheWay (AnimateDiff).",
        ),
    ]


def _in_words(finding: Finding) -> str:
    """A finding with its advice, and where its limit comes from."""
    lines = [f"{finding.topic.upper()}{': found' if finding.found else ''}", finding.sentence]
    if finding.advice is not None:
        lines.append(f"What to try: {finding.advice}")
    return "\n".join([*lines, f"Where the limit comes from: {finding.evidence}"])
