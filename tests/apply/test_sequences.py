"""Whatever people do to a pipeline, in whatever order: enhanced it is enhanced, and without the method it is vanilla.

Two equal pipelines have the same done to them; on one of them the method comes and goes. Its clip is, bit for bit, that
of the other one while the method is off or observes. While it enhances, it is the clip of the other one under the
method's definition, or a sentence says what stands in its way. By hand, other sequences for each seed; what fails is
shrunk, and tried first the next time:

    for seed in $(seq 10); do
        pytest tests/apply/test_sequences.py --hypothesis-profile=thorough --hypothesis-seed=$seed
    done
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import accelerate
import diffusers
import pytest
import torch
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from torch import nn

from bytheway import ByTheWayConfig, apply_bytheway, enhanced, observe, remove_bytheway
from bytheway.errors import ByTheWayError, ByTheWayWarning
from tests.apply.doings import ANOTHER_PIPELINE, CPU, SUBJECTS, TECHNIQUES, NotNow, State, Subject, compile_first

MOTION = ByTheWayConfig(alpha=0.0, beta=3.0, tau=1, active_steps=1.0)
GUIDED = ByTheWayConfig(alpha=0.6, beta=1.5, tau=1, active_steps=1.0)
CONFIGS = {"motion": MOTION, "guided": GUIDED}
METHOD = (*(f"{how} {config}" for how in ("apply", "enhance") for config in CONFIGS), "remove", "observe")


class Pair:
    """Two equal pipelines, and what is on the first."""

    def __init__(self, subject: Subject) -> None:
        self.state, self.other = (State(deepcopy(subject.pipe), subject) for _ in range(2))
        self.config: ByTheWayConfig | None = None

    def do(self, doing: str) -> None:
        how, _, config = doing.partition(" ")
        if doing in TECHNIQUES:
            self.technique(doing)
        elif how == "compile":
            compile_first(self.state)  # the other one's hooks of torch would be no reason for another graph
        elif how == "apply":
            self.apply(CONFIGS[config])
        elif how == "remove":
            remove_bytheway(self.state.pipe)
            self.config = None
        else:
            self.within(CONFIGS[config] if how == "enhance" else None)
        self.check(self.config)

    def technique(self, name: str) -> None:
        try:
            TECHNIQUES[name](self.other)
        except NotNow:
            event(f"{name} not now")
            return
        TECHNIQUES[name](self.state)
        if name in ANOTHER_PIPELINE:
            self.config = None

    def apply(self, config: ByTheWayConfig) -> None:
        with self.refused(config):
            apply_bytheway(self.state.pipe, config)
            self.config = config

    def within(self, config: ByTheWayConfig | None) -> None:
        """A block that enhances, or one that observes."""
        pipe = self.state.pipe
        block = observe(pipe, MOTION) if config is None else enhanced(pipe, config, record=False)
        with warnings.catch_warnings(), self.refused(config):
            warnings.simplefilter("ignore", ByTheWayWarning)  # of maps that are not known
            with block:
                self.check(config)

    def check(self, config: ByTheWayConfig | None) -> None:
        if config is None:
            assert torch.equal(self.state.run(), self.other.run())
            return
        with self.refused(config):
            video = self.state.run()
            with self.other.subject.definition(self.other.pipe, config):
                expected = self.other.run()
            torch.testing.assert_close(video, expected, rtol=1e-3, atol=1e-4)

    @contextmanager
    def refused(self, config: ByTheWayConfig | None) -> Iterator[None]:
        """Maps that are not known, or are not there, can neither guide nor be guided nor be observed."""
        state = self.state
        unknown = not state.subject.temporal or state.own_processors or bool(state.wrapped)
        try:
            yield
        except ByTheWayError:
            if not unknown or (config is not None and config.alpha == 0):
                raise
            event("refused")


@pytest.fixture(scope="module", autouse=True)
def offloading_to_the_cpu() -> Iterator[None]:
    """Sequential offloading from the CPU to the CPU.

    It leaves plain tensors where parameters were, on which accelerate then fails; and diffusers, which takes it off
    and puts it on again where a LoRA is loaded, asks for an accelerator.
    """
    own_set = accelerate.hooks.set_module_tensor_to_device
    pipeline = diffusers.DiffusionPipeline
    own = {name: getattr(pipeline, name) for name in ("enable_sequential_cpu_offload", "enable_model_cpu_offload")}

    def set_tensor(module: nn.Module, name: str, *args: Any, **kwargs: Any) -> Any:
        if name in module._parameters and not isinstance(module._parameters[name], nn.Parameter):
            module._parameters[name] = nn.Parameter(module._parameters[name], requires_grad=False)
        return own_set(module, name, *args, **kwargs)

    def to_cpu(name: str) -> Callable[..., None]:
        return lambda pipe, gpu_id=None, device=None: own[name](pipe, device=CPU)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accelerate.hooks, "set_module_tensor_to_device", set_tensor)
        for name in own:
            patch.setattr(pipeline, name, to_cpu(name))
        yield


THOROUGH = settings.get_current_profile_name() == "thorough"
CHOICES = [*TECHNIQUES, *METHOD * 3, *(["compile"] if THOROUGH else [])]


@pytest.mark.parametrize("name", SUBJECTS)
@settings(
    max_examples=250 if THOROUGH else 100,
    deadline=None,
    derandomize=not THOROUGH,
    suppress_health_check=list(HealthCheck),
)
@given(doings=st.lists(st.sampled_from(CHOICES), min_size=2, max_size=8))
@example(["apply guided", "free_noise_on", "ip_adapter_on", "lora_on", "cache_on", "ip_adapter_off", "remove"])
@example(["free_noise_on", "free_noise_split", "enhance guided", "observe", "apply motion", "remove"])
@example(["apply guided", "offload_groups", "lora_on", "cache_on", "lora_off", "offload_nothing", "remove"])
@example(
    ["own_processors", "apply guided", "usual_processors", "to_float64", "offload_model", "ip_adapter_on", "remove"]
)
def test_any_sequence(name: str, doings: list[str]) -> None:
    torch._dynamo.reset()
    pair = Pair(SUBJECTS[name])
    for doing in doings:
        pair.do(doing)
