"""`load_measures`: measures by name, with their backbones found, checked and in their place."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from huggingface_hub import constants

from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.aesthetic_quality import AestheticQuality
from bytheway.evaluation.measures.backbones.backbone import Flow
from bytheway.evaluation.measures.backbones.brought import Brought, BroughtNetwork
from bytheway.evaluation.measures.backbones.clip import VIT_B, VIT_L, Clip
from bytheway.evaluation.measures.backbones.dino import Dino
from bytheway.evaluation.measures.backbones.laion import load_head
from bytheway.evaluation.measures.backbones.raft import load_raft
from bytheway.evaluation.measures.backbones.rife import Rife, RifeFlow, RifeInterpolator
from bytheway.evaluation.measures.background_consistency import BackgroundConsistency
from bytheway.evaluation.measures.dynamic_degree import FLOW_MEASURES, FlowMeasures
from bytheway.evaluation.measures.frame_scores import FrameScores, for_imaging_quality
from bytheway.evaluation.measures.measure import KINDS, Measure
from bytheway.evaluation.measures.motion_smoothness import MotionSmoothness
from bytheway.evaluation.measures.overall_consistency import OverallConsistency
from bytheway.evaluation.measures.placement import Placement, placement
from bytheway.evaluation.measures.subject_consistency import SubjectConsistency
from bytheway.evaluation.measures.temporal_flickering import TemporalFlickering

if TYPE_CHECKING:
    import torch

_BROUGHT: Final = ("motion_smoothness", "imaging_quality", "overall_consistency")


def load_measures(
    names: Sequence[str],
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    batch_size: int = 8,
    offline: bool = False,
    weights: Mapping[str, str | os.PathLike[str]] | None = None,
    flow: Literal["raft", "rife"] | None = None,
    brought: Mapping[str, Brought] | None = None,
) -> tuple[Measure, ...]:
    """Measures by name, ready to be called; those that come out of one computation are one of them.

    Their measurements are in the order of `names`, but for those of the flow, which come together, where the first of
    them is named. Motion is smoothed by RIFE 4 where no interpolator is brought.

    Args:
        names: of `KINDS`, or of `brought`.
        device: where backbones compute; by default the accelerator of this machine, else the CPU.
        dtype: float32 by default; float16 and bfloat16 are quicker on a GPU, and near.
        batch_size: how many frames or pairs of small frames are given to a backbone at once.
        offline: fetch nothing; so too where HF_HUB_OFFLINE is set.
        weights: folders or files to use instead of the hub's, by the name of the backbone: folders as transformers
            saves them for "DINO ViT-B/16", "CLIP ViT-B/32", "CLIP ViT-L/14", a file for "RAFT-large".
        flow: the network for flow: "raft", as VBench has it, or "rife"; by default RAFT where torchvision is there and
            RAFT's weights are or can be fetched, else RIFE 4, whose measurements have its name and say why.
        brought: networks of the user's own, by the measure that they are for.

    Raises:
        ByTheWayError: there is no such measure, or what it requires is not there; the sentence says what to do.
    """
    place = placement(device, dtype, batch_size)
    own, local = brought or {}, weights or {}
    offline = offline or constants.HF_HUB_OFFLINE
    for backbone in local:
        if not any(backbone in kind.backbones for kind in KINDS.values()):
            raise ByTheWayError(f"There is no backbone {backbone!r} whose weights could be given.")
    loaded: list[Measure] = []
    of_flow = tuple(name for name in FLOW_MEASURES if name in names and name not in own)
    for group in dict.fromkeys(of_flow if name in of_flow else (name,) for name in names):
        if group == of_flow:
            loaded.append(FlowMeasures(_flow(flow, place, local.get("RAFT-large"), offline), of_flow))
        elif group[0] in own:
            loaded.append(_with_brought(group[0], own[group[0]], place))
        else:
            loaded.append(_measure(group[0], place, local, offline))
    return tuple(loaded)


def _measure(name: str, place: Placement, local: Mapping[str, Any], offline: bool) -> Measure:
    match name:
        case "subject_consistency":
            return SubjectConsistency(Dino(place, local.get("DINO ViT-B/16"), offline))
        case "background_consistency":
            return BackgroundConsistency(Clip(VIT_B, place, local.get("CLIP ViT-B/32"), offline))
        case "aesthetic_quality":
            return AestheticQuality(Clip(VIT_L, place, local.get("CLIP ViT-L/14"), offline), load_head())
        case "motion_smoothness":
            return MotionSmoothness(RifeInterpolator(Rife(place)))
        case "temporal_flickering":
            return TemporalFlickering()
    if name in KINDS:
        raise ByTheWayError(
            f"{name} is measured by a network that you bring, since none may come with bytheway; give a callable or a "
            "TorchScript file."
        )
    close = difflib.get_close_matches(name, KINDS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"give {', '.join(KINDS)}, or bring a network for it."
    raise ByTheWayError(f"There is no measure {name!r}; {hint}")


def _with_brought(name: str, brought: Brought, place: Placement) -> Measure:
    if name in KINDS and name not in _BROUGHT:
        raise ByTheWayError(f"{name} has its own backbone; bring a network under a name of its own.")
    network = BroughtNetwork(brought, place)
    match name:
        case "motion_smoothness":
            return MotionSmoothness(network)
        case "imaging_quality":
            return FrameScores(name, network, for_imaging_quality)
        case "overall_consistency":
            return OverallConsistency(network)
    return FrameScores(name, network, unit=brought.unit, direction=brought.direction)


def _flow(which: Literal["raft", "rife"] | None, place: Placement, file: Any, offline: bool) -> Flow:
    if which == "rife":
        return RifeFlow(Rife(place))
    try:
        return load_raft(place, file, offline)
    except ByTheWayError as error:
        if which == "raft" or file is not None:
            raise
        try:
            return RifeFlow(Rife(place), str(error))
        except ByTheWayError as other:
            raise ByTheWayError(f"{error} Or use RIFE 4: {other}") from other
