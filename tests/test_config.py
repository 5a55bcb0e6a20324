"""ByTheWayConfig: what it accepts, what it says otherwise, and how it is kept in files."""

import dataclasses
import json
import math
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bytheway.config import AUTO_SETTINGS, AutoConfig, ByTheWayConfig, config_from, load_config
from bytheway.errors import ByTheWayError
from bytheway.families.known import presets

blocks = st.sampled_from(["up_blocks.0", "up_blocks.1", "up_blocks.2", "up_blocks.3", "mid_block", 'an "odd" näme'])
configs = st.builds(
    ByTheWayConfig,
    alpha=st.floats(0, 1),
    beta=st.floats(1, 1e18),
    tau=st.integers(0, 1000),
    active_steps=st.floats(0, 1),
    beta_rule=st.sampled_from(["sqrt", "ratio"]),
    anchor_block=st.none() | blocks,
    guided_blocks=st.none() | st.lists(blocks, max_size=3).map(tuple),
    head_rule=st.sampled_from(["group_mean", "mean"]),
)


def test_defaults_are_the_papers_for_animatediff():
    config = ByTheWayConfig()
    assert (config.alpha, config.beta, config.tau, config.active_steps, config.beta_rule) == (0.6, 1.5, 7, 0.2, "sqrt")
    assert presets()["animatediff"].config == config
    assert presets()["videocrafter2"].config == ByTheWayConfig(alpha=0.1, beta=10, tau=7)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("alpha", 1.5, "alpha is 1.5; it must lie between 0 and 1."),
        ("alpha", -0.1, "alpha is -0.1; it must lie between 0 and 1."),
        ("alpha", math.nan, "alpha is nan; it must lie between 0 and 1."),
        ("alpha", True, "alpha is True; it must lie between 0 and 1."),
        ("alpha", "0.6", "alpha is '0.6'; it must lie between 0 and 1."),
        ("alpha", None, "alpha is None; it must lie between 0 and 1."),
        ("beta", 0.5, "beta is 0.5; it must lie between 1 and 1e+18."),
        ("beta", math.inf, "beta is inf; it must lie between 1 and 1e+18."),
        ("beta", 10**309, f"beta is {10**309}; it must lie between 1 and 1e+18."),
        ("tau", -1, "tau is -1; it must be a whole number of at least 0."),
        ("tau", 7.0, "tau is 7.0; it must be a whole number of at least 0."),
        ("tau", False, "tau is False; it must be a whole number of at least 0."),
        ("active_steps", 20, "active_steps is 20; it must lie between 0 and 1."),
        ("beta_rule", "square", "beta_rule is 'square'; it must be one of sqrt, ratio."),
        ("beta_rule", ["sqrt"], "beta_rule is ['sqrt']; it must be one of sqrt, ratio."),
        ("head_rule", None, "head_rule is None; it must be one of group_mean, mean."),
        ("anchor_block", "", "anchor_block is ''; it must be the name of a block, such as up_blocks.1, or None."),
        ("anchor_block", 1, "anchor_block is 1; it must be the name of a block, such as up_blocks.1, or None."),
        (
            "guided_blocks",
            "up_blocks.2",
            "guided_blocks is 'up_blocks.2'; it must be a list of block names, such as up_blocks.2, or None.",
        ),
        ("guided_blocks", [2], "guided_blocks is [2]; it must be a list of block names, such as up_blocks.2, or None."),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(field, value, message):
    with pytest.raises(ByTheWayError) as caught:
        ByTheWayConfig(**{field: value})
    assert str(caught.value) == message


def test_values_are_kept_in_plain_python_types():
    config = ByTheWayConfig(alpha=1, beta=np.float32(2.5), tau=np.int64(3), guided_blocks=["up_blocks.2"])
    assert [type(value) for value in (config.alpha, config.beta, config.tau)] == [float, float, int]
    assert (config.alpha, config.beta, config.tau, config.guided_blocks) == (1.0, 2.5, 3, ("up_blocks.2",))
    assert hash(config) == hash(config.replace())


def test_a_config_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ByTheWayConfig().alpha = 0.1


def test_replace_changes_only_what_is_named_and_validates():
    config = ByTheWayConfig(guided_blocks=("up_blocks.3",)).replace(beta=2.0)
    assert config == ByTheWayConfig(beta=2.0, guided_blocks=("up_blocks.3",))
    with pytest.raises(ByTheWayError, match=r"alpha is 2; it must lie between 0 and 1\."):
        config.replace(alpha=2)
    with pytest.raises(ByTheWayError, match="Unknown setting gamma; the settings are alpha, beta, tau"):
        config.replace(gamma=2)


def test_from_dict_names_every_unknown_setting():
    with pytest.raises(ByTheWayError) as caught:
        ByTheWayConfig.from_dict({"alpha": 0.5, "steps": 3, "Beta": 2})
    assert str(caught.value) == (
        "Unknown setting Beta, steps; the settings are "
        "alpha, beta, tau, active_steps, beta_rule, anchor_block, guided_blocks, head_rule."
    )


@given(configs)
def test_dict_round_trip_through_json_text(config):
    assert ByTheWayConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@settings(max_examples=25, deadline=None)
