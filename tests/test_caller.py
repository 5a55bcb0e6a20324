"""Who calls the denoiser, and what its batch is made of."""

from types import SimpleNamespace

import pytest
from diffusers import DiffusionPipeline

from bytheway import ByTheWayError
from bytheway.caller import calling_pipeline, parts_of_batch


class Pipeline(DiffusionPipeline):
    def __init__(self, work=calling_pipeline):
        super().__init__()
        self.work = work

    def __call__(self):
        return self.work()


class Wrapper:
    """Has a `__call__`, and is no pipeline."""

    def __init__(self, pipeline):
        self.pipeline = pipeline

    def __call__(self):
        return self.pipeline()


def test_the_nearest_pipeline_is_the_caller():
    inner = Pipeline()
    assert inner() is inner
    assert Pipeline(inner)() is inner
    assert Pipeline(Wrapper(inner))() is inner
    assert Wrapper(inner)() is inner


def test_no_pipeline():
    assert calling_pipeline() is None


def test_a_method_of_a_pipeline_is_not_its_run():
    pipeline = Pipeline(lambda: None)
    pipeline()
    assert calling_pipeline() is None


@pytest.mark.parametrize(
    ("guided", "perturbed", "parts"),
    [(False, False, (1, 0)), (True, False, (2, 1)), (False, True, (2, 0)), (True, True, (3, 1))],
)
def test_a_pipeline_tells_its_parts(guided, perturbed, parts):
    pipeline = SimpleNamespace(do_classifier_free_guidance=guided, do_perturbed_attention_guidance=perturbed)
    assert parts_of_batch(pipeline, 6, None) == parts
    assert parts_of_batch(pipeline, 6, not guided) == parts


@pytest.mark.parametrize("pipeline", [None, SimpleNamespace()])
def test_a_loop_that_does_not_tell(pipeline):
    assert parts_of_batch(pipeline, 2, True) == (2, 1)
    assert parts_of_batch(pipeline, 2, False) == (1, 0)
    assert parts_of_batch(pipeline, 3, None) == (1, 0)
    with pytest.raises(ByTheWayError, match="batch of 2 is"):
        parts_of_batch(pipeline, 2, None)
    with pytest.raises(ByTheWayError, match="batch of 3 has no"):
        parts_of_batch(pipeline, 3, True)
