"""``python -m tools.pictures``: draws the pictures of `docs/method.md` from runs of diorama and from `bytheway.method`.

About half a minute on one CPU core. matplotlib comes with the extra `train`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import matplotlib
import torch
from torch import Tensor

from bytheway import ByTheWayConfig, enhanced, load
from bytheway.families.sites import Site, find_sites
from bytheway.files import written
from bytheway.method import adaptive_beta, attention_energy, band_energy, enhance_motion, high_band, resample_map
from bytheway.method import frequency_filter as filter_of
from bytheway.method import self_guide as guided_by

matplotlib.use("Agg")
from matplotlib import pyplot as plt

FOLDER: Final = Path(__file__).parents[1] / "docs" / "method"
PROMPT: Final = "a red ball bouncing on grass"
SEED: Final = 1
# The paper's for AnimateDiff: diorama's own are too mild to be seen.
CONFIG: Final = ByTheWayConfig(alpha=0.6, beta=1.5, tau=7)
DPI: Final = 90


def maps(pipe: Any) -> None:
    """A, U(A_1), A2 and A3 of one pixel and head, in the first step."""
    sites = find_sites(pipe.unet, CONFIG)
    anchor = next(site for site in sites if site.role == "anchor")
    guided = [site for site in sites if site.role == "guided" and site.index == anchor.index][-1]
    (anchor_map, anchor_size), (attn, size) = _first_maps(pipe, [anchor, guided])
    reference = resample_map(anchor_map, anchor_size, size, attn.shape[2], CONFIG.head_rule)
    drawn_to = guided_by(attn, reference, CONFIG.alpha)
    beta = adaptive_beta(attention_energy(attn), *band_energy(drawn_to, CONFIG.tau), CONFIG.beta)
    used = enhance_motion(drawn_to, beta, CONFIG.tau)
    pixel, head = attn.shape[1] // 2 + size[1] // 2, 0
    titles = {
        "A, the map of the site": attn,
        "U(A1), the anchor's, resampled": reference,
        "A2, guided": drawn_to,
        "A3, motion enhanced": used,
    }
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.7), layout="constrained")
    for axis, (title, one) in zip(axes, titles.items(), strict=True):
        image = axis.imshow(one[0, pixel, head], cmap="RdBu_r", vmin=-0.5, vmax=0.5)
        axis.set_title(f"{title}\nenergy {attention_energy(one[:, [pixel]][:, :, [head]]).item():.3f}", fontsize=10)
        axis.set(xlabel="key: frame that is looked at", xticks=range(0, 16, 5), yticks=range(0, 16, 5))
    axes[0].set_ylabel("query: frame that looks")
    figure.colorbar(image, ax=axes, shrink=0.8, label="weight")
    _save(figure, "maps.png")


def _first_maps(pipe: Any, sites: list[Site]) -> list[tuple[Tensor, tuple[int, int]]]:
    """The conditional maps (1, pixels, heads, F, F) of some sites in the first step of a run, and height and width."""
    seen: dict[str, Tensor] = {}
    sizes: dict[str, tuple[int, int]] = {}

    def note_size(path: str, args: tuple[Any, ...]) -> None:
        sizes.setdefault(path, (args[0].shape[-2], args[0].shape[-1]))

    def note_map(path: str, module: Any, args: tuple[Any, ...]) -> None:
        query, key = (
            to(args[0]).unflatten(-1, (module.heads, -1)).transpose(1, 2) for to in (module.to_q, module.to_k)
        )
        seen.setdefault(path, (query @ key.mT * module.scale).softmax(-1).chunk(2)[1][None])

    handles = [
        hook
        for site in sites
        for hook in (
            site.module.register_forward_pre_hook(lambda m, args, path=site.path: note_map(path, m, args)),
            site.transformer.register_forward_pre_hook(lambda m, args, path=site.path: note_size(path, args)),  # type: ignore[union-attr]
        )
    ]
    _run(pipe, steps=2)
    for handle in handles:
        handle.remove()
    return [(seen[site.path].float(), sizes[site.path]) for site in sites]


def band() -> None:
    """What C does to each frequency of 16 frames, and what it adds to the values, C - I, for three tau."""
    frames, beta = 16, 1.5
    figure, axes = plt.subplots(2, 3, figsize=(9.5, 5.8), layout="constrained", height_ratios=(2, 3))
    for column, tau in zip(axes.T, (1, 3, 7), strict=True):
        high = high_band(frames, tau)
        gain = torch.where(high, beta, 1.0)
        column[0].bar(range(frames), gain, color=["tab:red" if one else "tab:blue" for one in high])
        column[0].set(title=f"tau {tau}: {int(high.sum())} of 16 bins are high", xlabel="bin k", ylim=(0, 1.7))
        added = filter_of(frames, tau, beta) - torch.eye(frames)
        image = column[1].imshow(added, cmap="RdBu_r", vmin=-0.25, vmax=0.25)
        column[1].set(xlabel="frame", xticks=range(0, 16, 5), yticks=range(0, 16, 5))
    axes[0, 0].set_ylabel("gain")
    axes[1, 0].set_ylabel("C - I, frame by frame")
    figure.colorbar(image, ax=axes[1], shrink=0.8, extend="max")
    _save(figure, "band.png")


def energies(pipes: dict[str, Any]) -> None:
    """Energies before and after, and beta, by block over the active steps."""
    figure, axes = plt.subplots(
        2, len(pipes), figsize=(9.5, 6), layout="constrained", sharey="row", height_ratios=(3, 1)
    )
    for column, (name, pipe) in zip(axes.T, pipes.items(), strict=True):
        with enhanced(pipe, CONFIG) as run:
            _run(pipe, steps=25)
        assert run.record is not None
        table = run.record.to_pandas().groupby(["block", "step"])[["energy", "energy_after", "beta"]].mean()
        for number, block in enumerate(table.index.unique("block")):
            rows, colour = table.loc[block], f"C{number}"
            steps = rows.index + 1
            column[0].plot(steps, rows["energy"], color=colour, marker="o", label=f"{block}, E1")
            column[0].plot(steps, rows["energy_after"], color=colour, marker="s", ls="--", label=f"{block}, E3")
            column[1].plot(steps, rows["beta"], color=colour, marker="o")
        column[0].axhline(1 / 16, color="grey", lw=0.8)
        column[0].set(title=name, yscale="log", ylim=(0.05, 2.5), xticks=steps)
        column[1].set(xlabel="active step, of 25 steps", xticks=steps, ylim=(1, 2))
    axes[0, 0].set_ylabel("energy (grey: 1/16, a flat map)")
    axes[0, 0].set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    axes[1, 0].set_ylabel("beta in use")
    axes[0, -1].legend(fontsize=8, ncols=2, loc="upper right")
    _save(figure, "energies.png")


def _run(pipe: Any, steps: int) -> None:
    generator = torch.Generator("cpu").manual_seed(SEED)
    pipe(PROMPT, num_frames=16, height=64, width=64, num_inference_steps=steps, guidance_scale=2.0, generator=generator)


def _save(figure: Any, name: str) -> None:
    with written(FOLDER / name) as draft:
        figure.savefig(draft, dpi=DPI)
    plt.close(figure)


if __name__ == "__main__":
    loaded = {name: load(name, device="cpu") for name in ("diorama", "diorama-early")}
    for one in loaded.values():
        one.set_progress_bar_config(disable=True)
    maps(loaded["diorama"])
    band()
    energies(loaded)
