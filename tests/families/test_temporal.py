"""Every other model with temporal attention: sites, what they compute there, and that nothing else changes."""

import diffusers
import pytest
import torch

from bytheway import ByTheWayConfig, ByTheWayError, apply_bytheway, enhanced, observe, remove_bytheway
from bytheway.families.known import denoiser_of, family_of, preset_for
from bytheway.families.sites import find_sites
from tests.apply.explicit import Watch, check_enhanced_sites
from tests.toys.temporal import FACTORIES, LATENT_SIZE, ONE_VIDEO, run

# diffusers' Euler scheduler hands tensors to numpy in a way that numpy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(scope="module", params=FACTORIES)
def made(request):
    """(name, pipe, call) of one pipeline class, for one video; every test leaves the pipeline as it found it."""
    return request.param, *FACTORIES[request.param]()


@pytest.fixture(scope="module")
def vanilla(made):
    _, pipe, call = made
    return run(pipe, call, steps=2)


def settings_for(pipe, **changes):
    """Strong, in every step; self-guidance where there is something to guide."""
    preset = preset_for(pipe).config
    return preset.replace(**{"active_steps": 1.0, "beta": 3.0, "alpha": 0.6 if preset.alpha else 0.0} | changes)


def close(left, right):
    torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4 * float(right.abs().max()))


