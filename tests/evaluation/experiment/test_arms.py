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


@pytest.mark.parametrize("between", [",", ", "])
def test_a_list_in_brackets_is_one_setting(between: str) -> None:
    blocks = f'guided_blocks=["up_blocks.1"{between}"up_blocks.2"]'
    arms = parse_arms(f"vanilla, {blocks} beta=2,enhanced")
    assert [arm.name for arm in arms] == ["vanilla", f"{blocks} beta=2", "enhanced"]
    assert arms[1].changes == {"guided_blocks": ["up_blocks.1", "up_blocks.2"], "beta": 2}
    assert parse_arms(",".join(arm.name for arm in arms)) == arms


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vanilla", "at least two arms"),
        ("", "at least two arms"),
        ("vanilla,enhnced", "There is no arm 'enhnced'"),
        ("vanilla,vanilla beta=2", "There is no arm 'vanilla beta=2'"),
        ("vanilla,beta=2,beta=2", "The arm 'beta=2' is there twice"),
        ("vanilla,alpha=7", "alpha is 7; it must lie between 0 and 1."),
        ("vanilla,gamma=1", "Unknown setting gamma"),
        ("vanilla,alpha=0.4 alpha=0.5", "alpha is there twice in the arm 'alpha=0.4 alpha=0.5'"),
        ("vanilla,beta=many", "beta is 'many'"),
    ],
)
def test_arms_that_cannot_be(text: str, said: str) -> None:
    with pytest.raises(ByTheWayError, match=said):
        parse_arms(text)
