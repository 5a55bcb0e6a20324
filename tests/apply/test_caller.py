"""Who calls the denoiser, and what its batch is made of."""

from types import SimpleNamespace

import pytest
from diffusers import DiffusionPipeline

from bytheway import ByTheWayError
from bytheway.apply.caller import Caller, find_caller, parts_of_batch


class Pipeline(DiffusionPipeline):
    def __init__(self, work=find_caller):
        super().__init__()
        self.work = work

    def __call__(self):
        return self.work()


class GuidedPipeline(Pipeline):
    do_classifier_free_guidance = True


class OldPipeline(Pipeline):
    """Tells by a local of its `__call__` whether it guides."""

    def __call__(self, guidance_scale=7.5):
        do_classifier_free_guidance = guidance_scale > 1
        return self.work(), do_classifier_free_guidance


class Wrapper:
    """Has a `__call__`, and is no pipeline."""

    def __init__(self, pipeline):
        self.pipeline = pipeline

    def __call__(self):
        return self.pipeline()


def test_the_nearest_pipeline_is_the_caller():
    inner = Pipeline()
    for outer in (inner, Pipeline(inner), Pipeline(Wrapper(inner)), Wrapper(inner), GuidedPipeline(inner)):
        assert outer() == Caller(inner, None)


def test_no_pipeline():
    assert find_caller() == Caller(None, None)


def test_a_pipeline_tells_whether_it_guides():
    guided, old = GuidedPipeline(), OldPipeline()
    assert guided().guides() is True
    assert old() == (Caller(old, True), True)
    assert old(guidance_scale=1) == (Caller(old, False), False)
    assert Caller(old, False).guides() is False
    assert Caller(Pipeline(), None).guides() is None
    assert find_caller().guides() is None


def test_a_pipeline_is_asked_only_where_it_matters():
    """A scale for each frame is a tensor: to ask it is to wait for the device."""

    class Asked(Pipeline):
        @property
        def do_classifier_free_guidance(self):
            raise AssertionError

    pipeline = Asked()
    assert pipeline().pipeline is pipeline


def test_a_method_of_a_pipeline_is_not_its_run():
    pipeline = Pipeline(lambda: None)
    pipeline()
    assert find_caller() == Caller(None, None)


@pytest.mark.parametrize(
    ("guided", "perturbed", "parts"),
    [(False, False, (1, 0)), (True, False, (2, 1)), (False, True, (2, 0)), (True, True, (3, 1))],
)
def test_a_pipeline_tells_its_parts(guided, perturbed, parts):
    caller = Caller(SimpleNamespace(do_perturbed_attention_guidance=perturbed), guided)
    assert parts_of_batch(caller, 6, None) == parts


@pytest.mark.parametrize("guided", [False, True])
def test_what_was_said_counts(guided):
    """A pipeline may send the halves in two calls."""
    assert parts_of_batch(Caller(SimpleNamespace(), not guided), 2, guided) == (1 + guided, int(guided))
    assert parts_of_batch(Caller(SimpleNamespace(), True), 1, False) == (1, 0)


@pytest.mark.parametrize("pipeline", [None, SimpleNamespace()])
def test_a_loop_that_does_not_tell(pipeline):
    caller = Caller(pipeline, None)
    assert parts_of_batch(caller, 2, True) == (2, 1)
    assert parts_of_batch(caller, 2, False) == (1, 0)
    assert parts_of_batch(caller, 3, None) == (1, 0)
    with pytest.raises(ByTheWayError, match="batch of 2 is"):
        parts_of_batch(caller, 2, None)
    with pytest.raises(ByTheWayError, match="batch of 3 has no"):
        parts_of_batch(caller, 3, True)
