"""Records with the numbers that a test wants."""

from collections.abc import Mapping, Sequence

import torch

from bytheway.attention.measures import Measures
from bytheway.diagnosis.curves import Curves, curves_of
from bytheway.record import Entry, Record

ANCHOR, SECOND, THIRD = "up_blocks.1", "up_blocks.2", "up_blocks.3"

Series = Mapping[str, Sequence[float]]


def record_of(energy: Series, disparity: Series, beta: Series | None = None) -> Record:
    """One site a block, one video, a number for each step."""
    record = Record()
    steps = len(next(iter(energy.values())))
    for step in range(steps):
        for block, values in energy.items():
            apart = torch.tensor([disparity[block][step]]) if block in disparity else None
            factor = 1.5 if beta is None or block not in beta else beta[block][step]
            one = torch.tensor([values[step]])
            record.add(
                Entry(0, step, 900.0 - 40 * step, block, (0, 0), 0, Measures(one, one, apart, torch.tensor([factor])))
            )
    return record


def curves(
    *, anchor: float = 0.16, energy: float = 0.15, apart: Sequence[float] = (1.0, 1.1), beta: float = 1.7
) -> Curves:
    """A clip with nothing to find, but for what is given."""
    steps = len(apart)
    blocks = {ANCHOR: anchor, SECOND: energy, THIRD: energy}
    return curves_of(
        record_of(
            {block: [value] * steps for block, value in blocks.items()},
            {SECOND: apart, THIRD: [value / 2 for value in apart]},
            {SECOND: [beta] * steps, THIRD: [beta] * steps},
        )
    )
