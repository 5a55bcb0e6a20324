"""The trained parts as one diffusers folder: safetensors, model index, vocabulary and defaults."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL, DDIMScheduler, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from transformers import CLIPTextModel, CLIPTokenizer

from research.diorama import world
from research.diorama.architecture import IMAGE_SIZE, NUM_FRAMES
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
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("vae", "text_encoder", "tokenizer", "unet", "motion_adapter", "scheduler"):
        shutil.rmtree(folder / part, ignore_errors=True)
    half = torch.float16
    AutoencoderKL.from_pretrained(run / "autoencoder" / "model").to(half).save_pretrained(folder / "vae")
    # In float32: transformers would load it in the dtype of its file, diffusers the other parts in float32.
    CLIPTextModel.from_pretrained(run / "motion" / "text_encoder").save_pretrained(folder / "text_encoder")
    tokenizer.save_pretrained(folder / "tokenizer")
    scheduler.save_pretrained(folder / "scheduler")
    unet = UNetMotionModel.from_pretrained(run / "motion" / "model").to(half)
    _save_motion_adapter(unet, folder / "motion_adapter")
    spatial = UNet2DConditionModel.from_pretrained(run / "spatial" / "model").to(half)
    spatial.load_state_dict({k: v for k, v in unet.state_dict().items() if "motion_modules" not in k})
    spatial.save_pretrained(folder / "unet")
    for config in folder.glob("*/config.json"):
        _without_path(config)
    index = MODEL_INDEX | {"_diffusers_version": diffusers.__version__}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    (folder / "world.json").write_text(json.dumps(world_facts(), indent=2) + "\n")


def export_early(run: Path, folder: Path) -> None:
    """Write the motion adapter of diorama-early beside the shipped folder; all else it shares with that."""
    early = folder.with_name(f"{folder.name}_early")
    _save_motion_adapter(UNetMotionModel.from_pretrained(run / "early" / "model").to(torch.float16), early)
    _without_path(early / "config.json")


def _save_motion_adapter(unet: UNetMotionModel, folder: Path) -> None:
    """In the precision of the UNet; diffusers' own export is in float32."""
    unet.save_motion_modules(str(folder))
    MotionAdapter.from_pretrained(folder, dtype=unet.dtype).save_pretrained(folder)


def _without_path(config: Path) -> None:
    """Take out where the part lay while it was trained."""
    settings = json.loads(config.read_text())
    settings.pop("_name_or_path", None)
    config.write_text(json.dumps(settings, indent=2) + "\n")


def world_facts() -> dict[str, object]:
    """What the model knows: its words, its factors and the settings it is meant to be run with."""
    return {
        "preset": "diorama",
        "defaults": {
            "num_frames": NUM_FRAMES,
            "size": [IMAGE_SIZE, IMAGE_SIZE],
            "steps": STEPS,
            "guidance_scale": GUIDANCE,
            "fps": 8,
        },
        "subjects": world.SUBJECTS,
        "colours": world.COLOURS,
        "settings": world.SETTINGS,
        "motions": world.MOTIONS,
        "words": world.vocabulary(),
    }
