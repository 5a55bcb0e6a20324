"""What is seen of the method inside a run: in which steps it acts, and whether it computes what it should."""

import math
import re
from itertools import groupby
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from bytheway import ByTheWayConfig
from bytheway.families.known import denoisers_of
from bytheway.families.sites import find_sites
from tests.apply.explicit import Watch, check_enhanced_sites, own_output
from tests.matrix.rows import Row

# The value projections of the video, in all denoisers with joint attention.
_VALUES = re.compile(r"(single_)?(transformer_)?blocks\.\d+\.attn1?\.to_v")

# So many pixels to a side of a token, in all tiny models with joint attention.
_TOKEN = 16


def value_projections(denoiser: nn.Module) -> dict[str, nn.Module]:
    """By path, those that take part in a denoiser with joint attention."""
    return {path: module for path, module in denoiser.named_modules() if _VALUES.fullmatch(path)}


class Activity:
    """In which steps of which runs the first attention that takes part is another than the model's own.

    >>> with Activity(row, pipe, config) as activity:
    ...     pipe(**call)
    >>> activity.runs
    [[True, False]]
    """

    def __init__(self, row: Row, pipe: Any, config: ByTheWayConfig) -> None:
        self._calls: list[tuple[float, bool]] = []
        self._timestep = math.nan
        self._watched = [(denoiser, *_first_taking_part(row, denoiser, config)) for denoiser in denoisers_of(pipe)]

    def __enter__(self) -> "Activity":
        self._handles = [
            handle
            for denoiser, module, own in self._watched
            for handle in (
                denoiser.register_forward_pre_hook(self._note_timestep, with_kwargs=True),
                module.register_forward_hook(self._comparison(own)),
            )
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    @property
    def runs(self) -> list[list[bool]]:
        """Of each run, whether the method acted in each step. A step may call the denoiser twice in a row.

        Where the timesteps turn, another run begins.
        """
        runs: list[list[tuple[float, bool]]] = [[]]
        for timestep, calls in groupby(self._calls, key=lambda call: call[0]):
            (acted,) = {acted for _, acted in calls}
            run = runs[-1]
            if len(run) > 1 and (timestep - run[-1][0]) * (run[1][0] - run[0][0]) < 0:
                run = []
                runs.append(run)
            run.append((timestep, acted))
        return [[acted for _, acted in run] for run in runs]

    def _note_timestep(self, denoiser: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        timestep = kwargs["timestep"] if "timestep" in kwargs else args[1]
        self._timestep = float(torch.as_tensor(timestep).max())

    def _comparison(self, own: Any) -> Any:
        def compare(module: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            self._calls.append((self._timestep, not torch.equal(output, own(module, args[0]))))

        return compare


def _first_taking_part(row: Row, denoiser: nn.Module, config: ByTheWayConfig) -> tuple[nn.Module, Any]:
    """A module, and what makes its output without hooks."""
    if row.joint:
        return next(iter(value_projections(denoiser).values())), _linear
    return next(site.module for site in find_sites(denoiser, config) if site.role != "observed"), own_output


def _linear(module: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    return F.linear(hidden_states, module.weight, module.bias)


class Definition:
    """Holds every attention that takes part against the definition, by maps or by the Fourier transform of the values.

    Args:
        frames: latent frames.
        size: height and width in pixels.
    """

    def __init__(self, row: Row, pipe: Any, config: ByTheWayConfig, frames: int, size: tuple[int, int]) -> None:
        self.row, self.pipe, self.config, self.frames, self.size = row, pipe, config, frames, size

    def __enter__(self) -> "Definition":
        self.checked = 0
        if self.row.joint:
            self._handles = [
                projection.register_forward_hook(self._check_values)
                for denoiser in denoisers_of(self.pipe)
                for projection in value_projections(denoiser).values()
            ]
        else:
            (self._denoiser,) = denoisers_of(self.pipe)
            self._watch = Watch(self._denoiser, self.config).__enter__()
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if self.row.joint:
            for handle in self._handles:
                handle.remove()
            return
        self._watch.__exit__()
        if failed is None:
            self._check_maps()

    def _check_maps(self) -> None:
        """Of the parts of the batch, of one video each, the second is the conditional one."""
        sides = [side // 2 ** (len(self.pipe.vae.config.block_out_channels) - 1) for side in self.size]
        sites = find_sites(self._denoiser, self.config)
        sizes = {site.block: tuple(math.ceil(side / site.downscale) for side in sides) for site in sites}
        some = next(site for site in sites if site.role != "observed")
        rows = len(self._watch.seen[some.path][0][0])
        parts = rows // math.prod(sizes[some.block])
        assert parts in (2, 3)
        self.checked = check_enhanced_sites(self._denoiser, self._watch.seen, self.config, sizes, [1] * parts)

    def _check_values(self, module: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        """High frequencies of the video's frames are amplified; other tokens stay as they are."""
        own = _linear(module, args[0])
        height, width = (side // _TOKEN for side in self.size)
        start, count = self.row.tokens_before(height, width), self.frames * height * width
        before, video, after = own.split([start, count, own.shape[1] - start - count], 1)
        k = torch.arange(self.frames)
        high = torch.minimum(k, self.frames - k) >= max(self.frames / 2 - self.config.tau, 1)
        gain = torch.where(high, self.config.beta, 1.0)[:, None, None]
        spectrum = torch.fft.fft(video.unflatten(1, (self.frames, -1)).double(), dim=1)
        filtered = torch.fft.ifft(spectrum * gain, dim=1).real.flatten(1, 2).to(own.dtype)
        torch.testing.assert_close(output, torch.cat([before, filtered, after], 1), rtol=1e-4, atol=1e-5)
        assert (filtered - video).abs().max() > 1e-3
        self.checked += 1
