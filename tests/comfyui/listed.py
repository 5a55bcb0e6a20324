"""Which attributes of ComfyUI and AnimateDiff-Evolved the room may touch, and objects that hold it to that.

The lists are what was seen to be there in the versions of docs/comfyui.md. An object of a class below raises where a
file of the package touches anything else, so that a test fails before a user's ComfyUI does.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, Final

LISTED: Final[dict[str, frozenset[str]]] = {
    kind: frozenset(names.split())
    for kind, names in {
        # ComfyUI: what holds a model, what runs a forward, and what the forward is told.
        "ModelPatcher": "clone remove_wrappers_with_key add_wrapper_with_key",
        "Executor": "class_obj",
        "BaseModel": "diffusion_model",
        "Options": "sigmas sample_sigmas cond_or_uncond optimized_attention_override ADGS ad_params",
        # AnimateDiff-Evolved.
        "UNetModel": "output_blocks",
        "VanillaTemporalModule": "block_idx module_idx temporal_transformer register_forward_pre_hook",
        "TemporalTransformer3DModel": "transformer_blocks",
        "TemporalTransformerBlock": "attention_blocks",
        "VersatileAttention": "is_cross_attention actual_attention heads to_q to_k to_v to_out",
        "AnimateDiffGlobalState": "",
        # ComfyUI's video models, and what their forwards are given beside latents, timestep and text.
        "Inputs": "reference_latent clip_fea ref_latent keyframe_idxs",
        "WanModel": "patch_size ref_conv",
        "CameraWanModel": "patch_size ref_conv",
        "AnimateWanModel": "patch_size ref_conv",
        "VaceWanModel": "",
        "HunyuanVideo": "patch_size double_blocks",
        "DoubleStreamBlock": "flipped_img_txt",
        "CogVideoXTransformer3DModel": "patch_size patch_size_t",
        "LTXVModel": "",
        "AsymmDiTJoint": "patch_size",
        # ComfyUI's modules.
        "comfy.patcher_extension": "WrappersMP",
        "WrappersMP": "APPLY_MODEL",
        "comfy.model_management": "get_torch_device throw_exception_if_processing_interrupted unload_all_models",
        "comfy.utils": "ProgressBar",
        "ProgressBar": "update_absolute",
        "comfy_api.latest": "ComfyExtension io",
        "io": "AnyType Boolean Combo ComfyNode Custom Float Image Int Model NodeOutput Schema String",
    }.items()
}


class UnlistedError(BaseException):
    """Not an Exception, so that nothing on the way takes it for one."""


def judge(kind: str, name: str, depth: int = 2) -> None:
    """Raise where a file of the package touches what is not listed.

    Args:
        kind: of the object, a key of `LISTED`.
        depth: how many calls above this one the touch is.
    """
    file = sys._getframe(depth).f_code.co_filename.replace("\\", "/")
    own = name.startswith("__") or name == "_orig_mod"  # Python's, and torch.compile's
    if "/src/bytheway/" in file and not own and name not in LISTED[kind]:
        raise UnlistedError(f"{kind}.{name} is not listed")


class Listed:
    """An object whose class has the name of ComfyUI's."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __getattribute__(self, name: str) -> Any:
        judge(object.__getattribute__(self, "__class__").__name__, name)
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        judge(type(self).__name__, name)
        object.__setattr__(self, name, value)


class ListedModule(ModuleType):
    """A module of ComfyUI's."""

    def __getattribute__(self, name: str) -> Any:
        judge(ModuleType.__getattribute__(self, "__name__"), name)
        return ModuleType.__getattribute__(self, name)


class Options(dict[str, Any]):
    """The `transformer_options` of a forward."""

    def __getitem__(self, key: str) -> Any:
        judge(type(self).__name__, key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        judge(type(self).__name__, key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        judge(type(self).__name__, str(key))
        return super().__contains__(key)


class Inputs(Options):
    """What else a forward is given, by name."""
