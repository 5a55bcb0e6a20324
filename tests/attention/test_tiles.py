"""Attention in tiles of any size is the attention of the paper, as are the anchors upsampled piece by piece."""

import pytest
import torch

from bytheway import ByTheWayConfig
from bytheway.attention import site as attention
from bytheway.attention import tiles
from bytheway.attention.layout import Layout
from bytheway.attention.projections import enhanced_attention
from tests.attention.test_site import (
    GUIDANCE,
    PERTURBED,
    NoWaiting,
    as_paper,
    make_attention,
    random_anchor,
    rows_of,
    softmax_map,
)

# 1, 2 and 4 pixels of a row of 5, one row, two of three rows, a part of a video, a video, two videos.
PIXELS = [1, 2, 4, 7, 11, 15, 30, 60]


@pytest.fixture
def tile_of(monkeypatch):
    """Sets how many pixels a tile has at a site of 4 heads with 8 channels."""

    def set_pixels(pixels, frames=8):
        monkeypatch.setattr(tiles, "TILE_BYTES", pixels * 4 * frames * (frames + 16) * 4 // torch.get_num_threads())

    return set_pixels


def whole(monkeypatch, *args, **kwargs):
    """The same without tiles."""
    with monkeypatch.context() as patched:
        patched.setattr(attention.tiles, "supports", lambda *_: False)
        return enhanced_attention(*args, **kwargs)


@pytest.mark.parametrize("pixels", PIXELS)
@pytest.mark.parametrize("tau", [7, 2], ids=["only DC is low", "a band"])
@pytest.mark.parametrize("measure", [False, True])
def test_guided_tiles_are_the_paper(pixels, tau, measure, tile_of, monkeypatch):
    tile_of(pixels)
    module, hidden_states, config = make_attention(), rows_of(GUIDANCE, 2), ByTheWayConfig(tau=tau)
    anchor = random_anchor(GUIDANCE, 2)
    attended = enhanced_attention(module, hidden_states, GUIDANCE, config, anchor=anchor, measure=measure)
    torch.testing.assert_close(attended.output, as_paper(module, hidden_states, GUIDANCE, config, anchor))
    expected = whole(monkeypatch, module, hidden_states, GUIDANCE, config, anchor=anchor, measure=measure).measures
    torch.testing.assert_close(attended.measures, expected)


@pytest.mark.parametrize("pixels", [1, 4, 11, 60])
@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_unguided_tiles_are_the_paper(pixels, alpha, tile_of, monkeypatch):
    tile_of(pixels)
    module, hidden_states, config = make_attention(), rows_of(PERTURBED, 2), ByTheWayConfig(alpha=alpha)
    options = {"keep_map": True, "measure": True}
    if alpha == 0:
        options = {"anchor": random_anchor(PERTURBED, 2), "measure": True}
    attended = enhanced_attention(module, hidden_states, PERTURBED, config, **options)
    torch.testing.assert_close(attended.output, as_paper(module, hidden_states, PERTURBED, config))
    if alpha > 0:
        torch.testing.assert_close(attended.anchor.attn, softmax_map(module, hidden_states))
    expected = whole(monkeypatch, module, hidden_states, PERTURBED, config, **options).measures
    torch.testing.assert_close(attended.measures, expected)


@pytest.mark.parametrize("pixels", [1, 3, 8, 25, 100])
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (7, 1), (6, 5)])
@pytest.mark.parametrize("anchor_size", [(1, 1), (3, 2), (2, 9), (12, 11), (6, 5)])
def test_anchors_of_any_size(pixels, size, anchor_size, tile_of):
    """Smaller and larger than the map, and of one pixel."""
    tile_of(pixels, frames=4)
    layout, config, module = Layout(2, 1, size), ByTheWayConfig(), make_attention()
    hidden_states = rows_of(layout, 1, frames=4)
    anchor = random_anchor(layout, 1, frames=4, height_width=anchor_size)
    output = enhanced_attention(module, hidden_states, layout, config, anchor=anchor).output
    torch.testing.assert_close(output, as_paper(module, hidden_states, layout, config, anchor))


