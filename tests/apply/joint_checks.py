"""What the tests of joint attention share: tiny pipelines, the definition by maps, and what is to be seen of hooks."""

import functools
import re

import torch
from torch.nn import functional as F

from bytheway import ByTheWayConfig
from bytheway.families.known import denoisers_of
from tests.toys.joint import FACTORIES

ALWAYS = ByTheWayConfig(alpha=0, beta=2.5, tau=1, active_steps=1.0)
# Of each run: tokens before the video, latent frames, tokens of a frame; at 32x48 pixels, LTX-Video at 32x64.
TOKENS = {
    "cogvideox": (5, 4, 6),
    "cogvideox_1_5": (5, 4, 6),
    "cogvideox_image2video": (5, 4, 6),
    "cogvideox_video2video": (5, 4, 6),
    "wan_vace_references": (12, 4, 6),
    "wan_animate": (6, 4, 6),
    "framepack": (18, 4, 6),
    "ltx": (0, 4, 8),
    "ltx_image2video": (0, 4, 8),
    "ltx_condition": (8, 4, 8),
}


def generate(pipe, call, **changes):
    frames = pipe(**{**call, "generator": torch.Generator().manual_seed(0), **changes}).frames
    # FramePack hands out what there is of the video after each section.
    return frames[-1] if isinstance(frames, list) else frames


@functools.cache
def tiny(name):
    """A pipeline, its call, and what it makes by itself; shared by tests that leave it as they found it."""
    pipe, call = FACTORIES[name]()
    return pipe, call, generate(pipe, call)


def dense(video, beta, tau):
    """Scaled dot product attention by its map, whose keys are filtered along the frames by FFT where it is joint."""
    start, frames, per_frame = video
    stop = start + frames * per_frame
    k = torch.arange(frames)
    gain = torch.where(torch.minimum(k, frames - k) >= max(frames / 2 - tau, 1), beta, 1.0).double()[:, None]

    def attention(query, key, value, attn_mask=None, **_):
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
        attn = scores.softmax(-1)
        if query.shape[-2] == key.shape[-2] >= stop:
            keys = attn[..., start:stop].unflatten(-1, (frames, per_frame)).double()
            filtered = torch.fft.ifft(torch.fft.fft(keys, dim=-2) * gain, dim=-2).real.flatten(-2)
            attn = torch.cat([attn[..., :start], filtered.to(attn.dtype), attn[..., stop:]], -1)
        return attn @ value

    return attention


class Watch:
    """Of each call of each value projection (fused or not): its path, and which tokens' values are not its own."""

    def __init__(self, *denoisers):
        self.seen = []
        self.handles = [
            module.register_forward_hook(self.note(f"{number}.{path}"))
            for number, denoiser in enumerate(denoisers)
            for path, module in denoiser.named_modules()
            if re.search(r"\.(to_v|add_v_proj|to_qkv|to_kv)$", path)
        ]

    def note(self, path):
        def hook(module, args, output):
            own = F.linear(*args, module.weight, module.bias)
            self.seen.append((path, (output != own).any(-1).any(0)))

        return hook

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for handle in self.handles:
            handle.remove()

    def active_calls(self, path):
        return [bool(changed.any()) for seen, changed in self.seen if seen == path]


def first_layer(pipe):
    """The path of the first value projection, as `Watch` has it."""
    paths = (path for path, _ in pipe.transformer.named_modules())
    return "0." + next(path for path in paths if re.fullmatch(r"(transformer_)?blocks\.0\.attn1?\.to_v", path))


def traces(pipe):
    """What hooks could leave behind."""
    return [
        (path, sorted(vars(module)), len(module._forward_pre_hooks), len(module._forward_hooks))
        for denoiser in denoisers_of(pipe)
        for path, module in denoiser.named_modules()
    ]
