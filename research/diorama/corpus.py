"""The training corpus on disk: rendered clips, their scenes and their latents, as memory-mapped arrays.

Shards are rendered and encoded independently and in any order, each from its own seed, so an interrupted run goes on
where it stopped and several processes share the work.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.lib.format import open_memmap
from torch import Tensor

from bytheway.files import write_text
from research.diorama.architecture import IMAGE_SIZE, LATENT_CHANNELS, NUM_FRAMES
from research.diorama.world import Scene, render, sample_scenes

SHARD = 128


class Corpus:
    """``clips`` rendered clips under ``folder``.

    Attributes:
        frames: uint8 (clips, frames, 3, height, width).
        centres: float32 (clips, frames, 2), the subject's centre in pixels (x, y).
        amplitudes: float32 (clips,), how much the subject moves, in the units of `amplitudes.AMPLITUDES`.
        latents: float16 (clips, frames, channels, height / 8, width / 8), normalised per channel.
    """

    def __init__(self, folder: Path, clips: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.shards = clips // SHARD
        clips = self.shards * SHARD
        latent_size = IMAGE_SIZE // 8
        self.frames = _array(folder / "frames.npy", np.uint8, (clips, NUM_FRAMES, 3, IMAGE_SIZE, IMAGE_SIZE))
        self.centres = _array(folder / "centres.npy", np.float32, (clips, NUM_FRAMES, 2))
        self.amplitudes = _array(folder / "amplitudes.npy", np.float32, (clips,))
        latent_shape = (clips, NUM_FRAMES, LATENT_CHANNELS, latent_size, latent_size)
        self.latents = _array(folder / "latents.npy", np.float16, latent_shape)

    def __len__(self) -> int:
        return self.shards * SHARD

    def render(self, shards: list[int], device: torch.device) -> None:
        """Render the clips of the given shards that are not there yet."""
        for shard in shards:
            path = self.folder / f"scenes-{shard:05d}.json"
            if path.exists():
                continue
            generator = torch.Generator().manual_seed(shard)
            scenes = sample_scenes(SHARD, generator, "train")
            rows = slice(shard * SHARD, (shard + 1) * SHARD)
            for part in range(0, SHARD, 32):
                clips = render(scenes[part : part + 32], generator, NUM_FRAMES, IMAGE_SIZE, device)
                at = slice(rows.start + part, rows.start + part + 32)
                self.frames[at] = (clips.frames * 255).round().to(torch.uint8).cpu().numpy()
                self.centres[at] = clips.centre.cpu().numpy()
                self.amplitudes[at] = clips.amplitude.cpu().numpy()
            write_text(path, json.dumps([asdict(scene) for scene in scenes]))

    def scenes(self) -> list[Scene]:
        """The scene of every clip."""
        shards = (self.folder / f"scenes-{shard:05d}.json" for shard in range(self.shards))
        return [Scene(**fields) for path in shards for fields in json.loads(path.read_text())]

    @torch.no_grad()
    def encode(self, vae: AutoencoderKL, shards: list[int], device: torch.device) -> None:
        """Encode the clips of the given shards (posterior means) that are not encoded yet."""
        for shard in shards:
            path = self.folder / f"encoded-{shard:05d}"
            if path.exists():
                continue
            for clip in range(shard * SHARD, (shard + 1) * SHARD, 16):
                pixels = to_pixels(self.frames[clip : clip + 16], device).flatten(0, 1)
                with torch.autocast(device.type, torch.bfloat16):
                    means = vae.encode(pixels).latent_dist.mean.unflatten(0, (-1, NUM_FRAMES))
                self.latents[clip : clip + 16] = means.to(torch.float16).cpu().numpy()
            write_text(path, "")


def to_pixels(frames: np.ndarray, device: torch.device) -> Tensor:
    """uint8 frames as float32 in [-1, 1] on the device."""
    return torch.from_numpy(frames).to(device, torch.float32).div_(127.5).sub_(1)


def _array(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> np.ndarray:
    if path.exists():
        array = open_memmap(path, mode="r+")
        if array.shape == shape:
            return array
        raise ValueError(f"{path} holds an array of shape {array.shape}, not {shape}: use another folder.")
    return open_memmap(path, mode="w+", dtype=dtype, shape=shape)
