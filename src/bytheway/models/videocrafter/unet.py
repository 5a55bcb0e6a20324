"""VideoCrafter2's denoiser: diffusers' 3D UNet, told the frame rate."""

from functools import wraps
from typing import Any

from diffusers import UNet3DConditionModel
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor

from bytheway.errors import ByTheWayError


class TimestepAndFpsEmbedding(TimestepEmbedding):  # type: ignore[misc]
    """The embedding of the timestep plus one of the frame rate, made alike: time_mlp(sin t) + fps_mlp(sin fps)."""

    def __init__(self, in_channels: int, time_embed_dim: int, act_fn: str) -> None:
        super().__init__(in_channels, time_embed_dim, act_fn=act_fn)
        self.fps_proj = Timesteps(in_channels, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.fps_embedding = TimestepEmbedding(in_channels, time_embed_dim, act_fn=act_fn)

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> Tensor:
        """The embedding, (batch, time_embed_dim).

        Args:
            sample: sinusoids of the timesteps, (batch, in_channels).
            condition: frames per second, (batch,).
        """
        if condition is None:
            raise ByTheWayError(
                "VideoCrafterUNet needs the frame rate of each video; give it a tensor of frames per second (batch,) "
                "as timestep_cond."
            )
        fps = self.fps_proj(condition).to(sample.dtype)
        embedding: Tensor = super().forward(sample) + self.fps_embedding(fps)
        return embedding


class VideoCrafterUNet(UNet3DConditionModel):  # type: ignore[misc]
    """The UNet of VideoCrafter2 (arXiv 2401.09047): `UNet3DConditionModel` with an embedding of the frame rate.

    Called like its base class, with the frames per second of each video, (batch,), as `timestep_cond`. Its arguments
    are those of the base class, whose defaults are VideoCrafter2's (512-v2, 1.4 billion parameters).

    >>> unet(latents, timestep, text, timestep_cond=torch.tensor([28])).sample  # doctest: +SKIP
    """

    # What a saved pipeline names as the place to find the class: not this file, which may be split or moved.
    __module__ = "bytheway.models.videocrafter"

    # diffusers reads the arguments off the signature, for configurations.
    @wraps(UNet3DConditionModel.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        channels = self.config.block_out_channels[0]
        self.time_embedding = TimestepAndFpsEmbedding(channels, 4 * channels, self.config.act_fn)
