"""What arms a list names."""

import pytest

from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError
from bytheway.evaluation.experiment.arms import parse_arms

PRESET = ByTheWayConfig(alpha=0.2, beta=1.5)


def test_arms_are_vanilla_the_preset_freeinit_or_settings() -> None:
    arms = parse_arms("vanilla, enhanced,freeinit,alpha=0.4  beta=3,freeinit beta=2 anchor_block=mid_block")
    assert [arm.name for arm in arms][3:] == ["alpha=0.4 beta=3", "freeinit beta=2 anchor_block=mid_block"]
    assert [arm.config(PRESET) for arm in arms] == [
        None,
        PRESET,
        None,
        PRESET.replace(alpha=0.4, beta=3.0),
        PRESET.replace(beta=2.0, anchor_block="mid_block"),
    ]
    assert [arm.free_init for arm in arms] == [False, False, True, False, True]
    assert arms[3].folder == "alpha=0.4_beta=3"


def test_a_list_is_one_value() -> None:
    arms = parse_arms('vanilla,guided_blocks=["up_blocks.1", "up_blocks.2"] beta=2')
    assert [arm.config(PRESET) for arm in arms] == [
        None,
        PRESET.replace(guided_blocks=("up_blocks.1", "up_blocks.2"), beta=2.0),
    ]


def test_one_arm_can_be_enough() -> None:
    [arm] = parse_arms('guided_blocks=["up_blocks.1","up_blocks.2"]', fewest=1)
    assert arm.changes == {"guided_blocks": ["up_blocks.1", "up_blocks.2"]}
    with pytest.raises(ByTheWayError, match="There is no arm; name vanilla"):
        parse_arms(" , ", fewest=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vanilla,alpha=0.4 beta=2 alpha=0.5", "gives alpha twice"),
        ("vanilla", "at least two arms"),
        ("", "at least two arms"),
        ("vanilla,enhnced", "There is no arm 'enhnced'"),
        ("vanilla,vanilla beta=2", "There is no arm 'vanilla beta=2'"),
        ("vanilla,beta=2,beta=2", "The arm 'beta=2' is there twice"),
        ("vanilla,alpha=7", "alpha is 7; it must lie between 0 and 1."),
        ("vanilla,gamma=1", "Unknown setting gamma"),
        ("vanilla,beta=many", "beta is 'many'"),
    ],
)
def test_arms_that_cannot_be(text: str, said: str) -> None:
    with pytest.raises(ByTheWayError, match=said):
        parse_arms(text)
