"""The components of a model in diffusers' layout: their configs held against bounds, read whole, held to each other."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bytheway.errors import ByTheWayError
from bytheway.families.known import families
from bytheway.models.checkpoints import read_tensors
from bytheway.models.sources import read_json, reading

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline
    from torch import nn

_AGAIN: Final = "download or save the model again."
# The greatest whole number that a setting of a config may be, by what is in its name: the sizes of real models and much
# more. Layers are made one by one, and tables of positions and of the noise schedule in memory, before any weight is
# read.
_BOUNDS: Final[Mapping[str, int]] = {
    r"layers|blocks|depth|num_experts": 1_000,
    r"^sample_(size|height|width|frames)$|motion_max_seq_length": 10_000,
    r"num_train_timesteps": 100_000,
}
_NAMED: Final = 3  # tensors that an error names one by one


def read_pipeline(pipeline_class: Any, location: str, dtype: torch.dtype, **parts: Any) -> DiffusionPipeline:
    """The pipeline in a folder or hub repository, with every component whole.

    Args:
        pipeline_class: of diffusers, or our own.
        location: the folder or hub id.
        dtype: precision of the weights.
        parts: components that are given, and other arguments of the class.

    Raises:
        ByTheWayError: a config asks for what no model has, a component lacks weights, or does not go with the others.
    """
    index = read_json(location, "model_index.json") or {}
    listed = {name: pair for name, pair in index.items() if _is_listed(pair) and name not in parts}
    for name, (library, _) in listed.items():
        if library in ("diffusers", "transformers") and not _is_processor(name):
            file = "scheduler_config.json" if name == "scheduler" else "config.json"
            check_config(read_json(location, f"{name}/{file}") or {}, f"{name}/{file} of {location}")
    with reading(location):
        models = {
            name: _text_or_image_model(location, name, class_name, dtype)
            for name, (library, class_name) in listed.items()
            if library == "transformers" and not _is_processor(name)
        }
        pipe: DiffusionPipeline = from_pretrained(pipeline_class, location, dtype=dtype, **models, **parts)
    check_components(pipe, location)
    return pipe


def check_libraries(pipeline: str) -> None:
    """Hold a pipeline, by the name of its class, to the packages that it needs and diffusers is installed without.

    Raises:
        ByTheWayError: one is missing; diffusers would fail with a `NameError` as soon as it reads a prompt.
    """
    from diffusers.utils import is_ftfy_available

    if not is_ftfy_available() and any(pipeline in family.requiring_ftfy for family in families()):
        raise ByTheWayError(f"{pipeline} reads prompts with the package ftfy; install it (pip install ftfy).")


def from_pretrained(model_class: Any, location: str, **settings: Any) -> Any:
    """What the class reads in a folder or hub repository; of one that holds its weights in half precision alone, those.

    Raises:
        OSError: the files are not there, or cannot be fetched.
    """
    try:
        return model_class.from_pretrained(location, **settings)
    except OSError:
        try:
            return model_class.from_pretrained(location, variant="fp16", **settings)
        except (OSError, ValueError):  # what was missing at first is what is to be said
            pass
        raise


def check_config(config: Mapping[str, Any], name: str) -> None:
    """Hold the numbers of a config against the sizes of real models.

    Raises:
        ByTheWayError: it asks for so many layers, positions or timesteps that making them would not end.
    """
    for setting, value in config.items():
        if isinstance(value, Mapping):
            check_config(value, name)
            continue
        bound = next((bound for pattern, bound in _BOUNDS.items() if re.search(pattern, setting)), None)
        numbers = [one for one in (value if isinstance(value, list) else [value]) if type(one) is int]
        if bound is not None and any(number > bound for number in numbers):
            raise ByTheWayError(f"{setting} in {name} is {max(numbers)}, more than any model has; {_AGAIN}")


def check_components(pipe: Any, model: str) -> None:
    """Hold the components of a pipeline to what diffusers and transformers load without a word and what cannot be run.

    Raises:
        ByTheWayError: weights are missing, a component is of another kind than its place, a tokenizer has no words, or
            numbers cannot be computed with.
    """
    from diffusers import SchedulerMixin
    from torch import nn

    for name, part in pipe.components.items():
        if isinstance(part, nn.Module):
            check_whole(part, name, model)
        if name.startswith("tokenizer") and part is not None:
            _check_tokenizer(part, name, model)
    if "scheduler" in pipe.components:
        if not isinstance(pipe.scheduler, SchedulerMixin):
            raise ByTheWayError(
                f"The scheduler of {model} is a {type(pipe.scheduler).__name__}, which is none; {_AGAIN}"
            )
        _check_schedule(pipe.scheduler, model)
    _check_text_encoder(pipe, model)
    scaling = getattr(getattr(pipe, "vae", None), "config", {}).get("scaling_factor", 1.0)
    if not isinstance(scaling, Real) or not math.isfinite(scaling) or not scaling:
        raise ByTheWayError(
            f"The scaling_factor in vae/config.json of {model} is {scaling!r}, which is no number to divide by; "
            f"{_AGAIN}"
        )


def check_whole(model: nn.Module, name: str, source: str) -> None:
    """Hold a model to having all of its weights: diffusers leaves those that its file lacks on the meta device.

    Raises:
        ByTheWayError: some are missing; the first are named.
    """
    _check_lacks(name, source, [path for path, tensor in model.state_dict().items() if tensor.is_meta])


def _is_listed(pair: Any) -> bool:
    """Whether an entry of a model_index.json is a component: a pair of library and class."""
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(name, str) for name in pair)


def _is_processor(name: str) -> bool:
    return name.startswith(("tokenizer", "feature_extractor", "image_processor"))


def _text_or_image_model(location: str, name: str, class_name: str, dtype: torch.dtype) -> Any:
    """A model of transformers, which fills what the file lacks, or what is of another shape there, with random numbers.

    It tells what that was only to whom reads the model by itself.
    """
    import transformers

    model_class = getattr(transformers, class_name, None)
    if model_class is None:
        raise ByTheWayError(f"The {name} of {location} is a {class_name}, which is no model of transformers.")
    settings = {"subfolder": name, "dtype": dtype, "output_loading_info": True, "ignore_mismatched_sizes": True}
    model, found = from_pretrained(model_class, location, **settings)
    _check_lacks(name, location, found["missing_keys"])
    for tensor, theirs, ours in sorted(found["mismatched_keys"]):
        raise ByTheWayError(
            f"The {name} of {location} does not fit its config.json: {tensor} has the shape {tuple(theirs)} instead of "
            f"{tuple(ours)}; {_AGAIN}"
        )
    return model


def _check_lacks(name: str, model: str, missing: Iterable[str]) -> None:
    tensors = sorted(missing)
    if tensors and _was_saved_with_lora(Path(model) / name):
        raise ByTheWayError(
            f"The {name} of {model} was saved with a LoRA on it, which diffusers does not load; save it again after "
            "pipe.fuse_lora() and pipe.unload_lora_weights()."
        )
    if tensors:
        more = f" and {len(tensors) - _NAMED} more" if len(tensors) > _NAMED else ""
        raise ByTheWayError(
            f"The {name} of {model} is not whole: its weights lack {', '.join(tensors[:_NAMED])}{more}; {_AGAIN}"
        )


def _was_saved_with_lora(folder: Path) -> bool:
    """Whether layers are under the names that they have while peft is around them."""
    files = folder.glob("*.safetensors")
    return any(".base_layer." in name for file in files for name in read_tensors(file, names_only=True))


def _check_tokenizer(tokenizer: Any, name: str, model: str) -> None:
    # Where files are missing, transformers makes one without words.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ByTheWayError(f"The {name} of {model} has no vocabulary; {_AGAIN}")
    if tokenizer.pad_token is None:
        raise ByTheWayError(f"The {name} of {model} has no pad_token, with which prompts are filled up; {_AGAIN}")


def _check_text_encoder(pipe: Any, model: str) -> None:
    """Raise ByTheWayError where CLIP's tokenizer and text encoder do not go together.

    Where another text encoder comes first, pipelines know the length of prompts by themselves.
    """
    config: Any = getattr(getattr(pipe, "text_encoder", None), "config", None)
    if getattr(config, "model_type", None) != "clip_text_model":
        return
    if pipe.tokenizer.model_max_length not in range(1, config.max_position_embeddings + 1):
        raise ByTheWayError(
            f"The tokenizer of {model} has no model_max_length in its tokenizer_config.json that the text encoder "
            f"takes; {_AGAIN}"
        )
    if type(config.eos_token_id) is not int:
        raise ByTheWayError(
            f"eos_token_id in text_encoder/config.json of {model} is {config.eos_token_id!r}, which is no token; "
            f"{_AGAIN}"
        )
    last = max(pipe.tokenizer.get_vocab().values())
    if last >= config.vocab_size:
        raise ByTheWayError(
            f"The tokenizer of {model} has tokens up to {last}, and its text encoder reads those below "
            f"{config.vocab_size}; {_AGAIN}"
        )


def _check_schedule(scheduler: Any, model: str) -> None:
    """Raise ByTheWayError for a noise schedule that cannot be computed with; flow matching has no betas."""
    betas = getattr(scheduler, "betas", None)
    if betas is None:
        return
    if not betas.isfinite().all() or betas.min() < 0 or betas.max() > 1:
        raise ByTheWayError(
            f"The betas of the scheduler of {model} (scheduler_config.json) are no numbers from 0 to 1; {_AGAIN}"
        )
    steps = scheduler.config.num_train_timesteps
    if len(betas) != steps:
        raise ByTheWayError(
            f"The scheduler of {model} has {len(betas)} trained_betas for {steps} timesteps (num_train_timesteps in "
            f"scheduler_config.json); {_AGAIN}"
        )
