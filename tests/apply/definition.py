"""The method on a whole pipeline by its definition, in hooks of torch that know nothing of what else goes around.

Energies, band and filter are by FFT, in double precision. For sequences of what is done to a pipeline
(`test_sequences.py`).
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.pipelines.free_noise_utils import SplitInferenceModule
from torch import Tensor, nn
from torch.nn import functional as F

from bytheway import ByTheWayConfig
from bytheway.families.known import denoiser_of

Definition = Callable[[Any, ByTheWayConfig], Any]


def matching(pipe: Any, pattern: str) -> dict[str, Any]:
    """The modules of its denoiser whose paths match, by these."""
    return {path: module for path, module in denoiser_of(pipe).named_modules() if re.fullmatch(pattern, path)}


@contextmanager
def removed_after(handles: Iterable[Any]) -> Iterator[None]:
    handles = list(handles)
    assert handles
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def high_band(frames: int, tau: int) -> Tensor:
    k = torch.arange(frames)
    return torch.minimum(k, frames - k) >= max(frames / 2 - tau, 1)


# ------------------------------------------------------------------------------------------------ filtered values


def filtered_values(pattern: str, frames: int, per_frame: int) -> Definition:
    """Motion enhancement alone.

    Args:
        pattern: matches the paths of the attentions.
        frames, per_frame: of their tokens: frame after frame, so many tokens of a frame together.
    """

    def definition(pipe: Any, config: ByTheWayConfig) -> Any:
        assert config.alpha == 0
        gain = torch.where(high_band(frames, config.tau), config.beta, 1.0).double()[:, None, None]

        def filtered(value: Tensor) -> Tensor:
            spectrum = torch.fft.fft(value.double().unflatten(1, (frames, per_frame)), dim=1)
            return torch.fft.ifft(spectrum * gain, dim=1).real.flatten(1, 2).to(value.dtype)

        def fused(query_key_value: Tensor) -> Tensor:
            query, key, value = query_key_value.chunk(3, dim=-1)
            return torch.cat([query, key, filtered(value)], dim=-1)

        return removed_after(
            module.register_forward_hook(lambda module, args, output, change=change: change(output))
            for name, change in (("to_v", filtered), ("to_qkv", fused))
            for module in matching(pipe, rf"{pattern}\.{name}").values()
        )

    return definition


# --------------------------------------------------------------------------------------------------- whole maps


class Maps:
    """The method by whole maps, made of the queries, keys and values that the projections of each attention give.

    What the attention itself makes of them is thrown away before its last projection, whatever its processor. It is one
    video of squares under guidance.
    """

    def __init__(self, pipe: Any, pattern: str, anchor_block: str, config: ByTheWayConfig) -> None:
        self.pipe, self.anchor_block, self.config = pipe, anchor_block, config
        self.attentions = matching(pipe, pattern)
        self.seen: dict[str, Tensor] = {}
        self.anchors: dict[tuple[str, int], Tensor] = {}
        self.windows: Counter[str] = Counter()

    def hooks(self) -> Iterator[Any]:
        yield denoiser_of(self.pipe).register_forward_pre_hook(self.begin)
        for path, attention in self.attentions.items():
            for name in ("to_q", "to_k", "to_v"):
                yield getattr(attention, name).register_forward_hook(self.see(name))
            yield attention.to_out[0].register_forward_pre_hook(self.replace(path, attention.heads))

    def begin(self, *_: Any) -> None:
        self.anchors.clear()
        self.windows.clear()

    def see(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Tensor) -> None:
            self.seen[name] = output

        return hook

    def replace(self, path: str, heads: int) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            query, key, value = (
                self.seen.pop(name).double().unflatten(-1, (heads, -1)).transpose(1, 2)
                for name in ("to_q", "to_k", "to_v")
            )
            attn = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
            attn = self.enhanced(path, attn.unflatten(0, (2, -1))).flatten(0, 1)
            return ((attn @ value).transpose(1, 2).flatten(2).to(args[0].dtype), *args[1:])

        return hook

    def enhanced(self, path: str, attn: Tensor) -> Tensor:
        """Of a map (2 halves, pixels, heads, F, F)."""
        block, partner = re.fullmatch(r"(\w+\.\d+)\.(.+)", path).groups()  # type: ignore[union-attr]
        window = self.windows[path]
        self.windows[path] += 1
        if block == self.anchor_block:
            self.anchors[partner, window] = attn
        drawn = attn
        if self.config.alpha > 0:
            drawn = attn + self.config.alpha * (resampled(self.anchors[partner, window], attn.shape[1]) - attn)
        spectrum = torch.fft.fft(drawn)
        high = high_band(attn.shape[-1], self.config.tau)

        def energy(spectrum: Tensor) -> Tensor:
            """Of the conditional half, by Parseval."""
            return spectrum[1].abs().square().sum(-1).mean() / attn.shape[-1]

        own = energy(torch.fft.fft(attn))
        adapted = ((own - energy(spectrum[..., ~high])) / energy(spectrum[..., high])).clamp(min=0).sqrt()
        return torch.fft.ifft(spectrum * torch.where(high, adapted.clamp(min=self.config.beta), 1.0)).real


def resampled(attn: Tensor, pixels: int) -> Tensor:
    """To another square."""
    videos, _, heads, frames, _ = attn.shape
    planes = attn.permute(0, 2, 3, 4, 1).flatten(1, 3).unflatten(-1, (round(attn.shape[1] ** 0.5), -1))
    side = round(pixels**0.5)
    planes = F.interpolate(planes, size=(side, side), mode="bilinear", align_corners=False)
    return planes.flatten(2).view(videos, heads, frames, frames, pixels).permute(0, 4, 1, 2, 3)


def whole_maps(pattern: str, anchor_block: str) -> Definition:
    """All of the method.

    Args:
        pattern: matches the paths of the attentions.
    """

    @contextmanager
    def definition(pipe: Any, config: ByTheWayConfig) -> Iterator[None]:
        """What FreeNoise splits has to run whole: one beta is for all pixels of a video."""
        splits = [module for module in denoiser_of(pipe).modules() if isinstance(module, SplitInferenceModule)]
        sizes = [module.split_size for module in splits]
        for module in splits:
            module.split_size = 10**6
        try:
            with removed_after(Maps(pipe, pattern, anchor_block, config).hooks()):
                yield
        finally:
            for module, size in zip(splits, sizes, strict=True):
                module.split_size = size

    return definition
