"""Where the video is among the tokens of a joint attention, as the declarations tell it."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, HunyuanVideo15Transformer3DModel, LTX2VideoTransformer3DModel

from bytheway import ByTheWayError, enhanced
from bytheway.families import wan
from bytheway.families.known import family_of, preset_for
from bytheway.families.tokens import joint_attentions
from tests.apply.joint_checks import ALWAYS, TOKENS, Watch, first_layer, generate, tiny
from tests.toys.joint import FACTORIES
from tests.toys.parts import embeddings, footage, seeded


def coords(*clips):
    """(1, 3, tokens): clips of these moments, of two rows and three columns."""
    grids = [torch.cartesian_prod(torch.tensor(moments), torch.arange(2.0), torch.arange(3.0)).T for moments in clips]
    return torch.cat(grids, 1)[None]


@pytest.mark.parametrize(
    ("clips", "video"),
    [
        ([[0.0, 1.0, 9.0]], (0, 3, 6)),
        ([[8.0], [0.0, 1.0, 9.0]], (6, 3, 6)),
        ([[8.0, 16.0], [24.0], [0.0, 1.0, 9.0, 17.0]], (18, 4, 6)),
        # Windows of long videos: overlap, guidance and a reference follow.
        ([[0.0, 1.0, 9.0, 17.0], [0.0, 1.0], [-8.0]], (0, 4, 6)),
        ([[0.0]], (0, 1, 6)),
    ],
)
def test_the_video_among_packed_clips(clips, video):
    where = joint_attentions(family_of(FACTORIES["ltx"]()[0].transformer))
    assert where.video_tokens(None, {"video_coords": coords(*clips)}) == video


def test_a_run_waits_once_for_what_its_control_says(monkeypatch):
    """VACE hands over one control in every step, and counting its references waits for the device."""
    counted = []
    count = wan._count_references
    monkeypatch.setattr(wan, "_count_references", lambda *args: counted.append(args) or count(*args))
    pipe, call = FACTORIES["wan_vace"]()
    with enhanced(pipe, ALWAYS):
        first = generate(pipe, call)
        assert len(counted) == 1
        assert torch.equal(generate(pipe, call), first)
    assert len(counted) == 2, "another run has another control"


def ltx2(**changes):
    """Three frames of 2 x 2 tokens, and a keyframe after them."""
    settings = {
        "in_channels": 4,
        "out_channels": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "cross_attention_dim": 16,
        "audio_in_channels": 4,
        "audio_out_channels": 4,
        "audio_num_attention_heads": 2,
        "audio_attention_head_dim": 4,
        "audio_cross_attention_dim": 8,
        "num_layers": 1,
        "caption_channels": 8,
    }
    denoiser = seeded(LTX2VideoTransformer3DModel, **(settings | changes))
    return denoiser, {
        "hidden_states": embeddings(1, 16, 4),
        "audio_hidden_states": embeddings(1, 5, 4),
        "encoder_hidden_states": embeddings(1, 6, 8),
        "audio_encoder_hidden_states": embeddings(1, 6, 8),
        "num_frames": 3,
        "height": 2,
        "width": 2,
        "audio_num_frames": 5,
        "video_coords": denoiser.rope.prepare_video_coords(1, 4, 2, 2, torch.device("cpu")),
    }


def hunyuanvideo_1_5():
    """Three frames of 2 x 2 tokens; two texts and an image's embedding in a stream of their own."""
    settings = {
        "in_channels": 4,
        "out_channels": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 10,
        "num_layers": 1,
        "num_refiner_layers": 1,
        "text_embed_dim": 8,
        "text_embed_2_dim": 8,
        "image_embed_dim": 8,
        "rope_axes_dim": (2, 4, 4),
    }
    return seeded(HunyuanVideo15Transformer3DModel, **settings), {
        "hidden_states": embeddings(1, 4, 3, 2, 2),
        "encoder_hidden_states": embeddings(1, 6, 8),
        "encoder_attention_mask": torch.ones(1, 6),
        "encoder_hidden_states_2": embeddings(1, 2, 8),
        "encoder_attention_mask_2": torch.ones(1, 2),
        "image_embeds": embeddings(1, 3, 8),
    }


