"""A cap on the energy of temporal attention maps, as a loss beside the denoising loss.

The paper (Bu et al., CVPR 2025, arXiv 2410.06241) finds the maps of AnimateDiff broad: energies of 0.10 to 0.22 at 16
frames, where 1/16 is a uniform map (Figure 2c). There its method has something to do: guidance steadies, and a
higher energy means more motion. Small models trained from nothing may learn maps near 1 instead, each frame looking at
one other, out of habit more than need: capped, their denoising loss is no higher. This is no part of the paper's
method, which is training-free, but one way to train a model that it suits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.families.known import denoiser_of
from bytheway.families.sites import Site, find_sites
from bytheway.method import attention_energy

_PROJECTIONS = ("to_q", "to_k")


class EnergyCap:
    """Adds to a training loss what the temporal self-attention maps of a denoiser have too much of energy.

        with EnergyCap(unet, target=0.16, weight=0.3) as cap:
            for latents, noise, timesteps, context in batches:
                predicted = unet(noisy, timesteps, context).sample
                loss = mse_loss(predicted, noise) + cap.penalty()
                loss.backward()

    The penalty is ``weight * sum over blocks of relu(E - target)``; E of a block is the mean of `attention_energy` over
    its attentions and over the videos of the batch. Gradients flow into the query and key projections and whatever
    feeds them.

    The denoiser runs as it always does, with fused attention where it has that, and its output is the same bit for bit:
    queries and keys are taken where its own projections make them, and maps are made of them in float32 only when the
    penalty is asked for, which keeps those maps until the backward. It holds under autocast, in half precision, in data
    parallelism (forward and penalty both inside the wrapped module), and with gradient checkpointing as diffusers
    enables it; checkpointing with use_reentrant=True is refused. Forwards without gradients (validation) are not
    measured.

    Args:
        denoiser: the denoiser, or its pipeline.
        target: energy above which a block is penalised, in (0, 1]. Energies lie between 1/F (uniform maps) and 1; a
            target below 1/F is never reached.
        weight: of the penalty, not negative.
        blocks: names of the blocks that are capped, such as "up_blocks.1"; None: all that have temporal attention.

    Raises:
        ByTheWayError: target or weight is out of range, the denoiser has no temporal self-attention (or attends over
            space and time at once), or a block has none.
    """

    def __init__(
        self,
        denoiser: Any,
        *,
        target: float = 0.16,
        weight: float = 0.3,
        blocks: str | Sequence[str] | None = None,
    ) -> None:
        if not 0 < target <= 1:
            raise ByTheWayError(f"target is {target:g}, and energies lie between 0 and 1; give one of 0.1 to 0.3.")
        if not weight >= 0:
            raise ByTheWayError(f"weight is {weight:g}; give 0 or more.")
        self.target = target
        self.weight = weight
        self._denoiser = denoiser_of(denoiser)
        self._sites = _chosen(self._denoiser, blocks)
        self._handles: list[RemovableHandle] = []
        self._measuring = False
        # Of each site (by path), what its two projections gave in each of its calls.
        self._seen: dict[str, dict[str, list[Tensor]]] = {}

    @property
    def blocks(self) -> tuple[str, ...]:
        """The blocks that are capped, in the order in which they run."""
        return tuple(dict.fromkeys(site.block for site in self._sites))

    def __enter__(self) -> Self:
        if self._handles:
            raise ByTheWayError("This EnergyCap is in use already; make one for each use.")
        self._handles = [
            self._denoiser.register_forward_pre_hook(self._begin),
            self._denoiser.register_forward_hook(self._end, always_call=True),
        ]
        for site in self._sites:
            for name in _PROJECTIONS:
                projection: nn.Module = getattr(site.module, name)
                self._handles.append(projection.register_forward_hook(partial(self._keep, site.path, name)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def energies(self) -> dict[str, Tensor]:
        """The energy of each capped block in the denoiser's last forward, with its gradient.

        Returns:
            scalars in float32, in [1/F, 1], by name of the block in the order in which they run.

        Raises:
            ByTheWayError: there was no forward with gradients, or it did not make queries and keys that carry them.
        """
        of_block: dict[str, list[Tensor]] = {}
        for site in self._sites:
            seen = self._seen.get(site.path, {})
            queries, keys = (seen.get(name, []) for name in _PROJECTIONS)
            if not queries or len(queries) != len(keys):
                raise ByTheWayError(
                    f"No queries and keys of {site.path} were seen; call the denoiser inside the with statement with "
                    "gradients enabled, its projections not fused, and not compiled by a call before."
                )
            energies = [_energy(site, query, key) for query, key in zip(queries, keys, strict=True)]
            of_block.setdefault(site.block, []).append(torch.stack(energies).mean())
        return {block: torch.stack(energies).mean() for block, energies in of_block.items()}

    def penalty(self) -> Tensor:
        """What is to be added to the loss of the denoiser's last forward: a float32 scalar, not negative.

        Raises:
            ByTheWayError: as `energies` does.
        """
        excess = torch.stack(list(self.energies().values())) - self.target
        return self.weight * excess.relu().sum()

    def _begin(self, *_: object) -> None:
        self._seen = {}
        self._measuring = torch.is_grad_enabled()

    def _end(self, *_: object) -> None:
        # What checkpointing runs again in the backward is not seen twice.
        self._measuring = False

    def _keep(self, path: str, name: str, module: nn.Module, arguments: tuple[Any, ...], projected: Tensor) -> None:
        if self._measuring:
            self._seen.setdefault(path, {}).setdefault(name, []).append(projected)


def _chosen(denoiser: nn.Module, blocks: str | Sequence[str] | None) -> list[Site]:
    # Roles in the method play no part here; without guidance none is refused.
    sites = find_sites(denoiser, ByTheWayConfig(alpha=0.0))
    known = list(dict.fromkeys(site.block for site in sites))
    wanted = known if blocks is None else [blocks] if isinstance(blocks, str) else list(blocks)
    for block in wanted:
        if block not in known:
            raise ByTheWayError(
                f"blocks names {block}, which has no temporal attention; the blocks that do are {', '.join(known)}."
            )
    if not wanted:
        raise ByTheWayError(f"blocks is empty; name some of {', '.join(known)}, or leave it out for all.")
    return [site for site in sites if site.block in wanted]


def _energy(site: Site, query: Tensor, key: Tensor) -> Tensor:
    """Mean energy of the maps of queries and keys (rows, F, channels), rows being batch * height * width."""
    module: Any = site.module
    if any(weight.requires_grad for weight in module.to_q.parameters()) and not query.requires_grad:
        raise ByTheWayError(
            f"The queries of {site.path} carry no gradients; use gradient checkpointing with use_reentrant=False, "
            "as diffusers does."
        )
    with torch.autocast(query.device.type, enabled=False):
        query, key = (rows.float().unflatten(-1, (site.heads, -1)).transpose(1, 2) for rows in (query, key))
        if module.norm_q is not None:
            query = module.norm_q(query)
        if module.norm_k is not None:
            key = module.norm_k(key)
        attn = (query @ key.transpose(-1, -2) * module.scale).softmax(-1)
    # One video of all rows: videos are equally large, so the mean over rows is the mean over videos.
    return attention_energy(attn[None]).squeeze(0)
