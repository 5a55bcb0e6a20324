"""Whatever people do to a pipeline, in whatever order: enhanced it is enhanced, and without the method it is vanilla.

Two equal pipelines have the same done to them; on one of them the method comes and goes. Its clip is, bit for bit, that
of the other one while the method is off. While it is on, it is the clip of the other one with the frames of its values
filtered by FFT, in hooks of torch that know nothing of what else goes around a module. Thousands of sequences, by hand:
`pytest tests/apply/test_sequences.py --hypothesis-profile=thorough`.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import accelerate
import diffusers
import pytest
import torch
from diffusers import PyramidAttentionBroadcastConfig
from diffusers.hooks import HookRegistry, apply_pyramid_attention_broadcast
from diffusers.models.attention_processor import AttnProcessor2_0
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from torch import nn

from bytheway import ByTheWayConfig, apply_bytheway, enhanced, remove_bytheway
from bytheway.families.known import denoiser_of
from tests.toys import tiny
from tests.toys.joint import FACTORIES
from tests.toys.techniques import random_tensors, slice_attention

CONFIG = ByTheWayConfig(alpha=0.0, beta=3.0, tau=1, active_steps=1.0)
CPU = torch.device("cpu")


class Subject(NamedTuple):
    """A kind of pipeline, and what is to be known of it without the package.

    Attributes:
        pipe: never changed itself.
        run: makes a clip.
        values: matches the paths of the value projections whose frames are filtered.
        frames, per_frame: of their tokens: frame after frame, so many tokens of a frame together.
        attended: matches the paths of the attentions that take part.
        prefix: of the denoiser's weights in the file of a LoRA.
    """

    pipe: Any
    run: Callable[[Any], torch.Tensor]
    values: str
    frames: int
    per_frame: int
    attended: str
    prefix: str


def animatediff() -> Subject:
    """Hooks on temporal attentions."""
    size = {"num_frames": 4, "height": 8, "width": 8}
    attended = r"up_blocks\.[01]\.motion_modules\.\d+\.transformer_blocks\.0\.attn[12]"
    pipe = tiny.make_pipeline(channels=(32, 32), cross_attention=False)
    return Subject(pipe, lambda pipe: tiny.generate(pipe, **size), attended + r"\.to_v", 4, 1, attended, "unet")


def wan() -> Subject:
    """Hooks on the value projections of joint attention."""
    pipe, call = FACTORIES["wan"]()

    def run(pipe: Any) -> torch.Tensor:
        return pipe(**call | {"generator": torch.Generator().manual_seed(0)}).frames

    return Subject(pipe, run, r"blocks\.\d\.attn1\.to_v", 4, 6, r"blocks\.\d\.attn1", "transformer")


SUBJECTS = {make.__name__: make() for make in (animatediff, wan)}


def filtered(value: torch.Tensor, subject: Subject) -> torch.Tensor:
    frames = value.double().unflatten(1, (subject.frames, subject.per_frame))
    k = torch.arange(subject.frames)
    high = torch.minimum(k, subject.frames - k) >= max(subject.frames / 2 - CONFIG.tau, 1)
    gain = torch.where(high, CONFIG.beta, 1.0).double()[:, None, None]
    return torch.fft.ifft(torch.fft.fft(frames, dim=1) * gain, dim=1).real.flatten(1, 2).to(value.dtype)


@contextmanager
def filtering(pipe: Any, subject: Subject) -> Iterator[None]:
    """The definition, by hooks of torch."""
    handles = [
        module.register_forward_hook(lambda module, args, output: filtered(output, subject))
        for path, module in denoiser_of(pipe).named_modules()
        if re.fullmatch(subject.values, path)
    ]
    assert handles
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def attentions(pipe: Any, subject: Subject) -> list[Any]:
    return [module for path, module in denoiser_of(pipe).named_modules() if re.fullmatch(subject.attended, path)]


# ------------------------------------------------------------------------------------ what is done to a pipeline


@dataclass
class State:
    """What has been done to one pipeline."""

    pipe: Any
    subject: Subject
    offloaded: str | None = None
    lora: bool = False
    cached: bool = False
    cast: bool = False
    wrapped: list[tuple[Any, Any]] = field(default_factory=list)


class Keeping(AttnProcessor2_0):
    """A processor of somebody's own."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs)


