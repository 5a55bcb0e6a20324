"""Where the temporal self-attentions are, which block is the anchor, and what is said where there are none."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bytheway import ByTheWayConfig, ByTheWayError
from bytheway.families.known import denoiser_of, family_of, preset_for
from bytheway.families.sites import find_sites
from tests.toys.tiny import make_pipeline


def roles(denoiser, config=None):
    return {site.block: site.role for site in find_sites(denoiser, config or ByTheWayConfig())}


@pytest.fixture(scope="module")
def unet():
    return make_pipeline().unet


def test_four_levels_anchor_at_a_quarter_of_the_latents(unet):
    found = roles(unet)
    assert found["up_blocks.1"] == "anchor"
    assert found["up_blocks.2"] == found["up_blocks.3"] == "guided"
    assert {block for block, role in found.items() if role == "observed"} == {
        "down_blocks.0",
        "down_blocks.1",
        "down_blocks.2",
        "down_blocks.3",
        "mid_block",
        "up_blocks.0",
    }


def test_three_levels_anchor_at_a_quarter_of_the_latents():
    found = roles(make_pipeline(channels=(32, 32, 64)).unet)
    assert (found["up_blocks.0"], found["up_blocks.1"], found["up_blocks.2"]) == ("anchor", "guided", "guided")


def test_two_levels_anchor_at_the_coarsest_up_block():
    found = roles(make_pipeline(channels=(32, 32)).unet)
    assert (found["up_blocks.0"], found["up_blocks.1"]) == ("anchor", "guided")


def test_sites_run_in_order_and_know_their_place(unet):
    sites = find_sites(unet, ByTheWayConfig())
    blocks = list(dict.fromkeys(site.block for site in sites))
    assert blocks == [*(f"down_blocks.{n}" for n in range(4)), "mid_block", *(f"up_blocks.{n}" for n in range(4))]
    assert [site.index for site in sites if site.block == "up_blocks.2"] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [site.downscale for site in sites if site.index == (0, 0)] == [1, 2, 4, 8, 8, 8, 4, 2, 1]
    for site in sites:
        assert unet.get_submodule(site.path) is site.module
        assert site.heads == site.module.heads == 4
        assert site.module in set(site.transformer.modules())
        assert not site.module.is_cross_attention


def test_sites_are_all_the_self_attentions_of_the_motion_modules(unet):
    paths = {path for path, _ in unet.named_modules() if "motion_modules" in path and path.endswith(("attn1", "attn2"))}
    assert {site.path for site in find_sites(unet, ByTheWayConfig())} == paths


def test_partner_is_the_same_index_or_the_nearest(unet):
    for site in find_sites(unet, ByTheWayConfig()):
        assert site.partner == site.index
    config = ByTheWayConfig(anchor_block="mid_block")
    partners = {site.index: site.partner for site in find_sites(unet, config) if site.block == "up_blocks.3"}
    assert partners == {(0, 0): (0, 0), (0, 1): (0, 1), (1, 0): (0, 0), (1, 1): (0, 1)}


def test_settings_choose_the_blocks(unet):
    found = roles(unet, ByTheWayConfig(anchor_block="up_blocks.0", guided_blocks=("up_blocks.3",)))
    assert {block: role for block, role in found.items() if role != "observed"} == {
        "up_blocks.0": "anchor",
        "up_blocks.3": "guided",
    }


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ByTheWayConfig(anchor_block="up_blocks.7"), ["anchor_block", "up_blocks.7", "up_blocks.3"]),
        (ByTheWayConfig(guided_blocks=("attic",)), ["guided_blocks", "attic", "up_blocks.3"]),
        (ByTheWayConfig(guided_blocks=("up_blocks.0",)), ["up_blocks.0", "after the anchor", "up_blocks.2"]),
        (ByTheWayConfig(guided_blocks=("up_blocks.1",)), ["up_blocks.1", "after the anchor", "up_blocks.3"]),
        (ByTheWayConfig(anchor_block="up_blocks.3", guided_blocks=("up_blocks.2",)), ["up_blocks.2", "none"]),
    ],
)
def test_blocks_that_do_not_fit_are_named(unet, config, words):
    with pytest.raises(ByTheWayError) as error:
        find_sites(unet, config)
    for word in words:
        assert word in str(error.value)


def test_no_temporal_attention_says_what_was_looked_for():
    unet = make_pipeline(channels=(32, 32)).unet
    for block in [*unet.down_blocks, unet.mid_block, *unet.up_blocks]:
        block.motion_modules = nn.ModuleList()
    with pytest.raises(ByTheWayError, match=r"no temporal self-attention.*motion_modules.*load a motion adapter"):
        find_sites(unet, ByTheWayConfig())


def test_temporal_attention_in_the_encoder_only_asks_for_an_anchor():
    unet = make_pipeline(channels=(32, 32)).unet
    for block in unet.up_blocks:
        block.motion_modules = nn.ModuleList()
    with pytest.raises(ByTheWayError, match=r"No up block has temporal attention.*anchor_block"):
        find_sites(unet, ByTheWayConfig())
    assert roles(unet, ByTheWayConfig(anchor_block="down_blocks.1"))["mid_block"] == "guided"


def test_unknown_denoiser_says_what_is_known():
    with pytest.raises(ByTheWayError, match=r"Linear is no video denoiser.*UNetMotionModel.*AnimateDiffPipeline"):
        family_of(nn.Linear(1, 1))


def test_a_subclass_of_a_known_denoiser_is_known(unet):
    subclass = type("MyUNet", (type(unet),), {})
    assert family_of(subclass.__new__(subclass)).name == "AnimateDiff"


@pytest.mark.parametrize("model", [None, "a string", object()])
def test_neither_pipeline_nor_denoiser(model):
    with pytest.raises(ByTheWayError, match="neither a video pipeline nor its denoiser"):
        denoiser_of(model)


def test_compiled_denoisers_are_unwrapped(unet):
    compiled = torch.compile(unet, backend="eager")
    assert denoiser_of(compiled) is denoiser_of(SimpleNamespace(unet=compiled)) is unet
    assert denoiser_of(SimpleNamespace(transformer=unet)) is unet


def test_preset_follows_the_architecture(unet):
    assert preset_for(unet).config == ByTheWayConfig(alpha=0.6, beta=1.5, tau=7)
