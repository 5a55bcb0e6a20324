"""What users do to a pipeline beside the method, on two kinds of tiny pipelines, and what has been done to one."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import torch
from diffusers import PyramidAttentionBroadcastConfig
from diffusers.hooks import HookRegistry, apply_pyramid_attention_broadcast
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import nn

from bytheway.families.known import denoiser_of
from tests.apply.definition import Definition, filtered_values, matching, whole_maps
from tests.toys import tiny
from tests.toys.joint import FACTORIES
from tests.toys.techniques import load_ip_adapter, random_tensors, slice_attention

CPU: Final = torch.device("cpu")


class Subject(NamedTuple):
    """A kind of pipeline, and what is to be known of it without the package.

    Attributes:
        pipe: never changed itself.
        call: what it is called with.
        attended: matches the paths of the attentions that take part.
        definition: the method on it.
        temporal: it has temporal attentions, which have maps to guide and processors of their own.
        prefix: of the denoiser's weights in the file of a LoRA.
    """

    pipe: Any
    call: Mapping[str, Any]
    attended: str
    definition: Definition
    temporal: bool
    prefix: str


def animatediff() -> Subject:
    """Hooks on temporal attentions. Its middle block has cross-attention, which an IP-Adapter joins."""
    pipe = tiny.make_pipeline(channels=(32, 32), cross_attention=False)
    call = {"prompt": "a red ball", "num_frames": 4, "height": 8, "width": 8, "guidance_scale": 5.0}
    attended = r"up_blocks\.[01]\.motion_modules\.\d+\.transformer_blocks\.0(\.module)?\.attn[12]"
    return Subject(pipe, call, attended, whole_maps(attended, "up_blocks.0"), True, "unet")


def wan() -> Subject:
    """Hooks on the value projections of joint attention."""
    pipe, call = FACTORIES["wan"]()
    attended = r"blocks\.\d\.attn1"
    return Subject(pipe, call, attended, filtered_values(attended, 4, 6), False, "transformer")


SUBJECTS: Final = {make.__name__: make() for make in (animatediff, wan)}


@dataclass
class State:
    """What has been done to one pipeline."""

    pipe: Any
    subject: Subject
    offloaded: str | None = None
    lora: bool = False
    ip_adapter: bool = False
    free_noise: bool = False
    split: bool = False
    cached: bool = False
    cast: bool = False
    sliced: bool = False
    fused: bool = False
    own_processors: bool = False
    wrapped: list[tuple[Any, Any]] = field(default_factory=list)

    def run(self) -> torch.Tensor:
        """A clip."""
        HookRegistry.check_if_exists_or_initialize(denoiser_of(self.pipe)).reset_stateful_hooks()
        call = {"num_inference_steps": 2, "output_type": "latent", **self.subject.call}
        if self.free_noise:
            call["num_frames"] = 6
        if self.ip_adapter:
            call["ip_adapter_image_embeds"] = [torch.ones(2, 1, 16)]
        return self.pipe(**call, generator=torch.Generator().manual_seed(0)).frames

    def attentions(self) -> list[Any]:
        return list(matching(self.pipe, self.subject.attended).values())

    @property
    def weights_at_hand(self) -> bool:
        """Whether the modules themselves have them, whatever device they are on."""
        return self.offloaded in (None, "model")


class NotNow(Exception):
    """It cannot be done to a pipeline in this state, with or without the method."""


def require(holds: bool) -> None:
    if not holds:
        raise NotNow


# ---------------------------------------------------------------------------------------------------- placement


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


def to_float64(state: State) -> None:
    require(state.weights_at_hand and not state.cast)
    state.pipe.to(torch.float64)


def to_float32(state: State) -> None:
    require(state.weights_at_hand and not state.cast)
    state.pipe.to(torch.float32)


def cast(state: State) -> None:
    require(state.offloaded is None and not (state.cast or state.lora or state.ip_adapter))
    denoiser: Any = denoiser_of(state.pipe)
    denoiser.enable_layerwise_casting(storage_dtype=torch.bfloat16, compute_dtype=denoiser.dtype)
    state.cast = True


# ------------------------------------------------------------------------------------------------------- caches


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


# ----------------------------------------------------------------------------------------------------- adapters


def lora_on(state: State) -> None:
    require(not state.lora and not state.cast)
    weights = {}
    for path, module in matching(state.pipe, state.subject.attended + r"\.(to_[qkv]|to_out\.0)").items():
        shapes = {"lora_A__weight": (2, module.in_features), "lora_B__weight": (module.out_features, 2)}
        tensors = random_tensors(**shapes)
        weights |= {f"{state.subject.prefix}.{path}.{name}": tensor for name, tensor in tensors.items()}
    state.pipe.load_lora_weights(weights)
    state.lora = True


def lora_off(state: State) -> None:
    require(state.lora)
    state.pipe.unload_lora_weights()
    state.lora = False


def ip_adapter_on(state: State) -> None:
    """Every attention gets a new processor."""
    require(state.subject.temporal and state.weights_at_hand)
    require(not (state.ip_adapter or state.sliced or state.split or state.cast))
    load_ip_adapter(state.pipe)
    state.ip_adapter = True


def ip_adapter_off(state: State) -> None:
    require(state.ip_adapter)
    state.pipe.unload_ip_adapter()
    state.ip_adapter = False


# --------------------------------------------------------------------------------------------------- attentions


def slice_on(state: State) -> None:
    require(state.subject.temporal and not state.ip_adapter)
    slice_attention(denoiser_of(state.pipe))
    state.sliced, state.own_processors = True, False


def fuse(state: State) -> None:
    """Another projection in the place of three, which stay beside it."""
    require(not state.subject.temporal and state.weights_at_hand)
    require(not (state.fused or state.lora or state.cast or state.cached))
    denoiser_of(state.pipe).fuse_qkv_projections()
    state.fused = True


def unfuse(state: State) -> None:
    require(state.fused and state.weights_at_hand and not (state.cast or state.cached))
    denoiser_of(state.pipe).unfuse_qkv_projections()
    state.fused = False


class Keeping(AttnProcessor2_0):
    """A processor of somebody's own."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs)


