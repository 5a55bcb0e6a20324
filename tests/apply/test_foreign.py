"""Every private part of other packages that we lean on is what we take it for."""

from functools import partial
from types import MethodType

import accelerate
import pytest
import torch
from accelerate.hooks import ModelHook as AccelerateHook
from diffusers.hooks import HookRegistry, ModelHook
from diffusers.hooks.layer_skip import FeedForwardSkipHook
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.pipelines.free_noise_utils import SplitInferenceModule
from torch import nn

from bytheway.apply.foreign import (
    PERTURBING_PROCESSORS,
    OptimizedModule,
    called_by,
    forwards_kept,
    is_compiled,
    is_compiled_in_part,
    is_running_compiled,
    keeps_state_of_run,
    may_skip,
    objects_within,
)
from tests.toys.tiny import make_pipeline


class Replacing(ModelHook):
    """Of diffusers, with a forward of its own."""

    def new_forward(self, module, *args):
        return self.fn_ref.original_forward(*args)


def test_hooks_of_diffusers_tell_what_they_go_around():
    module = nn.Linear(1, 1)
    registry = HookRegistry.check_if_exists_or_initialize(module)
    own = module.forward
    registry.register_hook(first := ModelHook(), "first")
    assert called_by(module.forward, module) == (first.fn_ref, "forward")
    assert first.fn_ref.forward == own
    around_first = module.forward
    registry.register_hook(second := Replacing(), "second")
    assert called_by(module.forward, module) == (second.fn_ref, "original_forward")
    assert second.fn_ref.original_forward is around_first
    assert list(forwards_kept(module)) == [
        (hook.fn_ref, name) for hook in (first, second) for name in ("forward", "original_forward")
    ]
    registry.remove_hook("first")
    assert called_by(module.forward, module) == (second.fn_ref, "forward")  # it is that hook which is off now
    assert called_by(own, module) is None
    registry.remove_hook("second")
    assert called_by(module.forward, module) == (first.fn_ref, "forward")  # and the first is back


def test_hooks_of_accelerate_tell_what_they_go_around():
    module = nn.Linear(1, 1)
    own = module.forward
    accelerate.hooks.add_hook_to_module(module, AccelerateHook())
    assert called_by(module.forward, module) == (module, "_old_forward")
    assert module._old_forward == own
    assert list(forwards_kept(module)) == [(module, "_old_forward")]
    accelerate.hooks.add_hook_to_module(module, AccelerateHook())
    assert module._old_forward == own
    accelerate.hooks.remove_hook_from_module(module)
    assert module.forward == own
    assert not list(forwards_kept(module))


def test_what_a_function_holds():
    marks = [object() for _ in range(4)]

    def outer(given=marks[0]):
        held = marks[1]
        return lambda: held

    bound = MethodType(outer(), marks[2])
    assert all(any(one is mark for one in objects_within(partial(bound, marks[3]))) for mark in marks[1:])
    assert any(one is marks[0] for one in objects_within(outer))


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
    assert is_running_compiled(denoiser, pipe)
    assert not is_running_compiled(nn.Identity(), None)
    seen = []
    ask = torch.compiler.disable(lambda: seen.append(is_running_compiled(nn.Identity(), None)))
    torch.compile(lambda: ask(), backend="eager")()
    assert seen == [True]
    denoiser.compile(backend="eager")
    assert is_compiled(denoiser, None)


def test_hooks_of_diffusers_that_may_skip():
    model = nn.Sequential(nn.Sequential(nn.Linear(1, 1)), nn.Linear(1, 1))
    HookRegistry.check_if_exists_or_initialize(model[0]).register_hook(ModelHook(), "none")
    HookRegistry.check_if_exists_or_initialize(model[0]).register_hook(Replacing(), "own")
    assert not may_skip(model, "0.0")
    HookRegistry.check_if_exists_or_initialize(model[0]).register_hook(FeedForwardSkipHook(1.0), "skip")
    assert may_skip(model, "0.0")
    assert not may_skip(model, "1")


def test_hooks_of_diffusers_that_keep_the_state_of_a_run():
    model = nn.Sequential(nn.Sequential(nn.Linear(1, 1)), nn.Linear(1, 1))
    HookRegistry.check_if_exists_or_initialize(model[1]).register_hook(ModelHook(), "any")
    assert not keeps_state_of_run(model)

    class Remembering(ModelHook):
        _is_stateful = True

        def reset_state(self, module):
            return module

    HookRegistry.check_if_exists_or_initialize(model[0][0]).register_hook(Remembering(), "cache")
    assert keeps_state_of_run(model)
