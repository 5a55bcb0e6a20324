"""Put the method on a pipeline, take it off again, or watch a pipeline as it is.

apply_bytheway(pipe)                                     # settings chosen by the pipeline's architecture
video = pipe("a horse galloping on a beach").frames[0]
remove_bytheway(pipe)                                    # bit for bit the pipeline it was
with enhanced(pipe, beta=2.0) as run:                    # the same, scoped and recorded
    video = pipe("a horse galloping on a beach").frames[0]
run.record.save("horse.csv")
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from bytheway.apply.forward import Settings
from bytheway.apply.installation import Installation
from bytheway.apply.joint import installation_on
from bytheway.apply.steps import StepWindow
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.families.known import denoisers_of, preset_for
from bytheway.families.sites import TemporalAttention
from bytheway.record import Record


@dataclass(frozen=True)
class Run:
    """What `enhanced` and `observe` hand out.

    Attributes:
        config: the settings in use.
        record: what was recorded so far; None if nothing is to be. It stays empty for models with joint space-time
            attention: they have no temporal maps to measure, and beta is that of the settings.
        window: the step in progress, and which steps are active.
    """

    config: ByTheWayConfig
    record: Record | None
    window: StepWindow


def apply_bytheway(
    model: Any,
    config: ByTheWayConfig | None = None,
    *,
    sites: Sequence[TemporalAttention] | None = None,
    scheduler: Any = None,
    classifier_free_guidance: bool | None = None,
) -> None:
    """Enhance every run of a video pipeline from now on; applying again replaces the settings.

    Other pipelines that share the denoiser stay as they are. Given a bare denoiser, all pipelines that use it are
    enhanced, and so are loops of one's own that call it; these have to tell what a pipeline knows by itself.

    Args:
        model: a diffusers pipeline of a known architecture, or its denoiser.
        config: None takes the preset of the architecture, the paper's for AnimateDiff where `sites` are given.
        sites: of a denoiser of one's own: where its temporal self-attentions are, in the order in which they run, the
            anchor block first. Its forward takes the batch first, and the timestep second or as `timestep`.
        scheduler: for a loop of one's own: the scheduler whose timesteps it runs through.
        classifier_free_guidance: for a loop of one's own, or a pipeline that does it in a way of its own: whether each
            batch is an unconditional half followed by a conditional one. Halves sent in two calls (False) are enhanced
            each by their own energies. None: as the pipeline says.

    Raises:
        ByTheWayError: the architecture is not known, has no temporal attention, or the settings do not fit it.
    """
    _put(model, Settings(_config(model, config, sites), True, None, scheduler, classifier_free_guidance, sites))


def remove_bytheway(model: Any) -> None:
    """Give back the pipeline as it was, bit for bit; nothing happens where nothing was applied.

    Given a bare denoiser, it is taken off every pipeline that uses it.

    Raises:
        ByTheWayError: it was applied to the denoiser, and the pipeline is not to decide for others that use it.
    """
    for denoiser in denoisers_of(model):
        installation = Installation.on(denoiser)
        if installation is not None:
            installation.drop(model)
            if not isinstance(model, nn.Module) and installation.settings_of(denoiser) is not None:
                raise ByTheWayError(
                    "bytheway was applied to the denoiser itself, and still is; give remove_bytheway the denoiser."
                )


@contextmanager
def enhanced(
    model: Any,
    config: ByTheWayConfig | None = None,
    *,
    record: bool = True,
    sites: Sequence[TemporalAttention] | None = None,
    scheduler: Any = None,
    classifier_free_guidance: bool | None = None,
    **overrides: Any,
) -> Iterator[Run]:
    """`apply_bytheway` for the length of a `with` block, with a record; what was applied before comes back after it.

    Args:
        record: whether to record energies, disparity and beta of the active steps, where there are temporal maps.
        overrides: single settings by name, such as beta=2.0, in place of those of `config`.
    """
    chosen, kept = _config(model, config, sites).replace(**overrides), Record() if record else None
    with _scoped(model, Settings(chosen, True, kept, scheduler, classifier_free_guidance, sites)) as run:
        yield run


@contextmanager
def observe(
    model: Any,
    config: ByTheWayConfig | None = None,
    *,
    sites: Sequence[TemporalAttention] | None = None,
    scheduler: Any = None,
    classifier_free_guidance: bool | None = None,
) -> Iterator[Run]:
    """Record every step and temporal self-attention with the method off: bit for bit the outputs of the model.

    Args:
        config: tells the anchor block that disparities refer to, and the band (tau); None takes the preset.

    Raises:
        ByTheWayError: as in `apply_bytheway`, or the model has joint space-time attention, hence no temporal maps.
    """
    chosen = _config(model, config, sites)
    with _scoped(model, Settings(chosen, False, Record(), scheduler, classifier_free_guidance, sites)) as run:
        yield run


def _config(model: Any, config: ByTheWayConfig | None, sites: Sequence[TemporalAttention] | None) -> ByTheWayConfig:
    if config is not None:
        return config
    return preset_for(model).config if sites is None else ByTheWayConfig()


@contextmanager
def _scoped(model: Any, settings: Settings) -> Iterator[Run]:
    denoisers = denoisers_of(model)
    present = [Installation.on(denoiser) for denoiser in denoisers]
    before = [None if installation is None else installation.settings_of(model) for installation in present]
    _put(model, settings)
    try:
        yield Run(settings.config, settings.record, settings.window)
    finally:
        for denoiser, earlier in zip(denoisers, before, strict=True):
            # The block may have applied and removed on its own.
            installation = Installation.on(denoiser)
            if earlier is not None:
                installation_on(denoiser, earlier).put(model, earlier)
            elif installation is not None:
                installation.drop(model)


def _put(model: Any, settings: Settings) -> None:
    for denoiser in denoisers_of(model):
        installation_on(denoiser, settings).put(model, settings)
