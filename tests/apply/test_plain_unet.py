"""A denoiser that diffusers does not have, whose temporal self-attentions are given one by one: the example."""

import inspect

import pytest
import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module, remove_hook_from_module
from diffusers import DDIMScheduler
from torch import nn

from bytheway import (
    ByTheWayConfig,
    ByTheWayError,
    TemporalAttention,
    apply_bytheway,
    enhanced,
    observe,
    remove_bytheway,
)
from bytheway.families.sites import find_sites
from examples import plain_unet
from examples.plain_unet import SITES
from tests.apply.explicit import Watch, check_enhanced_sites

CONFIG = ByTheWayConfig(active_steps=1.0)
WITHOUT_SIZE = [TemporalAttention(site.path, site.block) for site in SITES]


@pytest.fixture(scope="module")
def unet():
    return plain_unet.make_unet()


@pytest.fixture
def loop():
    scheduler = DDIMScheduler(clip_sample=False)
    return {"scheduler": scheduler, "classifier_free_guidance": False}


def sample(unet, loop, steps=2, **changes):
    return plain_unet.sample(unet, loop["scheduler"], steps, **changes)


def test_the_example_runs(capsys):
    plain_unet.main()
    header, *rows, last = capsys.readouterr().out.splitlines()
    assert header.split() == ["step", "block", "energy", "after", "disparity", "beta"]
    assert [row.split()[:2] for row in rows] == [["0", "coarse"], ["0", "fine"], ["1", "coarse"], ["1", "fine"]]
    for row in rows:
        _, block, energy, after, disparity, beta = row.split()
        assert float(after) >= float(energy) - 1e-3
        assert float(beta) >= 1.5
        assert (disparity == "-") == (block == "coarse")
    assert float(last.split()[4]) > 0


@pytest.mark.parametrize(("guided", "conditional"), [(False, [0, 1]), (True, [1, 1])])
def test_sites_compute_the_papers_form(unet, loop, guided, conditional):
    loop["classifier_free_guidance"] = guided
    with Watch(unet, CONFIG, SITES) as watch, enhanced(unet, CONFIG, sites=SITES, record=False, **loop):
        sample(unet, loop, steps=1, videos=2)
    sizes = {"coarse": (4, 4), "fine": (8, 8)}
    assert check_enhanced_sites(unet, watch.seen, CONFIG, sizes, conditional, SITES) == 2


def test_on_and_off(unet, loop):
    vanilla = sample(unet, loop)
    apply_bytheway(unet, CONFIG, sites=SITES, **loop)
    assert (sample(unet, loop) - vanilla).abs().max() > 1e-2
    remove_bytheway(unet)
    assert torch.equal(sample(unet, loop), vanilla)
    with enhanced(unet, CONFIG, sites=SITES, **loop, alpha=0, beta=1):
        torch.testing.assert_close(sample(unet, loop), vanilla, rtol=1e-3, atol=1e-4)
    with observe(unet, sites=SITES, **loop) as run:
        assert torch.equal(sample(unet, loop), vanilla)
    assert [row.block for row in run.record.rows()] == ["coarse", "fine"] * 2


@pytest.mark.parametrize("masks", [{"mask": torch.zeros(1)}, {}])
def test_more_tensors_than_the_hidden_states_are_refused(unet, loop, masks):
    """A mask would be left out of the map."""
    attention = unet.get_submodule(SITES[0].path)
    forward = attention.forward

    def call(module, args):
        return (*args, torch.zeros(1)) if not masks else args

    handle = attention.register_forward_pre_hook(call)
    named = attention.register_forward_pre_hook(lambda _, args, kwargs: (args, kwargs | masks), with_kwargs=True)
    with (
        enhanced(unet, CONFIG, sites=SITES, **loop),
        pytest.raises(ByTheWayError, match=r"is called with (an argument|mask) beside its hidden states"),
    ):
        sample(unet, loop)
    handle.remove()
    named.remove()
    assert attention.forward == forward


def test_hidden_states_by_name(unet, loop):
    """Whatever the attention calls them."""
    with enhanced(unet, CONFIG, sites=SITES, record=False, **loop):
        expected = sample(unet, loop)
    handles = []
    for site in SITES:
        attention = unet.get_submodule(site.path)
        (name, *_) = inspect.signature(attention.forward).parameters
        handles.append(
            attention.register_forward_pre_hook(
                lambda _, args, kwargs, name=name: ((), {name: args[0], **kwargs}), with_kwargs=True
            )
        )
    with enhanced(unet, CONFIG, sites=SITES, record=False, **loop):
        assert torch.equal(sample(unet, loop), expected)
    for handle in handles:
        handle.remove()


