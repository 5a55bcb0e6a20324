"""The hooks on a denoiser with joint space-time attention: in the active steps the frames of its values are filtered.

A hook sits behind each value projection, so that whatever uses the values (processors, attention backends, caching of
whole layers) and whatever is in the projection (LoRA, quantised weights) stays as it is. Projections that are wrapped,
fused or taken apart are found by the next call of the denoiser.
"""

from typing import Any

from torch import Tensor, nn

from bytheway.architectures import architecture_of
from bytheway.call import Settings
from bytheway.caller import find_caller
from bytheway.errors import ByTheWayError
from bytheway.hooks import Hook, eager
from bytheway.installation import Installation, arguments_of_call, in_place
from bytheway.joint import (
    Inputs,
    JointArchitecture,
    VideoTokens,
    check_settings,
    circulant,
    filter_frames_,
    passed_values,
    self_attentions,
    value_projections,
)


def installation_on(denoiser: nn.Module, settings: Settings) -> Installation:
    """What is on the denoiser, else something new that suits it, still without hooks.

    Raises:
        ByTheWayError: the architecture of the denoiser is not known.
    """
    installation = Installation.on(denoiser)
    if installation is None and settings.attentions is None:
        architecture = architecture_of(denoiser)
        if isinstance(architecture, JointArchitecture):
            return JointInstallation(denoiser, architecture)
    return installation or Installation(denoiser)


class JointInstallation(Installation):
    """Everything that bytheway has put on one denoiser with joint attention; see `Installation`."""

    def __init__(self, denoiser: nn.Module, architecture: JointArchitecture) -> None:
        super().__init__(denoiser)
        self.architecture = architecture
        self._attentions: dict[str, nn.Module] = {}

    def _fit(self, settings: Settings) -> None:
        if settings.attentions is not None:
            raise ByTheWayError(
                f"sites= lists temporal attentions, and {self.architecture.name} has none; leave it out."
            )
        if not settings.enhance:
            raise ByTheWayError(
                f"{self.architecture.name} attends over space and time at once, so there are no temporal maps whose "
                "energy could be observed."
            )
        check_settings(self.architecture, settings.config)
        self._attentions = self_attentions(self.denoiser, self.architecture)

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
        video = self.architecture.video_tokens(self.denoiser.config, inputs)
        matrix = circulant(video.frames, config.tau, config.beta, sample.dtype, sample.device)
        passed = passed_values(self.denoiser.config, inputs)
        for hook in self._hooks:
            assert isinstance(hook, ValueHook)
            hook.matrix, hook.video, hook.passed = matrix, video, passed.get(hook.attention)
            hook.engaged = hook.attention not in passed or hook.passed is not None

    def _follow_rebuilt_blocks(self) -> None:
        if not in_place(self.denoiser, self._attentions):
            self._attentions = self_attentions(self.denoiser, self.architecture)
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
