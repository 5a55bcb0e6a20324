"""ByTheWay on a video transformer (a DiT), here Wan: one line around the call.

    python examples/video_transformer.py

The Wan in this file is tiny and its weights are random, so that it runs in seconds and its video shows nothing. For the
real one, put `WanPipeline.from_pretrained("Wan-AI/Wan2.1-T2V-1.3B-Diffusers")` in place of `make_pipeline()` and a
`prompt` in place of the embeddings. CogVideoX, HunyuanVideo, LTX-Video and Mochi work alike.

These models attend to space and time at once, so there are no temporal maps that could be guided or recorded, and alpha
has nothing to act on. What remains is the motion part of the method, exactly: the values of the attention are filtered
along the frames.
"""

from typing import Any

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel
from torch import Tensor

from bytheway import enhanced


def make_pipeline() -> WanPipeline:
    """Wan's own classes at toy size, with seeded random weights and without a text encoder."""
    torch.manual_seed(0)
    transformer = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=12,
        freq_dim=8,
        ffn_dim=16,
        num_layers=2,
    )
    for block in transformer.blocks:
        block.attn1.to_v.weight.data.mul_(8)  # so that attention counts in the output, as it does in trained weights
    vae = AutoencoderKLWan(base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    pipe = WanPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=vae.eval(),
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def video_of(pipe: Any) -> Tensor:
    """13 frames of 48x32, (13, 3, 32, 48) in [0, 1], always from the same noise."""
    prompt, negative_prompt = torch.randn(2, 1, 5, 12, generator=torch.Generator().manual_seed(1))
    video: Tensor = pipe(
        prompt_embeds=prompt,
        negative_prompt_embeds=negative_prompt,
        num_frames=13,
        width=48,
        height=32,
        num_inference_steps=5,
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
    ).frames[0]
    return video


def main() -> None:
    """Make a video before, inside and after the block."""
    pipe = make_pipeline()
    vanilla = video_of(pipe)
    # All but beta, the amplification of the high temporal frequencies, stays as the preset of the model has it.
    with enhanced(pipe, beta=2.0) as run:
        video = video_of(pipe)
    print(f"With {run.config} the video changes by {(video - vanilla).abs().mean():.5f} on average.")
    assert torch.equal(video_of(pipe), vanilla)
    print("After the block the pipeline is what it was, bit for bit.")


if __name__ == "__main__":
    main()
