"""What tiny pipelines with joint attention are made of: seeded models, embeddings, pictures, arguments of a call."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image

Tiny = tuple[Any, dict[str, Any]]


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def seeded(make: Callable[..., Any], seed: int = 0, **settings: Any) -> Any:
    """A model in inference mode; equal settings give equal weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make(**settings).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name.endswith("to_v.weight"):
            parameter.mul_(4)
    return model


def embeddings(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def picture(width: int, height: int, shade: int = 0) -> Image.Image:
    """A gradient."""
    return Image.radial_gradient("L").resize((width, height)).point(lambda value: (value + shade) % 256).convert("RGB")


def footage(frames: int, width: int = 48, height: int = 32) -> list[Image.Image]:
    """A gradient that grows brighter."""
    return [picture(width, height, shade=8 * number) for number in range(frames)]


def guided(dim: int, tokens: int = 5, **call: Any) -> dict[str, Any]:
    """A prompt and a negative one, guidance, two steps, latents."""
    return {
        "prompt_embeds": embeddings(1, tokens, dim, seed=1),
        "negative_prompt_embeds": embeddings(1, tokens, dim, seed=2),
        "num_inference_steps": 2,
        "output_type": "latent",
        **call,
    }


def masked(call: dict[str, Any]) -> dict[str, Any]:
    """The same with masks, which leave out the last token of the negative prompt."""
    mask = torch.ones(call["prompt_embeds"].shape[:2], dtype=torch.bool)
    negative = mask.clone()
    negative[:, -1] = False
    return {**call, "prompt_attention_mask": mask, "negative_prompt_attention_mask": negative}


def reading_prompts(pipe: Any, call: dict[str, Any]) -> Any:
    """The pipeline, called with any prompt as if it read the embeddings of `call`: it has no text encoder."""
    embeddings = {name: value for name, value in call.items() if "embeds" in name or "mask" in name}
    kind = type(pipe)

    class Embedded(kind):  # type: ignore[misc, valid-type]
        def __call__(self, prompt: Any = None, negative_prompt: Any = None, **settings: Any) -> Any:
            return super().__call__(**embeddings, **settings)

    Embedded.__call__.__signature__ = inspect.signature(kind.__call__)  # type: ignore[attr-defined]
    Embedded.__name__ = kind.__name__
    pipe.__class__ = Embedded
    return pipe
