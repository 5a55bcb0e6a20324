"""What a profile says of calls that are known."""

import torch

from benchmarks.profiling import Operator, extra, profiled

CPU = torch.device("cpu")


def test_the_peak_is_what_is_held_at_once() -> None:
    def call() -> None:
        kept = torch.ones(1000, dtype=torch.float64)
        for _ in range(5):
            torch.ones(500, dtype=torch.float64)
        assert len(kept) == 1000

    assert profiled(call, CPU).peak == 1500 * 8


def test_values_that_are_fetched_are_counted() -> None:
    values = torch.arange(3.0)
    assert profiled(lambda: [float(value) for value in values], CPU).syncs == 3
    assert profiled(lambda: values.sum(), CPU).syncs == 0


def test_operators_that_are_called_more_or_less_often_are_extra() -> None:
    vanilla = {"conv": Operator(10, 50.0), "sdpa": Operator(2, 4.0)}
    ours = {"conv": Operator(10, 90.0), "sdpa": Operator(1, 2.0), "bmm": Operator(3, 5.0)}
    assert extra(ours, vanilla) == [("bmm", 3), ("sdpa", -1)]
