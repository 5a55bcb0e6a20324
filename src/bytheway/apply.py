"""Put the method on a pipeline, take it off again, or watch a pipeline as it is.

>>> apply_bytheway(pipe)                                     # settings chosen by the pipeline's architecture
>>> video = pipe("a horse galloping on a beach").frames[0]
>>> remove_bytheway(pipe)                                    # bit for bit the pipeline it was
>>> with enhanced(pipe, beta=2.0) as run:                    # the same, scoped and recorded
...     video = pipe("a horse galloping on a beach").frames[0]
>>> run.record.save("horse.csv")
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bytheway.call import Settings
from bytheway.config import ByTheWayConfig
from bytheway.hooks import Installation
from bytheway.record import Record
from bytheway.sites import denoiser_of
from bytheway.window import StepWindow


@dataclass(frozen=True)
class Run:
    """What `enhanced` and `observe` hand out.

    Attributes:
        config: the settings in use.
        record: what was recorded so far; None if nothing is to be.
        window: the step in progress, and which steps are active.
    """

    config: ByTheWayConfig
    record: Record | None
    window: StepWindow


def apply_bytheway(
    model: Any,
    config: ByTheWayConfig | None = None,
    *,
    scheduler: Any = None,
    classifier_free_guidance: bool | None = None,
) -> None:
    """Enhance every run of a video pipeline from now on; applying again replaces the settings.

    Other pipelines that share the denoiser stay as they are. Given a bare denoiser, all pipelines that use it are
    enhanced, and so are loops of one's own that call it; these have to tell what a pipeline knows by itself.

    Args:
        model: a diffusers pipeline of a known architecture, or its denoiser.
        config: None takes the preset of the architecture.
        scheduler: for a loop of one's own: the scheduler whose timesteps it runs through.
        classifier_free_guidance: for a loop of one's own: whether each batch is an unconditional half followed by a
            conditional one. Halves sent in two calls (False) are enhanced each by their own energies.

    Raises:
        ByTheWayError: the architecture is not known, has no temporal attention, or the settings do not fit it.
    """
    _put(model, Settings(_config(model, config), True, None, scheduler, classifier_free_guidance))


def remove_bytheway(model: Any) -> None:
    """Give back the pipeline as it was, bit for bit; nothing happens where nothing was applied.

    Given a bare denoiser, it is taken off every pipeline that uses it.
    """
    installation = Installation.on(denoiser_of(model))
    if installation is not None:
        installation.drop(model)


@contextmanager
def enhanced(
    model: Any,
    config: ByTheWayConfig | None = None,
    *,
    record: bool = True,
    scheduler: Any = None,
    classifier_free_guidance: bool | None = None,
    **overrides: Any,
) -> Iterator[Run]:
    """`apply_bytheway` for the length of a `with` block, with a record; what was applied before comes back after it.

    Args:
        record: whether to record energies, disparity and beta of the active steps.
        overrides: single settings by name, such as beta=2.0, in place of those of `config`.
    """
    chosen = _config(model, config).replace(**overrides)
    with _scoped(
        model, Settings(chosen, True, Record() if record else None, scheduler, classifier_free_guidance)
    ) as run:
        yield run


@contextmanager
def observe(
    model: Any,
    config: ByTheWayConfig | None = None,
    *,
    scheduler: Any = None,
    classifier_free_guidance: bool | None = None,
) -> Iterator[Run]:
    """Record every step and temporal self-attention with the method off: bit for bit the outputs of the model.

    Args:
        config: tells the anchor block that disparities refer to, and the band (tau); None takes the preset.
    """
    with _scoped(model, Settings(_config(model, config), False, Record(), scheduler, classifier_free_guidance)) as run:
        yield run


def _config(model: Any, config: ByTheWayConfig | None) -> ByTheWayConfig:
    return ByTheWayConfig.for_pipeline(model) if config is None else config


@contextmanager
def _scoped(model: Any, settings: Settings) -> Iterator[Run]:
    installation = Installation.on(denoiser_of(model))
    before = None if installation is None else installation.settings_of(model)
    installation = _put(model, settings)
    try:
        yield Run(settings.config, settings.record, settings.window)
    finally:
        if before is None:
            installation.drop(model)
        else:
            installation.put(model, before)


def _put(model: Any, settings: Settings) -> Installation:
    denoiser = denoiser_of(model)
    installation = Installation.on(denoiser) or Installation(denoiser)
    installation.put(model, settings)
    return installation
