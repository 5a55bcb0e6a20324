"""Saving, loading, applying, removing. Each test's first line is its column's meaning."""

import inspect
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from bytheway import apply_bytheway, remove_bytheway
from tests.apply.joint_checks import traces
from tests.matrix.subject import Subject, close, differ


def save_and_load(subject: Subject) -> None:
    """saved while enhanced and loaded again, the pipeline is vanilla; applied anew, the enhanced video is the same"""
    apply_bytheway(subject.pipe, subject.config())
    with TemporaryDirectory() as folder:
        subject.pipe.save_pretrained(folder)
        remove_bytheway(subject.pipe)
        absent = {name: None for name, component in subject.pipe.components.items() if component is None}
        loaded: Any = subject.row.pipeline_class.from_pretrained(folder, **absent, **dict(subject.row.loading))
    loaded.set_progress_bar_config(disable=True)
    for component in loaded.components.values():
        if isinstance(component, nn.Module):
            component.requires_grad_(False)
    close(subject.run(loaded), subject.vanilla)
    apply_bytheway(loaded, subject.config())
    close(subject.run(loaded), subject.enhanced)


def remove(subject: Subject) -> None:
    """taken off after a run, nothing is left on any module, and the video is vanilla bit for bit"""
    before = traces(subject.pipe)
    vanilla = subject.vanilla
    apply_bytheway(subject.pipe, subject.config())
    assert traces(subject.pipe) != before
    differ(subject.run(), vanilla)
    remove_bytheway(subject.pipe)
    assert traces(subject.pipe) == before
    assert torch.equal(subject.run(), vanilla)


def apply_twice(subject: Subject) -> None:
    """applied again, the settings given last count, and one removal takes everything off"""
    before = traces(subject.pipe)
    expected = subject.enhanced
    apply_bytheway(subject.pipe, subject.config(beta=9, active_steps=1))
    apply_bytheway(subject.pipe, subject.config())
    try:
        assert torch.equal(subject.run(), expected)
    finally:
        remove_bytheway(subject.pipe)
    assert traces(subject.pipe) == before


def callback(subject: Subject) -> None:
    """a callback at the end of each step may take the method off in the middle of a run"""
    ended = []

    def old_callback(step: int, timestep: Any, latents: torch.Tensor) -> None:
        ended.append(step)
        remove_bytheway(subject.pipe)

    def new_callback(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        old_callback(step, timestep, tensors["latents"])
        return {}

    known = inspect.signature(subject.row.pipeline_class.__call__).parameters
    given = {"callback_on_step_end": new_callback} if "callback_on_step_end" in known else {"callback": old_callback}
    apply_bytheway(subject.pipe, subject.config(active_steps=1))
    assert torch.equal(subject.run(**given), subject.enhanced)
    assert ended == [0, 1]
