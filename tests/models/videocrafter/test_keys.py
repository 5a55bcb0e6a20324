"""Names and shapes of the official UNet's parameters, as diffusers has them."""

import json

import pytest
import torch

from bytheway.errors import ByTheWayError
from bytheway.models.videocrafter import VideoCrafterUNet
from bytheway.models.videocrafter.keys import diffusers_name, diffusers_shape


def test_every_parameter_of_the_published_model_has_its_place(fixtures):
    official = json.loads((fixtures / "keys_512v2.json").read_text())["unet"]
    assert len(official) == 1484
    with torch.device("meta"):
        unet = VideoCrafterUNet()
    ours = {name: tuple(tensor.shape) for name, tensor in unet.state_dict().items()}
    mapped = {diffusers_name(name): diffusers_shape(name, shape) for name, shape in official.items()}
    assert mapped == ours
    assert sum(parameter.numel() for parameter in unet.parameters()) == 1_413_284_420


@pytest.mark.parametrize(
    ("official", "ours"),
    [
        ("input_blocks.1.0.in_layers.2.weight", "down_blocks.0.resnets.0.conv1.weight"),
        ("input_blocks.2.0.op.bias", "down_blocks.0.downsamplers.0.conv.bias"),
        ("input_blocks.3.1.norm.weight", "down_blocks.1.attentions.0.norm.weight"),
        ("output_blocks.1.3.conv.weight", "up_blocks.0.upsamplers.0.conv.weight"),
        ("output_blocks.3.2.proj_out.bias", "up_blocks.1.temp_attentions.1.proj_out.bias"),
        ("middle_block.3.temopral_conv.conv4.3.bias", "mid_block.temp_convs.1.conv4.3.bias"),
    ],
)
def test_levels_follow_the_number_of_layers(official, ours):
    assert diffusers_name(official, layers_per_block=1) == ours


@pytest.mark.parametrize(
    "name",
    ["conv_in.weight", "input_blocks.0.1.norm.weight", "input_blocks.1.0.gate.weight", "middle_block.4.norm.bias"],
)
def test_a_foreign_name_is_refused(name):
    with pytest.raises(ByTheWayError, match=f"{name} is no parameter of VideoCrafter2's UNet"):
        diffusers_name(name)
