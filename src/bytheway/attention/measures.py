"""What comes of one attention: its output, the maps that are kept of it, and what is measured of them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from bytheway.attention.layout import Layout
from bytheway.method import PerVideo


class Anchor(NamedTuple):
    """The softmax maps of a site in the anchor block, by which later sites are guided.

    Attributes:
        attn: A_1, (rows, heads, F, F).
        layout: what its rows are.
    """

    attn: Float[Tensor, "rows heads F F"]
    layout: Layout


class Measures(NamedTuple):
    """What was seen at one site, one float32 number per video, (videos,), from the conditional maps.

    Attributes:
        energy: E1, of the map as the model made it.
        energy_after: E3, of the map as it was used.
        disparity: mean Frobenius norm of U(A_1) - A; None where there is no anchor to compare with.
        beta: amplification of the high frequencies; 1 where the method is off.
    """

    energy: PerVideo
    energy_after: PerVideo
    disparity: PerVideo | None
    beta: PerVideo

    def detach(self) -> "Measures":
        """The same numbers, without what gradients would need."""
        disparity = None if self.disparity is None else self.disparity.detach()
        return Measures(self.energy.detach(), self.energy_after.detach(), disparity, self.beta.detach())


class Attended(NamedTuple):
    """What an attention made.

    Attributes:
        output: (rows, heads, F, channels of a head); behind a module's own output projection (rows, F, channels).
        anchor: the maps of the site, where they were to be kept for later sites.
        measures: energies, disparity and beta, where they were asked for.
    """

    output: Tensor
    anchor: Anchor | None
    measures: Measures | None


def join(measures: Sequence[Measures]) -> Measures:
    """The measures of some videos each as those of all."""
    disparities = [one.disparity for one in measures if one.disparity is not None]
    return Measures(
        torch.cat([one.energy for one in measures]),
        torch.cat([one.energy_after for one in measures]),
        torch.cat(disparities) if disparities else None,
        torch.cat([one.beta for one in measures]),
    )
