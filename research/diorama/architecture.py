"""The parts of diorama: a three-level AnimateDiff on 8x8 latents, small enough to train on two CPU cores.

Each function builds one untrained component of the ``AnimateDiffPipeline``. The shapes follow Stable Diffusion 1.5 and
AnimateDiff wherever size allows: an 8x KL autoencoder, a CLIP text encoder, a UNet with cross-attention at every level
and motion modules in every block.
"""

from __future__ import annotations

import json
import math
import random

import torch
from diffusers import AutoencoderKL, DDIMScheduler, MotionAdapter, UNet2DConditionModel
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from research.diorama.amplitudes import AMPLITUDES
from research.diorama.world import all_scenes, caption

NUM_FRAMES = 16
FRAMES_PER_SECOND = 8
IMAGE_SIZE = 64
LATENT_CHANNELS = 8
PROMPT_TOKENS = 24
TEXT_WIDTH = 96
CHANNELS = (64, 96, 144)
NORM_GROUPS = 16
HEADS = 4
TRAIN_TIMESTEPS = 1000
TRAINED_SHIFT = 4.0
SAMPLED_SHIFT = 2.0


def build_tokenizer(seed: int = 0, captions_per_scene: int = 40) -> CLIPTokenizer:
    """A CLIP byte-pair tokenizer trained on the world's captions, so that every word of the world is one token."""
    rng = random.Random(seed)
    scenes = (scene for scene in all_scenes() for _ in range(captions_per_scene))
    corpus = (caption(scene, rng, rng.uniform(*AMPLITUDES[scene.motion])) for scene in scenes)
    bpe = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2048, min_frequency=2, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    bpe.train_from_iterator(corpus, trainer)
    learnt = bpe.get_vocab()
    merges = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    # The trainer numbers single letters in an order of its own each time.
    words = [piece for piece in sorted(learnt, key=learnt.__getitem__) if len(piece.removesuffix("</w>")) > 1]
    letters = sorted(alphabet)
    pieces = [*letters, *(letter + "</w>" for letter in letters), *words, "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=PROMPT_TOKENS)


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A CLIP text transformer of two layers, width 96, trained together with the UNet."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=HEADS,
            max_position_embeddings=PROMPT_TOKENS,
            projection_dim=TEXT_WIDTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_vae() -> AutoencoderKL:
    """A KL autoencoder, 8x down to 8 latent channels."""
    blocks = (16, 32, 64, 96)
    return AutoencoderKL(
        sample_size=IMAGE_SIZE,
        block_out_channels=blocks,
        down_block_types=("DownEncoderBlock2D",) * len(blocks),
        up_block_types=("UpDecoderBlock2D",) * len(blocks),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def build_unet() -> UNet2DConditionModel:
    """The spatial UNet: three levels (8, 4, 2 pixels), cross-attention to the text at each."""
    return UNet2DConditionModel(
        sample_size=IMAGE_SIZE // 8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=CHANNELS,
        down_block_types=("CrossAttnDownBlock2D",) * len(CHANNELS),
        up_block_types=("CrossAttnUpBlock2D",) * len(CHANNELS),
        layers_per_block=1,
        norm_num_groups=NORM_GROUPS,
        attention_head_dim=HEADS,
        cross_attention_dim=TEXT_WIDTH,
    )


def build_motion_adapter() -> MotionAdapter:
    """AnimateDiff motion modules for every block of the UNet, the middle one included."""
    return MotionAdapter(
        block_out_channels=CHANNELS,
        motion_layers_per_block=1,
        motion_num_attention_heads=HEADS,
        motion_norm_num_groups=NORM_GROUPS,
        motion_max_seq_length=2 * NUM_FRAMES,
        use_motion_mid_block=True,
    )


def shifted_cosine_betas(shift: float, log_snr_limit: float = 14.0) -> list[float]:
    """Betas of the cosine schedule with its log-SNR raised by 2 log(shift), as latents of few pixels want it.

    At the same noise few pixels have lost more of a picture than many (Hoogeboom et al., "simple diffusion",
    arXiv 2301.11093, sections 2.1 and 3.1). Raised by 2 log 4, subject, colour and setting are decided in the first
    fifth of the steps, and motion to a good part; lowered by 2 log 2, nothing was.

    The log-SNR runs from ``log_snr_limit`` down to its negative, so that the noise-to-signal ratio stays finite for
    schedulers that divide by the signal. Less noise would not do: 16 frames show one motion 16 times, betray it at a
    log-SNR of -7.5, and a model that never sees more noise takes left or right from it, whatever the caption says.
    """
    first, last = (math.atan(shift * math.exp(limit / 2)) for limit in (-log_snr_limit, log_snr_limit))
    angle = torch.linspace(first, last, TRAIN_TIMESTEPS, dtype=torch.float64)
    log_snr = 2 * math.log(shift) - 2 * torch.log(torch.tan(angle))
    alphas_cumprod = torch.sigmoid(log_snr)
    previous = torch.cat([torch.ones(1, dtype=torch.float64), alphas_cumprod[:-1]])
    return [round(float(beta), 8) for beta in 1 - alphas_cumprod / previous]


def build_scheduler(shift: float = TRAINED_SHIFT) -> DDIMScheduler:
    """DDIM, v-prediction, on the shifted cosine schedule; sampling starts at the last training timestep."""
    return DDIMScheduler(
        num_train_timesteps=TRAIN_TIMESTEPS,
        trained_betas=shifted_cosine_betas(shift),
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )
