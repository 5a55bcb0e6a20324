"""From nothing to the shipped folder: corpus, autoencoder, spatial and motion stage, the sampling schedule, export.

Every stage leaves its result in a folder of its own and is skipped when that is there; an unfinished one goes on from
its checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from diffusers import AutoencoderKL, ModelMixin, UNet2DConditionModel, UNetMotionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextModel

from bytheway.files import written
from research.diorama import architecture, sample
from research.diorama.autoencoder import Reconstruction, crop_batch, normalise_latents, reconstruction_psnr
from research.diorama.corpus import Corpus
from research.diorama.denoiser import Denoising, Examples
from research.diorama.export import export, export_early
from research.diorama.fit import OutOfTime, Stage, fit
from research.diorama.respacing import respace

SHEET_EVERY_SECONDS = 3600
Model = TypeVar("Model", AutoencoderKL, UNet2DConditionModel, UNetMotionModel)
Denoiser = TypeVar("Denoiser", UNet2DConditionModel, UNetMotionModel)


@dataclass(frozen=True)
class Recipe:
    """How long each stage takes; the defaults are those of the shipped weights."""

    out: Path
    shipped: Path
    clips: int = 16384
    autoencoder_steps: int = 4200
    spatial_steps: int = 1400
    motion_steps: int = 18000
    respaced_steps: int = 8000
    early_steps: int = 600
    seed: int = 0
    minutes: float = float("inf")


class Trainer:
    """One process of the recipe: ``rank`` of ``world``, on its device."""

    def __init__(self, recipe: Recipe, rank: int, world: int, device: torch.device) -> None:
        self.recipe, self.rank, self.world, self.device = recipe, rank, world, device
        self.deadline = time.monotonic() + 60 * recipe.minutes
        torch.manual_seed(recipe.seed)
        self.corpus: Corpus
        self.tokenizer = architecture.build_tokenizer()
        self.scheduler = architecture.build_scheduler()
        self.sampler = architecture.build_scheduler(architecture.SAMPLED_SHIFT)
        self.vae: AutoencoderKL

    def run(self) -> None:
        """All stages in order."""
        shards = self._prepare_corpus()
        self.vae = self._stage_result("autoencoder", self._train_autoencoder, AutoencoderKL)
        self.corpus.encode(self.vae, shards, self.device)
        self._barrier()
        self._stage_result("spatial", self._train_spatial, UNet2DConditionModel)
        self._stage_result("motion", self._train_motion, UNetMotionModel)
        self._stage_result("respaced", self._train_respaced, UNetMotionModel)
        self._stage_result("early", self._train_early, UNetMotionModel)
        if self.rank == 0:
            export(self.recipe.out, self.recipe.shipped, self.tokenizer, self.sampler)
            export_early(self.recipe.out, self.recipe.shipped)

    def _prepare_corpus(self) -> list[int]:
        folder = self.recipe.out / "corpus"
        if self.rank == 0:
            Corpus(folder, self.recipe.clips)
        self._barrier()
        self.corpus = Corpus(folder, self.recipe.clips)
        shards = list(range(self.rank, self.corpus.shards, self.world))
        self.corpus.render(shards, self.device)
        self._barrier()
        return shards

    def _stage_result(self, name: str, train: Callable[[Path], None], kind: type[Model]) -> Model:
        folder = self.recipe.out / name
        if not (folder / "model" / "config.json").exists():
            train(folder)
            if self.rank == 0:
                sample.loss_curve(folder / "loss.jsonl", folder / "loss.png")
        self._barrier()
        return kind.from_pretrained(folder / "model").to(self.device).eval()

    def _train_autoencoder(self, folder: Path) -> None:
        vae = architecture.build_vae().to(self.device)
        stage = Stage("autoencoder", self.recipe.autoencoder_steps, seed=self.recipe.seed)
        batch = crop_batch(self.corpus, stage, 64 // self.world, 0.7, self.device)
        groups = [{"params": vae.parameters(), "lr": 1e-3}]
        fit(stage, Reconstruction(vae), groups, batch, folder, self.deadline)
        if self.rank == 0:
            normalise_latents(vae, self.corpus, self.device)
            print(f"autoencoder: {reconstruction_psnr(vae, self.corpus, self.device):.2f} dB")
            _save(vae, folder / "model")

    def _train_spatial(self, folder: Path) -> None:
        text_encoder = architecture.build_text_encoder(self.tokenizer).to(self.device)
        unet = self._trainable(architecture.build_unet())
        objective = Denoising(text_encoder, unet, self.scheduler)
        groups = [{"params": objective.parameters(), "lr": 8e-4}]
        stage = Stage("spatial", self.recipe.spatial_steps, seed=self.recipe.seed)
        batch = self._examples().frames(96 // self.world)
        parts = (unet, text_encoder, self.tokenizer, self.vae, self.scheduler)
        sheet = self._sheets(lambda step: sample.image_sheet(folder / f"samples-{step:06d}.png", *parts))
        fit(stage, objective, groups, batch, folder, self.deadline, sheet)
        if self.rank == 0:
            sample.image_sheet(folder / "samples.png", *parts)
            text_encoder.save_pretrained(folder / "text_encoder")
            _save(unet, folder / "model")

    def _train_motion(self, folder: Path) -> None:
        spatial = self.recipe.out / "spatial"
        text_encoder = CLIPTextModel.from_pretrained(spatial / "text_encoder").to(self.device)
        spatial_unet = UNet2DConditionModel.from_pretrained(spatial / "model")
        unet = self._trainable(UNetMotionModel.from_unet2d(spatial_unet, architecture.build_motion_adapter()))
        objective = Denoising(text_encoder, unet, self.scheduler)
        motion = [p for name, p in unet.named_parameters() if "motion_modules" in name]
        known = {id(p) for p in motion}
        rest = [p for p in objective.parameters() if id(p) not in known]
        groups = [{"params": motion, "lr": 8e-4}, {"params": rest, "lr": 7e-4}]
        # A long decay: at the full rate the loss falls by 0.01 in 3000 steps, and by 0.03 as soon as the rate does.
        stage = Stage("motion", self.recipe.motion_steps, decay_share=0.45, seed=self.recipe.seed)
        self._train_clips(folder, stage, objective, groups)

    def _train_respaced(self, folder: Path) -> None:
        """The model on the schedule with which it is sampled."""
        finished = self.recipe.out / "motion"
        text_encoder = CLIPTextModel.from_pretrained(finished / "text_encoder").to(self.device)
        unet = UNetMotionModel.from_pretrained(finished / "model")
        respace(unet, self.scheduler, self.sampler)
        objective = Denoising(text_encoder, self._trainable(unet), self.sampler)
        groups = [{"params": objective.parameters(), "lr": 5e-4}]
        stage = Stage("respaced", self.recipe.respaced_steps, decay_share=0.5, seed=self.recipe.seed)
        self._train_clips(folder, stage, objective, groups)

    def _train_early(self, folder: Path) -> None:
        """New motion modules on the finished model, which itself stays as it is, for a short while."""
        finished = self.recipe.out / "respaced"
        text_encoder = CLIPTextModel.from_pretrained(finished / "text_encoder").to(self.device).requires_grad_(False)
        unet = self._trainable(UNetMotionModel.from_pretrained(finished / "model"))
        unet.load_motion_modules(architecture.build_motion_adapter())
        unet.freeze_unet2d_params()
        objective = Denoising(text_encoder, unet, self.sampler)
        groups = [{"params": [p for p in unet.parameters() if p.requires_grad], "lr": 8e-4}]
        stage = Stage("early", self.recipe.early_steps, decay_share=0.1, seed=self.recipe.seed)
        self._train_clips(folder, stage, objective, groups)

    def _train_clips(self, folder: Path, stage: Stage, objective: Denoising, groups: list[dict[str, object]]) -> None:
        """Fit on clips, with a sheet now and then; leaves the UNet, the text encoder and a last sheet."""
        unet, text_encoder = objective.unet, objective.text_encoder
        adapter = architecture.build_motion_adapter()  # its shape is asked of it; the weights are in the UNet
        parts = (unet, adapter, text_encoder, self.tokenizer, self.vae, objective.scheduler)
        sheet = self._sheets(lambda step: sample.clip_sheet(folder / f"samples-{step:06d}.png", *parts))
        batch = self._examples().clips(128 // self.world, stage)
        fit(stage, objective, groups, batch, folder, self.deadline, sheet)
        if self.rank == 0:
            sample.clip_sheet(folder / "samples.png", *parts)
            text_encoder.save_pretrained(folder / "text_encoder")
            _save(unet, folder / "model")

    def _trainable(self, unet: Denoiser) -> Denoiser:
        if self.device.type == "cpu":
            # The backward of fused attention takes 40 % of a step at these sizes; plain softmax makes it 1.6x faster.
            unet.set_attn_processor(AttnProcessor())
        return unet.to(self.device)

    def _examples(self) -> Examples:
        return Examples(self.corpus, self.tokenizer, self.scheduler.config.num_train_timesteps, self.device)

    def _sheets(self, draw: Callable[[int], None]) -> Callable[[int], None]:
        last = time.monotonic()

        def on_checkpoint(step: int) -> None:
            nonlocal last
            if time.monotonic() - last > SHEET_EVERY_SECONDS:
                draw(step)
                last = time.monotonic()

        return on_checkpoint

    def _barrier(self) -> None:
        if dist.is_initialized():
            dist.barrier()


def _save(model: ModelMixin, folder: Path) -> None:
    """A stage is finished where its folder is, so that it has to be there at once."""
    with written(folder) as draft:
        model.save_pretrained(draft)


def run_process(rank: int, recipe: Recipe, world: int, device_name: str) -> None:
    """Entry point of each process; several of them average their gradients over gloo."""
    device = torch.device(device_name)
    if world > 1:
        torch.set_num_threads(1)
        store = recipe.out / "rendezvous"
        dist.init_process_group(
            "gloo", init_method=f"file://{store.resolve()}", rank=rank, world_size=world, timeout=timedelta(hours=2)
        )
    try:
        Trainer(recipe, rank, world, device).run()
    except OutOfTime:
        if rank == 0:
            print("Time is up; the same command goes on from the checkpoint.")
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