class NotNow(Exception):
    """It cannot be done to a pipeline in this state."""


def require(holds: bool) -> None:
    if not holds:
        raise NotNow


def offload_model(state: State) -> None:
    require(state.offloaded in (None, "model", "layers"))
    state.pipe.enable_model_cpu_offload(device=CPU)
    state.offloaded = "model"


def offload_layers(state: State) -> None:
    require(state.offloaded in (None, "model", "layers") and not state.cast)
    state.pipe.enable_sequential_cpu_offload(device=CPU)
    state.offloaded = "layers"


def offload_groups(state: State) -> None:
    require(state.offloaded is None)
    denoiser_of(state.pipe).enable_group_offload(onload_device=CPU, offload_device=CPU, offload_type="leaf_level")
    state.offloaded = "groups"


def offload_nothing(state: State) -> None:
    if state.offloaded == "groups":
        take_off(state, "group_offloading")
    else:
        state.pipe.remove_all_hooks()
    state.offloaded = None


def take_off(state: State, name: str) -> None:
    HookRegistry.check_if_exists_or_initialize(denoiser_of(state.pipe)).remove_hook(name, recurse=True)


def cache_on(state: State) -> None:
    require(not state.cached)
    config = PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2,
        temporal_attention_block_skip_range=2,
        spatial_attention_timestep_skip_range=(-1, 1001),
        temporal_attention_timestep_skip_range=(-1, 1001),
        spatial_attention_block_identifiers=("^blocks",),
        temporal_attention_block_identifiers=("motion_modules",),
        current_timestep_callback=lambda: 500,
    )
    apply_pyramid_attention_broadcast(denoiser_of(state.pipe), config)
    state.cached = True


def cache_off(state: State) -> None:
    require(state.cached)
    take_off(state, "pyramid_attention_broadcast")
    state.cached = False


def lora_on(state: State) -> None:
    require(not state.lora and state.offloaded != "groups" and not state.cast)
    weights = {}
    for path, module in denoiser_of(state.pipe).named_modules():
        if re.fullmatch(state.subject.values, path):
            shapes = {"lora_A__weight": (2, module.in_features), "lora_B__weight": (module.out_features, 2)}
            tensors = random_tensors(**shapes)
            weights |= {f"{state.subject.prefix}.{path}.{name}": tensor for name, tensor in tensors.items()}
    state.pipe.load_lora_weights(weights)
    state.lora = True


def lora_off(state: State) -> None:
    require(state.lora and state.offloaded != "groups")
    state.pipe.unload_lora_weights()
    state.lora = False


def cast(state: State) -> None:
    require(not state.cast and not state.lora and state.offloaded is None)
    denoiser_of(state.pipe).enable_layerwise_casting(storage_dtype=torch.bfloat16, compute_dtype=torch.float32)
    state.cast = True


def slice_on(state: State) -> None:
    require(state.subject.prefix == "unet")
    slice_attention(denoiser_of(state.pipe))


def own_processors(state: State) -> None:
    require(state.subject.prefix == "unet")
    for attention in attentions(state.pipe, state.subject):
        attention.set_processor(Keeping())


def usual_processors(state: State) -> None:
    require(state.subject.prefix == "unet")
    for attention in attentions(state.pipe, state.subject):
        attention.set_processor(AttnProcessor2_0())


def wrap(state: State) -> None:
    """As people do who look at what goes through a module: first one attention, then another."""
    attention = attentions(state.pipe, state.subject)[len(state.wrapped) % 2]
    own = attention.forward
    state.wrapped.append((attention, own))
    attention.forward = lambda *args, **kwargs: own(*args, **kwargs)


def unwrap(state: State) -> None:
    """What was there before, which others may have changed meanwhile, is put back."""
    require(bool(state.wrapped))
    attention, own = state.wrapped.pop()
    attention.forward = own


def from_pipe(state: State) -> None:
    require(state.offloaded is None and not state.cast)
    state.pipe = type(state.pipe).from_pipe(state.pipe)
    state.pipe.set_progress_bar_config(disable=True)


