"""Libraries that may be there and not work: torchvision beside another torch, and transformers, which imports it."""

from __future__ import annotations

from importlib import import_module, metadata
from typing import Any

from bytheway.errors import ByTheWayError


def torchvision_flow() -> Any:
    """`torchvision.models.optical_flow`.

    Raises:
        ByTheWayError: torchvision is not installed, or does not go with the torch that is.
    """
    try:
        return import_module("torchvision.models.optical_flow")
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
        raise ByTheWayError(
            f"RAFT requires torchvision, which is not installed; install the one for this torch, {_pair()}, both from "
            "one index."
        ) from error
    # RuntimeError: operators that are not there; OSError, ImportError: libraries that are of another torch.
    except (ImportError, OSError, RuntimeError) as error:
        raise _mismatch(error) from error


def transformers() -> Any:
    """The package transformers, whose vision models import torchvision where it is installed.

    Raises:
        ByTheWayError: a torchvision that does not go with the torch keeps them from being imported.
    """
    package = import_module("transformers")
    try:
        _ = package.ViTModel, package.CLIPVisionModelWithProjection
    except (ImportError, OSError, RuntimeError) as error:
        causes = (error, error.__cause__, error.__context__)
        if not any("torchvision" in str(cause) for cause in causes):
            raise
        raise _mismatch(error) from error
    return package


def _mismatch(error: BaseException) -> ByTheWayError:
    return ByTheWayError(
        f"torchvision {metadata.version('torchvision')} does not go with torch {metadata.version('torch')}, and "
        f"neither RAFT nor transformers' vision models can be used beside it; install {_pair()}, both from one index, "
        "or uninstall torchvision."
    )


def _pair() -> str:
    """The torch that is installed and the torchvision that goes with it: 0.28 with 2.13, 0.29 with 2.14 and so on."""
    version = metadata.version("torch").partition("+")[0]
    minor = int(version.split(".")[1])
    return f"torch=={version} torchvision=={version.replace(f'2.{minor}', f'0.{minor + 15}', 1)}"
