"""What is a hub id, and the sentences for what can go wrong on the way."""

import pickle
from unittest.mock import Mock

import pytest
import torch
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    StrictDataclassFieldValidationError,
)
from safetensors import SafetensorError

from bytheway import ByTheWayError
from bytheway.models.sources import existing_path, is_hub_id, reading


@pytest.mark.parametrize("name", ["guoyww/animatediff-motion-adapter-v1-5-3", "SG161222/Realistic_Vision_V5.1_noVAE"])
def test_hub_ids(name: str) -> None:
    assert is_hub_id(name)


@pytest.mark.parametrize(
    "name", ["diorama", "./model", "../a/b", "/a/b", "~/a", "a/b/c", "weights/model.ckpt", "a/", ""]
)
def test_no_hub_ids(name: str) -> None:
    assert not is_hub_id(name)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (GatedRepoError("403", response=Mock()), "asks for its licence to be accepted"),
        (RepositoryNotFoundError("404", response=Mock()), "The hub has no model owner/name"),
        (LocalEntryNotFoundError("offline"), "owner/name is not on this machine and the hub cannot be reached"),
        (ConnectionError("offline"), "the hub cannot be reached"),
        (HfHubHTTPError("503 busy\nretry", response=Mock()), "did not deliver owner/name: 503 busy"),
        (SafetensorError("header"), "owner/name are damaged or cut short"),
        (pickle.UnpicklingError("os.system"), "holds something other than tensors"),
        (ValueError("first\nsecond"), r"owner/name cannot be loaded: a file is .* the others \(first\)\.$"),
        (KeyError("added_tokens"), r"cannot be loaded: .* \(KeyError: 'added_tokens'\)\.$"),
        (ValueError("The following keys are wrong:"), r"\(The following keys are wrong\)\.$"),
        (KeyError(), r"cannot be loaded: .* \(KeyError\)\.$"),
        (ZeroDivisionError("modulo by zero"), r"cannot be loaded: .* \(ZeroDivisionError: modulo by zero\)\.$"),
        (
            Exception("Token `x` out of vocabulary"),
            r"cannot be loaded: .* \(Token `x` out of vocabulary\)\.$",
        ),  # tokenizers'
        (
            StrictDataclassFieldValidationError(field="width", cause=TypeError("expected int")),
            r"\(Validation error for field 'width': TypeError: expected int\)\.$",
        ),
        (
            RuntimeError("Error(s) in loading:\n\tsize mismatch\n\tanother"),
            r"\(Error\(s\) in loading: size mismatch\)\.$",
        ),
    ],
)
def test_every_failure_is_one_sentence(error: Exception, sentence: str) -> None:
    with pytest.raises(ByTheWayError, match=sentence) as said, reading("owner/name"):
        raise error
    assert "\n" not in str(said.value)


def test_the_telling_error_may_be_wrapped_in_others() -> None:
    error = OSError("unable to load weights")
    error.__context__ = SafetensorError("header")
    with pytest.raises(ByTheWayError, match="damaged or cut short"), reading("owner/name"):
        raise error


def test_bytheways_own_sentence_passes() -> None:
    with pytest.raises(ByTheWayError, match=r"^as it is$"), reading("owner/name"):
        raise ByTheWayError("as it is")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_no_memory_is_no_bad_input(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, reading("owner/name"):
        raise error
    assert raised.value is error


def test_the_home_of_nobody_is_not_there() -> None:
    assert existing_path("~nobody-of-this-name/model") is None