UNET_3D = {
    "transformer_in": ("observed", 2, 8),
    "down_blocks.0": ("observed", 2, 4),
    "down_blocks.1": ("observed", 2, 4),
    "down_blocks.2": ("observed", 2, 8),
    "mid_block": ("observed", 2, 8),
    "up_blocks.1": ("anchor", 4, 8),
    "up_blocks.2": ("guided", 4, 4),
    "up_blocks.3": ("guided", 4, 4),
}
EXPECTED = {
    "text_to_video": ("ModelScope", UNET_3D),
    "video_to_video": ("ModelScope", UNET_3D),
    "i2vgenxl": ("I2VGenXL", UNET_3D),
    "stable_video_diffusion": (
        "Stable Video Diffusion",
        {
            block: (role, sites // 2, heads)
            for block, (role, sites, heads) in UNET_3D.items()
            if block != "transformer_in"
        },
    ),
    "latte": ("Latte", {f"temporal_transformer_blocks.{n}": ("motion", 1, 4) for n in range(2)}),
}


def test_sites(made):
    name, pipe, _ = made
    denoiser = denoiser_of(pipe)
    sites = find_sites(denoiser, settings_for(pipe))
    found = {site.block: (site.role, sum(one.block == site.block for one in sites), site.heads) for site in sites}
    assert (family_of(denoiser).name, found) == EXPECTED[name]
    assert list(found) == list(EXPECTED[name][1])
    for site in sites:
        assert denoiser.get_submodule(site.path) is site.module
        assert not site.module.is_cross_attention
        assert (site.partner is None) == (name == "latte")


@pytest.mark.parametrize(("guidance_scale", "conditional"), [(5.0, [2, 3, 2, 3]), (1.0, [0, 1])])
def test_every_site_computes_the_papers_form(made, guidance_scale, conditional):
    """From q, k and v of each site, with maps; the second half of a batch is the conditional one."""
    name, pipe, call = made
    steps = 1
    if name in ONE_VIDEO:
        conditional, steps = ([1, 1] if len(conditional) == 4 else [0]), 2
    else:
        _, call = FACTORIES[name](videos=2)
    config, denoiser = settings_for(pipe), denoiser_of(pipe)
    sites = find_sites(denoiser, config)
    sizes = {site.block: tuple(side // site.downscale for side in LATENT_SIZE) for site in sites}
    with Watch(denoiser, config) as watch, enhanced(pipe, config, record=False):
        run(pipe, call, steps=steps, guidance_scale=guidance_scale)
    taking_part = sum(site.role != "observed" for site in sites)
    assert check_enhanced_sites(denoiser, watch.seen, config, sizes, conditional) == taking_part


def test_on_and_off(made, vanilla):
    _, pipe, call = made
    assert vanilla.isfinite().all()
    apply_bytheway(pipe, settings_for(pipe, active_steps=0.5))
    video = run(pipe, call, steps=2)
    assert (video - vanilla).abs().max() > 1e-3 * vanilla.abs().max()
    remove_bytheway(pipe)
    assert torch.equal(run(pipe, call, steps=2), vanilla)


def test_alpha_0_and_beta_1_is_vanilla(made, vanilla):
    _, pipe, call = made
    with enhanced(pipe, settings_for(pipe, alpha=0, beta=1)) as switched_off:
        close(run(pipe, call, steps=2), vanilla)
    with observe(pipe) as observed:
        assert torch.equal(run(pipe, call, steps=2), vanilla)
    roles = {site.block: site.role for site in find_sites(denoiser_of(pipe), settings_for(pipe))}
    taking_part = {block for block, role in roles.items() if role != "observed"}
    for record, blocks in ((switched_off.record, taking_part), (observed.record, roles.keys())):
        assert {row.block for row in record.rows()} == blocks
        for row in record.rows():
            assert row.beta == 1
            assert (row.disparity is not None) == (roles[row.block] == "guided")


def test_a_video_alone_is_the_video_in_a_batch(made):
    name, pipe, call = made
    if name in ONE_VIDEO:
        pytest.skip("this pipeline of diffusers makes one video at a time")
    _, both = FACTORIES[name](videos=2)
    config = settings_for(pipe, beta=1.0 if name != "latte" else 3.0)
    with enhanced(pipe, config) as run_of_both:
        together = run(pipe, both, seeds=(0, 1))
    with enhanced(pipe, config, record=False):
        alone = run(pipe, call, seeds=(0,))
    close(alone[0], together[0])
    assert (together[0] - together[1]).abs().max() > 1e-2
    betas = {row.beta for row in run_of_both.record.rows() if row.block == "up_blocks.3"}
    assert len(betas) == (0 if name == "latte" else len(run_of_both.record.rows()) // 3)


def test_active_in_the_first_half_of_the_steps_that_are_run(made):
    name, pipe, call = made
    with enhanced(pipe, settings_for(pipe, active_steps=0.5)) as seen:
        run(pipe, call, steps=4 if name == "video_to_video" else 2)
    assert (seen.steps.steps, seen.steps.active_steps) == (2, 1)
    assert {row.step for row in seen.record.rows()} == {0}


@pytest.mark.parametrize("changes", [{"alpha": 0.1}, {"anchor_block": "temporal_transformer_blocks.0"}])
def test_no_decoder_levels_no_guidance(changes):
    pipe, _ = FACTORIES["latte"]()
    with pytest.raises(ByTheWayError, match=r"Latte has no decoder levels.*alpha=0"):
        apply_bytheway(pipe, ByTheWayConfig(alpha=0).replace(**changes))


def test_chosen_blocks_without_levels():
    pipe, _ = FACTORIES["latte"]()
    last = "temporal_transformer_blocks.1"
    config = ByTheWayConfig(alpha=0, guided_blocks=(last,))
    assert [site.role for site in find_sites(pipe.transformer, config)] == ["observed", "motion"]
    with pytest.raises(ByTheWayError, match=r"guided_blocks names up_blocks\.3.*temporal_transformer_blocks\.0"):
        apply_bytheway(pipe, ByTheWayConfig(alpha=0, guided_blocks=("up_blocks.3",)))


def test_a_subclass_has_a_declaration_of_its_own():
    subclass = type("VideoCrafterUNet", (diffusers.UNet3DConditionModel,), {})
    assert family_of(subclass.__new__(subclass)).name == "VideoCrafter2"
    base = diffusers.UNet3DConditionModel
    assert family_of(base.__new__(base)).name == "ModelScope"
