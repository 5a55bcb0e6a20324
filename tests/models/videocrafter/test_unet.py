"""The denoiser against the official one, and as a model of diffusers."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from bytheway.errors import ByTheWayError
from bytheway.models.videocrafter import VideoCrafterUNet
from bytheway.models.videocrafter.keys import official_name


@pytest.fixture(scope="module")
def official(fixtures):
    """The UNet of the fixtures, with the official code's weights."""
    config = json.loads((fixtures / "config.json").read_text())
    settings = config["unet"]
    unet = VideoCrafterUNet(
        block_out_channels=[settings["model_channels"] * factor for factor in settings["channel_mult"]],
        layers_per_block=settings["num_res_blocks"],
        attention_head_dim=settings["num_head_channels"],
        cross_attention_dim=settings["context_dim"],
        norm_num_groups=config["norm_num_groups"],
    )
    weights = load_file(fixtures / "unet_state.safetensors")
    names = {name: official_name(name, settings["num_res_blocks"]) for name in unet.state_dict()}
    assert sorted(names.values()) == sorted(weights)
    shapes = {name: parameter.shape for name, parameter in unet.state_dict().items()}
    unet.load_state_dict({ours: weights[name].float().reshape(shapes[ours]) for ours, name in names.items()})
    return unet.eval().requires_grad_(False)


def temporal_map(attention, hidden_states, batch):
    """(batch, pixels, heads, frames, frames), from the input of a temporal attention."""
    query = attention.head_to_batch_dim(attention.to_q(hidden_states))
    key = attention.head_to_batch_dim(attention.to_k(hidden_states))
    return attention.get_attention_scores(query, key).unflatten(0, (batch, -1, attention.heads))


def test_output_and_decoder_maps_are_the_official_codes(fixtures, official):
    inputs = load_file(fixtures / "io.safetensors")
    expected = load_file(fixtures / "attn_up.safetensors")
    assert len(expected) == 18
    maps, handles = {}, []
    for path in [path for path, _ in official.named_modules() if re.search(r"up_blocks.*\.temp_.*\.attn[12]$", path)]:
        # The name of a layer is that of its parameters without their ends.
        name = official_name(f"{path}.to_q.weight").removesuffix(".to_q.weight")

        def keep(attention, args, name=name):
            maps[name] = temporal_map(attention, args[0], batch=2)

        handles.append(official.get_submodule(path).register_forward_pre_hook(keep))
    output = official(
        inputs["x"], inputs["timesteps"], inputs["context"], timestep_cond=inputs["fps"], return_dict=False
    )[0]
    for handle in handles:
        handle.remove()

    assert_close(output, inputs["output"], rtol=0, atol=5e-5)
    assert maps.keys() == expected.keys()
    for name, attn in expected.items():
        assert_close(maps[name], attn, rtol=0, atol=2e-4, msg=lambda text, name=name: f"{name}: {text}")


def run(unet, fps=(28.0,), dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(1, 4, 4, 8, 8, generator=generator).to(dtype)
    text = torch.randn(1, 16, 32, generator=generator).to(dtype)
    return unet(sample, 801, text, timestep_cond=torch.tensor(fps), return_dict=False)[0]


def test_saved_and_loaded_again(make_unet, tmp_path):
    unet = make_unet()
    unet.save_pretrained(tmp_path)
    loaded = VideoCrafterUNet.from_pretrained(tmp_path).requires_grad_(False)
    assert type(loaded) is VideoCrafterUNet
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["_class_name"] == "VideoCrafterUNet"
    assert {name: loaded.config[name] for name in ("block_out_channels", "attention_head_dim", "sample_size")} == {
        "block_out_channels": [8, 16, 32, 32],
        "attention_head_dim": 4,
        "sample_size": [8, 8],
    }
    assert_close(run(loaded), run(unet), rtol=0, atol=0)


def test_the_frame_rate_matters_and_is_asked_for(make_unet):
    unet = make_unet()
    assert not torch.allclose(run(unet, fps=(8.0,)), run(unet, fps=(28.0,)), atol=1e-4)
    with pytest.raises(ByTheWayError, match="needs the frame rate of each video"):
        unet(torch.zeros(1, 4, 2, 8, 8), 1, torch.zeros(1, 16, 32))


def test_half_precision_stays_half_precision(make_unet):
    output = run(make_unet().to(torch.bfloat16), dtype=torch.bfloat16)
    assert output.dtype == torch.bfloat16
    assert_close(output.float(), run(make_unet()), rtol=0, atol=0.1)