def test_ltx2_without_a_grid_is_refused():
    """Pipelines that refine frame by frame do not tell it."""
    denoiser, inputs = ltx2()
    where = joint_attentions(family_of(denoiser))
    assert where.video_tokens(denoiser.config, inputs).frames == 3
    with pytest.raises(ByTheWayError, match="is not told num_frames"):
        where.video_tokens(denoiser.config, inputs | {"num_frames": None})


@pytest.mark.parametrize(("make", "layer"), [(ltx2, "attn1"), (hunyuanvideo_1_5, "attn")])
def test_denoisers_without_a_tiny_pipeline(make, layer):
    """In a loop of one's own; neither audio nor text, keyframes or an image's embedding is touched."""
    denoiser, inputs = make()
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(2)
    assert preset_for(denoiser).config.alpha == 0
    with enhanced(denoiser, ALWAYS, scheduler=scheduler), Watch(denoiser) as watch, torch.no_grad():
        denoiser(**inputs, timestep=scheduler.timesteps[:1])
    assert f"0.transformer_blocks.0.{layer}.to_v" in {path for path, _ in watch.seen}
    for path, changed in watch.seen:
        expected = torch.zeros_like(changed)
        if path == f"0.transformer_blocks.0.{layer}.to_v":
            expected[:12] = True
        assert torch.equal(changed, expected)


@torch.no_grad()
def test_spatio_temporal_guidance_of_ltx2_keeps_its_perturbed_part():
    """Its perturbed blocks put out their values as they are: in a call of its own, or in a part of the batch."""
    denoiser, inputs = ltx2(num_layers=2, perturbed_attn=True)
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(2)

    def run(times=1, **perturbation):
        batch = {key: torch.cat([value] * times) if torch.is_tensor(value) else value for key, value in inputs.items()}
        timestep = scheduler.timesteps[:1].expand(times)
        return torch.cat(denoiser(**batch, timestep=timestep, return_dict=False, **perturbation), 1)

    with enhanced(denoiser, ALWAYS, scheduler=scheduler):
        plain = run()
        with Watch(denoiser) as watch:
            perturbed = run(spatio_temporal_guidance_blocks=[1])
        mixed = run(2, spatio_temporal_guidance_blocks=[1], perturbation_mask=torch.tensor([1.0, 0.0]))
    layers = [watch.active_calls(f"0.transformer_blocks.{n}.attn1.to_v") for n in (0, 1)]
    assert layers == [[True], [False]]
    assert (plain - perturbed).abs().max() > 1e-3
    torch.testing.assert_close(mixed, torch.cat([plain, perturbed]))


@pytest.mark.parametrize(
    ("name", "longer", "parts"),
    [
        # Sections of 13 frames are counted by what they show by themselves.
        ("framepack", {"num_frames": 26}, 2),
        # A segment begins with the last frame of the one before it.
        ("wan_animate", {"pose_video": footage(25), "face_video": footage(25, 16, 16), "guidance_scale": 1.0}, 2),
    ],
)
def test_each_section_of_a_longer_video_is_a_run(name, longer, parts):
    """Of its own noise, and with active steps of its own."""
    pipe, call, _ = tiny(name)
    vanilla = generate(pipe, call, **longer)
    with enhanced(pipe, ALWAYS, active_steps=0.5) as run, Watch(pipe.transformer) as watch:
        video = generate(pipe, call, num_inference_steps=4, **longer)
    assert watch.active_calls(first_layer(pipe)) == ([True] * 2 + [False] * 2) * parts
    assert run.steps.run == parts - 1
    assert video.shape == vanilla.shape
    start, frames, per_frame = TOKENS[name]
    changed = [tokens.nonzero().flatten().tolist() for path, tokens in watch.seen if path == first_layer(pipe)]
    assert all(tokens in ([], list(range(start, start + frames * per_frame))) for tokens in changed)


@pytest.mark.parametrize(("blank", "references"), [(0, 0), (2, 2), (5, 0)])
def test_reference_images_are_told_by_the_control(blank, references):
    """They have neither what is to be made anew nor a mask; a control of nothing at all has no references."""
    transformer = FACTORIES["wan_vace"]()[0].transformer
    control = torch.ones(1, 96, 5, 4, 6)
    control[:, 16:, :blank] = 0
    inputs = {"hidden_states": torch.zeros(1, 16, 5, 4, 6), "control_hidden_states": control}
    video = joint_attentions(family_of(transformer)).video_tokens(transformer.config, inputs)
    assert video == (references * 6, 5 - references, 6)
