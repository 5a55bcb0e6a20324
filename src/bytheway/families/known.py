"""Every family that is known, and what a pipeline or denoiser belongs to. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bytheway.errors import ByTheWayError
from bytheway.families import (
    animatediff,
    cogvideox,
    hunyuanvideo,
    latte,
    ltx,
    mochi,
    svd,
    unet3d,
    videocrafter,
    wan,
)
from bytheway.families.family import UNMEASURED, Family, KnownModel, Preset
from bytheway.families.pipeline import Model
from bytheway.families.unsupported import UNSUPPORTED
from bytheway.files import read_json_object

if TYPE_CHECKING:
    from torch import nn

# In the order in which people are shown them.
_FAMILIES: Final[list[Family]] = [
    animatediff.FAMILY,
    videocrafter.FAMILY,
    *unet3d.FAMILIES,
    svd.FAMILY,
    latte.FAMILY,
    cogvideox.FAMILY,
    *wan.FAMILIES,
    *hunyuanvideo.FAMILIES,
    *ltx.FAMILIES,
    mochi.FAMILY,
]
WORLD_FILE: Final = "world.json"  # what a model of ours says of itself, in its own folder
# Under this name a pipeline's config carries the same; diffusers saves what begins so, and passes it to no class.
WORLD_KEY: Final = "_world"


def families() -> tuple[Family, ...]:
    """Every family that is known."""
    return tuple(_FAMILIES)


def declare(family: Family) -> None:
    """Make a family known to this process, as if its declaration were among ours.

    Raises:
        ByTheWayError: its name, a denoiser or a preset of it belongs to another family already.
    """
    for other in _FAMILIES:
        shared = {family.name} & {other.name} or {*family.denoisers} & {*other.denoisers}
        shared = shared or {one.name for one in family.presets} & {one.name for one in other.presets}
        if shared:
            raise ByTheWayError(f"{', '.join(sorted(shared))} belongs to {other.name}; choose another name.")
    _FAMILIES.append(family)


def withdraw(family: Family) -> None:
    """Forget a family that `declare` made known."""
    _FAMILIES.remove(family)


def denoisers_of(model: Model) -> list[nn.Module]:
    """The denoisers of a pipeline, of which some have two, or the model itself where it is one; none is compiled.

    Raises:
        ByTheWayError: there is no denoiser.
    """
    from torch import nn

    names = [name for name in ("unet", "transformer", "transformer_2") if hasattr(model, name)]
    parts = [model] if isinstance(model, nn.Module) else [getattr(model, name) for name in names]
    found = [part for part in parts if isinstance(part, nn.Module)]
    empty = [name for name in names if getattr(model, name) is None]
    if not found and empty:
        raise ByTheWayError(
            f"This {type(model).__name__} has no denoiser, its {empty[0]} is None; load it with one, or give the "
            "pipeline its denoiser first."
        )
    if not found:
        raise ByTheWayError(
            f"{type(model).__name__} is neither a video pipeline nor its denoiser; "
            "give the diffusers pipeline, or its unet."
        )
    return [getattr(denoiser, "_orig_mod", denoiser) for denoiser in found]


def denoiser_of(model: Model) -> nn.Module:
    """The first of `denoisers_of`, which tells the family."""
    return denoisers_of(model)[0]


def family_of(denoiser: nn.Module) -> Family:
    """The family that declares the class of the denoiser, or else the nearest of its bases.

    Raises:
        ByTheWayError: there is none.
    """
    names = [base.__name__ for base in type(denoiser).__mro__]
    for name in names:
        for family in _FAMILIES:
            if name in family.denoisers:
                return family
    for name in names:
        check_supported(name)
    known = "; ".join(f"{known.name}: {', '.join(known.denoisers)}" for known in _FAMILIES)
    raise ByTheWayError(
        f"{names[0]} is no video denoiser that bytheway knows ({known}); use a pipeline of one of these, "
        "such as diffusers' AnimateDiffPipeline with a motion adapter, or say where its temporal attentions are with "
        "sites=."
    )


def check_supported(denoiser: str | None) -> None:
    """Refuse a denoiser, by the name of its class, that is known and not supported.

    Raises:
        ByTheWayError: it is one; the sentence says why.
    """
    found = UNSUPPORTED.get(denoiser or "")
    if found is not None:
        names = ", ".join(family.name for family in _FAMILIES)
        raise ByTheWayError(
            f"bytheway does not support {found.model} ({denoiser}): it {found.reason}; use a model of {names}."
        )


def presets() -> Mapping[str, Preset]:
    """Every preset, by name."""
    return {preset.name: preset for family in _FAMILIES for preset in family.presets}


def preset_for(model: Model) -> Preset:
    """The preset for a pipeline or a bare denoiser: the one that the model's own folder names, else its family's.

    Raises:
        ByTheWayError: the family is not known, or the folder names a preset that there is not.
    """
    family = family_of(denoiser_of(model))
    name = (world_of(model) or {}).get("preset")
    if name is None:
        return family.presets[0]
    if not isinstance(name, str) or name not in presets():
        raise ByTheWayError(f"{WORLD_FILE} of {folder_of(model)} names a preset {name!r}, which there is not.")
    return presets()[name]


def known_models() -> list[KnownModel]:
    """Every model that people can call by a name, the packaged ones first."""
    return [model for family in _FAMILIES for model in family.models]


def family_of_model(model: KnownModel) -> Family:
    """The family that a known model belongs to."""
    return next(family for family in _FAMILIES if model in family.models)


def preset_of_model(model: KnownModel) -> Preset:
    """The preset of a known model."""
    return family_of_model(model).presets[0] if model.preset is None else presets()[model.preset]


def figure_of_model(model: KnownModel) -> str:
    """What was measured of a known model with its preset, in words; "unmeasured" where nothing was."""
    return preset_of_model(model).figure if model.measured else UNMEASURED


def folder_of(model: Model) -> Path | None:
    """The local folder that a pipeline was loaded from; None where it came from elsewhere."""
    name = getattr(model, "config", {}).get("_name_or_path")
    return Path(name) if name and Path(name).is_dir() else None


def world_of(model: Model) -> dict[str, Any] | None:
    """What a pipeline carries of its model's own settings, else what the folder it came from says; None for neither.

    A folder says it in `world.json`, or under "_world" in a `model_index.json` that was saved of such a pipeline.

    Raises:
        ByTheWayError: the file is damaged.
    """
    carried = getattr(model, "config", {}).get(WORLD_KEY)
    folder = folder_of(model)
    if carried is None and folder is not None:
        carried = read_json_object(folder / WORLD_FILE, f"{WORLD_FILE} of {folder}")
        if carried is None:
            index = read_json_object(folder / "model_index.json", f"model_index.json of {folder}")
            carried = (index or {}).get(WORLD_KEY)
    if carried is not None and not isinstance(carried, Mapping):
        raise ByTheWayError(f"{WORLD_KEY} in model_index.json of {folder} is no JSON object; save the model again.")
    return None if carried is None else dict(carried)