class ByPlace(plain_unet.PlainUNet):
    def forward(self, video, *args):
        return super().forward(video, *args)


class ByName(plain_unet.PlainUNet):
    def forward(self, *args, **kwargs):
        return super().forward(kwargs["video"], kwargs["timestep"], *args)

    def __call__(self, video, timestep):
        return super().__call__(video=video, timestep=timestep)


@pytest.mark.parametrize("kind", [ByPlace, ByName])
def test_arguments_that_the_forward_does_not_name(unet, loop, kind):
    passing = kind().eval().requires_grad_(False)
    passing.load_state_dict(unet.state_dict())
    with enhanced(unet, CONFIG, sites=SITES, **loop):
        expected = sample(unet, loop)
    with enhanced(passing, CONFIG, sites=SITES, **loop):
        assert torch.equal(sample(passing, loop), expected)


def test_the_settings_name_another_anchor(unet):
    found = find_sites(unet, CONFIG.replace(anchor_block="fine"), SITES)
    assert [site.role for site in found] == ["observed", "anchor"]


def test_other_attentions_for_other_settings(unet, loop):
    """Whoever is given more attentions than the last gets them hooked too."""
    apply_bytheway(unet, CONFIG.replace(alpha=0), sites=SITES[:1], **loop)
    first = sample(unet, loop)
    with enhanced(unet, CONFIG, sites=SITES, record=False, **loop):
        assert (sample(unet, loop) - first).abs().max() > 1e-3
    assert torch.equal(sample(unet, loop), first)
    remove_bytheway(unet)


def test_other_transformers_for_the_same_attentions(unet, loop):
    """Hooks on the attentions are there already; those that tell the sizes have to come."""
    with enhanced(unet, CONFIG, sites=SITES, record=False, **loop):
        expected = sample(unet, loop)
    apply_bytheway(unet, CONFIG.replace(alpha=0), sites=WITHOUT_SIZE, **loop)
    apply_bytheway(unet, CONFIG, sites=SITES, **loop)
    assert torch.equal(sample(unet, loop), expected)
    remove_bytheway(unet)


def test_hooks_of_accelerate_that_go_take_nothing_along(loop):
    """Taking off what came before the method puts the modules' own forwards back."""
    unet = plain_unet.make_unet()
    carriers = [unet.coarse, unet.fine, unet.coarse.attention, unet.fine.attention]
    for module in carriers:
        add_hook_to_module(module, AlignDevicesHook("cpu"))
    apply_bytheway(unet, CONFIG, sites=SITES, **loop)
    expected = sample(unet, loop)
    for module in carriers:
        remove_hook_from_module(module)
    assert torch.equal(sample(unet, loop), expected)
    remove_bytheway(unet)
    assert not any(hasattr(module, "_diffusers_hook") for module in unet.modules())


def test_what_happens_in_the_block_ends_with_it(unet, loop):
    vanilla = sample(unet, loop)
    with enhanced(unet, CONFIG, sites=SITES, **loop):
        remove_bytheway(unet)
        assert torch.equal(sample(unet, loop), vanilla)
    with enhanced(unet, CONFIG, sites=SITES, **loop):
        remove_bytheway(unet)
        apply_bytheway(unet, CONFIG, sites=SITES, **loop)
    assert not hasattr(unet, "_bytheway")
    assert torch.equal(sample(unet, loop), vanilla)


def test_sites_in_the_wrong_order(unet, loop):
    """The anchor, listed first, runs last: there is nothing to guide by, and nobody is to think that there was."""
    with (
        enhanced(unet, CONFIG, sites=SITES[::-1], **loop),
        pytest.raises(ByTheWayError, match=r"coarse\.attention should be guided by.*order in which it runs"),
    ):
        sample(unet, loop)


def test_without_height_and_width_there_is_motion_enhancement_alone(unet, loop):
    config = CONFIG.replace(alpha=0)
    with enhanced(unet, config, sites=SITES, record=False, **loop):
        expected = sample(unet, loop)
    with enhanced(unet, config, sites=WITHOUT_SIZE, **loop) as run:
        torch.testing.assert_close(sample(unet, loop), expected)
    assert {row.disparity for row in run.record.rows()} == {None}
    with pytest.raises(ByTheWayError, match=r"height and width of fine\.attention.*transformer.*alpha=0"):
        apply_bytheway(unet, CONFIG, sites=WITHOUT_SIZE)


