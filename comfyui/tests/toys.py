"""Toy models in a real ComfyUI: its own classes, and AnimateDiff-Evolved's, at sizes that run in seconds.

Weights are random, drawn from a seed. Nothing is loaded from files.
"""

from __future__ import annotations

from typing import Any

import torch

WIDTH = 32  # channels of the first level


def _filled(module: torch.nn.Module, seed: int, scale: float = 0.1) -> torch.nn.Module:
    """Every weight drawn anew; biases and norms near what they begin with."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(noise * scale if weight.ndim > 1 else noise * 0.02 + ("norm" in name and "weight" in name))
    return module.eval()


def _patcher(model: Any) -> Any:
    import comfy.model_management
    import comfy.model_patcher

    device = comfy.model_management.get_torch_device()
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=torch.device("cpu"))


def stable_diffusion(seed: int = 0, levels: int = 4) -> Any:
    """Stable Diffusion 1.5 (four levels) or SDXL (three) as ComfyUI has it, with few channels."""
    import comfy.model_base
    import comfy.supported_models

    if levels == 4:
        config: dict[str, Any] = {
            "image_size": 32,
            "in_channels": 4,
            "out_channels": 4,
            "model_channels": WIDTH,
            "num_res_blocks": [2, 2, 2, 2],
            "channel_mult": [1, 2, 4, 4],
            "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
            "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
            "transformer_depth_middle": 1,
            "context_dim": 768,
            "num_heads": 8,
            "use_linear_in_transformer": False,
            "adm_in_channels": None,
            "use_temporal_attention": False,
            "use_spatial_transformer": True,
            "legacy": False,
        }
        supported = comfy.supported_models.SD15(config)
        model = comfy.model_base.BaseModel(supported, device="cpu")
    else:
        config = {
            "image_size": 32,
            "in_channels": 4,
            "out_channels": 4,
            "model_channels": WIDTH,
            "num_res_blocks": [2, 2, 2],
            "channel_mult": [1, 2, 4],
            "transformer_depth": [0, 0, 1, 1, 1, 1],
            "transformer_depth_output": [0, 0, 0, 1, 1, 1, 1, 1, 1],
            "transformer_depth_middle": 1,
            "context_dim": 2048,
            "num_head_channels": 32,
            "num_classes": "sequential",
            "use_linear_in_transformer": True,
            "adm_in_channels": 2816,
            "use_temporal_attention": False,
            "use_spatial_transformer": True,
            "legacy": False,
        }
        supported = comfy.supported_models.SDXL(config)
        model = comfy.model_base.SDXL(supported, device="cpu")
    _filled(model.diffusion_model, seed)
    return _patcher(model)


def motion_model(ade: Any, seed: int = 1, levels: int = 4, version: str = "v3") -> Any:
    """Motion modules of AnimateDiff-Evolved that fit `stable_diffusion`; v2 has one more, in the middle.

    Args:
        ade: AnimateDiff-Evolved's package.
    """
    import importlib

    motion = importlib.import_module(f"{ade.__name__}.animatediff.motion_module_ad")
    injection = importlib.import_module(f"{ade.__name__}.animatediff.model_injection")
    utils = importlib.import_module(f"{ade.__name__}.animatediff.utils_model")
    import comfy.model_management
    import comfy.ops

    sd_type = utils.ModelTypeSD.SD1_5 if levels == 4 else utils.ModelTypeSD.SDXL
    info = motion.AnimateDiffInfo(sd_type, motion.AnimateDiffFormat.ANIMATEDIFF, version, f"toy-{version}")

    class Toy(motion.AnimateDiffModel):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            self.mm_info, self.ops = info, comfy.ops.disable_weight_init
            channels = [WIDTH * factor for factor in ((1, 2, 4, 4) if levels == 4 else (1, 2, 4))]
            self.layer_channels, self.middle_channel = tuple(channels), channels[-1]
            self.encoding_max_len, self.has_position_encoding = 32, True
            self.attn_len, self.attn_type = 2, "Temporal_Self"
            self.attn_block_types = ("Temporal_Self", "Temporal_Self")

            def blocks(kind: str, widths: list[int]) -> Any:
                return torch.nn.ModuleList(
                    motion.MotionModule(width, True, 32, kind, index, self.attn_block_types, self.ops)
                    for index, width in enumerate(widths)
                )

            self.down_blocks = blocks(motion.BlockType.DOWN, channels)
            self.up_blocks = blocks(motion.BlockType.UP, channels[::-1])
            middle = motion.MotionModule(
                channels[-1], True, 32, motion.BlockType.MID, 0, self.attn_block_types, self.ops
            )
            self.mid_block = middle if version == "v2" else None
            self.AD_video_length, self.effect_model, self.effect_per_block_list = 24, 1.0, None
            self.img_encoder = self.camera_encoder = self.conv_in = self.orig_conv_in = None
            self.fps_embedding = self.motion_embedding = None
            self.get_unet_func = motion.get_unet_default

    model = _filled(Toy(), seed)
    device = comfy.model_management.get_torch_device()
    return injection.create_MotionModelPatcher(model, device, torch.device("cpu"))


def video_model(name: str, seed: int = 2) -> Any:
    """A native video model of ComfyUI's with two small blocks: wan, cogvideox, hunyuanvideo, ltxv or mochi."""
    import comfy.model_base
    import comfy.supported_models as supported

    kinds: dict[str, tuple[str, str, dict[str, Any]]] = {
        "wan": (
            "WAN21_T2V",
            "WAN21",
            {
                "image_model": "wan2.1", "model_type": "t2v", "dim": 128, "ffn_dim": 128, "freq_dim": 64,
                "text_dim": 64, "in_dim": 16, "out_dim": 16, "num_heads": 1, "num_layers": 2, "patch_size": (1, 2, 2),
                "qk_norm": True, "cross_attn_norm": True, "eps": 1e-6, "window_size": (-1, -1),
            },
        ),
        "cogvideox": (
            "CogVideoX_T2V",
            "CogVideoX",
            {
                "image_model": "cogvideox", "num_attention_heads": 2, "attention_head_dim": 64, "in_channels": 16,
                "out_channels": 16, "time_embed_dim": 64, "text_embed_dim": 64, "num_layers": 2, "patch_size": 2,
                "use_rotary_positional_embeddings": True, "max_text_seq_length": 8,
            },
        ),
        "hunyuanvideo": (
            "HunyuanVideo",
            "HunyuanVideo",
            {
                "image_model": "hunyuan_video", "in_channels": 16, "patch_size": [1, 2, 2], "out_channels": 16,
                "vec_in_dim": 64, "context_in_dim": 64, "hidden_size": 128, "mlp_ratio": 2.0, "num_heads": 1,
                "depth": 1, "depth_single_blocks": 1, "axes_dim": [16, 56, 56], "theta": 256, "qkv_bias": True,
                "guidance_embed": False, "byt5": False, "meanflow": False, "use_cond_type_embedding": False,
                "vision_in_dim": None, "meanflow_sum": False,
            },
        ),
        "ltxv": (
            "LTXV",
            "LTXV",
            {
                "image_model": "ltxv", "in_channels": 128, "cross_attention_dim": 128, "attention_head_dim": 64,
                "num_attention_heads": 2, "caption_channels": 64, "num_layers": 2,
            },
        ),
        "mochi": (
            "GenmoMochi",
            "GenmoMochi",
            {
                "image_model": "mochi_preview", "depth": 2, "patch_size": 2, "num_heads": 2, "hidden_size_x": 128,
                "hidden_size_y": 64, "mlp_ratio_x": 96.0, "mlp_ratio_y": 2.0, "learn_sigma": False, "in_channels": 12,
                "use_t5": True,
                "qk_norm": True, "qkv_bias": False, "out_bias": True, "patch_embed_bias": True,
                "timestep_mlp_bias": True,
                "timestep_scale": 1000.0, "t5_feat_dim": 64, "t5_token_length": 8, "rope_theta": 10000.0,
            },
        ),
    }  # fmt: skip
    kind, base, config = kinds[name]
    declared = getattr(supported, kind)
    model = getattr(comfy.model_base, base)(declared(config), device="cpu")
    _filled(model.diffusion_model, seed, 0.05)
    return _patcher(model)


# Shapes of one latent frame's channels, and how the text is shaped, by model.
CHANNELS = {"wan": 16, "cogvideox": 16, "hunyuanvideo": 16, "ltxv": 128, "mochi": 12}


def conditioning(tokens: int, channels: int, seed: int, pooled: int = 0) -> list[Any]:
    """What a text encoder would hand over."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(1, tokens, channels, generator=generator)
    extra = {"pooled_output": torch.randn(1, pooled, generator=generator)} if pooled else {}
    return [[text, extra]]
