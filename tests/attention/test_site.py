"""The enhanced attention against the paper's form: explicit softmax maps, `bytheway_map`, then the values."""

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode

from bytheway import ByTheWayConfig, ByTheWayError, method
from bytheway.attention import attend, observe
from bytheway.attention import site as attention
from bytheway.attention.layout import Layout
from bytheway.attention.measures import Anchor
from bytheway.attention.projections import enhanced_attention, observe_attention

CHANNELS = 32
GUIDANCE = Layout(parts=2, conditional=1, height_width=(3, 5))
ALONE = Layout(parts=1, conditional=0, height_width=(3, 5))
PERTURBED = Layout(parts=3, conditional=1, height_width=(3, 5))


@pytest.fixture(autouse=True, params=["tiles", "whole"])
def form(request, monkeypatch):
    """What a CPU does, and what is done on other devices and where gradients flow."""
    if request.param == "whole":
        monkeypatch.setattr(attention.tiles, "supports", lambda *_: False)


def make_attention(seed=0, **options):
    torch.manual_seed(seed)
    module = Attention(CHANNELS, heads=4, dim_head=8, **options).requires_grad_(False)
    for projection in (module.to_q, module.to_k):
        projection.weight.mul_(4)
    return module


def rows_of(layout, videos, frames=8, seed=0):
    height, width = layout.height_width
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(layout.parts * videos * height * width, frames, CHANNELS, generator=generator)


def random_anchor(layout, videos, frames=8, heads=4, height_width=(2, 2), seed=1):
    rows = layout.parts * videos * height_width[0] * height_width[1]
    logits = torch.randn(rows, heads, frames, frames, generator=torch.Generator().manual_seed(seed))
    return Anchor(logits.softmax(-1), layout._replace(height_width=height_width))


def heads_of(projection, hidden_states, heads=4):
    return projection(hidden_states).unflatten(-1, (heads, -1)).transpose(1, 2)


def softmax_map(module, hidden_states):
    query, key = heads_of(module.to_q, hidden_states), heads_of(module.to_k, hidden_states)
    return (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)


