"""How far the kernels are off at a site, against whole maps in float64, and how far their roundings let them be.

The bounds follow from the arithmetic of `bytheway.attention.triton.guided`. u is half the step of float32 at 1, e half
that of the dtype of V.

- A score is a sum of C products in float32, or as good as that (tf32x3 is exact to 2^-21): off by (C + 8) u M, where M,
  the longest q times the longest k times the scale, bounds the scores. Exponentials double that and round their
  arguments and results, and their sum has F terms: A is off by the share r = 2 (C + 16) u M + (F + 8) u.
- Places between the anchor's pixels are float32, so that rows of A2 are off by a = r + 4 (height + width) u + 8 u.
- A2 P has sums of F terms: off by p (a + t), with p the largest sum of absolute values in a row of P, and
  t = (F + 8) u, or 2^-9 for the output in half precision, where tensor cores of ten bits do it.
- A3 and the output are rounded to the dtype of V. Absolute values in a row of A3 sum to L = 1 + |beta - 1| p at most,
  so that the output is off by max|V| (L (a + 2 e + (F + 8) u) + |beta - 1| p t).
- Energies are mean squares of rows, off by 2 a sqrt(E) + a^2, and long sums, made in pieces: 512 u E. Beta is a
  quotient of what they leave of one another, and has to lie where these bounds put it.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from bytheway.attention import whole
from bytheway.attention.layout import Layout
from bytheway.attention.measures import Anchor, Attended, Measures
from bytheway.config import ByTheWayConfig
from bytheway.method import PerVideo, match_heads, projector

_U = 2.0**-24
_SUMS = 512 * _U


class Site(NamedTuple):
    """What `guided.guided_attention` is called with."""

    query: Tensor
    key: Tensor
    value: Tensor
    layout: Layout
    anchor: Anchor
    scale: float
    config: ByTheWayConfig


class Deviation(NamedTuple):
    """How far something is off, and how far it may be, for each video."""

    what: str
    found: PerVideo
    allowed: PerVideo

    def explained(self) -> bool:
        """Whether roundings explain it; they do not explain NaN."""
        return bool((self.found <= self.allowed).all())

    def __str__(self) -> str:
        worst = int((self.found - self.allowed).argmax())
        found, allowed = float(self.found[worst]), float(self.allowed[worst])
        return f"its {self.what} is off by {found:.2g}, where roundings explain {allowed:.2g}"


@torch.no_grad()
def deviations_of(site: Site, output: Tensor, seen: Measures) -> list[Deviation] | None:
    """Output and measures of the kernels against whole maps; None where those are not finite.

    Args:
        output, seen: what `guided.guided_attention` made of the site.
    """
    exact, measures = _exactly(site, site.config)
    energy, after, disparity, beta = measures
    if not (exact.isfinite().all() and after.isfinite().all()) or disparity is None or seen.disparity is None:
        return None
    # The output is linear in beta and E3 quadratic, so that a second beta tells what they are at that of the kernels.
    larger = float(beta.max()) + 1
    at_larger, (_, after_larger, _, _) = _exactly(site, site.config.replace(beta=larger))
    high = ((after_larger - after) / (larger**2 - beta**2)).clamp(min=0)
    low = (after - beta**2 * high).clamp(min=0)
    own = seen.beta.double()
    expected = exact + (at_larger - exact) * _along_videos((own - beta) / (larger - beta), exact)
    off = (site.layout.unfold(output) - expected).abs()

    frames, value = site.query.shape[2], site.value
    rows, sums = _error_of_rows(site), (frames + 8) * _U
    longest = float(projector(frames, site.config.tau, device=value.device).abs().sum(-1).max())
    rounding = torch.finfo(value.dtype).eps / 2
    gain, band = (own - 1).abs() * longest, sums if value.dtype == torch.float32 else 2.0**-9
    of_output = value.abs().max() * ((1 + gain) * (rows + 2 * rounding + sums) + gain * band)
    of_energy, of_low, of_high = (
        2 * error * one.sqrt() + error**2 + _SUMS * one
        for error, one in ((rows, energy), (rows + longest * sums, low), (rows + longest * sums, high))
    )
    of_beta = _error_of_beta(site.config, beta, energy - low, of_energy + of_low + 16 * 2 * _U * energy, high, of_high)
    return [
        Deviation("output", off.amax((0, 2, 3, 4, 5)), of_output),
        Deviation("energy", (seen.energy - energy).abs(), of_energy),
        Deviation("disparity", (seen.disparity - disparity).abs(), 2 * rows * frames**0.5 + _SUMS * disparity),
        Deviation("beta", (own - beta).abs(), of_beta),
        Deviation("enhanced energy", (seen.energy_after - low - own**2 * high).abs(), of_low + own**2 * of_high),
    ]


def _exactly(site: Site, config: ByTheWayConfig) -> tuple[Tensor, Measures]:
    """Output, (parts, videos, pixels, heads, F, channels), and measures by whole maps in float64."""
    query, key, value, layout, anchor, scale, _ = site
    # Kernels are handed an anchor whose heads were matched in its own precision.
    maps = match_heads(anchor.attn, query.shape[1], config.head_rule)
    attended: Attended = whole.guided_attention(
        query.double(),
        key.double(),
        value.double(),
        layout,
        anchor._replace(attn=maps.double()),
        scale,
        config,
        measure=True,
    )
    assert attended.measures is not None
    return layout.unfold(attended.output), attended.measures


def _error_of_rows(site: Site) -> float:
    """a: by how much absolute values in a row of A2 may be off in sum."""
    query, key = site.query.float(), site.key.float()
    frames, channels = query.shape[2:]
    scores = abs(site.scale) * float(query.norm(dim=-1).max() * key.norm(dim=-1).max())
    of_map = 2 * (channels + 16) * _U * scores + (frames + 8) * _U
    return of_map + (4 * sum(site.layout.height_width) + 8) * _U


def _error_of_beta(
    config: ByTheWayConfig, beta: PerVideo, wanted: PerVideo, of_wanted: PerVideo, high: PerVideo, of_high: PerVideo
) -> PerVideo:
    """How far beta may be off: infinitely where the energies leave open whether there is anything to amplify."""
    resolved = high > of_high
    gains = (wanted + of_wanted) / (high - of_high), (wanted - of_wanted) / (high + of_high)
    betas = (gain.clamp(min=0) ** (0.5 if config.beta_rule == "sqrt" else 1.0) for gain in gains)
    most, least = (one.clamp(min=config.beta) for one in betas)
    rounding = 8 * _U * beta
    return torch.where(resolved, torch.maximum(most - beta, beta - least) + rounding, torch.inf)


def _along_videos(numbers: PerVideo, unfolded: Tensor) -> Tensor:
    return numbers.reshape(1, -1, *[1] * (unfolded.dim() - 2))
