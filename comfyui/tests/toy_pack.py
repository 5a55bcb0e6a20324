"""Nodes with toy models in the place of the loaders of files, for the checks by HTTP; copied into `custom_nodes`."""

from __future__ import annotations

import sys
from typing import Any

import torch
import toys


def _node(returned: str, make: Any) -> type:
    """A node without inputs that makes something, once."""
    types = tuple(returned.split())

    class Toy:
        RETURN_TYPES, FUNCTION, CATEGORY = types, "make", "toys"

        @classmethod
        def INPUT_TYPES(cls) -> dict[str, Any]:
            return {"required": {}}

        def make(self) -> tuple[Any, ...]:
            made = make()
            return made if isinstance(made, tuple) else (made,)

    return Toy


class Text:
    """A text encoder: every text has numbers of its own."""

    def __init__(self, tokens: int, channels: int) -> None:
        self.tokens, self.channels = tokens, channels

    def tokenize(self, text: str, **more: Any) -> str:
        return text

    def encode_from_tokens_scheduled(self, text: str, **more: Any) -> Any:
        return toys.conditioning(self.tokens, self.channels, sum(map(ord, text)), self.channels)


class Autoencoder:
    """Shows three channels of the latents, eight times as large."""

    def decode(self, latents: Any, **more: Any) -> torch.Tensor:
        frames = latents.movedim(1, -1) if latents.ndim == 4 else latents.movedim(1, -1).flatten(0, 1)
        picture = (frames[..., :3] * 0.1 + 0.5).clamp(0, 1)
        return picture.repeat_interleave(8, -3).repeat_interleave(8, -2)

    def spacial_compression_decode(self) -> int:
        return 8

    def temporal_compression_decode(self) -> None:
        return None


def _motion() -> Any:
    name = next(one for one in sys.modules if one.endswith(".animatediff.model_injection"))
    return toys.motion_model(sys.modules[name.removesuffix(".animatediff.model_injection")])


NODE_CLASS_MAPPINGS = {
    "ToyCheckpoint": _node("MODEL CLIP VAE", lambda: (toys.stable_diffusion(), Text(77, 768), Autoencoder())),
    "ToyMotion": _node("MOTION_MODEL_ADE", _motion),
    "ToyVideoModel": _node("MODEL", lambda: toys.video_model("wan")),
    "ToyText": _node("CLIP", lambda: Text(8, 64)),
    "ToyAutoencoder": _node("VAE", Autoencoder),
}