@pytest.mark.parametrize("frames", [1, 2, 7, 20])
@pytest.mark.parametrize(("heads", "rule"), [(8, "group_mean"), (4, "mean"), (6, "group_mean")])
def test_frames_and_heads(frames, heads, rule, tile_of):
    tile_of(7, frames)
    config, module = ByTheWayConfig(head_rule=rule, beta=10.0, alpha=0.1), make_attention()
    hidden_states, anchor = rows_of(GUIDANCE, 1, frames), random_anchor(GUIDANCE, 1, frames, heads)
    output = enhanced_attention(module, hidden_states, GUIDANCE, config, anchor=anchor).output
    torch.testing.assert_close(output, as_paper(module, hidden_states, GUIDANCE, config, anchor))


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.bfloat16, 0.15), (torch.float16, 0.015)]
)
@pytest.mark.parametrize("pixels", [4, 60])
def test_precision(dtype, tolerance, pixels, tile_of):
    """Maps, energies and sums are at least in float32: what is left is the rounding of q, k, v and the output."""
    tile_of(pixels)
    config, anchor = ByTheWayConfig(beta=10.0, alpha=0.1), random_anchor(GUIDANCE, 2)
    module, hidden_states = make_attention().to(dtype), rows_of(GUIDANCE, 2).to(dtype)
    rough = anchor._replace(attn=anchor.attn.to(dtype))
    output = enhanced_attention(module, hidden_states, GUIDANCE, config, anchor=rough).output
    assert output.dtype == dtype
    exact = as_paper(
        module.double(), hidden_states.double(), GUIDANCE, config, anchor._replace(attn=rough.attn.double())
    )
    torch.testing.assert_close(output.double(), exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("tau", [7, 2], ids=["only DC is low", "a band"])
def test_parts_have_the_same_beta_in_half_precision(tau, tile_of):
    """A beta of 10.03 is 10 in bfloat16; parts that differ by it differ by what guidance multiplies."""
    tile_of(4)
    generator = torch.Generator().manual_seed(0)
    parts = torch.randn(3, 15, 4, 8, 8, generator=generator).bfloat16()
    query, key, value = torch.cat([parts, parts], dim=1).unbind()
    config, anchor = ByTheWayConfig(beta=10.03, alpha=0.1, tau=tau), random_anchor(GUIDANCE, 1)
    anchor.attn[len(anchor.attn) // 2 :] = anchor.attn[: len(anchor.attn) // 2]
    site = tiles.TiledSite(query, key, value, GUIDANCE, anchor, 1.0, config)
    site.attend()
    unconditional, conditional = site.output.double().flatten().chunk(2)
    gain = conditional @ unconditional / unconditional.square().sum()
    assert abs(gain - 1) < 5e-4


def test_maps_of_ones_own_are_made():
    """A module that makes its maps itself is asked for them."""
    module, hidden_states, config = make_attention(), rows_of(GUIDANCE, 1), ByTheWayConfig()

    class Sharper(type(module)):
        def get_attention_scores(self, query, key, attention_mask=None):
            return super().get_attention_scores(2 * query, key, attention_mask)

    anchor = random_anchor(GUIDANCE, 1)
    module.__class__ = Sharper
    sharper = enhanced_attention(module, hidden_states, GUIDANCE, config, anchor=anchor).output
    module.to_q.weight.mul_(2)
    torch.testing.assert_close(sharper, as_paper(module, hidden_states, GUIDANCE, config, anchor))


def test_many_tiles_do_not_wait_and_leave_their_inputs_alone(tile_of):
    tile_of(4)
    query, key, value = torch.randn(3, 60, 4, 8, 8).unbind()
    before = [tensor.clone() for tensor in (query, key, value)]
    anchor = random_anchor(GUIDANCE, 2)
    maps = anchor.attn.clone()
    with NoWaiting(), torch.inference_mode():
        tiles.TiledSite(query, key, value, GUIDANCE, anchor, 0.3, ByTheWayConfig(), measure=True).attend()
    for tensor, earlier in zip((query, key, value, anchor.attn), (*before, maps), strict=True):
        torch.testing.assert_close(tensor, earlier, rtol=0, atol=0)


def test_another_default_device_is_not_asked_for_memory():
    module, hidden_states, config = make_attention(), rows_of(GUIDANCE, 2, frames=9), ByTheWayConfig(tau=2)
    anchor = random_anchor(GUIDANCE, 2, frames=9)
    torch.set_default_device("meta")
    try:
        output = enhanced_attention(module, hidden_states, GUIDANCE, config, anchor=anchor, measure=True).output
    finally:
        torch.set_default_device(None)
    torch.testing.assert_close(output, as_paper(module, hidden_states, GUIDANCE, config, anchor))


def test_scratch_memory_is_given_back():
    query = torch.randn(6, 4, 8, 16, generator=torch.Generator().manual_seed(0))
    layout, config = Layout(2, 1, (1, 3)), ByTheWayConfig()
    before = attention.attend(query, query, query, layout, config, scale=0.25).output
    assert tiles._thread.__dict__
    tiles.release_memory()
    assert not tiles._thread.__dict__
    assert torch.equal(attention.attend(query, query, query, layout, config, scale=0.25).output, before)
