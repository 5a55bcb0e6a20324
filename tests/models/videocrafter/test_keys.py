"""Names and shapes of the UNet's parameters, as the official code has them."""

import json

import pytest
import torch

from bytheway.errors import ByTheWayError
from bytheway.models.videocrafter import VideoCrafterUNet
from bytheway.models.videocrafter.keys import official_name


def test_every_parameter_of_the_published_model_has_its_place(fixtures):
    official = {
        name: tuple(shape) for name, shape in json.loads((fixtures / "keys_512v2.json").read_text())["unet"].items()
    }
    assert len(official) == 1484
    with torch.device("meta"):
        unet = VideoCrafterUNet()
    mapped = {official_name(name): tuple(tensor.shape) for name, tensor in unet.state_dict().items()}
    # Convolutions of width 1 over the frames in VideoCrafter, linear layers in diffusers.
    for projection in ("init_attn.0.proj_in.weight", "init_attn.0.proj_out.weight"):
        mapped[projection] += (1,)
    assert mapped == official
    assert sum(parameter.numel() for parameter in unet.parameters()) == 1_413_284_420


@pytest.mark.parametrize(
    ("ours", "official"),
    [
        ("down_blocks.0.resnets.0.conv1.weight", "input_blocks.1.0.in_layers.2.weight"),
        ("down_blocks.0.downsamplers.0.conv.bias", "input_blocks.2.0.op.bias"),
        ("down_blocks.1.attentions.0.norm.weight", "input_blocks.3.1.norm.weight"),
        ("up_blocks.0.upsamplers.0.conv.weight", "output_blocks.1.1.conv.weight"),
        ("up_blocks.1.upsamplers.0.conv.weight", "output_blocks.3.3.conv.weight"),
        ("up_blocks.1.temp_attentions.1.proj_out.bias", "output_blocks.3.2.proj_out.bias"),
        ("mid_block.temp_convs.1.conv4.3.bias", "middle_block.3.temopral_conv.conv4.3.bias"),
    ],
)
def test_levels_follow_the_number_of_layers(ours, official):
    assert official_name(ours, layers_per_block=1) == official


@pytest.mark.parametrize("name", ["input_blocks.0.0.weight", "down_blocks.0.gates.0.weight", "conv_in_2.weight"])
def test_a_foreign_name_is_refused(name):
    with pytest.raises(ByTheWayError, match="is no parameter of"):
        official_name(name)
