"""Where a denoiser's temporal self-attentions are, and which part each plays in the method.

A family tells where they are. Of a denoiser that none declares, the attentions are given one by one
(`TemporalAttention`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.families.family import Family, TemporalAttentions
from bytheway.families.known import family_of

Role = Literal["anchor", "guided", "motion", "observed"]


@dataclass(frozen=True)
class TemporalAttention:
    """Where one temporal self-attention is; a list of them takes the place of a declaration.

    Attributes:
        path: of the attention in the denoiser: a module that is called with (batch * height * width, F, channels),
            batch outermost, first and as the only tensor (no masks), and has `heads`, `to_q`, `to_k`, `to_v` and
            `to_out`.
        block: name of the block that it is in.
        transformer: path of a module that is called before it with hidden states (..., height, width), "" for the
            denoiser itself; None where there is none, which allows the motion part of the method only.
    """

    path: str
    block: str
    transformer: str | None = None


@dataclass(frozen=True)
class Site:
    """One temporal self-attention.

    Attributes:
        path: of the attention in the denoiser.
        module: the attention itself.
        transformer: the enclosing temporal transformer, whose input tells height and width; None where there is none.
        block: such as "up_blocks.1".
        index: (i, j), the j-th temporal self-attention of the i-th temporal transformer of the block.
        heads: number of attention heads.
        downscale: how much coarser than the latents the block works; 1 where attentions are given one by one.
        role: "anchor", "guided" and "motion" (of a denoiser without decoder levels: motion enhancement alone) take part
            in the method, "observed" can only be recorded.
        partner: index of the corresponding site in the anchor block: the same (i, j), or the nearest there is where
            the anchor block has fewer; None where there is no anchor.
    """

    path: str
    module: nn.Module
    transformer: nn.Module | None
    block: str
    index: tuple[int, int]
    heads: int
    downscale: int
    role: Role
    partner: tuple[int, int] | None


def find_sites(
    denoiser: nn.Module, config: ByTheWayConfig, attentions: Sequence[TemporalAttention] | None = None
) -> list[Site]:
    """Every temporal self-attention of the denoiser, in the order in which they run.

    Args:
        attentions: where they are, in the order in which they run; None: as the family declares. Of a list the
            first block is the anchor, where the config names no other.

    Raises:
        ByTheWayError: the class is not known, there are no temporal self-attentions, or the blocks that the config
            names are not there or do not run in the order the method needs.
    """
    if attentions is None:
        family = family_of(denoiser)
        where = family.attentions
        if not isinstance(where, TemporalAttentions):
            raise ByTheWayError(
                f"{family.name} attends over space and time at once, so it has no temporal self-attentions."
            )
        found = _declared(denoiser, where)
        downscales = {one.block: _downscale(one.block, denoiser, where) for one in found}
        anchor = _anchor_block(downscales, config, family, where)
    else:
        found = _given(denoiser, attentions)
        downscales = dict.fromkeys((one.block for one in found), 1)
        anchor = _chosen_anchor(list(downscales), config) or found[0].block
    roles = _roles(list(downscales), anchor, config)
    indices = _number(found)
    # Maps can be compared only where their pixels have a place.
    partners = [
        at for at, one in zip(indices, found, strict=True) if one.block == anchor and one.transformer is not None
    ]
    return [
        _site(denoiser, one, index, roles[one.block], downscales[one.block], partners, config)
        for index, one in zip(indices, found, strict=True)
    ]


def _site(
    denoiser: nn.Module,
    attention: TemporalAttention,
    index: tuple[int, int],
    role: Role,
    downscale: int,
    partners: list[tuple[int, int]],
    config: ByTheWayConfig,
) -> Site:
    placed = attention.transformer is not None
    partner = _nearest(index, partners) if placed and partners else None
    if role == "guided" and partner is None and config.alpha > 0:
        raise ByTheWayError(
            f"Nothing tells height and width of {attention.path} or of its anchor, which self-guidance needs; name the "
            "module that is called with their feature map as transformer, or give alpha=0."
        )
    module: Any = denoiser.get_submodule(attention.path)
    return Site(
        path=attention.path,
        module=module,
        transformer=None if attention.transformer is None else denoiser.get_submodule(attention.transformer),
        block=attention.block,
        index=index,
        heads=int(module.heads),
        downscale=downscale,
        role=role,
        partner=partner,
    )


def _declared(denoiser: nn.Module, where: TemporalAttentions) -> list[TemporalAttention]:
    modules: Iterable[tuple[str, Any]] = denoiser.named_modules()
    matches = ((where.pattern.fullmatch(path), module) for path, module in modules)
    found = [match for match, module in matches if match and not getattr(module, "is_cross_attention", False)]
    if not found:
        raise ByTheWayError(
            f"This {type(denoiser).__name__} has no temporal self-attention (no module whose path matches "
            f"{where.pattern.pattern}); load a motion adapter into it."
        )
    attentions = [
        TemporalAttention(match.string, match["block"], match.groupdict().get("transformer")) for match in found
    ]
    _check_parts(denoiser, attentions)
    return sorted(attentions, key=lambda one: _running_order(one.block, where))


def _given(denoiser: nn.Module, attentions: Sequence[TemporalAttention]) -> list[TemporalAttention]:
    """The list, checked against the denoiser."""
    if not attentions:
        raise ByTheWayError("sites is empty; list the temporal self-attentions of the denoiser.")
    modules, paths = dict(denoiser.named_modules()), {one.path for one in attentions}
    for one in attentions:
        for path in (one.path, one.transformer):
            if path is not None and path not in modules:
                raise ByTheWayError(f"sites names {path!r}, and {type(denoiser).__name__} has no such module.")
        if one.transformer in paths:
            raise ByTheWayError(
                f"sites names {one.transformer} as a transformer, and it is an attention itself; name a module that is "
                "called with a feature map."
            )
    _check_parts(denoiser, attentions)
    return list(attentions)


def _check_parts(denoiser: nn.Module, attentions: Iterable[TemporalAttention]) -> None:
    """Raise ByTheWayError where something else stands in the place of an attention."""
    for one in attentions:
        module = denoiser.get_submodule(one.path)
        missing = [name for name in ("heads", "to_q", "to_k", "to_v", "to_out") if not hasattr(module, name)]
        if missing:
            raise ByTheWayError(
                f"{one.path} has no {', '.join(missing)}; a temporal self-attention needs them, as attributes or "
                "properties."
            )


def _running_order(block: str, where: TemporalAttentions) -> tuple[int, int]:
    stage, _, number = block.partition(".")
    return where.stages.index(stage), int(number or 0)


def _number(found: list[TemporalAttention]) -> list[tuple[int, int]]:
    """(i, j) of each site: j-th of its temporal transformer, which is the i-th of its block."""
    seen: dict[str, dict[str, int]] = {}
    indices = []
    for one in found:
        counts = seen.setdefault(one.block, {})
        transformer = one.path if one.transformer is None else one.transformer
        counts[transformer] = counts.get(transformer, -1) + 1
        indices.append((list(counts).index(transformer), counts[transformer]))
    return indices


def _nearest(index: tuple[int, int], partners: list[tuple[int, int]]) -> tuple[int, int]:
    i = min(index[0], max(i for i, _ in partners))
    return i, min(index[1], max(j for partner, j in partners if partner == i))


def _downscale(block: str, denoiser: Any, where: TemporalAttentions) -> int:
    if not where.has_levels:
        return int(denoiser.config.patch_size)
    stage, _, number = block.partition(".")
    levels = len(denoiser.up_blocks)
    exponents = {"down_blocks": int(number or 0), "mid_block": levels - 1, "up_blocks": levels - 1 - int(number or 0)}
    return int(2 ** exponents.get(stage, 0))


def _anchor_block(
    downscales: Mapping[str, int], config: ByTheWayConfig, family: Family, where: TemporalAttentions
) -> str | None:
    """The config's choice, else the decoder block at a quarter of the latents' resolution, else the coarsest one."""
    if not where.has_levels:
        _refuse_guidance(config, family)
        return None
    chosen = _chosen_anchor(list(downscales), config)
    if chosen is not None:
        return chosen
    decoder = [block for block in downscales if block.startswith("up_blocks.")]
    if not decoder:
        raise ByTheWayError(
            f"No up block has temporal attention (only {', '.join(downscales)} do); name one of them as anchor_block."
        )
    return next((block for block in decoder if downscales[block] == 4), decoder[0])


def _refuse_guidance(config: ByTheWayConfig, family: Family) -> None:
    if config.alpha > 0 or config.anchor_block is not None:
        raise ByTheWayError(
            f"{family.name} has no decoder levels, so that no block of it can guide the later ones; give "
            "alpha=0 and no anchor_block, for motion enhancement alone."
        )


def _chosen_anchor(blocks: list[str], config: ByTheWayConfig) -> str | None:
    if config.anchor_block is not None:
        _require(config.anchor_block, blocks, "anchor_block")
    return config.anchor_block


def _roles(blocks: list[str], anchor: str | None, config: ByTheWayConfig) -> dict[str, Role]:
    """The part of each block; without an anchor those that take part do so by motion enhancement alone."""
    roles: dict[str, Role] = dict.fromkeys(blocks, "observed")
    if anchor is None:
        roles |= dict.fromkeys(_later_blocks(blocks, None, config), "motion")
    else:
        roles |= dict.fromkeys(_later_blocks(blocks, anchor, config), "guided")
        roles[anchor] = "anchor"
    return roles


def _later_blocks(blocks: list[str], anchor: str | None, config: ByTheWayConfig) -> list[str]:
    """The blocks that take part beside the anchor: the config's choice, else all that run after it."""
    later = blocks if anchor is None else blocks[blocks.index(anchor) + 1 :]
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
