"""Regularisers for the training of video diffusion models, from what ByTheWay measures of their attention.

The method itself needs no training. What it measures, the energy of temporal attention maps, is differentiable, and a
model can be trained to have it where the method wants it.

May import `families` and below. Public: `EnergyCap`.
"""

from bytheway.training.energy_cap import EnergyCap

__all__ = ["EnergyCap"]
