"""Regularisers for the training of video diffusion models, from what ByTheWay measures of their attention.

The method itself needs no training. What it measures, the energy of temporal attention maps, is differentiable, and a
model can be trained to have it where the method wants it.

Public: `EnergyCap`. The room may import `errors`, `config`, `method`, `architectures` and `sites`; nothing else of the
package imports it.
"""

from bytheway.training.energy_cap import EnergyCap

__all__ = ["EnergyCap"]
