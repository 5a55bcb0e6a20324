"""Inputs that several nodes have, in plain words, and the config that they make."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

from comfy_api.latest import io

from bytheway.config import ByTheWayConfig
from bytheway.families.family import JointAttentions
from bytheway.families.known import families, presets

CATEGORY: Final = "ByTheWay"
OWN: Final = "own values"
BY_MODEL: Final = "by model"
AUTO: Final = "auto"

Pipe: Final = io.Custom("BYTHEWAY_PIPE")
Recorded: Final = io.Custom("BYTHEWAY_RECORD")


def schema(**said: Any) -> Any:
    """A node's schema; what an older ComfyUI does not know of it (search_aliases) is left out."""
    known = {field.name for field in fields(io.Schema)}
    return io.Schema(category=CATEGORY, **{name: value for name, value in said.items() if name in known})


def preset_input(options: list[str], tooltip: str) -> Any:
    """The choice between presets and own values."""
    return io.Combo.Input("preset", options=options, default=options[0], tooltip=tooltip)


def self_guidance_input() -> Any:
    return io.Float.Input(
        "self_guidance",
        default=0.6,
        min=0.0,
        max=1.0,
        step=0.05,
        tooltip="How much later blocks are drawn towards the motion of an early block (alpha in the paper). More "
        f"repairs broken or jumping shapes; too much stills the clip. 0 switches it off. Used with '{OWN}'.",
    )


def motion_inputs(
    band: int = 7,
    all_of_it: str = "Half of the number of frames less one is everything but what stands still: 7 for 16.",
) -> list[Any]:
    """Motion enhancement: least amplification, band, and for how long.

    Args:
        band: its default.
        all_of_it: which band is everything, in a sentence.
    """
    return [
        io.Float.Input(
            "motion",
            default=1.5,
            min=1.0,
            max=50.0,
            step=0.1,
            tooltip="How much fast changes from frame to frame are amplified, at least (beta in the paper). More gives "
            f"more motion, and at some point flicker. 1 switches it off. Used with '{OWN}'.",
        ),
        io.Int.Input(
            "band",
            default=band,
            min=0,
            max=64,
            tooltip=f"Which changes count as fast (tau in the paper): the larger, the more of them. {all_of_it} "
            f"Used with '{OWN}'.",
        ),
        io.Float.Input(
            "active_share",
            default=0.2,
            min=0.0,
            max=1.0,
            step=0.05,
            tooltip="In which share of the steps the method acts, from the first one on. The paper has 0.2: motion is "
            f"decided early, details later. Used with '{OWN}'.",
        ),
    ]


def adaptive_input() -> Any:
    return io.Combo.Input(
        "adaptive",
        options=["sqrt", "ratio"],
        default="sqrt",
        tooltip="How motion is raised on its own where self-guidance has taken some away (adaptive beta): 'sqrt' gives "
        f"back just what was taken, as in the paper; 'ratio' gives back more. Used with '{OWN}'.",
    )


def config_of(preset: str, self_guidance: float, motion: float, band: int, share: float, rule: str) -> ByTheWayConfig:
    """The config that a node was given: a preset's, or its own values.

    Raises:
        ByTheWayError: a value is out of range.
    """
    if preset != OWN:
        return presets()[preset].config
    values: dict[str, Any] = {"alpha": self_guidance, "beta": motion, "tau": band, "active_steps": share}
    return ByTheWayConfig.from_dict({**values, "beta_rule": rule})


def which_joint_preset() -> str:
    """An answer to "which numbers for which model?": the presets of families with joint attention."""
    shown = [one.presets[0] for one in families() if isinstance(one.attentions, JointAttentions)]
    return " | ".join(dict.fromkeys(f"{one.name}: {numbers_of(one.config)} ({one.figure})" for one in shown))


def numbers_of(config: ByTheWayConfig) -> str:
    """A config in the words of the inputs."""
    guidance = f"self_guidance {config.alpha:g}, " if config.alpha > 0 else ""
    return f"{guidance}motion {config.beta:g}, band {config.tau}, active_share {config.active_steps:g}"
