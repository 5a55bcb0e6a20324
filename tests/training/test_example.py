"""The example of the energy cap runs and does what it says."""

import pytest

from examples import train_with_energy_cap as example


def test_the_energies_come_down_to_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    history = example.main(steps=16)
    first, last = history[0], history[-1]
    assert min(first.values()) > 0.5
    assert all(last[block] < 0.6 * first[block] for block in first)
    assert sorted(last.values())[len(last) // 2] < 1.3 * example.TARGET
    assert capsys.readouterr().out.count("denoising loss") == 4