def test_the_denoisers_own_input_may_tell_the_size(unet, loop):
    """That of the fine level is the size of the video, also where a coarser module is called in between."""
    sites = [SITES[0], TemporalAttention("fine.attention", "fine", transformer="")]
    with enhanced(unet, CONFIG, sites=SITES, record=False, **loop):
        expected = sample(unet, loop)
    with enhanced(unet, CONFIG, sites=sites, record=False, **loop):
        assert torch.equal(sample(unet, loop), expected)
    assert not hasattr(unet, "_bytheway")
    assert not hasattr(unet, "_diffusers_hook")


@pytest.mark.parametrize(("transformer", "size"), [("coarse", "1 x 4 x 4"), ("conv_out", "1 x 0 x 0")])
def test_a_module_that_tells_another_size(unet, loop, transformer, size):
    sites = [SITES[0], TemporalAttention("fine.attention", "fine", transformer)]
    with (
        enhanced(unet, CONFIG, sites=sites, **loop),
        pytest.raises(ByTheWayError, match=rf"fine\.attention is called with 64 rows.*{size}"),
    ):
        sample(unet, loop)


class Fused(nn.Module):
    """Makes query, key and value in one piece; equal to the attention that it is made from."""

    def __init__(self, attention):
        super().__init__()
        self.heads = attention.heads
        projections = attention.to_q, attention.to_k, attention.to_v
        self.qkv = nn.Linear(attention.to_q.in_features, 3 * attention.to_q.out_features)
        self.qkv.weight.data = torch.cat([projection.weight for projection in projections])
        self.qkv.bias.data = torch.cat([projection.bias for projection in projections])
        self.proj = attention.to_out


class FusedWithNames(Fused):
    """The names that the method looks for, as properties."""

    to_q = property(lambda self: lambda rows: self.qkv(rows).chunk(3, dim=-1)[0])
    to_k = property(lambda self: lambda rows: self.qkv(rows).chunk(3, dim=-1)[1])
    to_v = property(lambda self: lambda rows: self.qkv(rows).chunk(3, dim=-1)[2])
    to_out = property(lambda self: self.proj)
    forward = plain_unet.FrameAttention.forward


@pytest.mark.parametrize(
    ("sites", "words"),
    [
        ([], "sites is empty"),
        ([TemporalAttention("attic", "coarse")], "'attic'.*PlainUNet has no such module"),
        ([TemporalAttention("fine.attention", "fine", "attic")], "'attic'.*PlainUNet has no such module"),
        ([TemporalAttention("fine.attention", "fine", "fine.attention")], "fine.attention .* is an attention itself"),
        ([TemporalAttention("fine", "fine")], "fine has no heads, to_q, to_k, to_v, to_out"),
    ],
)
def test_sites_that_are_none(unet, sites, words):
    with pytest.raises(ByTheWayError, match=words):
        apply_bytheway(unet, CONFIG, sites=sites)
    assert not hasattr(unet, "_bytheway")


def test_a_fused_attention_says_what_it_lacks(unet):
    fused = nn.ModuleDict({"attention": Fused(unet.fine.attention)})
    with pytest.raises(ByTheWayError, match="attention has no to_q, to_k, to_v, to_out"):
        find_sites(fused, CONFIG, [TemporalAttention("attention", "only")])


def test_names_may_be_properties(unet, loop):
    fused = plain_unet.make_unet()
    for mixer in (fused.coarse, fused.fine):
        mixer.attention = FusedWithNames(mixer.attention)
    with enhanced(unet, CONFIG, sites=SITES, **loop), enhanced(fused, CONFIG, sites=SITES, **loop):
        torch.testing.assert_close(sample(fused, loop), sample(unet, loop), rtol=1e-3, atol=1e-4)


def test_a_scale_of_its_own_counts(unet, loop):
    scaled = plain_unet.make_unet()
    for mixer in (scaled.coarse, scaled.fine):
        mixer.attention.scale = 1.0
        root = (mixer.attention.to_q.out_features / mixer.attention.heads) ** 0.5
        mixer.attention.to_q.weight.data /= root
        mixer.attention.to_q.bias.data /= root
    with enhanced(unet, CONFIG, sites=SITES, **loop), enhanced(scaled, CONFIG, sites=SITES, **loop):
        torch.testing.assert_close(sample(scaled, loop), sample(unet, loop), rtol=1e-3, atol=1e-4)


def test_an_unknown_denoiser_is_told_about_sites(unet):
    with pytest.raises(ByTheWayError, match=r"PlainUNet is no video denoiser.*sites="):
        apply_bytheway(unet)