def own_processors(state: State) -> None:
    require(state.subject.temporal)
    for attention in state.attentions():
        attention.set_processor(Keeping())
    state.own_processors = True


def usual_processors(state: State) -> None:
    require(state.subject.temporal)
    for attention in state.attentions():
        attention.set_processor(AttnProcessor2_0())
    state.own_processors = False


def wrap(state: State) -> None:
    """As people do who look at what goes through a module: first one attention, then another."""
    attention = state.attentions()[len(state.wrapped) % 2]
    own = attention.forward
    state.wrapped.append((attention, own))
    attention.forward = lambda *args, **kwargs: own(*args, **kwargs)


def unwrap(state: State) -> None:
    """What was there before, which others may have changed meanwhile, is put back."""
    require(bool(state.wrapped))
    attention, own = state.wrapped.pop()
    attention.forward = own


# ---------------------------------------------------------------------------------------------------- FreeNoise


def free_noise_on(state: State) -> None:
    """Blocks are rebuilt, without what others have put on them."""
    require(state.subject.temporal and state.weights_at_hand)
    require(not (state.lora or state.cast or state.split))
    state.pipe.enable_free_noise(context_length=4, context_stride=2)
    state.free_noise, state.own_processors = True, False


def free_noise_off(state: State) -> None:
    require(state.free_noise and state.weights_at_hand)
    require(not (state.lora or state.cast or state.split))
    state.pipe.disable_free_noise()
    state.free_noise, state.own_processors = False, False


def free_noise_split(state: State) -> None:
    require(state.free_noise and state.weights_at_hand)
    require(not (state.lora or state.cast or state.split or state.ip_adapter))
    state.pipe.enable_free_noise_split_inference(spatial_split_size=3, temporal_split_size=5)
    state.split = True


# -------------------------------------------------------------------------------------------- another pipeline


def from_pipe(state: State) -> None:
    require(state.offloaded is None and not (state.cast or state.free_noise))
    state.pipe = type(state.pipe).from_pipe(state.pipe)
    state.pipe.set_progress_bar_config(disable=True)


def copy(state: State) -> None:
    """With what is on it; what diffusers puts around modules would go on running those of the original."""
    require(state.offloaded is None and not (state.cached or state.cast or state.wrapped))
    state.pipe = deepcopy(state.pipe)


def save_and_load(state: State) -> None:
    require(state.offloaded is None)
    require(not (state.lora or state.cast or state.wrapped or state.ip_adapter or state.free_noise or state.fused))
    with TemporaryDirectory() as folder:
        state.pipe.save_pretrained(folder)
        absent = {name: None for name, component in state.pipe.components.items() if component is None}
        state.pipe = type(state.pipe).from_pretrained(folder, dtype=state.pipe.dtype, **absent)
    state.pipe.set_progress_bar_config(disable=True)
    state.cached = state.sliced = state.own_processors = False
    for component in state.pipe.components.values():
        if isinstance(component, nn.Module):
            component.requires_grad_(False)


def compile_first(state: State) -> None:
    state.attentions()[0].compile(backend="eager")


TECHNIQUES: Final[Mapping[str, Callable[[State], None]]] = {
    technique.__name__: technique
    for technique in (
        offload_model,
        offload_layers,
        offload_groups,
        offload_nothing,
        to_float64,
        to_float32,
        cast,
        cache_on,
        cache_off,
        lora_on,
        lora_off,
        ip_adapter_on,
        ip_adapter_off,
        slice_on,
        fuse,
        unfuse,
        own_processors,
        usual_processors,
        wrap,
        unwrap,
        free_noise_on,
        free_noise_off,
        free_noise_split,
        from_pipe,
        copy,
        save_and_load,
    )
}
ANOTHER_PIPELINE: Final = ("from_pipe", "save_and_load")
