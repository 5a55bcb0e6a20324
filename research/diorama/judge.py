"""A judge of clips: what they show and where the subject is, learnt from renders alone.

A small network reads each frame (subject, colour, setting, and a mask of the subject) and the sequence of its readings
(motion). It is trained on fresh renders, blurred and noised at random so that it does not lean on their exact pixels.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from bytheway.files import written
from bytheway.models.sources import reading
from research.diorama.fit import Stage, fit
from research.diorama.world import COLOURS, MOTIONS, SETTINGS, SUBJECTS, Scene, render, sample_scenes

FACTORS = {"subject": SUBJECTS, "colour": COLOURS, "setting": SETTINGS, "motion": MOTIONS}
WEIGHTS = "judge.safetensors"
STRIDE = 2
"""Pixels per cell of the predicted mask."""


@dataclass
class Reading:
    """The judge's view of clips (n): logits per frame and per clip, and the subject's mask.

    ``subject``, ``colour``, ``setting``: (n, F, classes); ``motion``: (n, classes); ``mask``: logits (n, F, H/2, W/2).
    """

    subject: Tensor
    colour: Tensor
    setting: Tensor
    motion: Tensor
    mask: Tensor

    def scenes(self) -> list[Scene]:
        """The most likely scene of each clip, the frames' opinions averaged."""
        chosen = [
            logits.softmax(-1).mean(1).argmax(-1) if logits.ndim == 3 else logits.argmax(-1)
            for logits in (self.subject, self.colour, self.setting, self.motion)
        ]
        return [
            Scene(*(names[i] for names, i in zip(FACTORS.values(), row, strict=True)))
            for row in torch.stack(chosen, 1).tolist()
        ]

    def tracks(self) -> tuple[Tensor, Tensor]:
        """Centre (n, F, 2) as x, y and area (n, F) of the subject, in pixels and square pixels."""
        coverage = self.mask.sigmoid()
        area = coverage.sum((-1, -2))
        cells = STRIDE * (torch.arange(coverage.shape[-1], device=coverage.device) + 0.5)
        x = (coverage.sum(-2) * cells).sum(-1) / area
        y = (coverage.sum(-1) * cells).sum(-1) / area
        return torch.stack([x, y], -1), STRIDE**2 * area


