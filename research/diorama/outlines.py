"""Whether a clip shows a whole subject, told without the judge: its outline against those that the renderer draws.

A small network of its own, trained on single renders, says which pixels are the subject's. What it finds in a frame is
laid over many true outlines, centre on centre, and the best overlap counts. Size counts as well, since no outline is
scaled to fit. The judge has no part in it, so that no single network decides what is broken.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from bytheway.files import written
from bytheway.models.sources import reading
from research.diorama.architecture import NUM_FRAMES
from research.diorama.fit import Stage, fit
from research.diorama.judge import STRIDE, convolution, degrade
from research.diorama.measures import BROKEN_FRAMES
from research.diorama.world import SUBJECTS, all_scenes, render, sample_scenes

WEIGHTS = "outlines.safetensors"
TEMPLATE_CLIPS = 160
BATCH = 16
WINDOW = 24
"""Side of an outline in cells of the mask; no subject is larger."""
LEAST_OVERLAP = 0.96
"""Of a whole subject. Of 96 renders that went through the autoencoder all frames stay above 0.97; of 64 with the left
half cut off and moved by 20 pixels, 95 % of the frames stay below 0.82.
"""


class Masks(nn.Module):
    """Which pixels are the subject's: pictures (n, 3, H, W) in [-1, 1] to logits (n, H/2, W/2)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width, 4 * width)
        self.down = nn.ModuleList(
            nn.Sequential(convolution(before, after, 2), convolution(after, after))
            for before, after in pairwise((3, *widths))
        )
        self.up = nn.ModuleList(convolution(coarse + fine, fine) for fine, coarse in reversed(list(pairwise(widths))))
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        finer: list[Tensor] = []
        features = pictures
        for level in self.down:
            features = level(features)
            finer.append(features)
        for merge, skipped in zip(self.up, reversed(finer[:-1]), strict=True):
            features = merge(torch.cat([F.interpolate(features, scale_factor=2.0), skipped], 1))
        logits: Tensor = self.out(features).squeeze(1)
        return logits


class Outlines(nn.Module):
    """The outlines that the renderer draws of each subject.

    The overlap of two masks a and b is Dice's for soft ones, 2 ab / (aa + bb): 1 where they are equal.
    """

    shapes: Tensor

    def __init__(self, clips: int = TEMPLATE_CLIPS) -> None:
        """`clips`: how many renders of a subject give their outlines, all of their frames."""
        super().__init__()
        self.masks = Masks()
        # A byte is fine enough, and keeps the file small.
        shape = (len(SUBJECTS), clips * NUM_FRAMES, WINDOW * WINDOW)
        self.register_buffer("shapes", torch.zeros(shape, dtype=torch.uint8))

    @torch.no_grad()
    def collect(self, seed: int = 0) -> None:
        """Render the outlines."""
        generator = torch.Generator().manual_seed(seed)
        clips = self.shapes.shape[1] // NUM_FRAMES
        drawn = torch.stack([_drawn(subject, clips, generator) for subject in SUBJECTS])
        self.shapes.copy_((255 * drawn).round().byte())

    @torch.no_grad()
    def overlap(self, clips: Tensor) -> Tensor:
        """How well each frame of clips (n, F, 3, H, W) in [-1, 1] shows one of the true outlines: (n, F), in [0, 1].

        All frames are held against the outlines of one subject, the one that fits the clip best as a whole.
        """
        found = torch.cat([_centred(self.masks(part.flatten(0, 1)).sigmoid()) for part in clips.split(32)])
        best = torch.stack([_best_overlap(found, shapes.float() / 255) for shapes in self.shapes])
        best = best.unflatten(1, clips.shape[:2])
        subject = best.mean(-1).argmax(0)
        overlap: Tensor = best[subject, torch.arange(len(clips))]
        return overlap

    def misshapen(self, clips: Tensor) -> Tensor:
        """1 where more than 2 frames of a clip (n, F, 3, H, W) show no true outline, else 0: (n,)."""
        return ((self.overlap(clips) < LEAST_OVERLAP).sum(1) > BROKEN_FRAMES).float()


class _MaskLoss(nn.Module):
    def __init__(self, masks: Masks) -> None:
        super().__init__()
        self.masks = masks

    def forward(self, pictures: Tensor, truth: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.masks(pictures), truth)


def train_outlines(folder: Path, steps: int, device: torch.device, clips: int = TEMPLATE_CLIPS) -> Outlines:
    """Train on pictures drawn anew for every step; goes on from its checkpoint, returns what is finished already."""
    outlines = Outlines(clips).to(device)
    finished = folder / WEIGHTS
    if not finished.exists():

        def batch(step: int, generator: torch.Generator) -> tuple[Tensor | int, ...]:
            drawn = render(sample_scenes(BATCH, generator, "all"), generator, num_frames=4, device=device)
            pictures = degrade(2 * drawn.frames - 1, generator).flatten(0, 1)
            return pictures, F.avg_pool2d(drawn.mask, STRIDE).flatten(0, 1)

        groups = [{"params": outlines.masks.parameters(), "lr": 2e-3}]
        fit(Stage("masks", steps), _MaskLoss(outlines.masks), groups, batch, folder / "masks")
        outlines.eval().collect()
        with written(finished) as draft:
            save_file(outlines.state_dict(), draft)
    with reading(finished):
        outlines.load_state_dict(load_file(finished))
    return outlines.to(device).eval()


def _drawn(subject: str, clips: int, generator: torch.Generator) -> Tensor:
    """Outlines (clips * F, cells) of a subject, of every scene in which there is one."""
    kinds = [scene for scene in all_scenes() if scene.subject == subject]
    order = torch.randperm(len(kinds), generator=generator).tolist()
    scenes = [kinds[order[number % len(kinds)]] for number in range(clips)]
    return _centred(F.avg_pool2d(render(scenes, generator).mask.flatten(0, 1), STRIDE))


def _centred(masks: Tensor) -> Tensor:
    """Masks (n, h, w) in [0, 1] about their centres, flattened: (n, WINDOW * WINDOW)."""
    size = masks.shape[-1]
    cells = torch.arange(size, device=masks.device) + 0.5
    area = masks.sum((-1, -2)).clamp(min=1e-6)
    centre = torch.stack([(masks.sum(-2) * cells).sum(-1), (masks.sum(-1) * cells).sum(-1)], -1) / area.unsqueeze(-1)
    steps = torch.arange(WINDOW, device=masks.device) + 0.5 - WINDOW / 2
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    places = centre.view(-1, 1, 1, 2) + torch.stack([x, y], -1)
    window = F.grid_sample(masks.unsqueeze(1), 2 * places / size - 1, align_corners=False)
    return window.flatten(1)


def _best_overlap(found: Tensor, shapes: Tensor) -> Tensor:
    """The best of each mask (n, cells) over the shapes (m, cells): (n,)."""
    sizes = found.square().sum(1, keepdim=True) + shapes.square().sum(1)
    return (2 * found @ shapes.T / sizes.clamp(min=1e-6)).amax(1)