def save_and_load(state: State) -> None:
    require(state.offloaded is None and not (state.lora or state.cast or state.wrapped))
    with TemporaryDirectory() as folder:
        state.pipe.save_pretrained(folder)
        absent = {name: None for name, component in state.pipe.components.items() if component is None}
        state.pipe = type(state.pipe).from_pretrained(folder, **absent)
    state.pipe.set_progress_bar_config(disable=True)
    state.cached = False
    for component in state.pipe.components.values():
        if isinstance(component, nn.Module):
            component.requires_grad_(False)


def compile_first(state: State) -> None:
    attentions(state.pipe, state.subject)[0].compile(backend="eager")


TECHNIQUES = {
    technique.__name__: technique
    for technique in (
        offload_model,
        offload_layers,
        offload_groups,
        offload_nothing,
        cache_on,
        cache_off,
        lora_on,
        lora_off,
        cast,
        slice_on,
        own_processors,
        usual_processors,
        wrap,
        unwrap,
        from_pipe,
        save_and_load,
    )
}
METHOD = ("apply", "remove", "enhanced")


# ------------------------------------------------------------------------------------------------- the property


class Pair:
    """Two equal pipelines, and whether the method is on the first."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.state, self.other = (State(deepcopy(subject.pipe), subject) for _ in range(2))
        self.on = False

    def do(self, name: str) -> None:
        if name in TECHNIQUES:
            technique = TECHNIQUES[name]
            try:
                technique(self.other)
            except NotNow:
                event(f"{name} not now")
                return
            technique(self.state)
            self.on &= name not in ("from_pipe", "save_and_load")  # which make another pipeline
        elif name == "compile":
            compile_first(self.state)  # the other one's hooks of torch would be no reason for another graph
        elif name == "apply":
            apply_bytheway(self.state.pipe, CONFIG)
            self.on = True
        elif name == "remove":
            remove_bytheway(self.state.pipe)
            self.on = False
        else:
            with enhanced(self.state.pipe, CONFIG, record=False):
                self.check(on=True)
        self.check(self.on)

    def check(self, on: bool) -> None:
        if on:
            with filtering(self.other.pipe, self.subject):
                expected = self.run(self.other)
            torch.testing.assert_close(self.run(self.state), expected, rtol=1e-3, atol=1e-4)
        else:
            assert torch.equal(self.run(self.state), self.run(self.other))

    def run(self, state: State) -> torch.Tensor:
        HookRegistry.check_if_exists_or_initialize(denoiser_of(state.pipe)).reset_stateful_hooks()
        return self.subject.run(state.pipe)


@pytest.fixture(scope="module", autouse=True)
def offloading_to_the_cpu() -> Iterator[None]:
    """Sequential offloading from the CPU to the CPU.

    It leaves plain tensors where parameters were, on which accelerate then fails; and diffusers, which takes it off
    and puts it on again where a LoRA is loaded, asks for an accelerator.
    """
    own_set = accelerate.hooks.set_module_tensor_to_device
    pipeline = diffusers.DiffusionPipeline
    own = {name: getattr(pipeline, name) for name in ("enable_sequential_cpu_offload", "enable_model_cpu_offload")}

    def set_tensor(module: nn.Module, name: str, *args: Any, **kwargs: Any) -> Any:
        if name in module._parameters and not isinstance(module._parameters[name], nn.Parameter):
            module._parameters[name] = nn.Parameter(module._parameters[name], requires_grad=False)
        return own_set(module, name, *args, **kwargs)

    def to_cpu(name: str) -> Callable[..., None]:
        return lambda pipe, gpu_id=None, device=None: own[name](pipe, device=CPU)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accelerate.hooks, "set_module_tensor_to_device", set_tensor)
        for name in own:
            patch.setattr(pipeline, name, to_cpu(name))
        yield


THOROUGH = settings.get_current_profile_name() == "thorough"
CHOICES = [*TECHNIQUES, *METHOD * 4, *(["compile"] if THOROUGH else [])]


@pytest.mark.parametrize("name", SUBJECTS)
@settings(
    max_examples=3000 if THOROUGH else 20,
    deadline=None,
    derandomize=not THOROUGH,
    suppress_health_check=list(HealthCheck),
)
@given(doings=st.lists(st.sampled_from(CHOICES), min_size=2, max_size=8))
def test_any_sequence(name: str, doings: list[str]) -> None:
    torch._dynamo.reset()
    pair = Pair(SUBJECTS[name])
    for doing in doings:
        pair.do(doing)
