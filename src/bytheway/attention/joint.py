"""Motion enhancement where the attention runs over space, time and (some) text at once: the filter on V.

Such a map is N x N over all tokens and is never made. It does not have to be: filtering its keys along the frames is
filtering the values, A3 V = A (C V), with C the F x F circulant of `bytheway.method.frequency_filter` acting on the
frames of V's video tokens, at each place of a frame by itself. That is exact for every attention kernel, costs
O(N channels), and leaves the values of text and other tokens as they are. None of the denoisers that are known does
anything to V between its projection and the attention (norms and rotary embeddings act on Q and K), so the filter goes
right behind the projection.

There are no decoder levels of which one could guide another, so this is all of the method here: alpha is 0, and beta is
the one of the config, for nothing takes energy away that an adaptive rule would have to give back.
"""

from typing import Final

import torch
from torch import Tensor

from bytheway.attention.layout import VideoTokens
from bytheway.errors import ByTheWayError

_CHUNK: Final = 2**22  # elements of V that are filtered at once


def filter_frames_(value: Tensor, circulant: Tensor, video: VideoTokens, passed: Tensor | None = None) -> Tensor:
    """C V along the frames of the video tokens, in place, in float32 at least and rounded once.

    In V's own half precision the rows of C would not sum to 1, and what stands still would be scaled; the wide copy is
    made in chunks instead.

    Args:
        value: (batch, tokens, channels); tokens that are not of the video keep their values, bit for bit.
        passed: (batch,), the entries of the batch that keep theirs; None: none.

    Raises:
        ByTheWayError: there are fewer tokens than the video has.
    """
    count = video.frames * video.per_frame
    if value.shape[1] < video.start + count:
        raise ByTheWayError(
            f"An attention is given {value.shape[1]} tokens where {video.frames} frames of {video.per_frame} should "
            "be; bytheway does not support sequences that are split between devices."
        )
    frames = value[:, video.start : video.start + count].unflatten(1, (video.frames, -1))
    circulant = circulant.to(value.device)
    places = max(1, _CHUNK * video.per_frame // frames.numel())
    for place in range(0, video.per_frame, places):
        chunk = frames[:, :, place : place + places]
        wide = chunk.to(circulant.dtype).flatten(2)
        # Autocast would round the filter, and so scale what it has to keep.
        with torch.autocast(value.device.type, enabled=False):
            filtered = circulant @ wide
        if passed is not None:
            filtered = torch.where(passed[:, None, None], wide, filtered)
        chunk.copy_(filtered.unflatten(2, chunk.shape[2:]))
    return value
