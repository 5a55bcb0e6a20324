"""How many clips are made at once.

A batch saves what a model costs beside its arithmetic, and fills a GPU that one clip does not: there it may be as large
as memory allows. On a CPU only small models gain, as long as their feature maps stay near its caches: clips of diorama
took 9 % less CPU time by twos, 13 % less by fours and 7 % less by eights.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from bytheway.errors import ByTheWayError
from bytheway.families.known import denoiser_of, family_of
from bytheway.generation.request import Request, shape
from bytheway.models.profile import pixels_per_latent
from bytheway.models.signature import takes

if TYPE_CHECKING:
    import torch

# Beyond this a batch gains nothing more, while everybody waits longer for its first clip.
_MOST: Final = 16
# Feature maps of the finest level that a UNet holds at once, those of other levels and of its feed-forwards counted in.
_MAPS: Final = 40
# What a batch may need on a CPU, where memory is not what it runs out of first.
_CPU_BYTES: Final = 80 * 2**20
# The share of a GPU's free memory for a batch in the denoiser; decoding takes its part of the rest.
_GPU_SHARE: Final = 0.5
# What gives other clips in a batch: noise of one generator for all.
_OF_ONE_CLIP: Final = ("DPMSolverSDEScheduler",)


def clips_at_once(pipe: Any, request: Request) -> int:
    """How many clips of a complete request to make in one call of the pipeline, at most.

    It is `request.batch_size` where that is given; else as many as `bytes_per_clip` lets into half of the free memory
    of a GPU, or into 80 MiB elsewhere, and at most 16. Clips that start from images or a video, are recorded, or would
    be others in a batch (FreeNoise, Latte, noise without a generator for each) are made one after the other.

    Raises:
        ByTheWayError: `batch_size` is greater than 1, and they have to be made one after the other.
    """
    reason = _reason_for_one(pipe, request)
    if request.batch_size is not None and request.batch_size > 1 and reason is not None:
        raise ByTheWayError(f"{reason} one after the other; leave the batch size out.")
    if request.batch_size is not None or reason is not None:
        return request.batch_size or 1
    needed = bytes_per_clip(pipe, request)
    if needed is None:
        return 1
    device = pipe._execution_device
    room = _free_on_gpu(device) * _GPU_SHARE if device.type == "cuda" else _CPU_BYTES
    return max(1, min(_MOST, int(room / needed)))


def bytes_per_clip(pipe: Any, request: Request) -> int | None:
    """What a clip of a complete request adds to the memory that the denoiser takes, estimated for UNets.

    That is 40 feature maps of the finest level, where 28 to 40 were measured: frames x height x width of the latents x
    channels, twice under classifier-free guidance. None for transformers, which a single clip keeps busy.
    """
    config: Any = denoiser_of(pipe).config
    channels = config.get("block_out_channels")
    if channels is None:
        return None
    num_frames, *size = shape(request)
    pixels = math.prod(side // pixels_per_latent(pipe) for side in size)
    guided = 2 if (request.guidance_scale or 0) > 1 else 1
    return int(_MAPS * guided * num_frames * pixels * channels[0] * pipe.dtype.itemsize)


def _reason_for_one(pipe: Any, request: Request) -> str | None:
    """Why the clips cannot be made at once, as the beginning of a sentence; None where they can."""
    model, scheduler = type(pipe).__name__, type(pipe.scheduler).__name__
    if request.images or request.video is not None:
        return "Clips that start from images or a video are made"
    if request.record:
        return "Clips are recorded"
    if getattr(pipe, "free_noise_enabled", False):
        return "FreeNoise makes clips"
    if scheduler in _OF_ONE_CLIP:
        return f"{scheduler} makes clips"
    if model in family_of(denoiser_of(pipe)).one_at_a_time or not takes(pipe, "prompt"):
        return f"This model ({model}) makes clips"
    return None


def _free_on_gpu(device: torch.device) -> int:
    """Bytes that can still be had: what the device has left, and what torch keeps without using it."""
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
