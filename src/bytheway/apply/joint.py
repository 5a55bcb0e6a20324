"""The hooks on a denoiser with joint space-time attention: in the active steps the frames of its values are filtered.

A hook sits behind each value projection, so that whatever uses the values (processors, attention backends, caching of
whole layers) and whatever is in the projection (LoRA, quantised weights) stays as it is. Projections that are wrapped,
fused or taken apart are found by the next call of the denoiser.
"""

from typing import Any

import torch
from torch import Tensor, nn

from bytheway.apply.caller import find_caller
from bytheway.apply.forward import Settings
from bytheway.apply.hooks import Hook, eager
from bytheway.apply.installation import Installation, arguments_of_call, in_place
from bytheway.attention.joint import filter_frames_
from bytheway.attention.layout import VideoTokens
from bytheway.errors import ByTheWayError
from bytheway.families.family import Family, Inputs, JointAttentions
from bytheway.families.known import family_of
from bytheway.families.tokens import check_settings, joint_attentions, self_attentions, value_projections
from bytheway.method import frequency_filter


def installation_on(denoiser: nn.Module, settings: Settings) -> Installation:
    """What is on the denoiser, else something new that suits it, still without hooks.

    Raises:
        ByTheWayError: the architecture of the denoiser is not known.
    """
    installation = Installation.on(denoiser)
    if installation is None and settings.attentions is None:
        family = family_of(denoiser)
        if isinstance(family.attentions, JointAttentions):
            return JointInstallation(denoiser, family)
    return installation or Installation(denoiser)


class JointInstallation(Installation):
    """Everything that bytheway has put on one denoiser with joint attention; see `Installation`."""

    def __init__(self, denoiser: nn.Module, family: Family) -> None:
        super().__init__(denoiser)
        self.family = family
        self._attentions: dict[str, nn.Module] = {}

    def _fit(self, settings: Settings) -> None:
        if settings.attentions is not None:
            raise ByTheWayError(f"sites= lists temporal attentions, and {self.family.name} has none; leave it out.")
        if not settings.enhance:
            raise ByTheWayError(
                f"{self.family.name} attends over space and time at once, so there are no temporal maps whose "
                "energy could be observed."
            )
        check_settings(self.family, settings.config)
        self._attentions = self_attentions(self.denoiser, self.family)

    @eager
    def _open(self, denoiser: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if Installation.on(denoiser) is None:
            return
        self._set_call(None)
        inputs = arguments_of_call(denoiser, args, kwargs)
        settings = self._active_settings(find_caller().pipeline, inputs["timestep"])
        if settings is not None and settings.config.beta != 1:
            self._engage(settings, inputs)

    def _engage(self, settings: Settings, inputs: Inputs) -> None:
        config, sample = settings.config, inputs["hidden_states"]
        video = joint_attentions(self.family).video_tokens(self.denoiser.config, inputs)
        matrix = frequency_filter(
            video.frames,
            config.tau,
            config.beta,
            dtype=torch.promote_types(sample.dtype, torch.float32),
            device=sample.device,
        )
        passed = joint_attentions(self.family).passed_values(self.denoiser.config, inputs)
        for hook in self._hooks:
            assert isinstance(hook, ValueHook)
            hook.matrix, hook.video, hook.passed = matrix, video, passed.get(hook.attention)
            hook.engaged = hook.attention not in passed or hook.passed is not None

    def _follow_rebuilt_blocks(self) -> None:
        if not in_place(self.denoiser, self._attentions):
            self._attentions = self_attentions(self.denoiser, self.family)
        projections = value_projections(self._attentions)
        if projections != self._hooked or any(hook.lost for hook in self._hooks):
            self._detach()
            self._hooked = projections
            for path, module in projections.items():
                self._hook(module, ValueHook(self, path))
            self._spare.clear()


class ValueHook(Hook):
    """Filters the frames of what a value projection has made. Can be traced by torch.compile, without a break."""

    matrix: Tensor
    video: VideoTokens
    passed: Tensor | None

    def __init__(self, installation: Installation, path: str) -> None:
        super().__init__(installation, path)
        self.attention, _, name = path.rpartition(".")
        self.fused = name == "to_qkv"

    def post_forward(self, module: nn.Module, output: Tensor) -> Tensor:
        if self.engaged:
            value = output[..., output.shape[-1] // 3 * 2 :] if self.fused else output
            filter_frames_(value, self.matrix, self.video, self.passed)
        return output
