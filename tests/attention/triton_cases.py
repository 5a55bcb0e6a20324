"""The Triton kernels against the paper's form; tests/attention/test_triton.py runs this in a process of its own.

In Triton's interpreter, which has to be asked for before triton is imported, else on a GPU.
"""

import os

import pytest
import torch
from torch import nn

from bytheway import ByTheWayConfig, method
from bytheway.attention import site as attention
from bytheway.attention import triton as kernels
from bytheway.attention.layout import Layout
from bytheway.attention.measures import Anchor, Measures
from bytheway.attention.projections import enhanced_attention
from bytheway.attention.triton import guided

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
TOLERANCE = {torch.float32: 2e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}
PAPER = ByTheWayConfig()
SQUARE = Layout(parts=1, conditional=0, height_width=(2, 2))
GUIDANCE = Layout(parts=2, conditional=1, height_width=(1, 3))


@pytest.fixture(autouse=True)
def products_of_bfloat16(monkeypatch):
    """The interpreter keeps bfloat16 in integers, and would multiply those."""
    if DEVICE == "cpu":
        from triton import language
        from triton.runtime.interpreter import interpreter_builder as builder

        def wide(operand):
            return builder.cast_impl(operand, language.float32) if operand.dtype == language.bfloat16 else operand

        dot = builder.create_dot
        monkeypatch.setattr(
            builder, "create_dot", lambda left, right, *rest: dot(wide(left), wide(right), *rest), raising=False
        )


def make_site(layout, frames, channels, dtype=torch.float32, heads=1, videos=1, anchor_size=(1, 2), anchor_heads=None):
    """Query, key and value, the heads next to their channels in memory as projections leave them, and an anchor."""
    generator = torch.Generator().manual_seed(frames * channels)
    height, width = layout.height_width
    rows = layout.parts * videos * height * width
    query, key, value = (
        torch.randn(rows, frames, heads * channels, generator=generator)
        .to(DEVICE, dtype)
        .unflatten(-1, (heads, channels))
        .transpose(1, 2)
        for _ in range(3)
    )
    rows = layout.parts * videos * anchor_size[0] * anchor_size[1]
    logits = torch.randn(rows, anchor_heads or heads, frames, frames, generator=generator)
    maps = logits.mul(2).softmax(-1).to(DEVICE, dtype)
    return query * 2, key, value, Anchor(maps, layout._replace(height_width=anchor_size))


def as_paper(query, key, value, layout, anchor, scale, config):
    """Output and measures by the definitions, in float64."""
    height, width = layout.height_width
    attn = (query.double() @ key.double().transpose(-1, -2) * scale).softmax(-1).unflatten(0, (-1, height * width))
    size = anchor.layout.height_width
    maps = anchor.attn.double().unflatten(0, (-1, size[0] * size[1]))
    reference = method.resample_map(maps, size, layout.height_width, attn.shape[2], config.head_rule)
    videos = len(attn) // layout.parts
    conditional = torch.arange(videos, device=DEVICE) + layout.conditional * videos
    enhanced = method.bytheway_map(
        attn,
        reference,
        config.alpha,
        config.beta,
        config.tau,
        config.beta_rule,
        conditional=conditional.repeat(layout.parts),
    )
    guided_map = method.self_guide(attn, reference, config.alpha)[conditional]
    energy, (low, high) = method.attention_energy(attn[conditional]), method.band_energy(guided_map, config.tau)
    measures = Measures(
        energy,
        method.attention_energy(enhanced[conditional]),
        method.disparity(attn[conditional], reference[conditional]),
        method.adaptive_beta(energy, low, high, config.beta, config.beta_rule),
    )
    return enhanced.flatten(0, 1) @ value.double(), measures


def check(site, layout, config=PAPER, scale=None):
    """Run the kernel and hold it against the paper; returns its measures."""
    query, key, value, anchor = site
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    assert kernels.supports(query, key, value, anchor.attn)
    output, measures = guided.guided_attention(query, key, value, layout, anchor, scale, config)
    expected, seen = as_paper(query, key, value, layout, anchor, scale, config)
    assert output.dtype == value.dtype
    assert output.transpose(1, 2).is_contiguous()
    tolerance = TOLERANCE[value.dtype] * config.beta
    torch.testing.assert_close(output.double(), expected, rtol=tolerance, atol=tolerance)
    for one, other in zip(measures, seen, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-6)
    return measures


@pytest.mark.parametrize(
    ("frames", "channels", "dtype"),
    [
        (1, 8, torch.float32),
        (7, 24, torch.float32),
        (8, 40, torch.float16),
        (16, 160, torch.float16),
        (16, 64, torch.bfloat16),
        (24, 80, torch.bfloat16),
        (25, 80, torch.float16),
        (32, 40, torch.float32),
        (64, 160, torch.float32),
        (64, 40, torch.bfloat16),
    ],
)
def test_frames_heads_and_dtypes(frames, channels, dtype):
    check(make_site(SQUARE, frames, channels, dtype), SQUARE)


@pytest.mark.parametrize(
    "config",
    [
        ByTheWayConfig(alpha=0.1, beta=10),
        ByTheWayConfig(alpha=0.3, beta=1, tau=2),
        ByTheWayConfig(alpha=0.6, beta=1, tau=3, beta_rule="ratio"),
        ByTheWayConfig(alpha=1, beta=2, tau=0),
    ],
)
def test_settings(config):
    check(make_site(SQUARE, 12, 16), SQUARE, config, scale=0.4)


