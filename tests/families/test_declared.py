"""A made-up family, declared at run time: all that the package knows of it comes from the declaration."""

import re

import pytest
import torch
from diffusers import UNet3DConditionModel

from bytheway import ByTheWayConfig, ByTheWayError, enhanced
from bytheway.families.family import Family, KnownModel, MakersDefaults, Preset, TemporalAttentions
from bytheway.families.known import declare, family_of, known_models, preset_for, preset_of_model, presets, withdraw
from bytheway.families.sites import find_sites
from bytheway.models import profile_of
from tests.toys.temporal import run, text_to_video


class StrollUNet(UNet3DConditionModel):
    """A denoiser that nobody has declared; it keeps the blocks of its base, of which the family uses one list."""


STROLL = Family(
    name="Stroll",
    denoisers=("StrollUNet",),
    attentions=TemporalAttentions(
        re.compile(
            r"(?P<transformer>(?P<block>up_blocks\.\d+)\.temp_attentions\.\d+)\.transformer_blocks\.\d+\.attn[12]"
        )
    ),
    presets=(Preset("stroll", ByTheWayConfig(alpha=0.3, beta=2.0, tau=2), source="made up"),),
    pipelines={"TextToVideoSDPipeline": "Stroll"},
    defaults=(MakersDefaults({"fps": 11, "num_frames": 6}),),
    models=(KnownModel(name="stroll-1", description="does not exist", base="nobody/stroll"),),
)


@pytest.fixture
def declared():
    declare(STROLL)
    yield
    withdraw(STROLL)


@pytest.fixture
def stroll(declared):
    pipe, call = text_to_video()
    pipe.unet.__class__ = StrollUNet
    return pipe, call


def test_everything_is_read_from_the_declaration(stroll):
    pipe, call = stroll
    assert family_of(pipe.unet) is STROLL
    preset = preset_for(pipe)
    assert (preset.name, preset.measured) == ("stroll", False)
    assert presets()["stroll"] is preset
    defaults = profile_of(pipe).defaults
    assert (defaults.fps, defaults.num_frames) == (11, 6)
    assert preset_of_model(next(model for model in known_models() if model.name == "stroll-1")) is preset
    sites = find_sites(pipe.unet, preset.config)
    assert {site.block.partition(".")[0] for site in sites} == {"up_blocks"}
    vanilla = run(pipe, call)
    with enhanced(pipe) as made:
        video = run(pipe, call)
    assert made.config == preset.config
    assert {row.block for row in made.record.rows()} == {site.block for site in sites if site.role != "observed"}
    assert not torch.equal(video, vanilla)
    assert torch.equal(run(pipe, call), vanilla)


def test_the_nearest_base_counts_until_it_is_declared():
    pipe, _ = text_to_video()
    pipe.unet.__class__ = StrollUNet
    assert family_of(pipe.unet).name == "ModelScope"
    assert "stroll" not in presets()


@pytest.mark.parametrize(
    ("name", "denoiser", "preset"),
    [("Wan", "A", "a"), ("Another", "WanTransformer3DModel", "a"), ("Another", "A", "wan")],
)
def test_what_belongs_to_another_family_is_refused(name, denoiser, preset):
    family = Family(name, (denoiser,), STROLL.attentions, (Preset(preset, ByTheWayConfig(), source="made up"),))
    with pytest.raises(ByTheWayError, match="belongs to Wan"):
        declare(family)
