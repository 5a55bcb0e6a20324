"""The hooks on a denoiser with joint space-time attention: in the active steps the frames of its values are filtered.

A hook sits behind each value projection, so that whatever uses the values (processors, attention backends, caching of
whole layers) and whatever is in the projection (LoRA, quantised weights) stays as it is. Projections that are wrapped,
fused or taken apart are found by the next forward of the denoiser.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bytheway.apply.applied import Applied
from bytheway.apply.arguments import sample_of
from bytheway.apply.caller import Caller
from bytheway.apply.foreign import skips_scores
from bytheway.apply.hooks import Hook, Turn
from bytheway.apply.installation import Installation, in_place
from bytheway.apply.steps import StepTracker
from bytheway.attention.joint import filter_frames_
from bytheway.attention.layout import VideoTokens
from bytheway.errors import ByTheWayError
from bytheway.families.family import Inputs
from bytheway.families.known import family_of
from bytheway.families.tokens import check_config, joint_attentions, self_attentions, value_projections
from bytheway.method import frequency_filter


class JointForward(NamedTuple):
    """One forward of the denoiser in an active step.

    Attributes:
        circulant: C, (F, F).
        video: where the video is among the tokens.
        passed: the attentions of which the values themselves are wanted, see `JointAttentions.passed_values`.
        called: paths of the attentions that have made values, as far as no compiler has them.
    """

    circulant: Tensor
    video: VideoTokens
    passed: Mapping[str, Tensor | None]
    called: set[str]


Attentions = dict[str, nn.Module]  # by their paths


class JointInstallation(Installation[Attentions, JointForward]):
    """Everything that bytheway has put on one denoiser with joint attention."""

    def fit(self, applied: Applied) -> Attentions:
        family = family_of(self.denoiser)
        if applied.attentions is not None:
            raise ByTheWayError(f"sites= lists temporal attentions, and {family.name} has none; leave it out.")
        if not applied.enhance:
            raise ByTheWayError(
                f"{family.name} attends over space and time at once, so there are no temporal maps whose energy could "
                "be observed."
            )
        check_config(family, applied.config)
        return self_attentions(self.denoiser, family)

    def _modules(self, fitted: Attentions) -> Mapping[str, nn.Module]:
        return value_projections(fitted)

    def _hooks_for(self, everyone: Iterable[Attentions]) -> Iterable[tuple[nn.Module, Hook[JointForward]]]:
        for fitted in everyone:
            for path, module in value_projections(fitted).items():
                yield module, ValueHook(self.turn, path)

    def _in_place(self) -> bool:
        """Fusing the projections leaves the attentions where they are and adds others beside the old ones."""
        everyone = (self._fitted[applied] for applied in self._everyone())
        attentions = {path: module for fitted in everyone for path, module in fitted.items()}
        return in_place(self.denoiser, attentions) and value_projections(attentions) == self._hooked

    def _forward(
        self, applied: Applied, fitted: Attentions, caller: Caller, steps: StepTracker, inputs: Inputs
    ) -> JointForward | None:
        where, config, sample = joint_attentions(family_of(self.denoiser)), applied.config, sample_of(inputs)
        if config.beta == 1:
            return None
        video = where.video_tokens(self.denoiser.config, inputs)
        dtype = torch.promote_types(sample.dtype, torch.float32)
        circulant = frequency_filter(video.frames, config.tau, config.beta, dtype=dtype, device=sample.device)
        passed = where.passed_values(self.denoiser.config, inputs)
        # With the identity for its map an attention passes the values of the whole batch.
        skipped = {path: None for path, attention in fitted.items() if skips_scores(attention)}
        return JointForward(circulant, video, passed | skipped, set())

    def _left_out(self, forward: JointForward) -> list[str]:
        attentions = dict.fromkeys(path.rpartition(".")[0] for path in self._hooked)
        return [path for path in attentions if path not in forward.called]


class ValueHook(Hook[JointForward]):
    """Filters the frames of what a value projection has made. Can be traced by torch.compile, without a break."""

    def __init__(self, turn: Turn[JointForward], path: str) -> None:
        super().__init__(turn, path)
        self.attention, _, name = path.rpartition(".")
        self.fused = name == "to_qkv"

    def run(self, *args: Any, **kwargs: Any) -> Tensor:
        output: Tensor = self.below(*args, **kwargs)
        forward = self.turn.forward
        if forward is None:
            return output
        if not torch.compiler.is_compiling():  # graphs would differ from one attention to the next
            forward.called.add(self.attention)
        passed = forward.passed.get(self.attention)
        if passed is not None or self.attention not in forward.passed:
            value = output[..., output.shape[-1] // 3 * 2 :] if self.fused else output
            filter_frames_(value, forward.circulant, forward.video, passed)
        return output
