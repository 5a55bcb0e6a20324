"""What the clip that a model predicts tells of itself while it is still latents, where there are no maps to record.

Nobody has measured how well these two numbers tell the finished clip; they rank the seeds of one prompt.
"""

from __future__ import annotations

from torch import Tensor

from bytheway.diagnosis.prediction import Prediction
from bytheway.errors import ByTheWayError
from bytheway.generation.job import Job
from bytheway.generation.sample import Glimpse

MOTION = "change between the predicted latent frames"
STRUCTURE = "unsteadiness of the predicted latent frames, negative"


def predict_by_latents(glimpse: Glimpse, job: Job) -> Prediction:
    """Motion and structure of the clip that the model predicts.

    Motion is the mean absolute difference of neighbouring latent frames. Structure is, negative, the mean absolute
    second difference over the first: a clip that moves steadily has little of it, one that flickers much.

    Raises:
        ByTheWayError: the scheduler does not tell the predicted clip, or it has fewer than three latent frames.
    """
    frames = frames_first(glimpse.step.predicted(), job).float()
    if len(frames) < 3:
        raise ByTheWayError(
            f"The clip has {len(frames)} latent frames, which tell nothing of its motion; ask for more frames.",
            setting="num_frames",
        )
    change = frames.diff(dim=0)
    motion = float(change.abs().mean())
    unsteady = float(change.diff(dim=0).abs().mean())
    return Prediction(motion, -unsteady / max(motion, 1e-12), None, MOTION, STRUCTURE)


def frames_first(latents: Tensor, job: Job) -> Tensor:
    """The latents of one clip as (latent frames, ...), however its pipeline packs them.

    Args:
        latents: (1, channels, F, height, width), (1, F, channels, height, width) or packed into (1, tokens, channels),
            frame after frame; tokens of images that come before those of the video are left out.
    """
    profile = job.profile
    if latents.ndim == 5:
        return latents[0].movedim(profile.family.latent_frame_axis - 1, 0)
    if latents.ndim != 3:
        raise ByTheWayError(
            f"The latents of this model ({profile.pipeline}) have the shape {tuple(latents.shape)}, in which nobody "
            "knows its frames; make its clips without choosing among them."
        )
    scale = profile.pixels_per_latent
    count = profile.latent_frames(job.num_frames) // profile.patch[0]
    per_frame = (job.height // scale // profile.patch[1]) * (job.width // scale // profile.patch[2])
    tokens = latents[0, -count * per_frame :]
    frames: Tensor = tokens[len(tokens) % per_frame :].unflatten(0, (-1, per_frame))
    return frames
