"""Where a denoiser's temporal self-attentions are, and which part each plays in the method.

An architecture is one declaration: the denoiser's class and the shape of the paths of its temporal attentions. Blocks
are named as in diffusers' UNets (down_blocks.N, mid_block, up_blocks.N) and run in that order.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from torch import nn

from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError

Role = Literal["anchor", "guided", "observed"]


@dataclass(frozen=True)
class Architecture:
    """One family of video denoisers.

    Attributes:
        name: as people write it.
        denoisers: class names of its denoiser.
        pattern: matches the path of a temporal attention; its groups are `transformer` (the path of the enclosing
            temporal transformer, which is called with hidden states (batch * frames, channels, height, width)),
            `block` and `module` (the number of the temporal transformer in its block).
        preset: name of its settings in `bytheway.config.PRESETS`.
    """

    name: str
    denoisers: tuple[str, ...]
    pattern: re.Pattern[str]
    preset: str


ARCHITECTURES: Final[tuple[Architecture, ...]] = (
    Architecture(
        name="AnimateDiff",
        denoisers=("UNetMotionModel",),
        # FreeNoise's split inference wraps the transformer block, hence the optional ".module".
        pattern=re.compile(
            r"(?P<transformer>(?P<block>down_blocks\.\d+|mid_block|up_blocks\.\d+)\.motion_modules\.(?P<module>\d+))"
            r"\.transformer_blocks\.\d+(?:\.module)?\.attn[12]"
        ),
        preset="animatediff",
    ),
)


@dataclass(frozen=True)
class Site:
    """One temporal self-attention.

    Attributes:
        path: of the attention in the denoiser.
        module: the attention itself.
        transformer: the enclosing temporal transformer, whose input tells height and width.
        block: such as "up_blocks.1".
        index: (i, j), the j-th temporal self-attention of the i-th temporal transformer of the block.
        heads: number of attention heads.
        downscale: how much coarser than the latents the block works.
        role: "anchor" and "guided" take part in the method, "observed" can only be recorded.
        partner: index of the corresponding site in the anchor block: the same (i, j), or the nearest there is where
            the anchor block has fewer.
    """

    path: str
    module: nn.Module
    transformer: nn.Module
    block: str
    index: tuple[int, int]
    heads: int
    downscale: int
    role: Role
    partner: tuple[int, int]


def denoiser_of(model: Any) -> nn.Module:
    """The denoiser of a pipeline, or the model itself where it is one, out of its torch.compile wrapper.

    Raises:
        ByTheWayError: there is no denoiser.
    """
    denoiser = model
    if not isinstance(model, nn.Module):
        denoiser = getattr(model, "unet", getattr(model, "transformer", None))
    if not isinstance(denoiser, nn.Module):
        raise ByTheWayError(
            f"{type(model).__name__} is neither a video pipeline nor its denoiser; "
            "give the diffusers pipeline, or its unet."
        )
    return getattr(denoiser, "_orig_mod", denoiser)


def architecture_of(denoiser: nn.Module) -> Architecture:
    """The declaration that names the class of the denoiser, or one of its bases.

    Raises:
        ByTheWayError: there is none.
    """
    names = [base.__name__ for base in type(denoiser).__mro__]
    for architecture in ARCHITECTURES:
        if any(name in architecture.denoisers for name in names):
            return architecture
    known = "; ".join(f"{known.name}: {', '.join(known.denoisers)}" for known in ARCHITECTURES)
    raise ByTheWayError(
        f"{names[0]} is no video denoiser that bytheway knows ({known}); use a pipeline of one of these, "
        "such as diffusers' AnimateDiffPipeline with a motion adapter."
    )


def find_sites(denoiser: nn.Module, config: ByTheWayConfig) -> list[Site]:
    """Every temporal self-attention of the denoiser, in the order in which they run.

    Raises:
        ByTheWayError: the class is not known, there are no temporal self-attentions, or the blocks that the settings
            name are not there or do not run in the order the method needs.
    """
    architecture = architecture_of(denoiser)
    found = _temporal_self_attentions(denoiser, architecture)
    blocks = list(dict.fromkeys(match["block"] for match, _ in found))
    anchor = _anchor_block(blocks, _levels(denoiser), config)
    guided = _guided_blocks(blocks, anchor, config)
    roles: dict[str, Role] = dict.fromkeys(blocks, "observed")
    roles |= dict.fromkeys(guided, "guided")
    roles[anchor] = "anchor"

    indices = _number(found)
    partners = [index for index, (match, _) in zip(indices, found, strict=True) if match["block"] == anchor]
    return [
        Site(
            path=match.string,
            module=module,
            transformer=denoiser.get_submodule(match["transformer"]),
            block=match["block"],
            index=index,
            heads=int(module.heads),
            downscale=_downscale(match["block"], _levels(denoiser)),
            role=roles[match["block"]],
            partner=_nearest(index, partners),
        )
        for index, (match, module) in zip(indices, found, strict=True)
    ]


def _temporal_self_attentions(denoiser: nn.Module, architecture: Architecture) -> list[tuple[re.Match[str], Any]]:
    matches = ((architecture.pattern.fullmatch(path), module) for path, module in denoiser.named_modules())
    found = [(match, module) for match, module in matches if match and not module.is_cross_attention]
    if not found:
        raise ByTheWayError(
            f"This {type(denoiser).__name__} has no temporal self-attention (no module whose path matches "
            f"{architecture.pattern.pattern}); load a motion adapter into it."
        )
    return sorted(found, key=lambda pair: (_running_order(pair[0]["block"]), int(pair[0]["module"])))


def _running_order(block: str) -> tuple[int, int]:
    stage, _, number = block.partition(".")
    return ("down_blocks", "mid_block", "up_blocks").index(stage), int(number or 0)


def _number(found: list[tuple[re.Match[str], Any]]) -> list[tuple[int, int]]:
    """(i, j) of each site, j counted within its temporal transformer."""
    seen: dict[str, int] = {}
    indices = []
    for match, _ in found:
        j = seen.get(match["transformer"], 0)
        seen[match["transformer"]] = j + 1
        indices.append((int(match["module"]), j))
    return indices


def _nearest(index: tuple[int, int], partners: list[tuple[int, int]]) -> tuple[int, int]:
    i = min(index[0], max(i for i, _ in partners))
    return i, min(index[1], max(j for partner, j in partners if partner == i))


def _levels(denoiser: nn.Module) -> int:
    return len(denoiser.get_submodule("up_blocks")._modules)


def _downscale(block: str, levels: int) -> int:
    stage, number = _running_order(block)
    exponent = (number, levels - 1, levels - 1 - number)[stage]
    return int(2**exponent)


def _anchor_block(blocks: list[str], levels: int, config: ByTheWayConfig) -> str:
    """The settings' choice, else the decoder block at a quarter of the latents' resolution, else the coarsest one."""
    if config.anchor_block is not None:
        _require(config.anchor_block, blocks, "anchor_block")
        return config.anchor_block
    decoder = [block for block in blocks if block.startswith("up_blocks.")]
    if not decoder:
        raise ByTheWayError(
            f"No up block has temporal attention (only {', '.join(blocks)} do); name one of them as anchor_block."
        )
    return next((block for block in decoder if _downscale(block, levels) == 4), decoder[0])


def _guided_blocks(blocks: list[str], anchor: str, config: ByTheWayConfig) -> list[str]:
    later = blocks[blocks.index(anchor) + 1 :]
    if config.guided_blocks is None:
        return later
    for block in config.guided_blocks:
        _require(block, blocks, "guided_blocks")
        if block not in later:
            raise ByTheWayError(
                f"guided_blocks names {block}, which does not run after the anchor block {anchor}; "
                f"choose among {', '.join(later) or 'none: the anchor is the last block'}."
            )
    return list(config.guided_blocks)


def _require(block: str, blocks: list[str], setting: str) -> None:
    if block not in blocks:
        raise ByTheWayError(
            f"{setting} names {block}, which has no temporal attention; the blocks that do are {', '.join(blocks)}."
        )
