"""What the method measures on its way: energy, disparity and beta of every step and temporal self-attention.

    python examples/read_a_record.py

With diorama, the model that comes with the package; nothing is downloaded. Printed is a line for each step and block;
written to the current folder is record.csv, with a line for each single attention, as pandas and spreadsheets read it.

The maps are those of the paper (arXiv 2410.06241): energy grows with motion (Figure 2c), a large disparity between the
maps of a block and those of the anchor block goes with broken structure (Figure 2a), and beta, by which the high
temporal frequencies are amplified, adapts so that energy never falls (Figure 12).
"""

from collections import defaultdict
from statistics import fmean

import torch

from bytheway import enhanced, load
from bytheway.record import Row

PROMPT = "a yellow car driving to the right in the desert"


def by_step_and_block(rows: list[Row]) -> dict[tuple[int, str], list[Row]]:
    """The rows of all attentions of a block in a step, in the order in which they ran."""
    groups = defaultdict(list)
    for row in rows:
        groups[row.step, row.block].append(row)
    return dict(groups)


def main() -> None:
    """Make a clip, and print what was recorded of it."""
    pipe = load("diorama")
    pipe.set_progress_bar_config(disable=True)
    # The method acts, and records, in the first fifth of the steps by default; here it is the first half. With beta 1
    # nothing is amplified but what gives back the energy that guidance by alpha takes. `bytheway.observe` records every
    # step with the method off.
    with enhanced(pipe, alpha=0.6, beta=1.0, active_steps=0.5) as run:
        generator = torch.Generator().manual_seed(0)
        pipe(PROMPT, num_frames=16, num_inference_steps=8, guidance_scale=2.0, generator=generator)

    print("step  block        energy   after  disparity   beta")
    for (step, block), rows in by_step_and_block(run.record.rows()).items():
        energy, after, beta = (fmean(getattr(row, name) for row in rows) for name in ("energy", "energy_after", "beta"))
        known = [row.disparity for row in rows if row.disparity is not None]
        disparity = f"{fmean(known):9.3f}" if known else "        -"  # the anchor block has none to itself
        print(f"{step:4}  {block:11}  {energy:.4f}  {after:.4f}  {disparity}  {beta:.3f}")
    run.record.save("record.csv")
    print(f"All {len(run.record)} rows are in record.csv.")


if __name__ == "__main__":
    main()
