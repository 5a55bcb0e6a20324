"""How far a command is: bars on a terminal, lines anywhere else."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from bytheway.cli.tables import is_quiet, note, printable

if TYPE_CHECKING:
    from rich.progress import ProgressColumn, TaskID

    from bytheway.batch.driver import Tally
    from bytheway.generation.job import Job, PlannedClip
    from bytheway.generation.sample import Step
    from bytheway.models.videocrafter.convert import Written

_MOST_STEPS: Final = 8  # workers whose steps are shown
SILENCE: Final = 10.0  # seconds after which a line is written of steps, where no bars are


class _Progress:
    """Bars on stderr: a name, the bar, the columns that are given, the time. They are drawn on a terminal only."""

    def __init__(self, *columns: ProgressColumn) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            *columns,
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._drawn = self._bars.console.is_terminal and not is_quiet()

    def __enter__(self) -> Self:
        if self._drawn:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawn:
            self._bars.stop()


class RunProgress(_Progress):
    """Takes the steps of a run (`on_step` of `bytheway.generate`) and shows them on stderr, clip by clip.

    Args:
        job: what is made.
        clips: how many clips there are to be in the end, with those of earlier commands.
    """

    def __init__(self, job: Job, clips: int) -> None:
        from rich.progress import MofNCompleteColumn, TextColumn

        super().__init__(
            MofNCompleteColumn(),
            TextColumn("{task.fields[phase]}", style="cyan"),
            TextColumn("{task.fields[speed]}", style="dim"),
        )
        self._clips = clips
        self._variants = 2 if job.request.compare else 1
        self._places = {clip.index: place for place, clip in enumerate(job.clips)}
        self._tasks: dict[str, TaskID] = {}
        self._began = self._task_began = self._said = time.monotonic()

    def __call__(self, step: Step) -> None:
        """Show one more step."""
        now = time.monotonic()
        done, total = step.iteration * step.steps + step.done, step.steps * step.iterations
        clips = self._numbers(step.clips)
        name = clips + step.variant
        if name not in self._tasks:
            self._set_aside(clips)
            self._task_began = self._said = now
            self._tasks[name] = self._bars.add_task(name, phase="", speed="")
            if not self._drawn:
                for clip in step.clips:
                    said = self._numbers((clip,)) + step.variant
                    note(f"{said}: {clip.prompt} (seed {clip.seed}, {total} steps)")
        speed = self._speed(step, now, done, total) if done else ""
        self._bars.update(self._tasks[name], completed=done, total=total, phase=_phase(step), speed=speed)
        if done and not self._drawn and (done == total or now - self._said >= SILENCE):
            self._said = now
            note(f"{name}: step {done}/{total}, {speed}")

    def _speed(self, step: Step, now: float, done: int, total: int) -> str:
        """Seconds a step, and how long everything that is still to be made will take at the speed so far."""
        at_once = len(step.clips)
        earlier = self._places[step.clips[0].index] * self._variants
        if self._variants == 2 and step.variant == "enhanced":
            earlier += at_once
        share = (earlier + at_once * done / total) / (len(self._places) * self._variants)
        left = (now - self._began) * (1 - share) / share
        return f"{(now - self._task_began) / done:.2g} s a step, {_duration(left)} left"

    def _numbers(self, planned: tuple[PlannedClip, ...]) -> str:
        """Which of all the clips these are, in words; nothing where there is one clip only."""
        first, last = planned[0].index + 1, planned[-1].index + 1
        if self._clips == 1:
            return ""
        return f"clip {first}/{self._clips} " if first == last else f"clips {first}-{last}/{self._clips} "

    def _set_aside(self, clips: str) -> None:
        """What is finished: the other variant of these clips stays in view, earlier clips do not."""
        for name, task in self._tasks.items():
            self._bars.update(task, phase="done", visible=name.startswith(clips))


class WriteProgress(_Progress):
    """Takes the files that a conversion writes (`on_write` of a `convert`) and shows on stderr how much is there."""

    def __init__(self) -> None:
        from rich.progress import DownloadColumn

        super().__init__(DownloadColumn())
        self._task = self._bars.add_task("reading", total=None)

    def __call__(self, written: Written) -> None:
        """Show what is written by now."""
        self._bars.update(self._task, description=written.component, completed=written.done, total=written.total)
        if not self._drawn:
            note(f"{written.component}: {written.done / written.total:.0%} written")


class CountProgress(_Progress):
    """How many of some things are done, and how long the rest will take at the speed so far.

    Args:
        doing: what is done to them, such as "measuring".
        total: how many there are; 0 where only `reach` will tell.
    """

    def __init__(self, doing: str, total: int) -> None:
        from rich.progress import MofNCompleteColumn, TextColumn

        super().__init__(
            MofNCompleteColumn(),
            TextColumn("{task.fields[name]}", style="cyan"),
            TextColumn("{task.fields[left]}", style="dim"),
        )
        self._doing, self._total, self._done = doing, total, 0
        self._task = self._bars.add_task(doing, total=total or None, name="", left="")
        self._began = self._said = time.monotonic()

    def begin(self, name: str) -> None:
        """Show which one is in work."""
        self._bars.update(self._task, name=printable(name))

    def advance(self) -> None:
        """One more is done."""
        self.reach(self._done + 1, self._total)

    def reach(self, done: int, total: int) -> None:
        """So many of so many are done."""
        self._done, now = done, time.monotonic()
        left = f"{_duration((now - self._began) * (total - done) / done)} left" if done else ""
        self._bars.update(self._task, completed=done, total=total, left=left)
        if not self._drawn and now - self._said >= SILENCE:
            self._said = now
            note(f"{self._doing}: {done}/{total}, {left}")


class MakingProgress(_Progress):
    """Takes the steps of an experiment's clips and shows how many are made, and how long the rest will take.

    Args:
        steps: all denoising steps that are to be made.
        there: clips that are there already.
        total: clips there will be.
    """

    def __init__(self, steps: int, there: int, total: int) -> None:
        from rich.progress import TextColumn

        super().__init__(
            TextColumn("{task.fields[clips]}"),
            TextColumn("{task.fields[name]}", style="cyan"),
            TextColumn("{task.fields[left]}", style="dim"),
        )
        self._clips, self._total, self._steps = there, total, steps
        self._finished = 0  # steps of the chunks before this one
        self._name = ""
        self._task = self._bars.add_task("making", total=steps, clips="", name="", left="")
        self._began = self._said = time.monotonic()

    def begin(self, arm: str, prompt: str) -> None:
        """What is in work now."""
        self._name = f"{arm}: {prompt}"
        self._bars.update(self._task, clips=f"{self._clips}/{self._total}", name=printable(self._name))

    def __call__(self, step: Step) -> None:
        """One more step of the clips in work."""
        done = self._finished + len(step.clips) * (step.iteration * step.steps + step.done)
        now = time.monotonic()
        left = f"{_duration((now - self._began) * (self._steps - done) / done)} left" if done else ""
        self._bars.update(self._task, completed=done, left=left)
        if not self._drawn and now - self._said >= SILENCE:
            self._said = now
            note(f"making: {self._clips}/{self._total} clips, {self._name}, {left}")

    def made(self) -> None:
        """One more clip is there."""
        self._clips += 1

    def finish(self, steps: int) -> None:
        """All clips in work are there, which took so many steps."""
        self._finished += steps


class BatchProgress(_Progress):
    """Shows how far all workers of a batch run are, after each of its driver's turns.

    Args:
        tally: at the beginning.
    """

    def __init__(self, tally: Tally) -> None:
        from rich.progress import MofNCompleteColumn, TextColumn

        super().__init__(
            MofNCompleteColumn(),
            TextColumn("{task.fields[workers]}", style="cyan"),
            TextColumn("{task.fields[steps]}"),
            TextColumn("{task.fields[left]}", style="dim"),
        )
        self._task = self._bars.add_task(
            "clips", total=tally.clips, completed=tally.there, workers="", steps="", left=""
        )
        self._said = time.monotonic()

    def __call__(self, tally: Tally) -> None:
        """One more turn."""
        left, now = tally.seconds_left, time.monotonic()
        told = f"{_duration(left)} left" if left is not None else ""
        workers = f"{tally.workers} worker{'' if tally.workers == 1 else 's'}, {tally.at_work} at work"
        if tally.failed:
            workers += f", {tally.failed} set aside"
        done = tally.there + tally.made + tally.failed
        steps = _steps(tally)
        self._bars.update(self._task, completed=done, workers=workers, steps=steps, left=told)
        if not self._drawn and now - self._said >= SILENCE:
            self._said = now
            note(", ".join(filter(None, (f"clips: {done}/{tally.clips}", workers, steps, told))))


def _steps(tally: Tally) -> str:
    """How far the first few workers are."""
    said = [f"{one.done}/{one.steps}" for one in tally.steps.values()]
    more = " ..." if len(said) > _MOST_STEPS else ""
    return f"steps {' '.join(said[:_MOST_STEPS])}{more}" if said else ""


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _phase(step: Step) -> str:
    if step.done < step.active:
        return f"enhancing {step.done + 1}/{step.active}"
    if step.done == step.steps and step.iteration == step.iterations - 1:
        return "decoding"
    return "denoising"
