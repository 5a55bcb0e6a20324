"""The example workflows, as ComfyUI's API has them: nodes by number, each with its class and inputs."""

from __future__ import annotations

from typing import Any

Graph = dict[str, dict[str, Any]]
METHOD = {"motion": 1.5, "band": 7, "active_share": 0.2}
WHOLE = {"self_guidance": 0.6, **METHOD, "adaptive": "sqrt"}
# What toys take the place of, see toy_pack.py.
TOYS = {
    "CheckpointLoaderSimple": "ToyCheckpoint",
    "ADE_LoadAnimateDiffModel": "ToyMotion",
    "UNETLoader": "ToyVideoModel",
    "CLIPLoader": "ToyText",
    "VAELoader": "ToyAutoencoder",
}
# Names of files that the loaders offer.
FILES = {
    "checkpoints": "v1-5-pruned-emaonly.safetensors",
    "animatediff_models": "v3_sd15_mm.ckpt",
    "diffusion_models": "wan2.1_t2v_1.3B_fp16.safetensors",
    "text_encoders": "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
    "vae": "wan_2.1_vae.safetensors",
}


def _node(kind: str, title: str | None = None, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, **({"_meta": {"title": title}} if title else {})}


def _saved(frames: list[Any], fps: Any, name: str) -> list[dict[str, Any]]:
    video = _node("CreateVideo", images=frames, fps=fps)
    return [video, _node("SaveVideo", video=["video", 0], filename_prefix=name, format="auto", codec="auto")]


def animatediff() -> Graph:
    """Stable Diffusion 1.5 with AnimateDiff v3, enhanced, with its record."""
    create, save = _saved(["decode", 0], 8.0, "bytheway/animatediff")
    return {
        "checkpoint": _node("CheckpointLoaderSimple", ckpt_name=FILES["checkpoints"]),
        "motion": _node("ADE_LoadAnimateDiffModel", model_name=FILES["animatediff_models"]),
        "apply": _node("ADE_ApplyAnimateDiffModelSimple", motion_model=["motion", 0]),
        "evolved": _node(
            "ADE_UseEvolvedSampling", model=["checkpoint", 0], m_models=["apply", 0], beta_schedule="autoselect"
        ),
        "method": _node("ByTheWayAnimateDiff", model=["evolved", 0], preset="animatediff", record=True, **WHOLE),
        "prompt": _node(
            "CLIPTextEncode", "prompt", clip=["checkpoint", 1], text="a dog running on a beach, waves, golden light"
        ),
        "negative": _node("CLIPTextEncode", "negative", clip=["checkpoint", 1], text="blurry, low quality, static"),
        "latent": _node("EmptyLatentImage", width=512, height=512, batch_size=16),
        "sampler": _node(
            "KSampler", model=["method", 0], positive=["prompt", 0], negative=["negative", 0],
            latent_image=["latent", 0],
            seed=1, steps=25, cfg=7.5, sampler_name="euler", scheduler="normal", denoise=1.0,
        ),
        "decode": _node("VAEDecode", samples=["sampler", 0], vae=["checkpoint", 2]),
        "video": create,
        "save": save,
        "record": _node("ByTheWayRecord", recorded=["method", 1], after=["sampler", 0]),
        "plot": _node("PreviewImage", "energies, disparity, beta", images=["record", 0]),
        "text": _node("PreviewAny", "the same as text", source=["record", 1]),
    }  # fmt: skip


