"""Text to video with VideoCrafter2, as a pipeline like diffusers' own."""

import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from diffusers.pipelines.pipeline_utils import StableDiffusionMixin
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from diffusers.video_processor import VideoProcessor
from huggingface_hub import snapshot_download
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from bytheway.errors import ByTheWayError
from bytheway.models.videocrafter.scheduler import VideoCrafterScheduler
from bytheway.models.videocrafter.unet import VideoCrafterUNet

logger = logging.getLogger(__name__)

Generators = torch.Generator | list[torch.Generator]
StepCallback = Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor]]

OUTPUT_TYPES = ("pil", "np", "pt", "latent")
# OpenCLIP fills a prompt up with this token, whatever the tokenizer calls padding; cross-attention sees the filling.
PADDING_TOKEN = 0


@dataclass
class VideoCrafterPipelineOutput(BaseOutput):  # type: ignore[misc]
    """What a run of `VideoCrafterPipeline` returns.

    Attributes:
        frames: by output type: "pil": a list of frames for each video; "np": an array (videos, frames, height, width,
            3) in [0, 1]; "pt": a tensor (videos, frames, 3, height, width) in [0, 1]; "latent": a tensor (videos, 4,
            frames, height / 8, width / 8).
    """

    frames: list[list[Image.Image]] | np.ndarray[Any, Any] | Tensor


