"""What only a command line says: the option of a setting that a sentence is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bytheway.errors import ByTheWayError

# By the name of the setting in Python, as in `ByTheWayError.setting` and `KnownModel.start`.
OPTIONS: Final[Mapping[str, str]] = {
    "batch_size": "--batch-size",
    "brought": "--bring",
    "budget": "--budget",
    "checks": "--checks",
    "controlnet": "--controlnet",
    "dtype": "--dtype",
    "endpoint": "--endpoint",
    "folder": "--folder",
    "format": "--format",
    "free_init": "--free-init",
    "height": "--size",
    "image": "--image",
    "images": "--image",
    "lora": "--lora",
    "max_cost": "--max-cost",
    "model": "--model",
    "motion_adapter": "--motion-adapter",
    "names": "--measures",
    "negative_prompt": "--negative-prompt",
    "num_frames": "--frames",
    "num_videos": "--num-videos",
    "objectives": "--objectives",
    "output": "--output",
    "overwrite": "--overwrite",
    "pairs": "--pairs",
    "port": "--port",
    "prices": "--price-in",
    "prompts": "--prompts",
    "questions": "--questions",
    "record": "--record",
    "scale": "--scale",
    "size": "--size",
    "sketch": "--sketch",
    "steps": "--steps",
    "strength": "--strength",
    "tokenizer": "bytheway convert videocrafter2 --tokenizer",
    "video": "--video",
    "weights": "--weights",
    "width": "--size",
}


def sentence_of(error: ByTheWayError) -> str:
    """What an error says, on one line, with the option that mends it."""
    sentence = " ".join(str(error).split())
    return sentence if error.setting is None else with_option(sentence, error.setting)


def with_option(words: str, setting: str | None) -> str:
    """Words with the option of a setting after them, before a full stop; unchanged where it has none."""
    option = OPTIONS.get(setting or "")
    if option is None:
        return words
    stop = "." if words.endswith(".") else ""
    return f"{words.removesuffix('.')} ({option}){stop}"
