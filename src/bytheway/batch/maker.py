"""What a worker does: it loads the model once, makes batches of tasks, and puts every clip into the store."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bytheway.batch.board import Steps
from bytheway.batch.plan import ENDING, Batch, Facts, Task
from bytheway.batch.store import Store, StoreError
from bytheway.clips.inputs import read_image, read_video
from bytheway.clips.read import read_metadata
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.evaluation.manifest import row_of
from bytheway.generation.clip import Clip
from bytheway.generation.job import Job, PlannedClip, check
from bytheway.generation.request import Request
from bytheway.generation.run import make_clips
from bytheway.generation.sample import Step
from bytheway.models.choice import ModelChoice


@dataclass(frozen=True)
class Failure:
    """Why a batch was not made.

    Attributes:
        said: what went wrong, in a sentence.
        is_final: whether it would go wrong again, wherever: the settings are at fault.
        is_store: whether the clips could not be written; then no task is at fault.
        is_broken: whether the worker can make nothing any more.
    """

    said: str
    is_final: bool = False
    is_store: bool = False
    is_broken: bool = False


@dataclass(frozen=True)
class Made:
    """A batch whose clips are all there.

    Attributes:
        rows: of the manifest, one for each task that was wanted.
        fresh: for each, whether this worker put it there; else it was there already.
    """

    rows: tuple[dict[str, Any], ...]
    fresh: tuple[bool, ...]


class Maker:
    """A loaded model that makes batches.

    Args:
        choice: the model.
        store: where clips go.
    """

    def __init__(self, choice: ModelChoice, store: Store) -> None:
        from bytheway.models.profile import profile_of

        self._choice, self._store = choice, store
        self._pipe = choice.load()
        self._loras: tuple[str, ...] | None = ()  # of the batch before
        self._profile = profile_of(self._pipe)

    def facts(self) -> Facts:
        """What the model is."""
        from bytheway.evaluation.provenance import fingerprint

        defaults = self._profile.defaults
        return Facts(
            weights=fingerprint(self._pipe.components),
            dtype=str(self._pipe.dtype).removeprefix("torch."),
            preset=self._profile.preset.config.to_dict(),
            num_frames=defaults.num_frames,
            width=defaults.size[0],
            height=defaults.size[1],
            steps=defaults.steps,
            guidance_scale=defaults.guidance_scale,
            fps=float(defaults.fps),
            pipeline=self._profile.pipeline,
            preset_name=self._profile.preset.name,
            free_init_iterations=self._profile.free_init_iterations,
        )

    def make(self, batch: Batch, on_steps: Callable[[Steps], None] = lambda steps: None) -> Made | Failure:
        """Make the clips of a batch and put them into the store; whatever goes wrong is told, not raised.

        Args:
            on_steps: hears how far it is, after every denoising step.
        """

        def on_step(step: Step) -> None:
            on_steps(Steps(step.iteration * step.steps + step.done, step.iterations * step.steps))

        try:
            wanted = batch.wanted()
            if all(self._store.has(task.name) for task in wanted):  # another driver was faster
                return Made(tuple(row_at(self._store, task.name) for task in wanted), (False,) * len(wanted))
            self._put_on(wanted[0].loras)
            clips = make_clips(self._pipe, _job(batch, self._profile), on_step)
            put = [self._put(task, clip) for task, clip in batch.kept(zip(batch.tasks, clips, strict=True))]
            return Made(tuple(row for row, _ in put), tuple(is_first for _, is_first in put))
        except StoreError as error:
            return Failure(str(error), is_store=True)
        except OSError as error:  # the scratch folder of this machine
            return Failure(f"A clip cannot be written: {error}.", is_store=True)
        except ByTheWayError as error:
            return Failure(str(error), is_final=True)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            # After such an error every later call of this process fails as well.
            return Failure(said, is_broken="CUDA error" in said or "HIP error" in said)

    def _put_on(self, loras: tuple[str, ...]) -> None:
        """Have these LoRAs on the model, beside those of the whole run."""
        if loras != self._loras:
            self._loras = None  # where this fails it is tried anew for the next batch
            self._choice.change_loras(self._pipe, loras)
            self._loras = loras

    def _put(self, task: Task, clip: Clip) -> tuple[dict[str, Any], bool]:
        own = {"id": task.id, "arm": task.arm, "weights": task.weights}
        with tempfile.TemporaryDirectory(prefix="bytheway-") as folder:
            file = Path(folder) / f"{task.id}{ENDING}"
            model = self._choice.settings()
            model["lora"] += task.loras
            try:
                replace(clip, settings={**own, **model, **clip.settings}).save(file)
            except ByTheWayError as error:
                if isinstance(error.__cause__, OSError):  # a full scratch folder of this machine, of no task's making
                    raise StoreError(str(error)) from error
                raise
            return row_of(task.name, read_metadata(file)), self._store.put(file, task.name)


def row_at(store: Store, name: str) -> dict[str, Any]:
    """The row of a clip that is there.

    Raises:
        ByTheWayError: it cannot be read.
    """
    with store.local(name) as file:
        return row_of(name, read_metadata(file))


def _job(batch: Batch, profile: Any) -> Job:
    """What generation is asked for: the tasks of a batch have all but prompt and seed in common."""
    first = batch.tasks[0]
    request = Request(
        tuple(task.prompt for task in batch.tasks),
        seed=first.seed,
        config=None if first.config is None else ByTheWayConfig.from_dict(first.config),
        negative_prompt=first.negative_prompt,
        num_frames=first.num_frames,
        width=first.width,
        height=first.height,
        steps=first.steps,
        guidance_scale=first.guidance_scale,
        fps=first.fps,
        free_init=first.free_init,
        batch_size=len(batch.tasks),
        images=(
            *(read_image(text) for text in first.images),
            *(read_image(text, sketch=True) for text in first.sketches),
        ),
        video=None if first.video is None else read_video(first.video),
        strength=first.strength,
    )
    clips = (PlannedClip(number, task.prompt, task.seed) for number, task in enumerate(batch.tasks))
    return replace(check(request, profile), clips=tuple(clips))
