"""Stages 2 and 3: text encoder and spatial UNet on single frames, then everything with motion modules on clips."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel, UNetMotionModel
from diffusers.training_utils import compute_snr
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from bytheway.training import EnergyCap
from research.diorama.architecture import NUM_FRAMES
from research.diorama.corpus import Corpus
from research.diorama.fit import BatchSource, Stage
from research.diorama.world import caption

CAPTION_DROPOUT = 0.1
SHORT_CLIPS = 0.65
NOISIEST = 0.3
TARGET_ENERGY = 0.16
"""Of maps over all frames. Over every second frame a map that looks as far in time has twice the energy."""
ENERGY_WEIGHT = 0.3


class Denoising(nn.Module):
    """The v-prediction loss of text encoder and UNet, weighted min(1, 5 / (SNR + 1)).

    The weight follows min-SNR with gamma = 5 (Hang et al., arXiv 2303.09556), but keeps the noisiest steps whole. Of a
    UNet with motion modules the energy of the temporal maps is capped: without that they grow sharp, near 1, where
    those of AnimateDiff lie between 0.10 and 0.22.
    """

    def __init__(
        self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel | UNetMotionModel, scheduler: DDIMScheduler
    ) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.unet = unet
        self.scheduler = scheduler
        capped = isinstance(unet, UNetMotionModel)
        self.cap = EnergyCap(unet, target=TARGET_ENERGY, weight=ENERGY_WEIGHT) if capped else None

    def forward(self, latents: Tensor, noise: Tensor, timesteps: Tensor, token_ids: Tensor, stride: int = 1) -> Tensor:
        """Mean loss of latents (batch, channels, height, width) or (batch, channels, frames, height, width).

        Of clips the penalty on energies is part of it.
        """
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        velocity = self.scheduler.get_velocity(latents, noise, timesteps)
        # On two cores without AMX, bfloat16 under autocast makes a step of clips 1.3 times slower than float32.
        half = torch.autocast(latents.device.type, torch.bfloat16, enabled=latents.device.type != "cpu")
        with half, strided_positions(self.unet, stride):
            context = self.text_encoder(token_ids).last_hidden_state
            if latents.ndim == 5:
                context = context.repeat_interleave(latents.shape[2], dim=0)
            if self.cap is not None:
                self.cap.target = stride * TARGET_ENERGY
            with self.cap or nullcontext():
                predicted = self.unet(noisy, timesteps, context).sample
        error = F.mse_loss(predicted.float(), velocity, reduction="none").flatten(1).mean(1)
        weight = (5 / (compute_snr(self.scheduler, timesteps) + 1)).clamp(max=1)
        loss: Tensor = (weight * error).mean()
        return loss if self.cap is None else loss + self.cap.penalty()


@contextmanager
def strided_positions(unet: nn.Module, stride: int) -> Iterator[None]:
    """Give frames 0, stride, 2 stride, ... the positional embeddings they have in the full clip."""
    if stride == 1:
        yield
        return
    tables = [module for name, module in unet.named_modules() if name.endswith("pos_embed") and hasattr(module, "pe")]
    full = [table.pe for table in tables]
    for table in tables:
        table.pe = table.pe[:, ::stride]
    try:
        yield
    finally:
        for table, positions in zip(tables, full, strict=True):
            table.pe = positions


class Examples:
    """Random training examples of the corpus, with captions drawn anew each time."""

    def __init__(self, corpus: Corpus, tokenizer: CLIPTokenizer, timesteps: int, device: torch.device) -> None:
        self.latents = corpus.latents
        self.scenes = corpus.scenes()
        self.amplitudes = corpus.amplitudes
        self.tokenizer = tokenizer
        self.timesteps = timesteps
        self.device = device

    def frames(self, count: int) -> BatchSource:
        """Batches of ``count`` single frames."""

        def batch(step: int, generator: torch.Generator) -> tuple[Tensor | int, ...]:
            rng = np.random.default_rng(generator.initial_seed())
            clips = rng.integers(len(self.scenes), size=count)
            latents = self.latents[clips, rng.integers(NUM_FRAMES, size=count)]
            return self._example(latents, clips, generator)

        return batch

    def clips(self, frames: int, stage: Stage) -> BatchSource:
        """Batches of ``frames`` frames in all: clips of 16 frames, or (65 % of the steps) of every second frame.

        More clips a step teach more about scenes; while the learning rate decays, all are whole, as in sampling.
        """

        def batch(step: int, generator: torch.Generator) -> tuple[Tensor | int, ...]:
            short = step < stage.decay_from and random.Random(f"{stage.seed}/{step}").random() < SHORT_CLIPS
            stride = 2 if short else 1
            rng = np.random.default_rng(generator.initial_seed())
            clips = rng.integers(len(self.scenes), size=frames * stride // NUM_FRAMES)
            latents = self.latents[clips, ::stride].swapaxes(1, 2)
            return *self._example(latents, clips, generator), stride

        return batch

    def _example(self, latents: np.ndarray, clips: np.ndarray, generator: torch.Generator) -> tuple[Tensor, ...]:
        x = torch.from_numpy(np.ascontiguousarray(latents)).to(self.device, torch.float32)
        noise = torch.randn(x.shape, generator=generator, device=self.device)
        timesteps = self._timesteps(len(x), generator)
        rng = random.Random(generator.initial_seed())
        captions = [
            "" if rng.random() < CAPTION_DROPOUT else caption(self.scenes[clip], rng, float(self.amplitudes[clip]))
            for clip in clips
        ]
        return x, noise, timesteps, tokenise(self.tokenizer, captions).to(self.device)

    def _timesteps(self, count: int, generator: torch.Generator) -> Tensor:
        """Uniform, but for 30 % that are drawn from the noisiest twentieth.

        A clip is many noisy views of one motion, which together betray it almost to the end of the schedule: only there
        does the caption have to tell it.
        """
        timesteps = torch.randint(self.timesteps, (count,), generator=generator, device=self.device)
        noisiest = self.timesteps - 1 - timesteps // 20
        chosen = torch.rand(count, generator=generator, device=self.device) < NOISIEST
        return torch.where(chosen, noisiest, timesteps)


def tokenise(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Token ids (captions, PROMPT_TOKENS), as the pipeline makes them."""
    ids: Tensor = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return ids
