"""ComfyUI's fakes in the place of ComfyUI."""

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from bytheway import load
from tests.comfyui import fakes


@pytest.fixture(autouse=True)
def comfy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """ComfyUI's modules are fakes; `comfy.interrupt = True` is the user's wish to end the run,
    `comfy.interrupt_after = n` when n steps are made."""
    state = SimpleNamespace(interrupt=False, interrupt_after=None, asked=0)

    def interrupted() -> None:
        state.asked += 1
        if state.interrupt or (state.interrupt_after is not None and state.asked > state.interrupt_after):
            raise fakes.InterruptedByUserError

    for name, module in fakes.modules(interrupted).items():
        monkeypatch.setitem(sys.modules, name, module)
    yield state
    for name in [name for name in sys.modules if name.startswith("bytheway.comfyui")]:
        del sys.modules[name]


@pytest.fixture(scope="package")
def diorama() -> Any:
    return load("diorama", device="cpu")


@pytest.fixture
def pipe(diorama: Any) -> Any:
    """As ByTheWay (load) hands it out."""
    from bytheway.comfyui.pipelines import Loaded

    return Loaded("diorama", diorama)
