"""Put the method on a pipeline, take it off again, or watch a pipeline as it is::

apply_bytheway(pipe)                                     # the preset of the pipeline's family
video = pipe("a horse galloping on a beach").frames[0]
remove_bytheway(pipe)                                    # bit for bit the pipeline it was

with enhanced(pipe, beta=2.0) as run:                    # the same, scoped and recorded
    video = pipe("a horse galloping on a beach").frames[0]
run.record.save("horse.csv")
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from html import escape
from typing import Any, Generic, Literal, cast, overload

from torch import nn
from typing_extensions import TypeVar

from bytheway.apply.applied import Applied, Mark
from bytheway.apply.installation import Installation
from bytheway.apply.joint import JointInstallation
from bytheway.apply.steps import StepTracker
from bytheway.apply.temporal import TemporalInstallation
from bytheway.config import AutoConfig, ByTheWayConfig, config_from
from bytheway.errors import ByTheWayError
from bytheway.families.family import JointAttentions
from bytheway.families.known import denoisers_of, family_of, preset_for, presets
from bytheway.families.pipeline import Model
from bytheway.families.sites import TemporalAttention
from bytheway.record import Record

# Record where there is to be one, None where there is none.
RecordT = TypeVar("RecordT", bound=Record | None, covariant=True, default=Record)


class Run(Generic[RecordT]):
    """What `enhanced` and `observe` hand out.

    Attributes:
        config: the one in use.
        record: what was recorded so far; None if nothing is to be. It stays empty for models with joint space-time
            attention: they have no temporal maps to measure, and beta is that of the config.
        by_anchor: of `observe`, a record for each of its further `anchors`.
    """

    def __init__(self, applied: Applied) -> None:
        self.config: ByTheWayConfig = applied.config
        self.record = cast(RecordT, applied.record)
        self.by_anchor: Mapping[str, Record] = {
            str(one.config.anchor_block): one.record for one in applied.also if one.record is not None
        }
        self._applied = applied

    @property
    def steps(self) -> StepTracker:
        """The step in progress, and which steps are active."""
        return self._applied.steps

    def __repr__(self) -> str:
        """Where the run is, its config and its record."""
        record = "No record" if self.record is None else repr(self.record)
        return f"Run: {self._place()}\n{self.config!r}\n{record}"

    def _repr_html_(self) -> str:
        """The same for notebooks."""
        record = "No record" if self.record is None else self.record._repr_html_()
        return f"<p>Run: {escape(self._place())}<br><code>{escape(repr(self.config))}</code></p>{record}"

    def _place(self) -> str:
        if self.steps.run < 0:
            return "not begun"
        steps, active = self.steps, self.steps.active_steps
        return f"step {steps.step + 1} of {steps.steps}, {active if self._applied.enhance else 'none'} active"


def apply_bytheway(
    model: Model,
    config: ByTheWayConfig | AutoConfig | Mapping[str, Any] | str | None = None,
    *,
    sites: Sequence[TemporalAttention] | None = None,
    scheduler: Any = None,
    classifier_free_guidance: bool | None = None,
    **overrides: Any,
) -> None:
    """Enhance every run of a video pipeline from now on; applying again replaces the config.

    Other pipelines that share the denoiser stay as they are. Given a bare denoiser, all pipelines that use it are
    enhanced, and so are loops of one's own that call it; these have to tell what a pipeline knows by itself.

    Args:
        model: a diffusers pipeline of a known family, or its denoiser.
        config: the config, a mapping of its fields (those left out take the defaults of `ByTheWayConfig`), or the name
            of a preset. None takes the preset of the family, the paper's for AnimateDiff where `sites` are given.
            alpha, beta, tau and anchor_block may be "auto", in a mapping or among the overrides: they are then found
            for this pipeline, once (`AutoConfig.resolve`), which makes the first steps of eight vanilla clips.
        sites: of a denoiser of one's own: where its temporal self-attentions are, in the order in which they run, the
            anchor block first. Its forward takes the batch first, and the timestep second or as `timestep`.
        scheduler: for a loop of one's own: the scheduler whose timesteps it runs through.
        classifier_free_guidance: for a loop of one's own, or a pipeline that does it in a way of its own: whether each
            batch is an unconditional half followed by a conditional one. Halves sent in two calls (False) are enhanced
            each by their own energies. None: as the pipeline says.
        overrides: single fields of the config by name, such as beta=2.0.

    Raises:
        ByTheWayError: the family is not known, has no temporal attention, or the config does not fit it.
    """
    chosen = _config(model, config, sites, overrides)
    _put(model, Applied(chosen, True, None, scheduler, classifier_free_guidance, sites))


def remove_bytheway(model: Model) -> None:
    """Give back the pipeline as it was, bit for bit; nothing happens where nothing was applied.

    Given a bare denoiser, it is taken off every pipeline that uses it.

    Raises:
        ByTheWayError: it was applied to the denoiser, and the pipeline is not to decide for others that use it.
    """
    installations = Installation.all_on(model)
    if isinstance(model, nn.Module):
        for installation in installations:
            installation.drop_all(model)
        return
    Mark.take_off(model)  # also where its denoiser is another by now
    for installation in installations:
        installation.drop(model)
    if any(installation.applied_to(installation.denoiser) is not None for installation in installations):
        raise ByTheWayError(
            "bytheway was applied to the denoiser itself, and still is; give remove_bytheway the denoiser."
        )


@overload
def enhanced(
    model: Model,
    config: ByTheWayConfig | AutoConfig | Mapping[str, Any] | str | None = None,
    *,
    record: Literal[True] = True,
    sites: Sequence[TemporalAttention] | None = None,
    scheduler: Any = None,
    classifier_free_guidance: bool | None = None,
    **overrides: Any,
) -> AbstractContextManager[Run]: ...
@overload
def enhanced(
    model: Model,
    config: ByTheWayConfig | AutoConfig | Mapping[str, Any] | str | None = None,
    *,
    record: bool,
    sites: Sequence[TemporalAttention] | None = None,
    scheduler: Any = None,
    classifier_free_guidance: bool | None = None,
    **overrides: Any,
) -> AbstractContextManager[Run[Record | None]]: ...
@contextmanager
def enhanced(
    model: Model,
    config: ByTheWayConfig | AutoConfig | Mapping[str, Any] | str | None = None,
    *,
    record: bool = True,
    sites: Sequence[TemporalAttention] | None = None,
    scheduler: Any = None,
    classifier_free_guidance: bool | None = None,
    **overrides: Any,
) -> Iterator[Run]:
    """`apply_bytheway` for the length of a `with` block, with a record; what was applied before comes back after it.

    Args:
        config: see `apply_bytheway`.
        record: whether to record energies, disparity and beta of the active steps, where there are temporal maps.
            Sites with a processor of one's own are left out with a warning, since their maps are not known.
        overrides: single fields of the config by name, such as beta=2.0.
    """
    chosen, kept = _config(model, config, sites, overrides), Record() if record else None
    with _scoped(model, Applied(chosen, True, kept, scheduler, classifier_free_guidance, sites)) as run:
        yield run


@contextmanager
def observe(
    model: Model,
    config: ByTheWayConfig | AutoConfig | Mapping[str, Any] | str | None = None,
    *,
    anchors: Sequence[str] = (),
    sites: Sequence[TemporalAttention] | None = None,
    scheduler: Any = None,
    classifier_free_guidance: bool | None = None,
) -> Iterator[Run]:
    """Record every step and temporal self-attention with the method off: bit for bit the outputs of the model.

    Args:
        config: tells the anchor block that disparities refer to, and the band (tau); see `apply_bytheway`.
        anchors: further blocks that disparities are to refer to, each in a record of its own (`Run.by_anchor`) of that
            block and those after it. The clip is made once for all of them.

    Raises:
        ByTheWayError: as in `apply_bytheway`, or the model has joint space-time attention, hence no temporal maps.
    """
    chosen = _config(model, config, sites)
    also = tuple(Applied(chosen.replace(anchor_block=one), False, Record(), attentions=sites) for one in anchors)
    with _scoped(model, Applied(chosen, False, Record(), scheduler, classifier_free_guidance, sites, also)) as run:
        yield run


def _config(
    model: Model,
    config: ByTheWayConfig | AutoConfig | Mapping[str, Any] | str | None,
    sites: Sequence[TemporalAttention] | None,
    overrides: Mapping[str, Any] | None = None,
) -> ByTheWayConfig:
    """The config that is meant, what it leaves to the model being found."""
    chosen = config_from(overrides or {}, _given(model, config, sites))
    if isinstance(chosen, ByTheWayConfig):
        return chosen
    if isinstance(model, nn.Module) or sites is not None:
        raise ByTheWayError(
            f"{', '.join(chosen.auto)} cannot be auto for a bare denoiser or with sites=, since that takes clips; give "
            "the pipeline, or numbers."
        )
    return chosen.resolve(model)


def _given(
    model: Model,
    config: ByTheWayConfig | AutoConfig | Mapping[str, Any] | str | None,
    sites: Sequence[TemporalAttention] | None,
) -> ByTheWayConfig | AutoConfig:
    if config is None:
        return preset_for(model).config if sites is None else ByTheWayConfig()
    if isinstance(config, str) and config in presets():
        return presets()[config].config
    if isinstance(config, Mapping):
        return config_from(config, ByTheWayConfig())
    if not isinstance(config, ByTheWayConfig | AutoConfig):
        raise ByTheWayError(
            f"config is {config!r}; give a ByTheWayConfig, a mapping of its fields, or the name of a preset: "
            f"{', '.join(presets())}."
        )
    return config


@contextmanager
def _scoped(model: Model, applied: Applied) -> Iterator[Run[Any]]:
    applied.before, applied.open = _applied_to(model), True
    _put(model, applied)
    try:
        yield Run(applied)
    finally:
        applied.open = False
        present, earlier = _applied_to(model), applied.earlier()
        for installation in Installation.all_on(model):
            installation.end(applied)
        outlasted = present is not None and present.open  # by another block, which began after this one
        if earlier is not None and not outlasted:
            _put(model, earlier)
        elif not outlasted:
            for installation in Installation.all_on(model):  # the block may have removed it on its own
                installation.drop(model)


def _applied_to(model: Model) -> Applied | None:
    given = (installation.applied_to(model) for installation in Installation.all_on(model))
    return next((one for one in given if one is not None), None)


def _put(model: Model, applied: Applied) -> None:
    """Give a model something, all of its denoisers or none."""
    ready = []
    for denoiser in denoisers_of(model):
        installation = Installation.on(denoiser) or _new_installation(denoiser, applied)
        ready.append((installation, installation.fit(applied)))
    user = model if isinstance(model, nn.Module) else Mark(model)
    for installation, fitted in ready:
        installation.put(user, applied, fitted)
    if isinstance(user, Mark):
        user.write()


def _new_installation(denoiser: nn.Module, applied: Applied) -> Installation[Any, Any]:
    """One that suits the denoiser, still without hooks.

    Raises:
        ByTheWayError: the family of the denoiser is not known.
    """
    if applied.attentions is None and isinstance(family_of(denoiser).attentions, JointAttentions):
        return JointInstallation(denoiser)
    return TemporalInstallation(denoiser)
