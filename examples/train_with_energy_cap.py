"""Training with a cap on the energy of the temporal attention maps, on an AnimateDiff small enough for any CPU.

    python examples/train_with_energy_cap.py

The motion modules of a frozen UNet are trained, as AnimateDiff trains its own. Weights and videos are random, so that
the model learns nothing worth seeing; what is printed is how the energy of each block's maps comes down to the target
while the denoising loss is trained as ever.
"""

import torch
from diffusers import DDIMScheduler, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from torch.nn import functional as F

from bytheway.training import EnergyCap

CHANNELS = (32, 64)
FRAMES = 16
TARGET = 0.16


def make_unet() -> UNetMotionModel:
    """Two levels; only the motion modules are to be trained, and their maps are sharp to begin with."""
    unet = UNetMotionModel.from_unet2d(
        UNet2DConditionModel(
            sample_size=8,
            block_out_channels=CHANNELS,
            down_block_types=("CrossAttnDownBlock2D",) * 2,
            up_block_types=("CrossAttnUpBlock2D",) * 2,
            layers_per_block=1,
            norm_num_groups=8,
            cross_attention_dim=32,
            attention_head_dim=4,
        ),
        MotionAdapter(
            block_out_channels=CHANNELS,
            motion_layers_per_block=1,
            motion_num_attention_heads=4,
            motion_norm_num_groups=8,
            motion_max_seq_length=FRAMES,
        ),
    )
    unet.freeze_unet2d_params()
    for name, weight in unet.named_parameters():
        if "motion_modules" in name and name.endswith(("to_q.weight", "to_k.weight")):
            weight.data *= 4
    return unet


def main(steps: int = 30) -> list[dict[str, float]]:
    """Train, and return each block's energy at every step."""
    torch.manual_seed(0)
    unet, scheduler = make_unet(), DDIMScheduler()
    optimiser = torch.optim.AdamW((weight for weight in unet.parameters() if weight.requires_grad), lr=3e-3)
    history = []
    with EnergyCap(unet, target=TARGET, weight=0.3) as cap:
        for step in range(steps):
            latents, noise = torch.randn(2, 2, 4, FRAMES, 8, 8)
            timesteps, texts = torch.randint(1000, (2,)), torch.randn(2 * FRAMES, 8, 32)
            predicted = unet(scheduler.add_noise(latents, noise, timesteps), timesteps, texts).sample
            loss = F.mse_loss(predicted, noise)
            (loss + cap.penalty()).backward()
            optimiser.step()
            optimiser.zero_grad()
            history.append({block: energy.item() for block, energy in cap.energies().items()})
            if step % 5 == 0 or step == steps - 1:
                energies = ", ".join(f"{block} {energy:.2f}" for block, energy in history[-1].items())
                print(f"step {step:2d}: denoising loss {loss.item():.2f}; energies: {energies}")
    return history


if __name__ == "__main__":
    main()