def video_models() -> Graph:
    """ComfyUI's own Wan 2.1, enhanced."""
    create, save = _saved(["decode", 0], 16.0, "bytheway/wan")
    return {
        "model": _node("UNETLoader", unet_name=FILES["diffusion_models"], weight_dtype="default"),
        "clip": _node("CLIPLoader", clip_name=FILES["text_encoders"], type="wan"),
        "vae": _node("VAELoader", vae_name=FILES["vae"]),
        "method": _node("ByTheWayVideo", model=["model", 0], preset="by model", **METHOD | {"band": 16}),
        "prompt": _node("CLIPTextEncode", "prompt", clip=["clip", 0], text="a fox jumping over a stream, autumn"),
        "negative": _node("CLIPTextEncode", "negative", clip=["clip", 0], text="static, blurry"),
        "latent": _node("EmptyHunyuanLatentVideo", width=832, height=480, length=33, batch_size=1),
        "sampler": _node(
            "KSampler", model=["method", 0], positive=["prompt", 0], negative=["negative", 0],
            latent_image=["latent", 0],
            seed=1, steps=30, cfg=6.0, sampler_name="uni_pc", scheduler="simple", denoise=1.0,
        ),
        "decode": _node("VAEDecode", samples=["sampler", 0], vae=["vae", 0]),
        "video": create,
        "save": save,
    }  # fmt: skip


def diorama() -> Graph:
    """A clip of diorama, with nothing to download, and its record."""
    return {
        **_sampled("bytheway/diorama", record=True),
        "record": _node("ByTheWayRecord", recorded=["sample", 3]),
        "plot": _node("PreviewImage", "energies, disparity, beta", images=["record", 0]),
        "text": _node("PreviewAny", "the same as text", source=["record", 1]),
    }


def best_of() -> Graph:
    """The best of eight seeds of diorama, and why it is."""
    return {
        **_sampled("bytheway/best", best_of=8),
        "text": _node("PreviewAny", "which seeds, and why", source=["sample", 4]),
    }


def diagnosis() -> Graph:
    """What the records of several clips of diorama tell of it."""
    return {
        **_sampled("bytheway/diagnosis", best_of=6, keep=4),
        "record": _node("ByTheWayDiagnose", recorded=["sample", 3]),
        "plot": _node("PreviewImage", "energies, disparity, beta", images=["record", 0]),
        "text": _node("PreviewAny", "findings", source=["record", 1]),
    }


def _sampled(name: str, **changed: Any) -> Graph:
    """Clips of diorama, as videos."""
    create, save = _saved(["sample", 0], ["sample", 1], name)
    inputs = {
        "prompt": "a red ball rolling to the right on grass", "negative_prompt": "", "seed": 1, "steps": 0,
        "guidance": 0.0, "frames": 0, "width": 0, "height": 0, "preset": "by model", **WHOLE, "enlarge": 0,
        "record": False, "best_of": 1, "keep": 1, "aim": "both",
    }  # fmt: skip
    return {
        "load": _node("ByTheWayLoad", model="diorama", folder="", motion_adapter=""),
        "sample": _node("ByTheWaySample", pipe=["load", 0], **inputs | changed),
        "video": create,
        "save": save,
    }


WORKFLOWS = {
    "ByTheWay AnimateDiff": animatediff,
    "ByTheWay video models": video_models,
    "ByTheWay diorama": diorama,
    "ByTheWay best of several seeds": best_of,
    "ByTheWay diagnosis": diagnosis,
}


def numbered(graph: Graph) -> Graph:
    """The same with numbers for names, as the front end wants them."""
    numbers = {name: str(number) for number, name in enumerate(graph, 1)}

    def value(one: Any) -> Any:
        return [numbers[one[0]], one[1]] if isinstance(one, list) else one

    return {
        numbers[name]: {**node, "inputs": {key: value(one) for key, one in node["inputs"].items()}}
        for name, node in graph.items()
    }


def with_toys(graph: Graph, **sizes: Any) -> Graph:
    """The same with toys for the models that are loaded from files, and small clips.

    Args:
        sizes: other values for inputs, wherever an input of that name is.
    """
    small = {"width": 64, "height": 64, "batch_size": 8, "length": 17, "steps": 5, "sampler_name": "euler", **sizes}
    changed: Graph = {}
    for name, node in graph.items():
        kind, inputs = node["class_type"], dict(node["inputs"])
        if kind in TOYS:
            kind, inputs = TOYS[kind], {}
        if not kind.startswith("ByTheWay"):
            inputs |= {key: one for key, one in small.items() if key in inputs}
        if kind == "EmptyHunyuanLatentVideo":
            inputs["batch_size"] = 1
        changed[name] = {**node, "class_type": kind, "inputs": inputs}
    return changed
