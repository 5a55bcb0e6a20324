"""Every private part of other packages that we lean on is what we take it for."""

import accelerate
import pytest
import torch
from accelerate.hooks import ModelHook as AccelerateHook
from diffusers.hooks import HookRegistry, ModelHook
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.pipelines.free_noise_utils import SplitInferenceModule
from torch import nn

from bytheway.apply.foreign import (
    ACCELERATE_FORWARD,
    PERTURBING_PROCESSORS,
    REGISTRY_ATTRIBUTE,
    OptimizedModule,
    is_compiled,
    is_compiled_in_part,
)
from tests.toys.tiny import make_pipeline


def test_diffusers_keeps_its_hooks_in_the_attributes_of_the_module():
    module = nn.Linear(1, 1)
    registry = HookRegistry.check_if_exists_or_initialize(module)
    own = module.forward

    class Replacing(ModelHook):
        def new_forward(self, module, *args):
            return "ours"

    registry.register_hook(hook := Replacing(), "a name")
    assert module(torch.zeros(1)) == "ours"
    assert vars(module)[REGISTRY_ATTRIBUTE] is registry
    assert "forward" in vars(module)
    assert registry.hooks == {"a name": hook}
    assert hook.fn_ref.original_forward == own


def test_accelerate_keeps_the_forward_that_it_goes_around():
    module = nn.Linear(1, 1)
    own = module.forward
    accelerate.hooks.add_hook_to_module(module, AccelerateHook())
    assert vars(module)[ACCELERATE_FORWARD] == own


def test_freenoise_runs_a_module_in_pieces():
    module = nn.Linear(1, 1)
    assert SplitInferenceModule(module).module is module


@pytest.mark.parametrize("processor", PERTURBING_PROCESSORS)
def test_perturbing_processors_put_the_identity_in_the_place_of_the_map(processor):
    """In the last part of the batch; the others are attended to as always."""
    attention = make_pipeline(channels=(32, 32)).unet.mid_block.motion_modules[0].transformer_blocks[0].attn1
    parts = 2 + (processor is PERTURBING_PROCESSORS[0])
    states = torch.randn(parts, 4, 64 if attention.to_q.in_features == 64 else attention.to_q.in_features)
    attention.set_processor(AttnProcessor2_0())
    usual = attention(states)
    attention.set_processor(processor())
    perturbed = attention(states)
    assert torch.allclose(perturbed[:-1], usual[:-1], atol=1e-5)
    assert torch.allclose(perturbed[-1], attention.to_out[0](attention.to_v(states[-1])), atol=1e-5)


def test_what_torch_compile_leaves_to_be_seen():
    pipe = make_pipeline(channels=(32, 32), cross_attention=False)
    assert not is_compiled(pipe.unet, pipe)
    assert not is_compiled_in_part(pipe.unet, pipe)
    pipe.unet.mid_block.compile(backend="eager")
    assert not is_compiled(pipe.unet, pipe)
    assert is_compiled_in_part(pipe.unet, pipe)
    denoiser = make_pipeline(channels=(32, 32), cross_attention=False).unet
    pipe.unet = torch.compile(denoiser, backend="eager")
    assert isinstance(pipe.unet, OptimizedModule)
    assert is_compiled(denoiser, pipe)
    assert not is_compiled(denoiser, None)
    denoiser.compile(backend="eager")
    assert is_compiled(denoiser, None)