class VideoCrafterPipeline(DiffusionPipeline, StableDiffusionMixin):  # type: ignore[misc]
    """Text to video with VideoCrafter2 (Chen et al., CVPR 2024, arXiv 2401.09047).

    The defaults of a call are those of VideoCrafter's own script for its 512-v2 model.

    Args:
        vae: of Stable Diffusion; it knows single frames only.
        text_encoder: OpenCLIP ViT-H/14 without its last layer.
        tokenizer: of CLIP.
        unet: the denoiser.
        scheduler: others than `VideoCrafterScheduler` run, but do not know of the signal scale of the training.

    >>> pipe = VideoCrafterPipeline.from_pretrained("videocrafter2").to("cuda")  # doctest: +SKIP
    >>> frames = pipe("a horse galloping on a beach").frames[0]  # doctest: +SKIP
    """

    model_cpu_offload_seq = "text_encoder->unet->vae"
    _callback_tensor_inputs = ("latents", "prompt_embeds")

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: VideoCrafterUNet,
        scheduler: VideoCrafterScheduler,
    ) -> None:
        super().__init__()
        self.register_modules(vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler)
        self.vae_scale_factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.video_processor = VideoProcessor(do_resize=False, vae_scale_factor=self.vae_scale_factor)

    @classmethod
    def download(cls, pretrained_model_name: str, **settings: Any) -> str:
        """The local folder of a saved pipeline on the hub, fetched where it is not there; `from_pretrained` calls it.

        diffusers' own refuses a pipeline with components that neither diffusers nor the repository defines.

        Args:
            settings: cache_dir, force_download, local_files_only, revision and token count, as in diffusers.
        """
        known = ("cache_dir", "force_download", "local_files_only", "revision", "token")
        chosen = {name: settings[name] for name in known if settings.get(name) is not None}
        patterns = ["*.json", "*.txt", "*.safetensors"]
        return str(snapshot_download(pretrained_model_name, allow_patterns=patterns, **chosen))

    @property
    def guidance_scale(self) -> float:
        """The guidance scale of the run in progress."""
        return self._guidance_scale

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether the denoiser's batch is an unconditional half followed by a conditional one."""
        return self._guidance_scale > 1

    @property
    def num_timesteps(self) -> int:
        """How many steps the run in progress has."""
        return self._num_timesteps

    @property
    def interrupt(self) -> bool:
        """Whether the run in progress is to stop denoising; a callback sets `_interrupt`."""
        return self._interrupt

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        height: int = 320,
        width: int = 512,
        num_frames: int = 16,
        num_inference_steps: int = 50,
        guidance_scale: float = 12.0,
        negative_prompt: str | list[str] | None = None,
        fps: float = 28,
        num_videos_per_prompt: int = 1,
        eta: float = 1.0,
        generator: Generators | None = None,
        latents: Tensor | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        decode_chunk_size: int = 4,
    ) -> VideoCrafterPipelineOutput | tuple[Any]:
        """Make videos.

        Args:
            prompt: what is to be seen; a list makes a batch of videos.
            height, width: of the frames in pixels, multiples of 8; the model was trained at 320x512.
            num_frames: of each video; the model was trained on 16.
            num_inference_steps: denoising steps; the scheduler is VideoCrafter's own where they divide 1000.
            guidance_scale: of classifier-free guidance; none at 1 and below.
            negative_prompt: what is not to be seen: one text for all prompts, or one for each.
            fps: frames per second that the model is told, which says how fast things move: the lower, the faster.
            num_videos_per_prompt: videos of each prompt; those of the first prompt come first.
            eta: how much noise DDIM adds anew in a step, from 0 (none) to 1 (as much as DDPM).
            generator: of the noise; a list holds one for each video.
            latents: the noise to start from, (videos, 4, num_frames, height / 8, width / 8), in place of random noise.
            prompt_embeds, negative_prompt_embeds: encoded prompts, (prompts, tokens, channels), in place of texts.
            output_type: "pil", "np", "pt" or "latent", see `VideoCrafterPipelineOutput`.
            return_dict: False: a tuple of the frames alone.
            callback_on_step_end: called after each step with the pipeline, the step's number, its timestep and the
                tensors it asked for; what it returns takes their places.
            callback_on_step_end_tensor_inputs: the tensors it asks for: "latents", and "prompt_embeds" as the denoiser
                is given them (with guidance: the negative ones, then the others).
            decode_chunk_size: frames that the VAE decodes at a time.

        Raises:
            ByTheWayError: an argument is out of its range or does not fit the others.
        """
        self._check_prompts(prompt, negative_prompt, prompt_embeds, negative_prompt_embeds)
        self._check_sizes(height, width, num_frames, num_inference_steps, num_videos_per_prompt, decode_chunk_size)
        self._check_output(output_type, callback_on_step_end_tensor_inputs)
        self._guidance_scale = guidance_scale
        self._interrupt = False
        device = self._execution_device

        prompt_embeds, negative_prompt_embeds = self.encode_prompt(
            prompt,
            device,
            num_videos_per_prompt,
            self.do_classifier_free_guidance,
            negative_prompt,
            prompt_embeds,
            negative_prompt_embeds,
        )
        videos = len(prompt_embeds)
        if negative_prompt_embeds is not None:
            prompt_embeds = torch.cat([negative_prompt_embeds, prompt_embeds])

        self.scheduler.set_timesteps(num_inference_steps, device=device)
        timesteps = self.scheduler.timesteps
        self._num_timesteps = len(timesteps)
        latents = self.prepare_latents(
            (videos, num_frames, height, width), prompt_embeds.dtype, device, generator, latents
        )
        step_settings = self._step_settings(eta, generator)

        with self.progress_bar(total=len(timesteps)) as progress_bar:
            for step, timestep in enumerate(timesteps):
                if self.interrupt:
                    break
                noise = self._predict_noise(latents, timestep, prompt_embeds, fps)
                latents = self.scheduler.step(noise, timestep, latents, **step_settings).prev_sample
                if callback_on_step_end is not None:
                    tensors = {"latents": latents, "prompt_embeds": prompt_embeds}
                    asked = {name: tensors[name] for name in callback_on_step_end_tensor_inputs}
                    tensors |= callback_on_step_end(self, step, timestep, asked)
                    latents, prompt_embeds = tensors["latents"], tensors["prompt_embeds"]
                progress_bar.update()

        frames: Any = latents
        if output_type != "latent":
            video = self.decode_latents(latents, decode_chunk_size)
            frames = self.video_processor.postprocess_video(video, output_type=output_type)
        self.maybe_free_model_hooks()
        return VideoCrafterPipelineOutput(frames=frames) if return_dict else (frames,)

    def encode_prompt(
        self,
        prompt: str | list[str] | None,
        device: torch.device,
        num_videos_per_prompt: int = 1,
        do_classifier_free_guidance: bool = True,
        negative_prompt: str | list[str] | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The prompts and the negative prompts as the denoiser reads them, (videos, tokens, channels) each.

        The second is None without guidance. Texts that are given as embeddings already are only repeated.
        """
        if prompt_embeds is None:
            prompt_embeds = self._encode(prompt, device)
        if not do_classifier_free_guidance:
            negative_prompt_embeds = None
        else:
            if negative_prompt_embeds is None:
                negative_prompt_embeds = self._encode(negative_prompt or "", device)
            if negative_prompt_embeds.shape[1:] != prompt_embeds.shape[1:]:
                raise ByTheWayError(
                    f"prompt_embeds has the shape {tuple(prompt_embeds.shape)}, the negative one "
                    f"{tuple(negative_prompt_embeds.shape)}; give both with the same tokens and channels."
                )
            negative_prompt_embeds = negative_prompt_embeds.expand(len(prompt_embeds), -1, -1)
            negative_prompt_embeds = self._for_videos(negative_prompt_embeds, num_videos_per_prompt, device)
        return self._for_videos(prompt_embeds, num_videos_per_prompt, device), negative_prompt_embeds

    def prepare_latents(
        self,
        size: tuple[int, int, int, int],
        dtype: torch.dtype,
        device: torch.device,
        generator: Generators | None = None,
        latents: Tensor | None = None,
    ) -> Tensor:
        """The noise to start from, (videos, channels, frames, height / 8, width / 8): the one given, or a new one.

        Args:
            size: videos, frames, and their height and width in pixels.
        """
        videos, num_frames, height, width = size
        scale = self.vae_scale_factor
        shape = (videos, self.unet.config.in_channels, num_frames, height // scale, width // scale)
        if isinstance(generator, list) and len(generator) != videos:
            raise ByTheWayError(f"{len(generator)} generators are given for {videos} videos; give one for each.")
        if latents is None:
            latents = randn_tensor(shape, generator=generator, device=device, dtype=dtype)
        elif tuple(latents.shape) != shape:
            raise ByTheWayError(f"The latents have the shape {tuple(latents.shape)}; this run needs {shape}.")
        start: Tensor = latents.to(device, dtype) * self.scheduler.init_noise_sigma
        return start

    def decode_latents(self, latents: Tensor, decode_chunk_size: int = 4) -> Tensor:
        """Latents as videos (videos, 3, frames, height, width), in float32 and about [-1, 1].

        The VAE sees each frame by itself, `decode_chunk_size` of them at a time.
        """
        frames = (latents / self.vae.config.scaling_factor).transpose(1, 2).flatten(0, 1).to(self.vae.dtype)
        decoded = [self.vae.decode(chunk).sample.float() for chunk in frames.split(decode_chunk_size)]
        video: Tensor = torch.cat(decoded).unflatten(0, (len(latents), -1)).transpose(1, 2)
        return video

    def _encode(self, prompt: str | list[str] | None, device: torch.device) -> Tensor:
        prompts = [prompt] if isinstance(prompt, str) else prompt
        length = self.text_encoder.config.max_position_embeddings
        texts: list[list[int]] = self.tokenizer(prompts).input_ids
        tokens = torch.full((len(texts), length), PADDING_TOKEN)
        for row, ids in zip(tokens, texts, strict=True):
            if len(ids) > length:
                lost = self.tokenizer.decode(ids[length - 1 : -1])
                logger.warning("The prompt is longer than %d tokens; this part of it is left out: %s", length, lost)
                ids = [*ids[: length - 1], ids[-1]]
            row[: len(ids)] = torch.tensor(ids)
        encoded: Tensor = self.text_encoder(tokens.to(device)).last_hidden_state
        return encoded

    def _for_videos(self, embeds: Tensor, num_videos_per_prompt: int, device: torch.device) -> Tensor:
        return embeds.to(device, self.unet.dtype).repeat_interleave(num_videos_per_prompt, dim=0)

    def _predict_noise(self, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor, fps: float) -> Tensor:
        """One call of the denoiser; with guidance its batch holds the unconditional half first."""
        guided = self.do_classifier_free_guidance
        sample = self.scheduler.scale_model_input(torch.cat([latents] * 2) if guided else latents, timestep)
        rates = torch.full((len(sample),), float(fps), device=sample.device)
        noise: Tensor = self.unet(sample, timestep, prompt_embeds, timestep_cond=rates, return_dict=False)[0]
        if not guided:
            return noise
        unconditional, conditional = noise.chunk(2)
        return unconditional + self.guidance_scale * (conditional - unconditional)

    def _step_settings(self, eta: float, generator: Generators | None) -> dict[str, Any]:
        """Those of the settings that the scheduler's step knows."""
        known = inspect.signature(self.scheduler.step).parameters
        return {name: value for name, value in (("eta", eta), ("generator", generator)) if name in known}

    def _check_prompts(
        self,
        prompt: str | list[str] | None,
        negative_prompt: str | list[str] | None,
        prompt_embeds: Tensor | None,
        negative_prompt_embeds: Tensor | None,
    ) -> None:
        if (prompt is None) == (prompt_embeds is None):
            raise ByTheWayError("Give either a prompt or prompt_embeds.")
        if negative_prompt is not None and negative_prompt_embeds is not None:
            raise ByTheWayError("Give either a negative prompt or negative_prompt_embeds.")
        for name, texts in (("prompt", prompt), ("negative_prompt", negative_prompt)):
            listed = isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts)
            if texts is not None and not isinstance(texts, str) and not listed:
                raise ByTheWayError(f"{name} is {texts!r}; give a text or a list of texts.")
        prompts: Any = [prompt] if isinstance(prompt, str) else prompt_embeds if prompt is None else prompt
        count = len(prompts)
        negative = negative_prompt if isinstance(negative_prompt, list) else negative_prompt_embeds
        if negative is not None and len(negative) not in (1, count):
            raise ByTheWayError(f"{len(negative)} negative prompts are given for {count} prompts; give one for each.")

    def _check_sizes(
        self,
        height: int,
        width: int,
        num_frames: int,
        num_inference_steps: int,
        num_videos_per_prompt: int,
        decode_chunk_size: int,
    ) -> None:
        scale = self.vae_scale_factor
        if height < scale or width < scale or height % scale or width % scale:
            raise ByTheWayError(
                f"The frames are to be {height}x{width} pixels; give a height and a width that {scale} divides."
            )
        counts = {
            "num_frames": num_frames,
            "num_inference_steps": num_inference_steps,
            "num_videos_per_prompt": num_videos_per_prompt,
            "decode_chunk_size": decode_chunk_size,
        }
        for name, count in counts.items():
            if count < 1:
                raise ByTheWayError(f"{name} is {count}; it must be at least 1.")
        trained = self.scheduler.config.num_train_timesteps
        if num_inference_steps >= trained:
            raise ByTheWayError(
                f"num_inference_steps is {num_inference_steps}; it must be less than the {trained} of the training."
            )

    def _check_output(self, output_type: str, tensor_inputs: Sequence[str]) -> None:
        if output_type not in OUTPUT_TYPES:
            raise ByTheWayError(f"output_type is {output_type!r}; it must be one of {', '.join(OUTPUT_TYPES)}.")
        unknown = [name for name in tensor_inputs if name not in self._callback_tensor_inputs]
        if unknown:
            raise ByTheWayError(
                f"A callback cannot ask for {', '.join(unknown)}; it can for {', '.join(self._callback_tensor_inputs)}."
            )
