"""What people do to a pipeline beside the method, with random weights where weights are loaded."""

from typing import Any

import torch
from diffusers.models.attention_processor import Attention


def random_tensors(**shapes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Of these shapes; "__" in a name stands for "."."""
    generator = torch.Generator().manual_seed(0)
    return {name.replace("__", "."): torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}


def slice_attention(denoiser: Any) -> None:
    """Every attention by itself; not every denoiser has the method that does so."""
    for module in denoiser.modules():
        if isinstance(module, Attention):
            module.set_attention_slice(2)


def load_ip_adapter(pipe: Any) -> None:
    """An IP-Adapter for embeddings of 16 channels, on every cross-attention of an AnimateDiff UNet."""
    adapter, number, width = {}, 1, pipe.unet.config.cross_attention_dim
    for path in pipe.unet.attn_processors:
        if path.endswith("attn2.processor") and "motion_modules" not in path:
            module = pipe.unet.get_submodule(path.removesuffix(".processor"))
            shape = (module.inner_dim, width)
            weights = random_tensors(to_k_ip__weight=shape, to_v_ip__weight=shape)
            adapter |= {f"{number}.{key}": value for key, value in weights.items()}
            number += 2
    image = random_tensors(
        proj__weight=(4 * width, 16), proj__bias=(4 * width,), norm__weight=(width,), norm__bias=(width,)
    )
    pipe.load_ip_adapter({"image_proj": image, "ip_adapter": adapter}, "", "", image_encoder_folder=None)
