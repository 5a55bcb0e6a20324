"""The settings of the method, validated and serialisable, or left to a model. Importing this imports no torch."""

import json
import os
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias, get_args

import tomli_w

from bytheway.errors import ByTheWayError
from bytheway.files import write_text

BetaRule = Literal["sqrt", "ratio"]
HeadRule = Literal["group_mean", "mean"]

AUTO: Final = "auto"
"""Stands in place of a setting that is to be found for a model."""
AUTO_SETTINGS: Final = ("alpha", "beta", "tau", "anchor_block")
"""The settings that can be found, by what a model's own maps tell."""

_LARGEST_BETA: Final = 1e18  # energies grow with its square, which has to be a number in float32


@dataclass(frozen=True)
class ByTheWayConfig:
    """Settings of ByTheWay (arXiv 2410.06241); the defaults are the paper's for AnimateDiff.

    Attributes:
        alpha: strength of temporal self-guidance, in [0, 1]; 0 leaves the maps as they are.
        beta: least amplification of the high temporal frequencies, in [1, 1e18]. The adaptive rule never lets
            the motion energy fall, so less than 1 would mean nothing.
        tau: half width of the high band around the Nyquist frequency, in bins, >= 0.
        active_steps: share of the denoising steps, from the first on, in which the method acts, in [0, 1].
        beta_rule: "sqrt" (paper and the authors' code) or "ratio" (the same without the square root).
        anchor_block: block whose maps guide the later ones, such as "up_blocks.1"; None: by the family of the model.
        guided_blocks: blocks that are guided; None: every later block with temporal attention.
        head_rule: how the anchor's heads meet a site with another number of heads: "group_mean" averages groups of
            neighbouring heads where the numbers divide, else all heads; "mean" always averages all heads.

    Raises:
        ByTheWayError: a value has the wrong type or lies outside its range.
    """

    alpha: float = 0.6
    beta: float = 1.5
    tau: int = 7
    active_steps: float = 0.2
    beta_rule: BetaRule = "sqrt"
    anchor_block: str | None = None
    guided_blocks: tuple[str, ...] | None = None
    head_rule: HeadRule = "group_mean"

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated anew."""
        return self.from_dict({**asdict(self), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Every field by name, in types that JSON knows (the blocks as a list)."""
        settings = asdict(self)
        if self.guided_blocks is not None:
            settings["guided_blocks"] = list(self.guided_blocks)
        return settings

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; fields left out take their defaults, unknown ones are an error."""
        allowed = [field.name for field in fields(cls)]
        unknown = sorted(str(name) for name in settings if name not in allowed)
        if unknown:
            raise ByTheWayError(f"Unknown setting {', '.join(unknown)}; the settings are {', '.join(allowed)}.")
        return cls(**settings)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the settings to a .json or .toml file, wholly or not at all (TOML has no null: None is left out)."""
        path = Path(path)
        if _suffix(path) == ".json":
            text = json.dumps(self.to_dict(), indent=2) + "\n"
        else:
            text = tomli_w.dumps({name: value for name, value in self.to_dict().items() if value is not None})
        write_text(path, text)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read the settings from a .json or .toml file."""
        return cls.from_dict(_settings_in(Path(path)))


@dataclass(frozen=True)
class AutoConfig:
    """A config that leaves settings to the model: they are found from the maps of its vanilla clips (docs/tuning.md).

    Whatever accepts a config in which something may be "auto" makes one of it by itself, as `config_from` does.

    Attributes:
        base: the other settings; what it says of those that are to be found does not count.
        auto: the names of those that are to be found, of `AUTO_SETTINGS`.

    Raises:
        ByTheWayError: one of them cannot be found, or depends on others that are given.
    """

    base: ByTheWayConfig
    auto: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in self.auto:
            if name not in AUTO_SETTINGS:
                raise ByTheWayError(f"{name} cannot be {AUTO}; these can: {', '.join(AUTO_SETTINGS)}.")
        if "anchor_block" in self.auto and self.base.guided_blocks is not None:
            raise ByTheWayError(
                "anchor_block cannot be auto where guided_blocks are given, which have to run after it; name it, or "
                "leave them out."
            )

    def resolve(self, pipe: object, like: object = None) -> ByTheWayConfig:
        """The config for a model: what was found for it before, else what the first steps of eight vanilla clips tell.

        What is chosen is said in a warning.

        Args:
            pipe: the pipeline of the model.
            like: a `Request` whose clips the vanilla ones are to be like: frames, size, steps; None: the model's own.

        Raises:
            ByTheWayError: the model has no temporal attention maps, or cannot make clips by itself.
        """
        return _finder(pipe, self, like)

    def with_found(self, found: ByTheWayConfig) -> ByTheWayConfig:
        """The whole config, what was open being as in `found`."""
        return self.base.replace(**{name: getattr(found, name) for name in self.auto})


def config_from(settings: Mapping[str, Any], base: ByTheWayConfig | AutoConfig) -> ByTheWayConfig | AutoConfig:
    """A config with some settings changed, any of `AUTO_SETTINGS` to "auto".

    >>> config_from({"alpha": "auto", "beta": 2.0}, ByTheWayConfig()).auto
    ('alpha',)

    Raises:
        ByTheWayError: a setting is unknown, out of its range, or cannot be "auto".
    """
    given = {name: value for name, value in settings.items() if value != AUTO}
    before = base.auto if isinstance(base, AutoConfig) else ()
    left = {name for name in before if name not in given} | (settings.keys() - given.keys())
    numbers = (base.base if isinstance(base, AutoConfig) else base).replace(**given)
    if not left:
        return numbers
    return AutoConfig(numbers, tuple(sorted(left, key=lambda name: (*AUTO_SETTINGS, name).index(name))))


def load_config(path: str | os.PathLike[str]) -> ByTheWayConfig | AutoConfig:
    """Read a config from a .json or .toml file in which settings may be "auto"."""
    return config_from(_settings_in(Path(path)), ByTheWayConfig())


Finder: TypeAlias = Callable[..., ByTheWayConfig]


def use_finder(finder: Finder) -> None:
    """Say who finds settings: that takes clips, and the rooms that make them stand above this one."""
    global _finder
    _finder = finder


def _no_finder(pipe: object, config: AutoConfig, like: object) -> ByTheWayConfig:
    raise ByTheWayError(f"Nobody is here who could find {', '.join(config.auto)}; give numbers.")


_finder: Finder = _no_finder


def _settings_in(path: Path) -> dict[str, Any]:
    """The table of settings in a .json or .toml file."""
    parse: Callable[[str], Any] = json.loads if _suffix(path) == ".json" else tomllib.loads
    try:
        settings = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ByTheWayError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ByTheWayError(f"{path} is not valid {path.suffix[1:].upper()}: {error}.") from error
    if not isinstance(settings, dict):
        raise ByTheWayError(f'{path} holds no table of settings; write one such as {{"alpha": 0.6}}.')
    return settings


def _number(low: float, high: float) -> Callable[[str, object], float]:
    """A check for a number in [low, high]."""

    def check(name: str, value: object) -> float:
        if isinstance(value, Real) and not isinstance(value, bool):
            with suppress(OverflowError):  # a whole number beyond every float
                number = float(value)
                if low <= number <= high:
                    return number
        _refuse_auto(name, value)
        raise ByTheWayError(f"{name} is {value!r}; it must lie between {low:g} and {high:g}.")

    return check


def _whole_number(name: str, value: object) -> int:
    if isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 0:
        return int(value)
    _refuse_auto(name, value)
    raise ByTheWayError(f"{name} is {value!r}; it must be a whole number of at least 0.")


def _one_of(*choices: str) -> Callable[[str, object], object]:
    def check(name: str, value: object) -> object:
        if isinstance(value, str) and value in choices:
            return value
        raise ByTheWayError(f"{name} is {value!r}; it must be one of {', '.join(choices)}.")

    return check


def _refuse_auto(name: str, value: object) -> None:
    if value == AUTO and name in AUTO_SETTINGS:
        raise ByTheWayError(
            f"{name} is 'auto', which only a model can tell: say it where the model is, such as "
            f"apply_bytheway(pipe, {name}='auto'), or in a mapping of settings."
        )


def _block(name: str, value: object) -> str | None:
    _refuse_auto(name, value)
    if value is None or (isinstance(value, str) and value):
        return value
    raise ByTheWayError(f"{name} is {value!r}; it must be the name of a block, such as up_blocks.1, or None.")


def _blocks(name: str, value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, list | tuple) and all(isinstance(block, str) and block for block in value):
        return tuple(value)
    raise ByTheWayError(f"{name} is {value!r}; it must be a list of block names, such as up_blocks.2, or None.")


_CHECKS: Final[Mapping[str, Callable[[str, object], object]]] = {
    "alpha": _number(0, 1),
    "beta": _number(1, _LARGEST_BETA),
    "tau": _whole_number,
    "active_steps": _number(0, 1),
    "beta_rule": _one_of(*get_args(BetaRule)),
    "anchor_block": _block,
    "guided_blocks": _blocks,
    "head_rule": _one_of(*get_args(HeadRule)),
}


def _suffix(path: Path) -> str:
    if path.suffix in (".json", ".toml"):
        return path.suffix
    raise ByTheWayError(f"{path} is neither a .json nor a .toml file; give it one of these two endings.")
