"""Reading from folders and from the hub, with failures said in one sentence."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bytheway.errors import ByTheWayError, is_out_of_memory
from bytheway.files import read_json_object

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_HUB_FILE = re.compile(rf"({_HUB_ID.pattern}):(\S+)")
CHECKPOINT_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")


def is_hub_id(name: str) -> bool:
    """Whether `name` reads as `owner/name`, an id of the hub, rather than as a path."""
    return _HUB_ID.fullmatch(name) is not None and not name.endswith(CHECKPOINT_SUFFIXES)


def hub_file_of(name: str) -> tuple[str, str] | None:
    """Repository and file of `owner/name:file`, None where the name reads otherwise."""
    match = _HUB_FILE.fullmatch(name)
    return (match[1], match[2]) if match else None


def downloaded(repository: str, file: str) -> Path:
    """The file of a hub repository, from the local cache or fetched.

    Raises:
        ByTheWayError: there is none, or it cannot be reached.
    """
    path = hub_file(repository, file)
    if path is None:
        raise ByTheWayError(f"{repository} on the hub has no file {file}; check the name.")
    return path


def existing_path(name: str) -> Path | None:
    """The file or folder of that name, None when there is none; `~` is the home folder."""
    try:
        path = Path(name).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError):  # too long for a name, a folder that may not be entered; the home of nobody
        return None


def read_json(location: str, file: str) -> dict[str, Any] | None:
    """The JSON object in `file` of a folder or of a hub repository; None when there is no such file.

    Raises:
        ByTheWayError: the repository cannot be reached, or the file cannot be read or holds no JSON object.
    """
    folder = existing_path(location)
    path = folder / file if folder is not None else hub_file(location, file)
    return None if path is None else read_json_object(path, f"{file} of {location}")


def hub_file(repository: str, file: str) -> Path | None:
    """The file of a hub repository in the local cache, fetched when it is not there; None when it has no such file.

    Raises:
        ByTheWayError: the repository does not exist or cannot be reached.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    try:
        with reading(repository):
            return Path(hf_hub_download(repository, file))
    except ByTheWayError as error:
        if isinstance(error.__cause__, RemoteEntryNotFoundError):
            return None
        raise


@contextmanager
def reading(source: str | Path) -> Iterator[None]:
    """Turns the failures of reading a model from `source` into one `ByTheWayError` each; no memory stays what it is."""
    try:
        with warnings.catch_warnings():
            # Torch's word on pickles that are not its own, before it refuses them.
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            yield
    # Any: configurations are checked by whatever their numbers do to a class, and tokenizers raises a bare Exception.
    except Exception as error:
        if isinstance(error, ByTheWayError) or is_out_of_memory(error):
            raise
        raise ByTheWayError(_said(error, source)) from error


def _said(error: BaseException, source: str | Path) -> str:
    """The sentence for a failure, by the first telling one among its causes: libraries wrap errors in others."""
    import pickle

    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
    from safetensors import SafetensorError

    for cause in _causes(error):
        match cause:
            case GatedRepoError():
                return f"{source} asks for its licence to be accepted on the hub; accept it there and log in."
            case RepositoryNotFoundError():
                return f"The hub has no model {source}, or none that this login may see; check the id."
            case LocalEntryNotFoundError() | ConnectionError():
                return f"{source} is not on this machine and the hub cannot be reached; check the network."
            case HfHubHTTPError():
                return f"The hub did not deliver {source}: {first_line(cause)}"
            case SafetensorError():
                return f"The weights of {source} are damaged or cut short; download or save them again."
            case pickle.UnpicklingError():
                return f"{source} holds something other than tensors, which is not opened; convert it to safetensors."
    said = first_line(error).removesuffix(".")
    return f"{source} cannot be loaded: a file is missing or damaged, or does not go with the others ({said})."


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def first_line(error: BaseException) -> str:
    """What an error says: its first line, with the second where that is only announced.

    Its class stands before it where it is raised by Python itself and says little alone, such as a missing key.
    """
    lines = [line.strip() for line in str(error).strip().splitlines()] or [""]
    said = " ".join(lines[: 2 if lines[0].endswith(":") else 1]).removesuffix(":")
    name = type(error).__name__
    if not said:
        return name
    return f"{name}: {said}" if isinstance(error, (ArithmeticError, LookupError, TypeError)) else said
