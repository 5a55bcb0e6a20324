"""Keeps what the method measures in a sampling, until the next one begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import ref

from torch import Tensor

from bytheway.attention.measures import Measures
from bytheway.comfyui.seen import Seen
from bytheway.config import ByTheWayConfig
from bytheway.diagnosis.curves import curves_of
from bytheway.diagnosis.schedule import noise_of_sigmas
from bytheway.record import Entry, Record


class Recorder:
    """The record of the latest sampling, for nodes that show it (a `Recording`).

    AnimateDiff-Evolved makes one object, `ADGS`, for each sampling, which stays the same over the iterations of
    FreeInit. It is not kept alive.

    Attributes:
        record: what was measured; a sampling that was broken off leaves what it had until then.
    """

    def __init__(self) -> None:
        self.record = Record()
        self._config = ByTheWayConfig()
        self._latent_size = (0, 0)
        self._num_frames = 0
        self._sampling: Any = lambda: None
        self._run = 0
        self._step = 0
        self._windows: dict[tuple[Any, int], int] = {}

    def begin(self, options: Mapping[str, Any], step: int, config: ByTheWayConfig, latents: Tensor) -> None:
        """Hears of every forward: another sampling starts a new record, a step back starts the next run in it.

        Args:
            options: the `transformer_options` of the forward.
            step: its number in the run, from 0.
            config: by which the method acts.
            latents: (..., height, width).
        """
        self._config = config
        height, width = latents.shape[-2:]
        self._latent_size = (width, height)
        sampling = options.get("ADGS")
        if sampling is None or self._sampling() is not sampling:
            self.record = Record()
            self._sampling = (lambda: None) if sampling is None else ref(sampling)
            self._run = 0
            self._windows = {}
        elif step < self._step:
            self._run += 1
        self._step = step

    def add(
        self,
        options: Mapping[str, Any],
        timestep: Tensor,
        block: str,
        index: tuple[int, int],
        call: int,
        frames: int,
        measures: Measures,
    ) -> None:
        """Note what was measured at a site; forwards without a conditional part are left out.

        Args:
            options: the `transformer_options` of the forward; windows of frames are told apart by its frames.
            timestep: noise level of the forward.
            block, index: of the site, as in `Row`.
            call: how often the site was called before in this forward, as view options do.
            frames: F, which it attended to.
            measures: of the conditional part.
        """
        if 0 not in options["cond_or_uncond"]:
            return
        self._num_frames = frames
        of_clip = (options.get("ad_params") or {}).get("sub_idxs")
        window = self._windows.setdefault((of_clip and tuple(of_clip), call), len(self._windows))
        self.record.add(Entry(self._run, self._step, timestep, block, index, window, measures.detach()))

    def seen(self) -> Seen:
        """See `Recording`; timesteps are noise levels in ComfyUI."""
        curves = curves_of(self.record)
        noise = noise_of_sigmas(curves.timesteps, self._latent_size)
        return Seen(curves, self._num_frames, self._config.beta, noise, None)
