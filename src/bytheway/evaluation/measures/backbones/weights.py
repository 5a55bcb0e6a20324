"""Where the weights of backbones are found: in a folder given, in the hub's cache, or fetched; and their hashes."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from bytheway.errors import ByTheWayError
from bytheway.evaluation.measures.measure import Backbone
from bytheway.evaluation.measures.placement import Placement
from bytheway.files import sha256_of
from bytheway.models.sources import existing_path, hub_file, reading

_FILES: Final = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Published:
    """A network whose weights are on the hub.

    Attributes:
        name: as in `Backbone`.
        repository: on the hub.
        shape: its width, its layers, their heads, and the side of its patches.
    """

    name: str
    repository: str
    shape: tuple[int, int, int, int]


def model_files(published: Published, folder: str | os.PathLike[str] | None, offline: bool) -> Path:
    """The file of the weights of a model of transformers, with its config.json beside it.

    Args:
        published: which; fetched once, with a progress bar.
        folder: a local one to use instead.
        offline: fetch nothing.

    Raises:
        ByTheWayError: they are not there, or cannot be fetched, or are damaged.
    """
    name, repository = published.name, published.repository
    if folder is not None:
        path = existing_path(str(folder))
        found = [] if path is None else [path / file for file in _FILES if (path / file).is_file()]
        if not found or not (found[0].parent / "config.json").is_file():
            raise ByTheWayError(
                f"{folder} holds no {name}; give a folder with config.json and {' or '.join(_FILES)}, as transformers "
                "saves it."
            )
        return found[0]
    if (weights := _from_hub(repository, _FILES, offline)) and _from_hub(repository, ("config.json",), offline):
        _check_cached(weights, name)
        return weights
    raise ByTheWayError(
        f"The weights of {name} ({repository}) are not on this machine, and nothing is fetched offline; fetch them "
        "once with the network, or give a local folder."
        if offline
        else f"{repository} on the hub has no weights of {name}; give a local folder."
    )


def _from_hub(repository: str, files: tuple[str, ...], offline: bool) -> Path | None:
    """The first of these files that is in the hub's cache, else, unless offline, that the hub has."""
    from huggingface_hub import try_to_load_from_cache

    for file in files:
        cached = try_to_load_from_cache(repository, file)
        if isinstance(cached, str):
            return Path(cached)
    if offline:
        return None
    return next((path for file in files if (path := hub_file(repository, file)) is not None), None)


def _check_cached(path: Path, name: str) -> None:
    """Raise ByTheWayError where a large file of the hub's cache, which is called by its hash, has another."""
    blob = Path(os.path.realpath(path)).name
    if re.fullmatch("[0-9a-f]{64}", blob) and sha256_of(path) != blob:
        raise ByTheWayError(f"The weights of {name} in {path} are damaged; remove the file and fetch it again.")


def load_model(
    kind: Any,
    published: Published,
    placement: Placement,
    folder: str | os.PathLike[str] | None,
    offline: bool,
    **config: Any,
) -> tuple[Any, Backbone]:
    """A model of transformers with all its weights, placed, and what it is.

    One of another shape than the published one is named for its folder.

    Args:
        kind: its class.
        published: what it is to be.
        placement: where it computes.
        folder, offline: as in `model_files`.
        config: fields of its configuration that are to be otherwise than its files say.

    Raises:
        ByTheWayError: as in `model_files`, and where the files are of another kind of model.
    """
    weights = model_files(published, folder, offline)
    source = str(folder or published.repository)
    with reading(source):
        model, info = kind.from_pretrained(
            weights.parent, local_files_only=True, output_loading_info=True, dtype=torch.float32, **config
        )
    if info["missing_keys"]:
        raise ByTheWayError(f"{source} lacks weights of {published.name}, such as {min(info['missing_keys'])}.")
    has = model.config
    shape = (has.hidden_size, has.num_hidden_layers, has.num_attention_heads, has.patch_size)
    name = published.name if shape == published.shape else weights.parent.name
    return placed(model, placement), described(name, source, weights, placement)


def placed(network: nn.Module, placement: Placement) -> Any:
    """The network where it is to compute, for measuring alone."""
    return network.eval().requires_grad_(False).to(placement.device)


def said_of(backbone: Backbone, name: str, given: object) -> tuple[str, ...]:
    """What is said of weights that somebody gave, of which nothing tells whether they are those published as `name`."""
    if given is None or backbone.name != name:
        return ()
    return (
        f"The weights of {backbone.name} are those in {backbone.source}, whose hash is not a known one: that they are "
        "the published ones is the word of whoever gave them.",
    )


def described(name: str, source: str, weights: Path, placement: Placement) -> Backbone:
    """What a backbone is, with the hash of the file of its weights."""
    return Backbone(name, source, sha256_of(weights), placement.precision)
