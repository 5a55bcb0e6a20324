"""The studio without its page, on the packaged model with few steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from bytheway.clips.inputs import ImageInput
from bytheway.clips.read import load_video, read_metadata
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.families.pipeline import VideoPipeline
from bytheway.generation.request import Request
from bytheway.models.choice import ModelChoice
from bytheway.studio.history import History
from bytheway.studio.service import NO_MEMORY, Studio
from bytheway.studio.tickets import Status, Ticket
from bytheway.studio.wishes import Axis, Best, Wish
from tests.diagnosis.test_prediction import FIT

CHOICE = ModelChoice("diorama", None, (), "cpu", None)
REQUEST = Request(("a red ball rolling to the right on grass",), seed=5, num_frames=8, steps=3)
PATIENCE = 300  # seconds; of a machine that many share
Open = Callable[..., Studio]


@pytest.fixture(scope="module")
def pipe() -> VideoPipeline:
    return CHOICE.load()


@pytest.fixture
def opened(tmp_path: Path, pipe: VideoPipeline) -> Iterator[Open]:
    studios = []

    def open_studio(**settings: Any) -> Studio:
        studio = Studio(History(tmp_path / "clips"), **{"load": lambda choice: pipe, **settings})
        studios.append(studio)
        return studio

    yield open_studio
    for studio in studios:
        studio.close(PATIENCE)


def ended(ticket: Ticket) -> Status:
    return until(ticket, lambda status: status.ended)


def until(ticket: Ticket, holds: Callable[[Status], bool]) -> Status:
    end = time.monotonic() + PATIENCE
    while not (holds(status := ticket.status) or status.ended or time.monotonic() > end):
        time.sleep(0.002)
    assert holds(status), status
    return status


def test_a_comparison_is_kept_with_what_the_method_did(opened: Open) -> None:
    studio = opened()
    ticket = studio.ask("ann", Wish(CHOICE, REQUEST, compare=True))
    seen = until(ticket, lambda status: status.progress is not None and status.progress.done > 1)
    assert seen.progress is not None
    assert (seen.progress.total, seen.progress.steps, seen.progress.what) == (6, 3, "vanilla")
    assert seen.preview is not None
    assert max(seen.preview.size) <= 256
    status = ended(ticket)
    assert status.state == "done", status.said
    (made,) = status.made
    both = [studio.history.entry(name) for name in (made.name, f"{made.name}-vanilla")]
    assert both[0].settings["config"]["alpha"] == 0.2, "the model's preset"
    assert both[0].settings["model"] == "diorama"
    assert both[1].settings["config"] is None
    assert len(load_video(both[0].path)[0]) == 8
    curves = studio.history.curves(made.name)
    assert curves is not None
    assert curves["anchor"] in curves["energy"]
    assert len(curves["beta"][curves["anchor"]]) == len(curves["steps"]) == 1


def test_a_stop_is_heard_within_a_step_and_the_studio_goes_on(opened: Open, pipe: VideoPipeline) -> None:
    studio = opened()
    ticket = studio.ask("ann", Wish(CHOICE, replace(REQUEST, steps=500)))
    done = until(ticket, lambda status: status.progress is not None and status.progress.step > 0).progress
    studio.stop(ticket)
    status = ended(ticket)
    assert status.state == "stopped"
    assert done is not None
    assert status.progress is not None
    assert status.progress.step <= done.step + 2, "the one that was under way, and one that ended meanwhile"
    assert not any(module._forward_hooks for module in pipe.unet.modules()), "the pipeline is as it was"
    assert ended(studio.ask("ann", Wish(CHOICE, REQUEST))).state == "done"
    assert len(studio.history.entries()) == 1


def test_a_stop_while_the_model_loads_is_heard_at_once(opened: Open, pipe: VideoPipeline) -> None:
    gate, loads = threading.Event(), []

    def load(choice: ModelChoice) -> VideoPipeline:
        loads.append(choice.model)
        gate.wait(PATIENCE)
        return pipe

    studio = opened(load=load)
    first, second = studio.ask("ann", Wish(CHOICE, REQUEST)), studio.ask("bob", Wish(CHOICE, REQUEST))
    until(first, lambda status: status.state == "loading")
    studio.stop(first)
    assert (first.status.state, first.status.said) == ("stopped", "Stopped.")
    assert studio.model_said == "A model is loaded to its end, which cannot be broken off …"
    third = studio.ask("ann", Wish(CHOICE, REQUEST))
    studio.stop(second)
    gate.set()
    assert ended(third).state == "done"
    assert loads == ["diorama"], "what was loaded for the first served the next"
    assert (first.status.state, first.status.made, second.status.state) == ("stopped", (), "stopped")
    assert studio.model_said == ""


def test_a_load_that_fails_after_the_stop_is_nobodys(opened: Open, pipe: VideoPipeline) -> None:
    gate = threading.Event()

    def load(choice: ModelChoice) -> VideoPipeline:
        if choice.model == "diorama":
            return pipe
        gate.wait(PATIENCE)
        raise ByTheWayError("There is no such model.")

    studio = opened(load=load)
    first = studio.ask("ann", Wish(replace(CHOICE, model="owner/slow"), REQUEST))
    until(first, lambda status: status.state == "loading")
    second = studio.ask("bob", Wish(CHOICE, replace(REQUEST, steps=1)))
    studio.stop(first)
    gate.set()
    assert ended(second).state == "done"
    assert first.status.said == "Stopped."


def test_a_ticket_that_waits_leaves_the_queue(opened: Open) -> None:
    gate = threading.Event()

    def load(choice: ModelChoice) -> VideoPipeline:
        gate.wait(PATIENCE)
        raise ByTheWayError("There is no such model.")

    studio = opened(load=load, longest=2)
    first = studio.ask("ann", Wish(CHOICE, REQUEST))
    until(first, lambda status: status.state == "loading")
    second, third = studio.ask("ann", Wish(CHOICE, REQUEST)), studio.ask("bob", Wish(CHOICE, REQUEST))
    assert (second.status.ahead, third.status.ahead) == (1, 0), "who has waited for no turn yet comes first"
    assert second.status.said == "Waiting: 1 before you."
    with pytest.raises(ByTheWayError, match="2 wait already"):
        studio.ask("eve", Wish(CHOICE, REQUEST))
    studio.stop(third)
    assert (third.status.state, second.status.ahead) == ("stopped", 0)
    assert studio.ticket("bob", second.number) is None, "tickets are seen by their owners alone"
    assert studio.tickets("ann") == [first, second]
    gate.set()
    assert ended(second).said == "There is no such model."


def test_errors_are_sentences_and_the_studio_goes_on(opened: Open, pipe: VideoPipeline, capfd: Any) -> None:
    errors: list[Exception] = [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        KeyError("unet"),
        ByTheWayError("The weights are damaged."),
    ]

    def load(choice: ModelChoice) -> VideoPipeline:
        if errors:
            raise errors.pop(0)
        return pipe

    studio = opened(load=load)
    said = [ended(studio.ask("ann", Wish(CHOICE, REQUEST))).said for _ in range(3)]
    assert said[0] == NO_MEMORY
    assert said[1] == "This went wrong, and is no fault of yours: KeyError: 'unet'"
    assert said[2] == "The weights are damaged."
    assert "Traceback" in capfd.readouterr().err
    refused = ended(studio.ask("ann", Wish(CHOICE, replace(REQUEST, width=17))))
    assert "multiples of" in refused.said
    assert ended(studio.ask("ann", Wish(CHOICE, REQUEST, method=None))).state == "done"


def test_what_a_ticket_started_from_is_let_go_of_when_it_ends(opened: Open) -> None:
    image = ImageInput(Image.new("RGB", (8, 8)), "red.png")
    ticket = opened().ask("ann", Wish(CHOICE, replace(REQUEST, images=(image,))))
    assert "takes no image" in ended(ticket).said
    assert (ticket.wish.request.images, ticket.wish.request.prompts) == ((), REQUEST.prompts)


def test_a_device_that_failed_is_said_and_the_worker_lives(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with ...")

    monkeypatch.setattr("bytheway.studio.service._free_memory", refuse)
    studio = opened()
    sentence = "The device failed; restart the studio. It said: CUDA error: an illegal memory access was encountered"
    for _ in range(2):
        assert ended(studio.ask("ann", Wish(CHOICE, REQUEST))).said == sentence
    monkeypatch.undo()
    assert ended(studio.ask("ann", Wish(CHOICE, replace(REQUEST, steps=1)))).state == "done"
    monkeypatch.setattr("bytheway.studio.service._free_memory", refuse)
    assert ended(studio.ask("ann", Wish(CHOICE, replace(REQUEST, width=17)))).state == "failed"
    assert ended(studio.ask("ann", Wish(CHOICE, replace(REQUEST, steps=1)))).state == "done", "after the tidying failed"


def test_a_grid_is_a_clip_a_cell(opened: Open) -> None:
    studio = opened()
    grid = (Axis("beta", (1, 3)), Axis("steps", (2,)))
    status = ended(studio.ask("ann", Wish(CHOICE, REQUEST, ByTheWayConfig(alpha=0.3), grid=grid)))
    assert [one.label for one in status.made] == ["beta 1, steps 2", "beta 3, steps 2"]
    settings = [studio.history.entry(one.name).settings for one in status.made]
    assert [(one["config"]["beta"], one["config"]["alpha"], one["steps"]) for one in settings] == [
        (1, 0.3, 2),
        (3, 0.3, 2),
    ]


def test_the_best_seeds_are_finished(opened: Open) -> None:
    studio = opened()
    status = ended(studio.ask("ann", Wish(CHOICE, REQUEST, best=Best(3, 1, "motion"))))
    assert status.state == "done", status.said
    assert [one.seed for one in status.candidates] == [5, 6, 7]
    (kept,) = [one for one in status.candidates if one.kept]
    assert kept.motion == max(one.motion for one in status.candidates)
    assert [one.label for one in status.made] == [f"seed {kept.seed}"]
    assert any("energy of the guided blocks" in note for note in status.notes)


def test_auto_settings_are_said_and_looked_at_once(opened: Open) -> None:
    studio = opened()
    ticket = studio.ask("ann", Wish(CHOICE, REQUEST, method="auto"))
    until(ticket, lambda status: status.state == "looking")
    status = ended(ticket)
    assert status.state == "done", status.said
    assert any(note.startswith("Found for this model: alpha 0.") for note in status.notes)
    settings = read_metadata(studio.history.entry(status.made[0].name).path)
    assert 0 < settings["config"]["alpha"] <= 0.6
    assert settings["auto"] == ["alpha", "beta", "tau", "anchor_block"]
    again = ended(studio.ask("ann", Wish(CHOICE, REQUEST, method="auto")))
    assert again.notes == status.notes


@pytest.mark.parametrize("changes", [{"method": "auto"}, {"best": Best(3, 1, "motion")}])
def test_a_stop_is_heard_while_maps_are_looked_at_and_seeds_begun(opened: Open, changes: dict[str, Any]) -> None:
    studio = opened()
    ticket = studio.ask("ann", Wish(CHOICE, replace(REQUEST, steps=900), **changes))
    until(ticket, lambda status: status.state in ("looking", "making"))
    studio.stop(ticket)
    status = ended(ticket)
    assert (status.state, status.candidates, status.notes) == ("stopped", (), ())
    assert ended(studio.ask("ann", Wish(CHOICE, replace(REQUEST, steps=1)))).state == "done"


def test_a_fit_tells_early_what_the_clip_will_be(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bytheway.studio.making.fit_for", lambda model, pipe, job: FIT)
    studio = opened()
    ticket = studio.ask("ann", Wish(CHOICE, REQUEST))
    seen = until(ticket, lambda status: status.forecast is not None)
    assert seen.progress is not None
    assert seen.progress.step < seen.progress.steps, "before the clip is finished"
    assert str(seen.forecast).startswith("likely ")
    assert ended(ticket).made[0].forecast == seen.forecast


def test_words_that_the_model_does_not_know_are_said(opened: Open) -> None:
    studio = opened()
    wish = Wish(CHOICE, replace(REQUEST, prompts=("a zeppelin",), steps=1), None)
    assert any("zeppelin" in note for note in ended(studio.ask("ann", wish)).notes)


def test_files_of_the_machine_are_named_by_its_own_people_alone(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = opened(own_files=False)
    for text in (str(tmp_path), "~/model", "../secret", "/etc"):
        with pytest.raises(ByTheWayError, match="may not be named"):
            studio.ask("ann", Wish(replace(CHOICE, model=text), REQUEST))
    with pytest.raises(ByTheWayError, match="may not be named"):
        studio.ask("ann", Wish(replace(CHOICE, lora=(f"{tmp_path}=0.5",)), REQUEST))
    (tmp_path / "a=b").mkdir()
    monkeypatch.chdir(tmp_path)
    for text in ("a=b", "a=b=0.5"):
        with pytest.raises(ByTheWayError, match="may not be named"):
            studio.ask("ann", Wish(replace(CHOICE, lora=(text,)), REQUEST))
    studio.prepare(replace(CHOICE, model=str(tmp_path)))
    assert studio.ask("ann", Wish(replace(CHOICE, model=str(tmp_path)), REQUEST)), "what it was started with"


def test_the_end_stops_everything(opened: Open) -> None:
    studio = opened()
    running = studio.ask("ann", Wish(CHOICE, replace(REQUEST, steps=500)))
    waiting = studio.ask("ann", Wish(CHOICE, REQUEST))
    until(running, lambda status: status.progress is not None)
    studio.close(PATIENCE)
    assert (running.status.state, waiting.status.state) == ("stopped", "stopped")
    with pytest.raises(ByTheWayError, match="ending"):
        studio.ask("ann", Wish(CHOICE, REQUEST))
