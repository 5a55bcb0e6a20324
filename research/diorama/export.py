"""The trained parts as one diffusers folder: safetensors, model index, vocabulary and defaults."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, DDIMScheduler, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from transformers import CLIPTextModel, CLIPTokenizer

from bytheway.files import write_text, written
from research.diorama import world
from research.diorama.architecture import FRAMES_PER_SECOND, IMAGE_SIZE, NUM_FRAMES
from research.diorama.sample import GUIDANCE, STEPS

MODEL_INDEX = {
    "_class_name": "AnimateDiffPipeline",
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "motion_adapter": ["diffusers", "MotionAdapter"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
}


def export(run: Path, folder: Path, tokenizer: CLIPTokenizer, scheduler: DDIMScheduler) -> None:
    """Write the shipped folder; files beside the weights (model card, pictures) are kept."""
    half = torch.float16
    _save(AutoencoderKL.from_pretrained(run / "autoencoder" / "model").to(half), folder / "vae")
    # In float32: transformers would load it in the dtype of its file, diffusers the other parts in float32.
    _save(CLIPTextModel.from_pretrained(run / "respaced" / "text_encoder"), folder / "text_encoder")
    _save(tokenizer, folder / "tokenizer")
    _save(scheduler, folder / "scheduler")
    unet = UNetMotionModel.from_pretrained(run / "respaced" / "model").to(half)
    _save(_motion_adapter(unet), folder / "motion_adapter")
    spatial = UNet2DConditionModel.from_pretrained(run / "spatial" / "model").to(half)
    spatial.load_state_dict({k: v for k, v in unet.state_dict().items() if "motion_modules" not in k})
    _save(spatial, folder / "unet")
    index = MODEL_INDEX | {"_diffusers_version": diffusers.__version__}
    write_text(folder / "model_index.json", json.dumps(index, indent=2) + "\n")
    write_text(folder / "world.json", json.dumps(world_facts(), indent=2) + "\n")


def export_early(run: Path, folder: Path) -> None:
    """Write the motion adapter of diorama-early beside the shipped folder; all else it shares with that."""
    early = folder.with_name(f"{folder.name}_early")
    _save(_motion_adapter(UNetMotionModel.from_pretrained(run / "early" / "model").to(torch.float16)), early)


def _motion_adapter(unet: UNetMotionModel) -> MotionAdapter:
    """In the precision of the UNet; diffusers' own export is in float32."""
    with tempfile.TemporaryDirectory() as folder:
        unet.save_motion_modules(folder)
        return MotionAdapter.from_pretrained(folder, dtype=unet.dtype)


def _save(part: Any, folder: Path) -> None:
    """Without the place where it lay while it was trained."""
    with written(folder) as draft:
        part.save_pretrained(draft)
        config = draft / "config.json"
        if config.exists():
            settings = json.loads(config.read_text(encoding="utf-8"))
            settings.pop("_name_or_path", None)
            config.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def world_facts() -> dict[str, object]:
    """What the model knows: its words, its factors and the settings it is meant to be run with."""
    return {
        "preset": "diorama",
        "defaults": {
            "num_frames": NUM_FRAMES,
            "size": [IMAGE_SIZE, IMAGE_SIZE],
            "steps": STEPS,
            "guidance_scale": GUIDANCE,
            "fps": FRAMES_PER_SECOND,
        },
        "subjects": world.SUBJECTS,
        "colours": world.COLOURS,
        "settings": world.SETTINGS,
        "motions": world.MOTIONS,
        "words": world.vocabulary(),
    }
