"""What may be given as the config: a `ByTheWayConfig`, a mapping, the name of a preset."""

import pytest

from bytheway import ByTheWayConfig, ByTheWayError, apply_bytheway, enhanced, observe
from bytheway.families.known import presets


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"alpha": 0.5}, ByTheWayConfig(alpha=0.5)),
        (ByTheWayConfig(beta=2).to_dict(), ByTheWayConfig(beta=2)),
        ("videocrafter2", presets()["videocrafter2"].config),
    ],
)
def test_a_config_may_be_a_mapping_or_the_name_of_a_preset(tiny_pipeline, given, meant):
    with enhanced(tiny_pipeline, given) as run:
        assert run.config == meant
    with enhanced(tiny_pipeline, given, tau=3) as run:
        assert run.config == meant.replace(tau=3)
    with observe(tiny_pipeline, given) as run:
        assert run.config == meant


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("no such", "config is 'no such'; give a ByTheWayConfig, a mapping of its fields, or the name of a preset: "),
        (0.5, "config is 0.5; give a ByTheWayConfig, a mapping of its fields, or the name of a preset: animatediff"),
        ({"gamma": 1}, "Unknown setting gamma"),
    ],
)
def test_what_is_no_config(tiny_pipeline, given, sentence):
    for use in (apply_bytheway, lambda *args: enhanced(*args).__enter__(), lambda *args: observe(*args).__enter__()):
        with pytest.raises(ByTheWayError, match=sentence):
            use(tiny_pipeline, given)
