"""Motion enhancement in models with joint space-time attention: the definition, and that nothing else changes."""

import re

import pytest
import torch
from torch.nn import functional as F

from bytheway import ByTheWayConfig, ByTheWayError, apply_bytheway, enhanced, observe, remove_bytheway
from bytheway.joint import VideoTokens, circulant, filter_frames_
from bytheway.sites import denoisers_of
from tests.joint_models import FACTORIES

pytestmark = [
    pytest.mark.filterwarnings("ignore:In CPU autocast"),
    pytest.mark.filterwarnings("ignore:__array__ implementation"),
]

ALWAYS = ByTheWayConfig(alpha=0, beta=2.5, tau=1, active_steps=1.0)
# Of each run: tokens before the video, latent frames, tokens of a frame; at 32x48 pixels, LTX-Video at 32x64.
TOKENS = {
    "cogvideox": (5, 4, 6),
    "cogvideox_1_5": (5, 4, 6),
    "cogvideox_image2video": (5, 4, 6),
    "cogvideox_video2video": (5, 4, 6),
    "ltx": (0, 4, 8),
    "ltx_image2video": (0, 4, 8),
    "ltx_condition": (8, 4, 8),
}
TEXT_TO_VIDEO = ("cogvideox", "wan", "hunyuanvideo", "ltx", "mochi")
everywhere = pytest.mark.parametrize("name", FACTORIES)


def generate(pipe, call, **changes):
    return pipe(**{**call, "generator": torch.Generator().manual_seed(0), **changes}).frames


@pytest.fixture(scope="module")
def tiny():
    """Pipelines by name, and what they make by themselves; shared by tests that leave them as they found them."""
    made = {}

    def of(name):
        if name not in made:
            pipe, call = FACTORIES[name]()
            made[name] = pipe, call, generate(pipe, call)
        return made[name]

    return of


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


@pytest.mark.parametrize(("video", "tokens"), [((3, 5, 4), 25), ((0, 6, 2), 12), ((0, 4, 3), 17), ((2, 1, 7), 9)])
@pytest.mark.parametrize("tau", [0, 1, 7])
def test_filtering_the_values_is_filtering_the_map(video, tokens, tau):
    query, key, value = torch.randn(3, 2, tokens, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = dense(video, 3.0, tau)(query, key, value)
    own = value.clone()
    matrix = circulant(video[1], tau, 3.0, value.dtype, value.device)
    filter_frames_(value, matrix, VideoTokens(*video))
    torch.testing.assert_close(F.scaled_dot_product_attention(query, key, value), expected, rtol=1e-12, atol=1e-12)
    start, stop = video[0], video[0] + video[1] * video[2]
    assert torch.equal(value[:, :start], own[:, :start])
    assert torch.equal(value[:, stop:], own[:, stop:])


@everywhere
def test_the_video_is_that_of_filtered_maps(tiny, name, monkeypatch):
    pipe, call, vanilla = tiny(name)
    with enhanced(pipe, ALWAYS):
        video = generate(pipe, call)
    assert (video - vanilla).abs().max() > 1e-2
    attention = dense(TOKENS.get(name, (0, 4, 6)), ALWAYS.beta, ALWAYS.tau)
    for denoiser in denoisers_of(pipe):
        forward = type(denoiser).forward

        def with_maps(*args, denoiser=denoiser, forward=forward, **kwargs):
            with monkeypatch.context() as context:
                context.setattr(F, "scaled_dot_product_attention", attention)
                return forward(denoiser, *args, **kwargs)

        monkeypatch.setattr(denoiser, "forward", with_maps)
    torch.testing.assert_close(generate(pipe, call), video, rtol=1e-4, atol=1e-5)
