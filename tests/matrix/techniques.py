"""What else people do to a pipeline, before or after the method is applied. First lines are the columns' meanings."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor2_0, SlicedAttnProcessor
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from torch._dynamo.testing import CompileCounter

from bytheway import apply_bytheway, remove_bytheway
from bytheway.families.known import denoisers_of
from bytheway.families.sites import find_sites
from tests.matrix.checks import value_projections
from tests.matrix.subject import Subject, close, differ
from tests.toys.techniques import load_ip_adapter, slice_attention

CPU = torch.device("cpu")


def _before_and_after(subject: Subject, pipe: Any, technique: Callable[[Any], None], **call: Any) -> torch.Tensor:
    """The enhanced video, whichever came first; vanilla it is another."""
    config = subject.config()
    apply_bytheway(pipe, config)
    technique(pipe)
    video = subject.run(pipe, **call)
    remove_bytheway(pipe)
    differ(video, subject.run(pipe, **call))
    apply_bytheway(pipe, config)
    close(subject.run(pipe, **call), video)
    return video


def _changes_nothing(subject: Subject, pipe: Any, technique: Callable[[Any], None]) -> None:
    """The enhanced video is the one without the technique, whichever came first."""
    config = subject.config()
    apply_bytheway(pipe, config)
    technique(pipe)
    close(subject.run(pipe), subject.enhanced)
    remove_bytheway(pipe)
    apply_bytheway(pipe, config)
    close(subject.run(pipe), subject.enhanced)


def ip_adapter(subject: Subject) -> None:
    """an IP-Adapter, loaded before or after, gives the same enhanced video, another than vanilla or without it"""
    embeds = [torch.ones(2, 1, 16)]
    video = _before_and_after(subject, subject.fresh(), load_ip_adapter, ip_adapter_image_embeds=embeds)
    differ(video, subject.enhanced)


def lora(subject: Subject) -> None:
    """LoRA in the attentions that take part, put in before or after, counts as much as merged into their weights"""
    pipe = subject.fresh()
    video = _before_and_after(subject, pipe, lambda pipe: _add_lora(pipe, subject))
    differ(video, subject.enhanced)
    for denoiser in denoisers_of(pipe):
        for module in denoiser.modules():
            if isinstance(module, BaseTunerLayer):
                module.merge()
    close(subject.run(pipe), video)


def _add_lora(pipe: Any, subject: Subject) -> None:
    for denoiser in denoisers_of(pipe):
        if subject.row.joint:
            targets = list(value_projections(denoiser))
        else:
            sites = [site.path for site in find_sites(denoiser, subject.config()) if site.role != "observed"]
            targets = [f"{path}.{name}" for path in sites for name in ("to_q", "to_k", "to_v", "to_out.0")]
        settings = LoraConfig(r=2, lora_alpha=2, target_modules=targets, init_lora_weights=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            inject_adapter_in_model(settings, denoiser)


def slicing(subject: Subject) -> None:
    """with attention slicing, before or after, the enhanced video is the same"""
    pipe = subject.fresh()
    _changes_nothing(subject, pipe, _slice)
    (denoiser,) = denoisers_of(pipe)
    assert any(isinstance(getattr(module, "processor", None), SlicedAttnProcessor) for module in denoiser.modules())


def _slice(pipe: Any) -> None:
    (denoiser,) = denoisers_of(pipe)
    if hasattr(denoiser, "set_attention_slice"):
        pipe.enable_attention_slicing(1)
    else:
        slice_attention(denoiser)


def no_slicing(subject: Subject) -> None:
    """the attentions that take part run by processors that do more than attend, or cannot be sliced at all"""
    for denoiser in denoisers_of(subject.pipe):
        for path in value_projections(denoiser):
            attention = denoiser.get_submodule(path.rpartition(".")[0])
            assert not hasattr(attention, "set_attention_slice") or type(attention.processor) is not AttnProcessor2_0


def model_offload(subject: Subject) -> None:
    """with `enable_model_cpu_offload`, before or after, the enhanced video is the same"""
    _changes_nothing(subject, subject.fresh(), lambda pipe: pipe.enable_model_cpu_offload(device=CPU))


def group_offload(subject: Subject) -> None:
    """with `enable_group_offload` of leaves, before or after, the enhanced video is the same"""

    def offload(pipe: Any) -> None:
        pipe.enable_group_offload(onload_device=CPU, offload_type="leaf_level")

    _changes_nothing(subject, subject.fresh(), offload)


def layerwise_casting(subject: Subject) -> None:
    """with layers stored in float8, before or after, the enhanced video is the same, and another than vanilla"""

    def cast(pipe: Any) -> None:
        for denoiser in denoisers_of(pipe):
            denoiser.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)

    _before_and_after(subject, subject.fresh(), cast)


def compiled(subject: Subject) -> None:
    """traced by torch.compile (a transformer as a whole, a UNet region by region), the enhanced video is the same"""
    # Graphs of other rows count towards the limit on those of one function.
    torch._dynamo.reset()
    pipe, counter = subject.fresh(), CompileCounter()
    apply_bytheway(pipe, subject.config())
    for denoiser in denoisers_of(pipe):
        for module in _regions(denoiser, subject) if hasattr(denoiser, "up_blocks") else [denoiser]:
            module.compile(backend=counter)
    close(subject.run(pipe), subject.enhanced)
    assert counter.frame_count > 0


def _regions(denoiser: nn.Module, subject: Subject) -> set[nn.Module]:
    """The temporal transformers that take part; test_compile traces a whole UNet, at length."""
    sites = find_sites(denoiser, subject.config())
    return {site.transformer for site in sites if site.role != "observed" and site.transformer is not None}
