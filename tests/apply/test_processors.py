"""Attention processors of somebody's own on temporal attentions."""

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch.nn import functional as F

from bytheway import ByTheWayConfig, ByTheWayError, apply_bytheway, enhanced, method, observe, remove_bytheway
from bytheway.families.sites import find_sites
from tests.toys.tiny import generate, make_pipeline

OFF = ByTheWayConfig(alpha=0.0, beta=1.0, active_steps=1.0)
MOTION = ByTheWayConfig(alpha=0.0, beta=2.0, tau=1, active_steps=0.5)
GUIDED = ByTheWayConfig(active_steps=1.0)


class Neighbours(AttnProcessor2_0):
    """Frames see their neighbours only. Made anew by hand where a filter C is given: (A C) V."""

    def __init__(self, circulant=None):
        super().__init__()
        self.circulant, self.calls = circulant, 0

    def __call__(self, attn, hidden_states, *args, **kwargs):
        self.calls += 1
        rows, frames, _ = hidden_states.shape
        query, key, value = (
            layer(hidden_states).view(rows, frames, attn.heads, -1).transpose(1, 2)
            for layer in (attn.to_q, attn.to_k, attn.to_v)
        )
        at = torch.arange(frames)
        scores = query @ key.transpose(-1, -2) * attn.scale
        attn_map = scores.masked_fill((at[:, None] - at).abs() > 1, -torch.inf).softmax(-1)
        if self.circulant is not None:
            attn_map = attn_map @ self.circulant
        return attn.to_out[0]((attn_map @ value).transpose(1, 2).flatten(2))


class Keeping(AttnProcessor):
    """Keeps the maps, and attends as diffusers does."""

    def __call__(self, attn, hidden_states, *args, **kwargs):
        query, key = (attn.head_to_batch_dim(layer(hidden_states)) for layer in (attn.to_q, attn.to_k))
        self.kept = attn.get_attention_scores(query, key)
        return super().__call__(attn, hidden_states, *args, **kwargs)


class WithoutValues(AttnProcessor2_0):
    def __call__(self, attn, hidden_states, *args, **kwargs):
        return attn.to_out[0](F.linear(hidden_states, attn.to_v.weight))


def with_processors(make):
    pipe = make_pipeline(channels=(32, 32))
    for site in find_sites(pipe.unet, GUIDED):
        if site.role != "observed":
            site.module.set_processor(make())
    return pipe


@pytest.mark.parametrize("make", [Neighbours, Keeping, WithoutValues, lambda: Neighbours().__call__])
def test_with_the_method_at_naught_they_make_the_vanilla_clip(make):
    pipe = with_processors(make)
    vanilla = generate(pipe)
    assert not torch.equal(vanilla, generate(make_pipeline(channels=(32, 32)))) or make is Keeping
    with enhanced(pipe, OFF, record=False):
        assert torch.equal(generate(pipe), vanilla)


@pytest.mark.parametrize("order", ["before", "after"])
def test_the_frames_of_their_values_are_filtered(order):
    """In all steps, so that a clip made with the filter in the processors' own maps is the same."""
    config = MOTION.replace(active_steps=1.0)
    circulant = method.frequency_filter(8, config.tau, config.beta)
    expected = generate(with_processors(lambda: Neighbours(circulant)))
    pipe = with_processors(Neighbours) if order == "before" else make_pipeline(channels=(32, 32))
    apply_bytheway(pipe, config)
    if order == "after":
        generate(pipe)
        for site in find_sites(pipe.unet, config):
            if site.role != "observed":
                site.module.set_processor(Neighbours())
    torch.testing.assert_close(generate(pipe), expected, rtol=1e-3, atol=1e-4)
    for site in find_sites(pipe.unet, config):
        site.module.set_processor(AttnProcessor2_0())
    with_diffusers = generate(pipe)
    assert (with_diffusers - expected).abs().max() > 1e-2
    plain = make_pipeline(channels=(32, 32))
    apply_bytheway(plain, config)
    torch.testing.assert_close(with_diffusers, generate(plain), rtol=1e-3, atol=1e-4)


def test_one_that_only_keeps_the_maps_sees_every_step():
    pipe, plain = with_processors(Keeping), make_pipeline(channels=(32, 32))
    apply_bytheway(pipe, MOTION)
    apply_bytheway(plain, MOTION)
    torch.testing.assert_close(generate(pipe), generate(plain), rtol=1e-3, atol=1e-4)
    remove_bytheway(pipe)
    remove_bytheway(plain)
    torch.testing.assert_close(generate(pipe), generate(plain), rtol=1e-3, atol=1e-4)


def test_what_would_need_their_maps_is_refused():
    pipe = with_processors(Neighbours)
    with (
        enhanced(pipe, GUIDED, record=False),
        pytest.raises(ByTheWayError, match=r"has a processor of somebody's own \(Neighbours\), so that its maps"),
    ):
        generate(pipe)
    pipe = with_processors(WithoutValues)
    with enhanced(pipe, MOTION, record=False), pytest.raises(ByTheWayError, match="calls its to_v 0 times"):
        generate(pipe)


@pytest.mark.parametrize(("scope", "rest"), [(enhanced, 0), (observe, 6)])
def test_they_are_left_out_of_the_record_with_a_warning(scope, rest):
    pipe = with_processors(Neighbours)
    with scope(pipe, MOTION) as run, pytest.warns(UserWarning, match="left out of the record"):
        generate(pipe, num_inference_steps=1)
    assert len({(row.block, row.module, row.attention) for row in run.record.rows()}) == rest


def test_a_forward_of_somebodys_own_is_run_as_well(tiny_pipeline):
    """Put on an attention by people who leave processors alone; before the method or after it, in place of the own."""
    site = tiny_pipeline.unet.up_blocks[1].motion_modules[0].transformer_blocks[0].attn1
    apply_bytheway(tiny_pipeline, MOTION)
    expected = generate(tiny_pipeline)
    calls = []

    def forward(hidden_states, *args, **kwargs):
        calls.append(hidden_states)
        return type(site).forward(site, hidden_states, *args, **kwargs)

    site.forward = forward
    torch.testing.assert_close(generate(tiny_pipeline), expected, rtol=1e-3, atol=1e-4)
    seen = len(calls)
    assert seen > 0
    remove_bytheway(tiny_pipeline)
    assert site.forward is forward
    apply_bytheway(tiny_pipeline, MOTION)
    torch.testing.assert_close(generate(tiny_pipeline), expected, rtol=1e-3, atol=1e-4)
    assert len(calls) == 2 * seen
    apply_bytheway(tiny_pipeline, GUIDED)
    with pytest.raises(ByTheWayError, match="has a forward of somebody's own"):
        generate(tiny_pipeline)


@pytest.mark.parametrize("chosen", [AttnProcessor, AttnProcessor2_0])
def test_processors_of_diffusers_stay_as_they_are(chosen):
    pipe, plain = with_processors(chosen), make_pipeline(channels=(32, 32))
    with enhanced(pipe, GUIDED) as one, enhanced(plain, GUIDED) as other:
        torch.testing.assert_close(generate(pipe), generate(plain), rtol=1e-3, atol=1e-4)
    assert len(one.record) == len(other.record) > 0