def as_paper(module, hidden_states, layout, config, anchor=None):
    """The output of a site by the definition: nothing of bytheway.attention."""
    height, width = layout.height_width
    attn = softmax_map(module, hidden_states).unflatten(0, (-1, height * width))
    reference = attn
    if anchor is not None:
        size = anchor.layout.height_width
        maps = anchor.attn.unflatten(0, (-1, size[0] * size[1]))
        reference = method.resample_map(maps, size, layout.height_width, attn.shape[2], config.head_rule)
    videos = len(attn) // layout.parts
    conditional = (torch.arange(videos) + layout.conditional * videos).repeat(layout.parts)
    attn = method.bytheway_map(
        attn, reference, config.alpha, config.beta, config.tau, config.beta_rule, conditional=conditional
    )
    output = attn.flatten(0, 1) @ heads_of(module.to_v, hidden_states)
    return module.to_out[0](output.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("layout", [GUIDANCE, ALONE, PERTURBED], ids=["guidance", "alone", "perturbed"])
@pytest.mark.parametrize("frames", [1, 2, 7, 8, 16, 24])
@pytest.mark.parametrize("config", [ByTheWayConfig(), ByTheWayConfig(alpha=0.3, beta=4.0, tau=2, beta_rule="ratio")])
def test_guided_site_is_the_paper(layout, frames, config):
    module, hidden_states = make_attention(), rows_of(layout, 2, frames)
    anchor = random_anchor(layout, 2, frames)
    output = enhanced_attention(module, hidden_states, layout, config, anchor=anchor).output
    torch.testing.assert_close(output, as_paper(module, hidden_states, layout, config, anchor))


@pytest.mark.parametrize("alpha", [0.0, 0.6])
@pytest.mark.parametrize("keep_map", [False, True])
def test_anchor_site_is_the_paper(alpha, keep_map):
    module, hidden_states, config = make_attention(), rows_of(GUIDANCE, 2), ByTheWayConfig(alpha=alpha)
    attended = enhanced_attention(module, hidden_states, GUIDANCE, config, keep_map=keep_map)
    torch.testing.assert_close(attended.output, as_paper(module, hidden_states, GUIDANCE, config))
    assert (attended.anchor is not None) is keep_map
    if keep_map:
        torch.testing.assert_close(attended.anchor.attn, softmax_map(module, hidden_states))


@pytest.mark.parametrize(("heads", "rule"), [(8, "group_mean"), (8, "mean"), (6, "group_mean"), (2, "group_mean")])
def test_anchor_with_other_heads(heads, rule):
    module, hidden_states, config = make_attention(), rows_of(GUIDANCE, 2), ByTheWayConfig(head_rule=rule)
    anchor = random_anchor(GUIDANCE, 2, heads=heads)
    output = enhanced_attention(module, hidden_states, GUIDANCE, config, anchor=anchor).output
    torch.testing.assert_close(output, as_paper(module, hidden_states, GUIDANCE, config, anchor))


def test_alpha_0_and_beta_1_is_the_modules_own_attention():
    module, hidden_states, config = make_attention(), rows_of(GUIDANCE, 2), ByTheWayConfig(alpha=0, beta=1)
    for anchor in (None, random_anchor(GUIDANCE, 2)):
        output = enhanced_attention(module, hidden_states, GUIDANCE, config, anchor=anchor).output
        torch.testing.assert_close(output, module(hidden_states))


def test_full_guidance_replaces_the_map():
    """alpha = 1: what the site attends to is the anchor's alone."""
    module, hidden_states = make_attention(), rows_of(ALONE, 1)
    anchor = random_anchor(ALONE, 1, height_width=(3, 5))
    config = ByTheWayConfig(alpha=1, beta=1, tau=0)
    output = enhanced_attention(module, hidden_states, ALONE, config, anchor=anchor).output
    assert output.sub(module(hidden_states)).abs().max() > 0.1
    torch.testing.assert_close(output, as_paper(module, hidden_states, ALONE, config, anchor))


def test_a_video_does_not_depend_on_the_rest_of_the_batch():
    module, hidden_states, config = make_attention(), rows_of(GUIDANCE, 3), ByTheWayConfig()
    anchor = random_anchor(GUIDANCE, 3)
    together = enhanced_attention(module, hidden_states, GUIDANCE, config, anchor=anchor, measure=True)
    outputs = GUIDANCE.unfold(together.output)
    for video in range(3):
        maps = anchor.layout.unfold(anchor.attn)[:, video].flatten(0, 1)
        alone = enhanced_attention(
            module,
            GUIDANCE.unfold(hidden_states)[:, video].flatten(0, 1),
            GUIDANCE,
            config,
            anchor=Anchor(maps, anchor.layout),
            measure=True,
        )
        torch.testing.assert_close(GUIDANCE.unfold(alone.output)[:, 0], outputs[:, video])
        for one, all_of_them in zip(alone.measures, together.measures, strict=True):
            torch.testing.assert_close(one[0], all_of_them[video])


def test_whole_maps_of_a_video_do_not_depend_on_its_batch_bit_for_bit(monkeypatch):
    monkeypatch.setattr(attention.tiles, "supports", lambda *_: False)
    query, key, value = torch.randn(3, 90, 4, 16, 8, generator=torch.Generator().manual_seed(0)).unbind()
    anchor, config = random_anchor(GUIDANCE, 3, 16), ByTheWayConfig()
    together = attend(query, key, value, GUIDANCE, config, scale=0.4, anchor=anchor, measure=True)
    for video in range(3):
        rows = [GUIDANCE.unfold(tensor)[:, video].flatten(0, 1) for tensor in (query, key, value)]
        maps = anchor._replace(attn=anchor.layout.unfold(anchor.attn)[:, video].flatten(0, 1))
        alone = attend(*rows, GUIDANCE, config, scale=0.4, anchor=maps, measure=True)
        assert torch.equal(GUIDANCE.unfold(together.output)[:, video], GUIDANCE.unfold(alone.output)[:, 0])
        for one, all_of_them in zip(alone.measures, together.measures, strict=True):
            assert one[0] == all_of_them[video]


def test_conditional_half_sets_the_beta():
    module, config = make_attention(), ByTheWayConfig()
    hidden_states, anchor = rows_of(GUIDANCE, 1), random_anchor(GUIDANCE, 1)
    half = len(hidden_states) // 2
    changed = torch.cat([rows_of(ALONE, 1, seed=7), hidden_states[half:]])
    before, after = (
        enhanced_attention(module, states, GUIDANCE, config, anchor=anchor, measure=True)
        for states in (hidden_states, changed)
    )
    torch.testing.assert_close(before.output[half:], after.output[half:], rtol=0, atol=0)
    torch.testing.assert_close(before.measures.beta, after.measures.beta, rtol=0, atol=0)
    assert not torch.equal(before.output[:half], after.output[:half])


@pytest.mark.parametrize(
    "options",
    [
        {"residual_connection": True, "rescale_output_factor": 2.0},
        {"norm_num_groups": 4},
        {"qk_norm": "layer_norm"},
        {"qk_norm": "rms_norm"},
        {"scale_qk": False},
        {"bias": True, "out_bias": False},
        {"upcast_attention": True, "upcast_softmax": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_belongs_to_the_module_is_kept(options):
    """With alpha = 0 and beta = 1 the module's own forward, with everything it has, is the reference."""
    module, hidden_states = make_attention(**options), rows_of(GUIDANCE, 1)
    with torch.no_grad():
        for name in ("group_norm", "norm_q", "norm_k"):
            norm = getattr(module, name)
            if norm is not None:
                norm.weight.uniform_(0.5, 2)
    config = ByTheWayConfig(alpha=0, beta=1)
    expected = module(hidden_states)
    for keep_map in (False, True):
        output = enhanced_attention(module, hidden_states, GUIDANCE, config, keep_map=keep_map).output
        torch.testing.assert_close(output, expected)
    anchor = random_anchor(GUIDANCE, 1)
    nearly_off = ByTheWayConfig(alpha=1e-7, beta=1)
    output = enhanced_attention(module, hidden_states, GUIDANCE, nearly_off, anchor=anchor).output
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_half_precision(dtype, tolerance):
    module, config, anchor = make_attention(), ByTheWayConfig(), random_anchor(GUIDANCE, 2)
    hidden_states = rows_of(GUIDANCE, 2)
    exact = enhanced_attention(module, hidden_states, GUIDANCE, config, anchor=anchor, measure=True)
    half = enhanced_attention(
        module.to(dtype),
        hidden_states.to(dtype),
        GUIDANCE,
        config,
        anchor=anchor._replace(attn=anchor.attn.to(dtype)),
        measure=True,
    )
    assert half.output.dtype == dtype
    torch.testing.assert_close(half.output.float(), exact.output, rtol=tolerance, atol=tolerance)
    for rough, fine in zip(half.measures, exact.measures, strict=True):
        assert rough.dtype == torch.float32
        torch.testing.assert_close(rough, fine, rtol=tolerance, atol=tolerance)


def test_autocast_keeps_energies_in_float32():
    module, config, anchor = make_attention(), ByTheWayConfig(), random_anchor(GUIDANCE, 1)
    rough_anchor = anchor._replace(attn=anchor.attn.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        attended = enhanced_attention(module, rows_of(GUIDANCE, 1), GUIDANCE, config, anchor=rough_anchor, measure=True)
    exact = enhanced_attention(module, rows_of(GUIDANCE, 1), GUIDANCE, config, anchor=anchor, measure=True)
    for rough, fine in zip(attended.measures, exact.measures, strict=True):
        assert rough.dtype == torch.float32
        torch.testing.assert_close(rough, fine, rtol=0.05, atol=0.05)
    torch.testing.assert_close(attended.output.float(), exact.output, rtol=0.1, atol=0.1)


class NoWaiting(TorchDispatchMode):
    """Refuses the operations that hand a value, or a size that depends on values, from the device to Python."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function.overloadpacket.__name__ not in ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "item")
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("guided", [False, True])
def test_nothing_waits_for_the_device(guided):
    module, hidden_states, anchor = make_attention(), rows_of(GUIDANCE, 2), random_anchor(GUIDANCE, 2)
    with NoWaiting():
        enhanced_attention(
            module,
            hidden_states,
            GUIDANCE,
            ByTheWayConfig(),
            anchor=anchor if guided else None,
            keep_map=not guided,
            measure=True,
        )
    with NoWaiting(), pytest.raises(AssertionError):
        hidden_states.sum().item()


def test_unguided_sites_make_no_map_where_gradients_flow(monkeypatch):
    module, hidden_states = make_attention(), rows_of(GUIDANCE, 1).requires_grad_()
    monkeypatch.setattr(attention.whole, "softmax_maps", lambda *_: pytest.fail("made maps"))
    calls = []
    monkeypatch.setattr(
        attention.F,
        "scaled_dot_product_attention",
        lambda *args, **kwargs: calls.append(1) or scaled_dot_product_attention(*args, **kwargs),
    )
    enhanced_attention(module, hidden_states, GUIDANCE, ByTheWayConfig())
    enhanced_attention(module, hidden_states, GUIDANCE, ByTheWayConfig(alpha=0), anchor=random_anchor(GUIDANCE, 1))
    assert len(calls) == 2


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("keep_map", [False, True])
def test_softmax_of_ones_own(guided, keep_map):
    """Maps made in another way are guided, filtered, kept and measured as any."""
    query, key, value = torch.randn(3, 30, 4, 8, 6, generator=torch.Generator().manual_seed(0)).unbind()
    config, anchor = ByTheWayConfig(), random_anchor(GUIDANCE, 1) if guided else None
    options = {"anchor": anchor, "keep_map": keep_map, "measure": True}

    def sharper(query, key):
        return (2 * query @ key.mT).softmax(-1)

    ours = attend(query, key, value, GUIDANCE, config, scale=0.1, softmax=sharper, **options)
    expected = attend(query, key, value, GUIDANCE, config, scale=2.0, **options)
    torch.testing.assert_close(ours, expected)
    ours = observe(query, key, GUIDANCE, config, scale=0.1, softmax=sharper, anchor=anchor, keep_map=keep_map)
    expected = observe(query, key, GUIDANCE, config, scale=2.0, anchor=anchor, keep_map=keep_map)
    torch.testing.assert_close(ours, expected)


def test_kept_maps_are_in_the_precision_of_the_query():
    query, key, value = torch.randn(3, 30, 4, 8, 6, generator=torch.Generator().manual_seed(0)).bfloat16().unbind()
    attended = attend(query, key, value, GUIDANCE, ByTheWayConfig(), scale=0.4, keep_map=True)
    assert attended.anchor.attn.dtype == attended.output.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("rows", "change", "said"),
    [
        (31, {}, "has 31 rows, which are not 2 parts of videos with 3 x 5 pixels each"),
        (0, {}, "has 0 rows, which are not 2 parts"),
        (30, {"videos": 2}, "has 16 maps of 8 frames in 2 parts, and the site wants 8 of 8 in 2"),
        (30, {"frames": 7}, "has 8 maps of 7 frames in 2 parts, and the site wants 8 of 8 in 2"),
        (30, {"layout": ALONE, "videos": 2}, "has 8 maps of 8 frames in 1 parts, and the site wants 8 of 8 in 2"),
    ],
)
def test_wrong_rows_are_said(rows, change, said):
    query = torch.randn(rows, 4, 8, 6)
    anchor = random_anchor(**{"layout": GUIDANCE, "videos": 1, **change})
    with pytest.raises(ByTheWayError, match=said):
        attend(query, query, query, GUIDANCE, ByTheWayConfig(), scale=0.4, anchor=anchor)
    with pytest.raises(ByTheWayError, match=said):
        observe(query, query, GUIDANCE, ByTheWayConfig(), scale=0.4, anchor=anchor)


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_measures_are_those_of_the_maps(alpha):
    module, hidden_states = make_attention(), rows_of(GUIDANCE, 2)
    config, anchor = ByTheWayConfig(alpha=alpha, tau=3), random_anchor(GUIDANCE, 2)
    measures = enhanced_attention(module, hidden_states, GUIDANCE, config, anchor=anchor, measure=True).measures

    attn = GUIDANCE.unfold(softmax_map(module, hidden_states))[1]
    maps = anchor.layout.unfold(anchor.attn)[1]
    reference = method.resample_map(maps, (2, 2), (3, 5), 4)
    after = method.bytheway_map(attn, reference, alpha, config.beta, config.tau)
    torch.testing.assert_close(measures.energy, method.attention_energy(attn))
    torch.testing.assert_close(measures.energy_after, method.attention_energy(after))
    torch.testing.assert_close(measures.disparity, method.disparity(attn, reference))
    guided = method.self_guide(attn, reference, alpha)
    beta = method.adaptive_beta(method.attention_energy(attn), *method.band_energy(guided, config.tau), config.beta)
    torch.testing.assert_close(measures.beta, beta)


def test_observed_measures_are_those_of_the_model():
    module, hidden_states, config = make_attention(), rows_of(GUIDANCE, 2), ByTheWayConfig()
    anchor = random_anchor(GUIDANCE, 2)
    kept, measures = observe_attention(module, hidden_states, GUIDANCE, config, anchor=anchor, keep_map=True)
    attn = GUIDANCE.unfold(softmax_map(module, hidden_states))[1]
    torch.testing.assert_close(measures.energy, method.attention_energy(attn))
    torch.testing.assert_close(measures.energy_after, measures.energy)
    torch.testing.assert_close(measures.beta, torch.ones(2))
    reference = method.resample_map(anchor.layout.unfold(anchor.attn)[1], (2, 2), (3, 5), 4)
    torch.testing.assert_close(measures.disparity, method.disparity(attn, reference))
    torch.testing.assert_close(kept.attn, softmax_map(module, hidden_states))


def test_gradients_are_those_of_the_paper():
    """Through the guided map, the energies and beta."""
    module = make_attention().requires_grad_(True)
    hidden_states = rows_of(GUIDANCE, 1).requires_grad_(True)
    leaves = [hidden_states, *module.parameters()]
    config, anchor = ByTheWayConfig(beta=1.0, tau=3), random_anchor(GUIDANCE, 1)
    ours = enhanced_attention(module, hidden_states, GUIDANCE, config, anchor=anchor).output
    paper = as_paper(module, hidden_states, GUIDANCE, config, anchor)
    ours, paper = (torch.autograd.grad(output.square().sum(), leaves) for output in (ours, paper))
    for mine, theirs in zip(ours, paper, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    assert ours[0].abs().max() > 0.1


def test_what_is_measured_keeps_no_gradients():
    module, hidden_states = make_attention().requires_grad_(True), rows_of(GUIDANCE, 1)
    kept, measures = observe_attention(module, hidden_states, GUIDANCE, ByTheWayConfig(), keep_map=True)
    assert not any(tensor.requires_grad for tensor in (kept.attn, measures.energy, measures.energy_after))


def test_what_does_not_move_stays_as_it_is_in_half_precision():
    # With these settings the filter's rows, rounded to bfloat16, sum to 1.05.
    module, config = make_attention().to(torch.bfloat16), ByTheWayConfig(alpha=0.0, beta=11.9, tau=7)
    still = rows_of(GUIDANCE, 2, frames=1).expand(-1, 16, -1).to(torch.bfloat16)
    output = enhanced_attention(module, still, GUIDANCE, config).output
    torch.testing.assert_close(output, module(still), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_what_is_measured_and_kept_does_not_change_a_bit_of_the_output(alpha):
    """Seeds that are chosen among are recorded, and their clips are to be the ones that they give alone."""
    module, config = make_attention(), ByTheWayConfig(alpha=alpha, beta=2.0, tau=3)
    hidden_states, anchor = rows_of(GUIDANCE, 2), random_anchor(GUIDANCE, 2)
    wanted = enhanced_attention(module, hidden_states, GUIDANCE, config, anchor=anchor if alpha else None).output
    measured = enhanced_attention(module, hidden_states, GUIDANCE, config, anchor=anchor, measure=True)
    assert torch.equal(measured.output, wanted)
    if not alpha:
        kept = enhanced_attention(module, hidden_states, GUIDANCE, config, keep_map=True, measure=True)
        assert kept.anchor is not None
        assert torch.equal(kept.output, wanted)
