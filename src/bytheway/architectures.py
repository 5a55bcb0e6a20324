"""The declarations: which attentions of which denoisers the method acts in, one for each family of models.

An architecture is one declaration: the denoiser's class, the shape of the paths of its temporal attentions, and the
parts of the denoiser in the order in which they run. Those of models with joint attention over space and time, of
another form, are in `bytheway.joint`.
"""

import re
from dataclasses import dataclass
from typing import Final

from torch import nn

from bytheway.errors import ByTheWayError
from bytheway.joint import JOINT_ARCHITECTURES, JointArchitecture

# What diffusers calls the blocks of a UNet, in the order in which they run.
_UNET: Final = ("transformer_in", "down_blocks", "mid_block", "up_blocks")
_BLOCK: Final = r"down_blocks\.\d+|mid_block|up_blocks\.\d+"


@dataclass(frozen=True)
class Architecture:
    """One family of video denoisers.

    Attributes:
        name: as people write it.
        denoisers: class names of its denoiser.
        pattern: matches the path of a temporal attention; its groups are `block` (the path of the block that it is
            in) and `transformer` (the path of the enclosing temporal transformer, which is called with hidden states
            (batch * frames, channels, height, width); left out where no module is).
        preset: name of its settings in `bytheway.config.PRESETS`.
        stages: names of the lists of blocks in the order in which they run. With "up_blocks" among them the denoiser
            has decoder levels, one of which guides the later ones; without, the method is its motion part alone.
    """

    name: str
    denoisers: tuple[str, ...]
    pattern: re.Pattern[str]
    preset: str
    stages: tuple[str, ...] = _UNET

    @property
    def has_levels(self) -> bool:
        return "up_blocks" in self.stages


# UNet3DConditionModel and its kin: temporal transformers beside the spatial ones, and one before the first block.
_TEMPORAL_TRANSFORMERS: Final = re.compile(
    rf"(?P<transformer>(?P<block>transformer_in|{_BLOCK})(?:\.temp_attentions\.\d+)?)"
    r"\.transformer_blocks\.\d+\.attn[12]"
)

ARCHITECTURES: Final[tuple[Architecture | JointArchitecture, ...]] = (
    Architecture(
        name="AnimateDiff",
        denoisers=("UNetMotionModel",),
        # FreeNoise's split inference wraps the transformer block, hence the optional ".module".
        pattern=re.compile(
            rf"(?P<transformer>(?P<block>{_BLOCK})\.motion_modules\.\d+)"
            r"\.transformer_blocks\.\d+(?:\.module)?\.attn[12]"
        ),
        preset="animatediff",
    ),
    Architecture(
        name="VideoCrafter2",
        denoisers=("VideoCrafterUNet",),
        pattern=_TEMPORAL_TRANSFORMERS,
        preset="videocrafter2",
    ),
    Architecture(
        name="ModelScope",
        denoisers=("UNet3DConditionModel",),
        pattern=_TEMPORAL_TRANSFORMERS,
        preset="modelscope",
    ),
    Architecture(
        name="I2VGenXL",
        denoisers=("I2VGenXLUNet",),
        # What attends over the frames of the image's latents (image_latents_temporal_encoder) is no part of the video.
        pattern=_TEMPORAL_TRANSFORMERS,
        preset="i2vgenxl",
    ),
    Architecture(
        name="Stable Video Diffusion",
        denoisers=("UNetSpatioTemporalConditionModel",),
        # One transformer for both: spatial blocks alternate with temporal ones, whose attn2 looks at the image.
        pattern=re.compile(
            rf"(?P<transformer>(?P<block>{_BLOCK})\.attentions\.\d+)\.temporal_transformer_blocks\.\d+\.attn1"
        ),
        preset="svd",
    ),
    Architecture(
        name="Latte",
        denoisers=("LatteTransformer3DModel",),
        pattern=re.compile(r"(?P<block>temporal_transformer_blocks\.\d+)\.attn1"),
        preset="latte",
        stages=("temporal_transformer_blocks",),
    ),
    *JOINT_ARCHITECTURES,
)


def architecture_of(denoiser: nn.Module) -> Architecture | JointArchitecture:
    """The declaration that names the class of the denoiser, or else the nearest of its bases.

    Raises:
        ByTheWayError: there is none.
    """
    names = [base.__name__ for base in type(denoiser).__mro__]
    for name in names:
        for architecture in ARCHITECTURES:
            if name in architecture.denoisers:
                return architecture
    known = "; ".join(f"{known.name}: {', '.join(known.denoisers)}" for known in ARCHITECTURES)
    raise ByTheWayError(
        f"{names[0]} is no video denoiser that bytheway knows ({known}); use a pipeline of one of these, "
        "such as diffusers' AnimateDiffPipeline with a motion adapter, or say where its temporal attentions are with "
        "sites=."
    )