@given(config=configs, suffix=st.sampled_from([".json", ".toml"]))
def test_file_round_trip(tmp_path_factory, config, suffix):
    path = tmp_path_factory.mktemp("config") / f"settings{suffix}"
    config.save(path)
    assert ByTheWayConfig.load(str(path)) == config
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_settings_left_out_of_a_file_take_their_defaults(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("alpha = 1\n")
    assert ByTheWayConfig.load(path) == ByTheWayConfig(alpha=1.0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.json", None, "cannot be read: No such file or directory."),
        ("broken.json", b"{alpha: 1}", "is not valid JSON: "),
        ("broken.toml", b"alpha == 1", "is not valid TOML: "),
        ("deep.json", b"[" * 100_000, "is not valid JSON: "),
        ("deep.toml", b"a = " + b"[" * 100_000, "is not valid TOML: "),
        ("binary.json", b"\xff\xfe\x00", "is not valid JSON: "),
        ("list.json", b"[0.6, 1.5]", "holds no table of settings"),
        ("nan.json", b'{"alpha": NaN}', "alpha is nan; it must lie between 0 and 1."),
        ("extra.toml", b"gamma = 1", "Unknown setting gamma"),
        ("settings.yaml", b"alpha: 1", "is neither a .json nor a .toml file"),
    ],
)
def test_a_bad_file_is_one_clear_sentence(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ByTheWayError) as caught:
        ByTheWayConfig.load(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_directory_is_no_settings_file(tmp_path):
    folder = tmp_path / "folder.json"
    folder.mkdir()
    with pytest.raises(ByTheWayError, match=r"cannot be read: Is a directory\."):
        ByTheWayConfig.load(folder)
    with pytest.raises(ByTheWayError, match="cannot be written"):
        ByTheWayConfig().save(folder)
    assert list(tmp_path.iterdir()) == [folder]


def test_a_missing_folder_is_made(tmp_path):
    ByTheWayConfig(alpha=0.1).save(tmp_path / "new" / "settings.json")
    assert ByTheWayConfig.load(tmp_path / "new" / "settings.json").alpha == 0.1


def test_saving_to_another_format_is_said(tmp_path):
    with pytest.raises(ByTheWayError, match=r"is neither a \.json nor a \.toml file"):
        ByTheWayConfig().save(tmp_path / "settings.txt")


def test_a_failed_save_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "settings.json"
    ByTheWayConfig(alpha=0.1).save(path)

    def full_disk(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(ByTheWayError, match=r"cannot be written: No space left on device\."):
        ByTheWayConfig(alpha=0.9).save(path)
    assert ByTheWayConfig.load(path).alpha == 0.1
    assert list(tmp_path.iterdir()) == [path]


def test_saving_where_no_file_can_be_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ByTheWayError, match=r"cannot be written: Not a directory\."):
        ByTheWayConfig().save(tmp_path / "file" / "mine.json")


def test_settings_may_be_left_to_a_model():
    config = config_from({"alpha": "auto", "beta": 2.0, "anchor_block": "auto"}, ByTheWayConfig(tau=5))
    assert config == AutoConfig(ByTheWayConfig(tau=5, beta=2.0), ("alpha", "anchor_block"))
    found = ByTheWayConfig(alpha=0.25, beta=9.0, tau=1, anchor_block="up_blocks.2")
    assert config.with_found(found) == ByTheWayConfig(alpha=0.25, beta=2.0, tau=5, anchor_block="up_blocks.2")
    assert config_from({"alpha": 0.1, "tau": "auto"}, config).auto == ("tau", "anchor_block"), (
        "in the order of the fields"
    )
    assert config_from({"alpha": 0.1, "anchor_block": None}, config) == ByTheWayConfig(0.1, 2.0, 5)
    assert config_from(dict.fromkeys(AUTO_SETTINGS, "auto"), ByTheWayConfig()).auto == AUTO_SETTINGS


@pytest.mark.parametrize("file", ["auto.toml", "auto.json"])
def test_files_may_leave_settings_to_a_model(tmp_path, file):
    path = tmp_path / file
    path.write_text('alpha = "auto"\nbeta = 3' if file.endswith("toml") else '{"alpha": "auto", "beta": 3}')
    assert load_config(path) == AutoConfig(ByTheWayConfig(beta=3), ("alpha",))
    with pytest.raises(ByTheWayError, match="alpha is 'auto', which only a model can tell"):
        ByTheWayConfig.load(path)
    ByTheWayConfig(beta=3).save(path)
    assert load_config(path) == ByTheWayConfig(beta=3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"active_steps": "auto"}, "active_steps cannot be auto; these can: alpha, beta, tau, anchor_block."),
        ({"beta_rule": "auto"}, "beta_rule cannot be auto"),
        ({"strength": "auto"}, "strength cannot be auto"),
        ({"alpha": "auto", "beta": 0.5}, "beta is 0.5; it must lie between 1 and 1e"),
        ({"anchor_block": "auto", "guided_blocks": ["up_blocks.2"]}, "anchor_block cannot be auto where guided_blocks"),
    ],
)
def test_what_no_model_can_tell(settings, message):
    with pytest.raises(ByTheWayError, match=message):
        config_from(settings, ByTheWayConfig())


@pytest.mark.parametrize("name", AUTO_SETTINGS)
def test_a_whole_config_is_numbers(name):
    with pytest.raises(ByTheWayError, match=rf"{name} is 'auto', which only a model can tell: .*{name}='auto'"):
        ByTheWayConfig(**{name: "auto"})