def test_energy_comes_back():
    """Where guidance takes more than the least beta gives back, beta is what restores E1."""
    config = ByTheWayConfig(alpha=0.5, beta=1)
    query, key, value, anchor = make_site(SQUARE, 16, 16)
    maps = torch.full_like(anchor.attn, 1 / 16)
    measures = check((query * 3, key, value, anchor._replace(attn=maps)), SQUARE, config)
    assert measures.beta.item() == pytest.approx(2, abs=1e-4)
    torch.testing.assert_close(measures.energy_after, measures.energy, rtol=1e-5, atol=0)


def test_nothing_to_amplify():
    query, key, value, anchor = make_site(SQUARE, 8, 16)
    anchor = anchor._replace(attn=torch.full_like(anchor.attn, 1 / 8))
    measures = check((torch.zeros_like(query), key, value, anchor), SQUARE)
    assert measures.beta.item() == 1.5


@pytest.mark.parametrize("layout", [GUIDANCE, GUIDANCE._replace(conditional=0), GUIDANCE._replace(parts=3)])
def test_videos_and_parts(layout):
    """Each video and part with the anchor of its own, and the beta of the conditional part."""
    config = ByTheWayConfig(beta=1)
    measures = check(make_site(layout, 8, 16, videos=2), layout, config)
    assert measures.beta[0] != measures.beta[1]


@pytest.mark.parametrize(
    ("size", "anchor_size"), [((3, 5), (2, 2)), ((5, 2), (5, 2)), ((1, 9), (1, 4)), ((4, 3), (2, 5)), ((4, 4), (2, 2))]
)
def test_sizes(size, anchor_size):
    layout = SQUARE._replace(height_width=size)
    check(make_site(layout, 8, 16, anchor_size=anchor_size), layout)


@pytest.mark.parametrize(
    ("heads", "anchor_heads", "rule"),
    [(2, 4, "group_mean"), (2, 3, "group_mean"), (2, 2, "mean"), (2, 2, "group_mean")],
)
def test_heads(heads, anchor_heads, rule):
    site = make_site(SQUARE, 8, 16, heads=heads, anchor_heads=anchor_heads)
    check(site, SQUARE, ByTheWayConfig(head_rule=rule))


def test_views_of_one_projection():
    _, _, _, anchor = make_site(SQUARE, 8, 16, heads=2)
    fused = torch.randn(4, 8, 3 * 32, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    query, key, value = (piece.unflatten(-1, (2, 16)).transpose(1, 2) for piece in fused.chunk(3, -1))
    check((query, key, value.contiguous(), anchor), SQUARE)


def test_runs_repeat():
    """A video's numbers are the same bit for bit in every run, whatever else is in the batch."""
    layout, config = GUIDANCE, ByTheWayConfig(beta=1)
    query, key, value, anchor = make_site(layout, 8, 16, videos=2)
    output, measures = guided.guided_attention(query, key, value, layout, anchor, 0.25, config)
    rows = [layout.unfold(tensor)[:, 1].flatten(0, 1) for tensor in (query, key, value)]
    alone = anchor._replace(attn=anchor.layout.unfold(anchor.attn)[:, 1].flatten(0, 1))
    again, seen = guided.guided_attention(*rows, layout, alone, 0.25, config)
    assert torch.equal(layout.unfold(output)[:, 1], layout.unfold(again)[:, 0])
    for one, other in zip(measures, seen, strict=True):
        assert one[1] == other[0]


class Attention(nn.Module):
    """What a site needs to have, by the names of the original latent diffusion."""

    heads = 2

    def __init__(self):
        super().__init__()
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(32, 32) for _ in range(4))


@pytest.mark.parametrize("measure", [False, True])
def test_a_site_runs_the_kernel(monkeypatch, measure):
    """And where that does not do, the site's output and measures are the same."""
    torch.manual_seed(0)
    module = Attention().to(DEVICE).requires_grad_(False)
    hidden_states = torch.randn(6, 8, 32, device=DEVICE)
    *_, anchor = make_site(GUIDANCE, 8, 16, heads=2)
    calls, kernel = [], guided.guided_attention
    monkeypatch.setattr(guided, "guided_attention", lambda *args: calls.append(1) or kernel(*args))
    config = ByTheWayConfig(beta=1)
    enhanced_attention(module, hidden_states, GUIDANCE, config, anchor=anchor)  # where the kernel may be tried
    calls.clear()
    ours = enhanced_attention(module, hidden_states, GUIDANCE, config, anchor=anchor, measure=measure)
    assert len(calls) == 1
    monkeypatch.setattr(attention.kernels, "supports", lambda *_: False)
    plain = enhanced_attention(module, hidden_states, GUIDANCE, config, anchor=anchor, measure=measure)
    assert len(calls) == 1
    torch.testing.assert_close(ours.output, plain.output, rtol=1e-4, atol=1e-5)
    assert (ours.measures is None) is (plain.measures is None) is (not measure)
    for one, other in zip(ours.measures or (), plain.measures or (), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda query, key, value, maps: (query.double(), key.double(), value.double(), maps.double()),
        lambda query, key, value, maps: (query.half(), key, value, maps),
        lambda query, key, value, maps: (query.transpose(2, 3), key, value, maps),
        lambda query, key, value, maps: (query, key, value, maps.transpose(2, 3)),
        lambda query, key, value, maps: (query, key, value.clone().requires_grad_(), maps),
        lambda query, key, value, maps: (query[:, :, :1].expand(-1, -1, 65, -1), key, value, maps),
    ],
    ids=["float64", "mixed", "channels apart", "keys apart", "gradient", "frames"],
)
def test_what_is_not_supported(change):
    query, key, value, anchor = make_site(SQUARE, 8, 16)
    assert kernels.supports(query, key, value, anchor.attn)
    assert not kernels.supports(*change(query, key, value, anchor.attn))
