"""What settings a model wants, derived from the energies of its vanilla maps. No clip is judged.

**Guidance.** A2 = A + α (U(A₁) - A) is a point between two maps, and for its energy holds exactly

    E(A2) = (1 - α) E(A) + α E(U(A₁)) - α (1 - α) d²,        d² = the mean over rows of |U(A₁) - A|².

Where the anchor is broad, guidance takes energy, which the adaptive beta gives back. Where it is sharper than the site,
guidance may add energy by drawing all queries to the few frames that the anchor has picked, and what is taken from one
frame does not move. E(A2) <= E(A) holds as long as

    α <= 1 - (E(U(A₁)) - E(A)) / d²,

the strongest guidance that adds no energy (`largest_alpha`).

**Amplification.** With everything but DC in the high band, the low band of every map has the energy 1/F, and
E(A3) = 1/F + β² (E(A2) - 1/F). The beta that brings maps to an energy E* follows (`wanted_beta`). In the paper's
Figure 2c clips with more energy move more; E* is taken from what the model makes by itself: its livelier clips.
"""

from __future__ import annotations

import math


def guided_energy(energy: float, anchor_energy: float, squared_distance: float, alpha: float) -> float:
    """E(A2), the energy of maps that are guided with alpha.

    >>> guided_energy(0.2, 0.1, 0.05, 0.0), guided_energy(0.2, 0.1, 0.05, 1.0)
    (0.2, 0.1)

    Args:
        energy: E(A).
        anchor_energy: E(U(A₁)), of the anchor's maps at the site's resolution.
        squared_distance: d², the mean over pixels, heads and queries of |U(A₁) - A|².
        alpha: strength of the guidance, in [0, 1].
    """
    return (1 - alpha) * energy + alpha * anchor_energy - alpha * (1 - alpha) * squared_distance


def largest_alpha(energy: float, anchor_energy: float, squared_distance: float) -> float:
    """The largest alpha in [0, 1] with which guidance adds no energy: E(A2) <= E(A) for it and all that are less.

    >>> largest_alpha(energy=0.2, anchor_energy=0.15, squared_distance=0.1)  # a broad anchor
    1.0
    >>> largest_alpha(energy=0.1, anchor_energy=0.7, squared_distance=0.6)  # one that picks single frames
    0.0
    """
    excess = anchor_energy - energy
    if excess <= 0:
        return 1.0
    return min(1.0, max(0.0, 1 - excess / squared_distance)) if squared_distance > 0 else 0.0


def least_squared_distance(disparity: float, num_frames: int) -> float:
    """A lower bound of d² from the disparity D, which is recorded: d² >= D² / F.

    D is the mean over pixels and heads of the Frobenius norm of U(A₁) - A, the root of the sum over F rows of their
    squares; the mean of squares is no less than the square of the mean (Jensen). With a bound for d² the alpha of
    `largest_alpha` is no greater than with d² itself.
    """
    return disparity**2 / num_frames


def wanted_beta(energy: float, wanted_energy: float, num_frames: int) -> float:
    """The beta, at least 1, that brings maps of an energy to a wanted one; 1 for maps in which nothing is high.

    >>> wanted_beta(energy=0.25, wanted_energy=0.25 + 3 * (0.25 - 1 / 16), num_frames=16)  # four times what is high
    2.0

    Args:
        energy: E(A2), of the maps that are amplified, everything but DC being high.
        wanted_energy: E*, which they are to have.
        num_frames: F.
    """
    flat = 1 / num_frames
    if energy <= flat:
        return 1.0
    return max(1.0, math.sqrt(max(0.0, wanted_energy - flat) / (energy - flat)))


def widest_tau(num_frames: int) -> int:
    """The least tau with which everything but DC is high: 7 for the paper's 16 frames.

    >>> widest_tau(16), widest_tau(15), widest_tau(24)
    (7, 7, 11)
    """
    return max(0, math.ceil(num_frames / 2 - 1))
