"""ByTheWay on an AnimateDiff pipeline: put on, used, taken off again.

    python examples/animatediff.py

diorama is a small, real AnimateDiff that comes with the package, so nothing is downloaded. With a larger one only the
first line of `main` changes: `load("animatediff", device="cuda")`, or any AnimateDiffPipeline that you have made with
diffusers yourself. Written to the current folder: animatediff.gif, one prompt and seed without and with the method.
"""

from typing import Any

import numpy as np
import torch

from bytheway import apply_bytheway, load, remove_bytheway
from bytheway.clips import Frames, as_frames, save_video, side_by_side

PROMPT = "a red ball rolling to the right on grass"


def clip_of(pipe: Any) -> Frames:
    """A clip of the prompt, always from the same noise; the method acts in the first fifth of the steps, here two."""
    generator = torch.Generator().manual_seed(1)
    output = pipe(PROMPT, num_frames=16, num_inference_steps=10, guidance_scale=2.0, generator=generator)
    return as_frames(output.frames[0])


def main() -> None:
    """Make a clip before, under and after the method, and compare the three."""
    pipe = load("diorama")
    pipe.set_progress_bar_config(disable=True)
    vanilla = clip_of(pipe)

    # With the model's own preset. Other settings are a second argument, such as ByTheWayConfig(alpha=0.6, beta=1.5):
    # alpha guides the attention maps by those of an earlier block, for better structure; beta amplifies their high
    # temporal frequencies, for more motion.
    apply_bytheway(pipe)
    enhanced = clip_of(pipe)

    # The pipeline is again what it was, bit for bit.
    remove_bytheway(pipe)
    assert np.array_equal(clip_of(pipe), vanilla)

    both = side_by_side([("vanilla", vanilla), ("enhanced", enhanced)])
    path = save_video(both, "animatediff.gif", metadata={"prompt": PROMPT})
    changed = (vanilla != enhanced).any(-1).mean()
    print(f"The method changes {changed:.0%} of the pixels; both clips are in {path}.")


if __name__ == "__main__":
    main()
