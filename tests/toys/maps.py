"""Attention maps for the tests, (videos, pixels, heads, F, F): softmax, uniform and one-hot ones, made or drawn."""

import torch
from hypothesis import settings
from hypothesis import strategies as st

EXACT = {"rtol": 1e-9, "atol": 1e-12}
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def softmax_map(seed, num_frames, videos=2, pixels=3, heads=2, contrast=2.0, dtype=torch.float64):
    logits = torch.randn(
        videos,
        pixels,
        heads,
        num_frames,
        num_frames,
        generator=torch.Generator().manual_seed(seed),
        dtype=torch.float64,
    )
    return (contrast * logits).softmax(-1).to(dtype)


def one_hot_map(num_frames, videos=2, dtype=torch.float64):
    return torch.eye(num_frames, dtype=dtype).roll(1, 0).expand(videos, 3, 2, -1, -1).clone()


def uniform_map(num_frames, videos=2, dtype=torch.float64):
    return torch.full((videos, 3, 2, num_frames, num_frames), 1 / num_frames, dtype=dtype)


frames = st.integers(1, 64)
taus = st.integers(0, 40)
# Just below 1 a guided map is uniform but for rounding, which no two ways of computing agree on.
alphas = st.sampled_from([0.0, 1.0]) | st.floats(0, 0.999)
betas = st.floats(1, 12)
rules = st.sampled_from(["sqrt", "ratio"])
seeds = st.integers(0, 2**31)


@st.composite
def map_pairs(draw, dtypes=(torch.float64,)):
    """A map and its anchor: from nearly uniform to nearly one-hot, and exactly uniform and one-hot ones."""
    num_frames, dtype = draw(frames), draw(st.sampled_from(dtypes))
    kinds = (
        lambda: softmax_map(draw(seeds), num_frames, contrast=10 ** draw(st.floats(-3, 1.5)), dtype=dtype),
        lambda: uniform_map(num_frames, dtype=dtype),
        lambda: one_hot_map(num_frames, dtype=dtype),
    )
    return draw(st.sampled_from(kinds))(), draw(st.sampled_from(kinds))()


quick = settings(max_examples=40, deadline=None)
