"""The pipeline on a tiny model: what siblings in diffusers do, and the method on it."""

import json
import sys
from dataclasses import replace

import accelerate
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, PNDMScheduler
from PIL import Image
from torch.testing import assert_close

from bytheway import ByTheWayError, apply_bytheway, enhanced, remove_bytheway
from bytheway.families.known import preset_for
from bytheway.models import GenerationDefaults, profile_of
from bytheway.models.lora import add_loras
from bytheway.models.videocrafter import VideoCrafterPipeline, VideoCrafterScheduler, VideoCrafterUNet

BALL, STAR = "a red ball bounces", "a blue star turns"


def run(pipe, prompt=BALL, **changes):
    """The frames of a short, seeded run; latents unless told otherwise."""
    settings = {"num_frames": 4, "height": 16, "width": 16, "num_inference_steps": 2, "output_type": "latent"}
    settings |= {"generator": seeded(0)} | changes
    return pipe(prompt, **settings).frames


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_a_run_is_the_loop_written_out(pipe):
    """Two calls of the denoiser a step, unconditional and conditional, as VideoCrafter's own sampler makes them."""
    tokens = torch.zeros(2, 16, dtype=torch.long)
    for row, text in zip(tokens, ("", BALL), strict=True):
        ids = pipe.tokenizer(text).input_ids
        row[: len(ids)] = torch.tensor(ids)
    negative, positive = (pipe.text_encoder(row[None]).last_hidden_state for row in tokens)
    scheduler, fps, generator = VideoCrafterScheduler(), torch.tensor([28]), seeded(0)
    scheduler.set_timesteps(2)
    latents = torch.randn(1, 4, 4, 8, 8, generator=generator)
    for timestep in scheduler.timesteps:
        conditional = pipe.unet(latents, timestep, positive, timestep_cond=fps).sample
        unconditional = pipe.unet(latents, timestep, negative, timestep_cond=fps).sample
        noise = unconditional + 12 * (conditional - unconditional)
        latents = scheduler.step(noise, timestep, latents, eta=1.0, generator=generator).prev_sample
    assert_close(run(pipe), latents, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"fps": 8},
        {"guidance_scale": 1.0},
        {"guidance_scale": 3.0},
        {"negative_prompt": STAR},
        {"eta": 0.0},
        {"generator": seeded(1)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_setting_tells(pipe, changes):
    assert not torch.allclose(run(pipe, num_inference_steps=1), run(pipe, num_inference_steps=1, **changes), atol=1e-3)


def test_the_defaults_are_those_of_videocrafters_script(make_pipeline):
    """Read off the first call of the denoiser; the run is given up there."""
    pipe, seen = make_pipeline(), {}

    def note(_, args, kwargs):
        seen.update(kwargs, sample=args[0], steps=pipe.num_timesteps, guidance=pipe.guidance_scale)
        raise KeyboardInterrupt

    pipe.vae_scale_factor = 8
    pipe.unet.register_forward_pre_hook(note, with_kwargs=True)
    with pytest.raises(KeyboardInterrupt):
        pipe(BALL)
    assert seen["sample"].shape == (2, 4, 16, 40, 64)
    assert seen["timestep_cond"].tolist() == [28, 28]
    assert (seen["steps"], seen["guidance"]) == (50, 12)


def test_commands_run_it_with_the_same_defaults(make_pipeline):
    pipe = make_pipeline()
    pipe.unet.register_to_config(sample_size=None)
    expected = GenerationDefaults(num_frames=16, size=(512, 320), steps=50, guidance_scale=12.0, fps=10)
    assert profile_of(pipe).defaults == expected
    pipe.unet.register_to_config(sample_size=(8, 12))
    assert profile_of(pipe).defaults == replace(expected, size=(24, 16))


def test_a_batch_is_its_videos_made_one_by_one(pipe):
    together = run(pipe, [BALL, STAR], generator=[seeded(1), seeded(2)], negative_prompt="snow")
    apart = [
        run(pipe, prompt, generator=seeded(seed), negative_prompt="snow") for prompt, seed in ((BALL, 1), (STAR, 2))
    ]
    assert_close(together, torch.cat(apart), rtol=1e-4, atol=1e-4)
    each_its_own = run(pipe, [BALL, STAR], generator=[seeded(1), seeded(2)], negative_prompt=["snow", "grass"])
    assert_close(each_its_own[0], together[0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(each_its_own[1], together[1], atol=1e-3)


def test_several_videos_of_each_prompt(pipe):
    videos = run(pipe, [BALL, STAR], num_videos_per_prompt=2, generator=[seeded(seed) for seed in (1, 2, 1, 2)], fps=8)
    assert_close(videos[1:2], run(pipe, BALL, generator=seeded(2), fps=8), rtol=1e-4, atol=1e-4)
    assert_close(videos[2:3], run(pipe, STAR, generator=seeded(1), fps=8), rtol=1e-4, atol=1e-4)


def test_latents_and_embeddings_given(pipe):
    latents = torch.randn(1, 4, 4, 8, 8, generator=seeded(0))
    assert_close(run(pipe, latents=latents, eta=0.0), run(pipe, eta=0.0), rtol=0, atol=0)
    positive, negative = pipe.encode_prompt(STAR, torch.device("cpu"))
    embedded = run(pipe, None, prompt_embeds=positive, negative_prompt_embeds=negative)
    assert_close(embedded, run(pipe, STAR), rtol=0, atol=0)


def test_a_long_prompt_keeps_its_end_of_text(pipe, caplog):
    long = pipe.encode_prompt("a red ball " * 9 + "bounces", torch.device("cpu"))[0]
    assert "this part of it is left out" in caplog.text
    assert "bounces" in caplog.text
    assert_close(long, pipe.encode_prompt("a red ball " * 9, torch.device("cpu"))[0], rtol=0, atol=0)


def test_output_types_show_the_same_video(pipe):
    settings = {"height": 8, "width": 24, "num_inference_steps": 1}
    tensor = run(pipe, output_type="pt", **settings)
    assert tensor.shape == (1, 4, 3, 8, 24)
    assert tensor.min() >= 0
    assert tensor.max() <= 1
    array = run(pipe, output_type="np", **settings)
    np.testing.assert_array_equal(array, tensor.permute(0, 1, 3, 4, 2).numpy())
    (images,) = run(pipe, output_type="pil", **settings)
    assert [image.size for image in images] == [(24, 8)] * 4
    assert all(isinstance(image, Image.Image) for image in images)
    assert np.abs(np.stack(images) / 255 - array[0]).max() <= 1 / 255
    (plain,) = pipe(
        BALL, num_frames=4, output_type="pt", generator=seeded(0), return_dict=False, decode_chunk_size=3, **settings
    )
    assert_close(plain, tensor, rtol=0, atol=1e-6)


def test_callback_sees_every_step_and_may_change_its_tensors(pipe):
    steps = []

    def wipe(pipeline, step, timestep, tensors):
        assert pipeline is pipe
        assert tensors["prompt_embeds"].shape == (2, 16, 32)
        steps.append((step, int(timestep)))
        return {"latents": torch.zeros_like(tensors["latents"])}

    wiped = run(pipe, callback_on_step_end=wipe, callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"])
    assert steps == [(0, 501), (1, 1)]
    assert not wiped.any()


def test_callback_may_interrupt(pipe):
    steps = []

    def stop(pipeline, step, timestep, tensors):
        steps.append(step)
        pipeline._interrupt = True
        return tensors

    run(pipe, num_inference_steps=4, callback_on_step_end=stop)
    assert steps == [0]
    assert pipe.num_timesteps == 4


def test_progress_bar_counts_the_steps(make_pipeline, capsys):
    pipe = make_pipeline()
    pipe.set_progress_bar_config(disable=False)
    run(pipe)
    assert "2/2" in capsys.readouterr().err


def test_other_schedulers_run(make_pipeline):
    """Such as one whose step takes neither eta nor a generator."""
    pipe = make_pipeline()
    pipe.scheduler = PNDMScheduler(skip_prk_steps=True)
    assert run(pipe).isfinite().all()


def test_offloaded_models_give_the_same_video(make_pipeline):
    pipe, expected = make_pipeline(), run(make_pipeline(), output_type="pt")
    assert pipe.model_cpu_offload_seq.split("->") == ["text_encoder", "unet", "vae"]
    hook = None
    for name in pipe.model_cpu_offload_seq.split("->"):
        _, hook = accelerate.cpu_offload_with_hook(getattr(pipe, name), "cpu", prev_module_hook=hook)
    assert_close(run(pipe, output_type="pt"), expected, rtol=0, atol=0)


def test_half_precision(make_pipeline):
    pipe = make_pipeline().to(torch.bfloat16)
    assert run(pipe).dtype == torch.bfloat16
    assert run(pipe, output_type="pt").dtype == torch.float32


def test_saved_and_loaded_again(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["unet"] == ["bytheway.models.videocrafter", "VideoCrafterUNet"]
    assert index["scheduler"] == ["bytheway.models.videocrafter", "VideoCrafterScheduler"]
    loaded = VideoCrafterPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    loaded.unet.requires_grad_(False)  # torch multiplies matrices in another order where a gradient may be asked for
    assert isinstance(loaded.unet, VideoCrafterUNet)
    assert isinstance(loaded.scheduler, VideoCrafterScheduler)
    assert_close(run(loaded), run(pipe), rtol=0, atol=0)


def test_loaded_from_the_hub(pipe, tmp_path, publish):
    pipe.save_pretrained(tmp_path)
    publish("someone/videocrafter2", tmp_path)
    loaded = VideoCrafterPipeline.from_pretrained("someone/videocrafter2", revision="main")
    assert_close(loaded.unet.state_dict(), pipe.unet.state_dict(), rtol=0, atol=0)


def test_a_folder_brings_no_code_of_its_own(pipe, tmp_path, monkeypatch):
    pipe.save_pretrained(tmp_path / "model")
    code = "open(__file__ + '.ran', 'w')\nfrom bytheway.models.videocrafter import VideoCrafterUNet\n"
    index_file = tmp_path / "model" / "model_index.json"
    index = json.loads(index_file.read_text())

    # A module that could be imported, but was not.
    (tmp_path / "brought.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    index_file.write_text(json.dumps(index | {"unet": ["brought", "VideoCrafterUNet"]}))
    with pytest.raises(ValueError, match="brought is not one of the libraries"):
        VideoCrafterPipeline.from_pretrained(tmp_path / "model")
    # A file beside the weights, under the very name of our module.
    index_file.write_text(json.dumps(index))
    (tmp_path / "model" / "unet" / "bytheway.models.videocrafter.py").write_text(code)
    with pytest.raises(ValueError, match="trust_remote_code"):
        VideoCrafterPipeline.from_pretrained(tmp_path / "model")
    assert not list(tmp_path.rglob("*.ran"))
    assert "brought" not in sys.modules


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": None}, "Give either a prompt or prompt_embeds"),
        ({"prompt": 7}, "prompt is 7; give a text or a list of texts"),
        ({"prompt": []}, r"prompt is \[\]; give a text or a list of texts"),
        ({"negative_prompt": [BALL, STAR]}, "2 negative prompts are given for 1 prompts"),
        (
            {"prompt": None, "prompt_embeds": torch.zeros(1, 8, 32)},
            r"shape \(1, 8, 32\), the negative one \(1, 16, 32\)",
        ),
        ({"height": 15}, "15x16 pixels; give a height and a width that 2 divides"),
        ({"width": 0}, "16x0 pixels"),
        ({"num_frames": 0}, "num_frames is 0; it must be at least 1"),
        ({"num_inference_steps": 0}, "num_inference_steps is 0; it must be at least 1"),
        ({"num_inference_steps": 1000}, "num_inference_steps is 1000; it must be less than the 1000 of the training"),
        ({"generator": [seeded(1), seeded(2)]}, "2 generators are given for 1 videos"),
        ({"latents": torch.zeros(1, 4, 4, 4, 4)}, r"shape \(1, 4, 4, 4, 4\); this run needs \(1, 4, 4, 8, 8\)"),
        ({"output_type": "gif"}, "output_type is 'gif'; it must be one of pil, np, pt, latent"),
        ({"callback_on_step_end_tensor_inputs": ["noise"]}, "A callback cannot ask for noise"),
    ],
)
def test_bad_input_is_said_before_anything_runs(pipe, changes, message):
    with pytest.raises(ByTheWayError, match=message):
        run(pipe, **{"prompt": BALL} | changes)


def test_the_method_changes_the_video_and_goes_without_a_trace(make_pipeline):
    pipe = make_pipeline()
    assert preset_for(pipe).name == "videocrafter2"
    plain = run(pipe)
    with enhanced(pipe) as made:
        better = run(pipe)
    assert (made.config.alpha, made.config.beta, made.config.tau) == (0.1, 10, 7)
    assert not torch.allclose(better, plain, atol=1e-3)
    assert_close(run(pipe), plain, rtol=0, atol=0)
    assert {row.block for row in made.record.rows()} == {"up_blocks.1", "up_blocks.2", "up_blocks.3"}

    apply_bytheway(pipe)
    assert_close(run(pipe), better, rtol=0, atol=0)
    remove_bytheway(pipe)
    assert_close(run(pipe), plain, rtol=0, atol=0)


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
def test_an_enhanced_video_does_not_depend_on_the_others(make_pipeline, guidance_scale):
    """In double precision: rounding grows with the motion."""
    pipe = make_pipeline().to(torch.float64)
    apply_bytheway(pipe)
    both = run(pipe, [BALL, STAR], generator=[seeded(1), seeded(2)], guidance_scale=guidance_scale)
    alone = run(pipe, STAR, generator=seeded(2), guidance_scale=guidance_scale)
    assert_close(both[1:], alone, rtol=0, atol=1e-5)


def test_heads_of_the_anchor_are_reduced_as_configured(make_pipeline):
    """8 heads at the anchor meet 4 and 2: groups of neighbours are averaged, or all of them."""
    pipe = make_pipeline()
    assert [block.temp_attentions[0].transformer_blocks[0].attn1.heads for block in pipe.unet.up_blocks[1:]] == [
        8,
        4,
        2,
    ]
    with enhanced(pipe, alpha=0.9, head_rule="group_mean"):
        groups = run(pipe)
    with enhanced(pipe, alpha=0.9, head_rule="mean"):
        everything = run(pipe)
    assert not torch.allclose(groups, everything, atol=1e-5)


def test_plain_ddim_would_be_wrong(pipe):
    """The signal scale matters from the first step on."""
    ours, plain = VideoCrafterScheduler(), DDIMScheduler.from_config(VideoCrafterScheduler().config)
    for scheduler in (ours, plain):
        scheduler.set_timesteps(50)
    latents, noise = torch.randn(2, 1, 4, 2, 4, 4, generator=seeded(0))
    timestep = ours.timesteps[-10]
    step = [scheduler.step(noise, timestep, latents).prev_sample for scheduler in (ours, plain)]
    assert not torch.allclose(*step, atol=1e-3)


def test_no_lora(pipe):
    with pytest.raises(ByTheWayError, match=r"This model \(VideoCrafterPipeline\) takes no LoRA; leave it out"):
        add_loras(pipe, ["zoom"])
