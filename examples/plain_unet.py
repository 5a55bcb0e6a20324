"""ByTheWay on a video UNet of one's own, in plain torch: where its temporal self-attentions are is said one by one.

    python examples/plain_unet.py

The weights are random, so the video shows nothing; what the method does to the maps of such a network is printed.
"""

import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from bytheway import ByTheWayConfig, TemporalAttention, enhanced


class FrameAttention(nn.Module):
    """Self-attention over frames, (rows, F, channels). Called these names, its projections are found."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, rows: Tensor) -> Tensor:
        query, key, value = (
            projection(rows).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.to_q, self.to_k, self.to_v)
        )
        output: Tensor = self.to_out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return output


class FrameMixer(nn.Module):
    """Attends over the frames of (batch, channels, F, height, width), each pixel by itself."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = FrameAttention(channels, heads)

    def forward(self, video: Tensor) -> Tensor:
        batch, channels, frames, height, width = video.shape
        rows = video.permute(0, 3, 4, 2, 1).reshape(-1, frames, channels)
        rows = rows + self.attention(self.norm(rows))
        return rows.reshape(batch, height, width, frames, channels).permute(0, 4, 3, 1, 2)


class PlainUNet(nn.Module):
    """Predicts the noise in (batch, 4, F, height, width): a coarse level at half the size, then a fine one."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.conv_in = _convolution(4, channels)
        self.time = nn.Linear(1, channels)
        self.shrink = _convolution(channels, 2 * channels, stride=2)
        self.coarse = FrameMixer(2 * channels, heads=8)
        self.join = _convolution(3 * channels, channels)
        self.fine = FrameMixer(channels, heads=4)
        self.conv_out = _convolution(channels, 4)

    def forward(self, video: Tensor, timestep: Tensor) -> Tensor:
        features = self.conv_in(video) + self.time(timestep.reshape(1, 1) / 1000)[..., None, None, None]
        coarse = self.coarse(F.silu(self.shrink(features)))
        grown = F.interpolate(coarse, scale_factor=(1, 2, 2))
        noise: Tensor = self.conv_out(self.fine(F.silu(self.join(torch.cat([grown, features], dim=1)))))
        return noise


# In the order in which they run. The first block is the anchor, whose maps guide those of the later ones. The module
# named as transformer is called with the feature map before its attention is, and so tells height and width.
SITES = [
    TemporalAttention("coarse.attention", block="coarse", transformer="coarse"),
    TemporalAttention("fine.attention", block="fine", transformer="fine"),
]


def _convolution(channels: int, out_channels: int, stride: int = 1) -> nn.Conv3d:
    """Frame by frame."""
    return nn.Conv3d(channels, out_channels, (1, 3, 3), (1, stride, stride), (0, 1, 1))


def make_unet() -> PlainUNet:
    """With seeded random weights, and maps that tell the frames apart as trained ones do."""
    torch.manual_seed(0)
    unet = PlainUNet().eval().requires_grad_(False)
    for mixer in (unet.coarse, unet.fine):
        mixer.attention.to_q.weight.mul_(4)
        mixer.attention.to_k.weight.mul_(4)
    return unet


@torch.no_grad()
def sample(unet: nn.Module, scheduler: DDIMScheduler, steps: int = 10, videos: int = 1) -> Tensor:
    """Denoise (videos, 4, 16, 8, 8) from seeded noise."""
    video = torch.randn(videos, 4, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    scheduler.set_timesteps(steps)
    for timestep in scheduler.timesteps:
        video = scheduler.step(unet(video, timestep), timestep, video).prev_sample
    return video


def main() -> None:
    """Print energy before and after, disparity and beta of each site in the active steps."""
    unet, scheduler = make_unet(), DDIMScheduler(clip_sample=False)
    plain = sample(unet, scheduler)
    # Nobody but this loop knows its scheduler, and that its batches have no unconditional half.
    with enhanced(
        unet,
        ByTheWayConfig(alpha=0.6, beta=1.5),
        sites=SITES,
        scheduler=scheduler,
        classifier_free_guidance=False,
    ) as run:
        video = sample(unet, scheduler)
    print("step  block   energy   after  disparity   beta")
    for row in run.record.rows():
        disparity = "        -" if row.disparity is None else f"{row.disparity:9.4f}"
        print(f"{row.step:4}  {row.block:6}  {row.energy:.4f}  {row.energy_after:.4f}  {disparity}  {row.beta:.3f}")
    print(f"The videos differ by {(video - plain).abs().mean():.4f} on average.")


if __name__ == "__main__":
    main()
