"""What the batch of an attention is made of: the pixels of videos, or their tokens. Importing this imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from jaxtyping import Shaped
    from torch import Tensor


class Layout(NamedTuple):
    """What the rows of a site's batch are: (parts, videos, height * width), outermost first.

    Attributes:
        parts: how many times each video is in the batch: 2 under classifier-free guidance.
        conditional: the part that is conditioned on the prompt.
        height_width: size of the feature map.
    """

    parts: int
    conditional: int
    height_width: tuple[int, int]

    def unfold(self, rows: Shaped[Tensor, rows * rest]) -> Shaped[Tensor, "parts videos pixels *rest"]:
        """The rows of a batch apart: (rows, ...) as (parts, videos, pixels, ...), a view where torch allows one."""
        height, width = self.height_width
        unfolded: Tensor = rows.unflatten(0, (self.parts, -1, height * width))
        return unfolded


class VideoTokens(NamedTuple):
    """The video in a sequence of tokens: frame after frame, the tokens of a frame together.

    Attributes:
        start: number of tokens before the video, such as those of a text that comes first.
        frames: latent frames, after temporal patches.
        per_frame: tokens of a frame.
    """

    start: int
    frames: int
    per_frame: int