def convolution(channels: int, out: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution with its norm and activation."""
    return nn.Sequential(nn.Conv2d(channels, out, 3, stride, 1), nn.GroupNorm(8, out), nn.SiLU())


class Judge(nn.Module):
    """A frame encoder with a mask decoder, and a temporal convolution over the frames' features."""

    def __init__(self, width: int = 24, features: int = 96) -> None:
        super().__init__()
        self.stem = convolution(3, width, 2)
        self.to_quarter = nn.Sequential(convolution(width, 2 * width, 2), convolution(2 * width, 2 * width))
        self.to_eighth = nn.Sequential(convolution(2 * width, 4 * width, 2), convolution(4 * width, 4 * width))
        self.merge_quarter = convolution(6 * width, 2 * width)
        self.merge_half = convolution(3 * width, width)
        self.mask = nn.Conv2d(width, 1, 1)
        self.features = nn.Sequential(nn.Flatten(), nn.LazyLinear(features), nn.SiLU())
        self.heads = nn.ModuleDict(
            {name: nn.Linear(features, len(FACTORS[name])) for name in FACTORS if name != "motion"}
        )
        self.temporal = nn.Sequential(
            nn.Conv1d(features + 2, features, 3, padding=1),
            nn.SiLU(),
            nn.Conv1d(features, features, 3, padding=1, stride=2),
            nn.SiLU(),
            nn.Flatten(),
            nn.LazyLinear(len(MOTIONS)),
        )

    def forward(self, clips: Tensor) -> Reading:
        """Read clips (n, F, 3, H, W) in [-1, 1]."""
        half = self.stem(clips.flatten(0, 1))
        quarter = self.to_quarter(half)
        eighth = self.to_eighth(quarter)
        up = self.merge_quarter(torch.cat([F.interpolate(eighth, scale_factor=2), quarter], 1))
        mask = self.mask(self.merge_half(torch.cat([F.interpolate(up, scale_factor=2), half], 1))).squeeze(1)
        features = self.features(F.avg_pool2d(eighth, 2)).unflatten(0, clips.shape[:2])
        frame_logits = {name: head(features) for name, head in self.heads.items()}
        reading = Reading(**frame_logits, motion=features, mask=mask.unflatten(0, clips.shape[:2]))
        centre = reading.tracks()[0] / clips.shape[-1] - 0.5
        reading.motion = self.temporal(torch.cat([features, 4 * centre], -1).transpose(1, 2))
        return reading

    @torch.no_grad()
    def read(self, clips: Tensor) -> Reading:
        """`forward` in batches, for any number of clips."""
        parts = [vars(self(part)).values() for part in clips.split(32)]
        return Reading(*(torch.cat(column) for column in zip(*parts, strict=True)))


class Judging(nn.Module):
    """Cross-entropy of the four attributes and of the mask."""

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self.judge = judge

    def forward(self, clips: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
        # On the CPU float32 takes half the time.
        with torch.autocast(clips.device.type, torch.bfloat16, enabled=clips.device.type != "cpu"):
            reading = self.judge(clips)
            loss = F.cross_entropy(reading.motion, labels[:, 3])
            loss = loss + F.binary_cross_entropy_with_logits(reading.mask.float(), masks)
            for column, logits in enumerate((reading.subject, reading.colour, reading.setting)):
                loss = loss + F.cross_entropy(logits.flatten(0, 1), labels[:, column].repeat_interleave(clips.shape[1]))
        return loss


def labels_of(scenes: list[Scene]) -> Tensor:
    """Class indices (scenes, 4)."""
    rows = [zip(FACTORS.values(), astuple(scene), strict=True) for scene in scenes]
    return torch.tensor([[names.index(value) for names, value in row] for row in rows])


def degrade(clips: Tensor, generator: torch.Generator) -> Tensor:
    """Blur (half of the clips) and noise of random strength, as decoded latents are soft and uneven."""
    draws = torch.rand(len(clips), 2, generator=generator, device=clips.device)
    soft = F.avg_pool2d(clips.flatten(0, 1), 3, 1, 1, count_include_pad=False).view_as(clips)
    share = (2 * draws[:, 0] - 1).clamp(min=0).view(-1, 1, 1, 1, 1)
    noise = torch.randn(clips.shape, generator=generator, device=clips.device)
    return torch.lerp(clips, soft, share) + 0.08 * draws[:, 1].view(-1, 1, 1, 1, 1) * noise


def train_judge(folder: Path, steps: int, device: torch.device, batch_size: int = 16) -> Judge:
    """Train on renders drawn anew for every step; resumes from its checkpoint, returns what is finished already."""
    judge = Judge()
    judge(torch.zeros(1, 16, 3, 64, 64))
    judge = judge.to(device)
    finished = folder / WEIGHTS
    if not finished.exists():
        stage = Stage("judge", steps)

        def batch(step: int, generator: torch.Generator) -> tuple[Tensor | int, ...]:
            scenes = sample_scenes(batch_size, generator, "all")
            clips = render(scenes, generator, device=device)
            masks = F.avg_pool2d(clips.mask, STRIDE)
            return degrade(2 * clips.frames - 1, generator), labels_of(scenes).to(device), masks

        fit(stage, Judging(judge), [{"params": judge.parameters(), "lr": 2e-3}], batch, folder)
        with written(finished) as draft:
            save_file(judge.state_dict(), draft)
    with reading(finished):
        judge.load_state_dict(load_file(finished))
    return judge.to(device).eval()


def accuracy(judge: Judge, scenes: list[Scene], clips: Tensor) -> dict[str, float]:
    """Share of clips (n, F, 3, H, W) in [-1, 1] whose attribute the judge reads as the scene says."""
    seen = labels_of(judge.read(clips).scenes()) == labels_of(scenes)
    return dict(zip(FACTORS, seen.float().mean(0).tolist(), strict=True))
