"""The recipe's parts: each one small, none trained for longer than it takes to see that it works."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AnimateDiffPipeline, AutoencoderKL, MotionAdapter, UNetMotionModel
from torch import Tensor, nn

from research.diorama import architecture, world
from research.diorama.autoencoder import CROP, Reconstruction, crop_batch, normalise_latents
from research.diorama.corpus import SHARD, Corpus, to_pixels
from research.diorama.denoiser import Denoising, Examples, strided_positions, tokenise
from research.diorama.export import export, export_early
from research.diorama.fit import OutOfTime, Stage, fit
from research.diorama.respacing import respace, same_noise

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    corpus = Corpus(tmp_path_factory.mktemp("corpus"), SHARD)
    corpus.render([0], CPU)
    return corpus


def test_every_word_of_the_world_is_one_token() -> None:
    tokenizer = architecture.build_tokenizer(captions_per_scene=5)
    assert all(len(tokenizer.tokenize(word)) == 1 for word in world.vocabulary())
    assert tokenise(tokenizer, ["a red ball", ""]).shape == (2, architecture.PROMPT_TOKENS)


def test_schedule_starts_in_noise_and_ends_in_the_picture() -> None:
    alphas = architecture.build_scheduler().alphas_cumprod.double()
    log_snr = torch.log(alphas / (1 - alphas))
    assert (log_snr.diff() < 0).all()
    assert log_snr[-1] == pytest.approx(-14, abs=0.05)
    assert log_snr[0] == pytest.approx(14, abs=0.05)
    # The cosine schedule is at SNR 1 halfway; the shift raises the log-SNR of that moment by 2 log 4.
    assert log_snr[499] == pytest.approx(2 * math.log(4), abs=0.02)


def test_an_interrupted_corpus_is_completed_and_is_the_same(corpus: Corpus, tmp_path: Path) -> None:
    again = Corpus(tmp_path, SHARD)
    again.render([0], CPU)
    for name in ("frames", "centres", "amplitudes"):
        assert np.array_equal(getattr(corpus, name), getattr(again, name))
    again.frames[:] = 0
    again.render([0], CPU)
    assert not again.frames.any(), "a finished shard is not rendered again"
    with pytest.raises(ValueError, match="use another folder"):
        Corpus(tmp_path, 2 * SHARD)


def test_crops_hold_the_subject(corpus: Corpus) -> None:
    stage = Stage("autoencoder", steps=10)
    batch = crop_batch(corpus, stage, 8, 0.7, CPU)
    pixels, noise = batch(0, torch.Generator().manual_seed(0))
    assert isinstance(pixels, Tensor)
    assert isinstance(noise, Tensor)
    assert pixels.shape == (8, 3, CROP, CROP)
    assert noise.shape == (8, 8, CROP // 8, CROP // 8)
    whole, _ = batch(7, torch.Generator().manual_seed(0))
    assert isinstance(whole, Tensor)
    assert whole.shape == (2, 3, architecture.IMAGE_SIZE, architecture.IMAGE_SIZE)


def test_normalising_changes_the_latents_and_not_the_picture(corpus: Corpus) -> None:
    torch.manual_seed(0)
    vae = architecture.build_vae().eval()
    pixels = to_pixels(corpus.frames[:, 0], CPU)
    with torch.no_grad():
        before = vae.decode(vae.encode(pixels[:8]).latent_dist.mean).sample
        normalise_latents(vae, corpus, CPU)
        latents = vae.encode(pixels).latent_dist.mean
        after = vae.decode(latents[:8]).sample
    assert latents.mean((0, 2, 3)).abs().max() < 1e-3
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 1e-3
    assert torch.allclose(before, after, atol=1e-4)


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.slope - x @ torch.tensor([1.0, -2.0, 0.5])).square().mean()


def _fit_line(folder: Path, deadline: float = math.inf) -> Tensor:
    line = Line()

    def batch(step: int, generator: torch.Generator) -> tuple[Tensor | int, ...]:
        return (torch.randn(16, 3, generator=generator),)

    fit(Stage("line", 200, warmup=5), line, [{"params": line.parameters(), "lr": 0.1}], batch, folder, deadline)
    return line.slope.detach()


def test_training_learns_and_resumes_where_it_stopped(tmp_path: Path) -> None:
    straight = _fit_line(tmp_path / "a")
    assert torch.allclose(straight, torch.tensor([1.0, -2.0, 0.5]), atol=0.05)
    for _ in range(3):
        with pytest.raises(OutOfTime):
            _fit_line(tmp_path / "b", deadline=0.0)
    assert torch.equal(_fit_line(tmp_path / "b"), straight)


def test_denoising_trains_images_and_clips(corpus: Corpus) -> None:
    torch.manual_seed(0)
    corpus.latents[:] = np.random.default_rng(0).normal(size=corpus.latents.shape)
    tokenizer = architecture.build_tokenizer(captions_per_scene=5)
    text_encoder, scheduler = architecture.build_text_encoder(tokenizer), architecture.build_scheduler()
    examples = Examples(corpus, tokenizer, scheduler.config.num_train_timesteps, CPU)
    unet = architecture.build_unet()
    loss = Denoising(text_encoder, unet, scheduler)(*examples.frames(4)(0, torch.Generator().manual_seed(0)))
    loss.backward()
    assert 0.1 < loss.item() < 3
    video = UNetMotionModel.from_unet2d(unet, architecture.build_motion_adapter())
    strides, stage = [], Stage("motion", 4)
    assert stage.decay_from == pytest.approx(2.8)
    for step in range(4):
        *tensors, stride = examples.clips(32, stage)(step, torch.Generator().manual_seed(step))
        assert isinstance(tensors[0], Tensor)
        assert tensors[0].shape[2] == architecture.NUM_FRAMES // stride
        strides.append(stride)
        objective = Denoising(text_encoder, video, scheduler)
        assert torch.isfinite(objective(*tensors, stride))
        assert objective.cap is not None
        assert objective.cap.target == {1: 0.16, 2: 0.32}[stride], "maps of half the frames have twice the energy"
    assert set(strides[:3]) == {1, 2}
    assert strides[3] == 1


def test_a_third_of_the_timesteps_are_the_noisiest(corpus: Corpus) -> None:
    tokenizer = architecture.build_tokenizer(captions_per_scene=5)
    *_, timesteps, _ = Examples(corpus, tokenizer, 1000, CPU).frames(4000)(0, torch.Generator().manual_seed(0))
    assert isinstance(timesteps, Tensor)
    assert 0 <= timesteps.min() < 10
    assert timesteps.max() == 999
    assert (timesteps >= 950).float().mean() == pytest.approx(0.3 + 0.7 * 0.05, abs=0.03)


def test_the_same_noise_lies_elsewhere_on_another_schedule() -> None:
    trained, sampled = (architecture.build_scheduler(shift) for shift in (4.0, 1.0))
    same = same_noise(trained, sampled)
    assert torch.equal(same_noise(trained, trained), torch.arange(1000.0))
    assert same[-1] == pytest.approx(999, abs=0.5)
    assert (same.diff() > 0).all()
    # The cosine schedule is at SNR 1 halfway, and where it is raised at atan(4) of a right angle.
    assert same[499] == pytest.approx(1000 * math.atan(4) / (math.pi / 2), abs=2)


def test_a_respaced_model_takes_the_same_noise_for_the_same() -> None:
    torch.manual_seed(0)
    trained, sampled = (architecture.build_scheduler(shift) for shift in (4.0, 2.0))
    unet = UNetMotionModel.from_unet2d(architecture.build_unet(), architecture.build_motion_adapter())
    first = unet.time_embedding.linear_1
    with torch.no_grad():
        waves = first.in_features // 2
        first.weight[:, [*range(16), *range(waves, waves + 16)]] = 0  # what turns round in fewer than 600 timesteps
    knew = first(unet.time_proj(same_noise(trained, sampled)))
    before = first(unet.time_proj(torch.arange(1000)))
    respace(unet, trained, sampled)
    after = first(unet.time_proj(torch.arange(1000)))
    assert (after - knew).square().mean() < 0.01 * (before - knew).square().mean()
    assert first.weight.abs().max() < 10


def test_every_process_numbers_words_alike() -> None:
    first, second = (architecture.build_tokenizer(captions_per_scene=5).get_vocab() for _ in range(2))
    assert first == second


def test_strided_frames_keep_their_positions() -> None:
    unet = UNetMotionModel.from_unet2d(architecture.build_unet(), architecture.build_motion_adapter())
    table = unet.down_blocks[0].motion_modules[0].transformer_blocks[0].pos_embed
    full = table.pe
    with strided_positions(unet, 2):
        assert torch.equal(table.pe[:, 3], full[:, 6])
    assert table.pe is full


def test_the_export_is_a_plain_diffusers_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    run, shipped = tmp_path / "run", tmp_path / "shipped"
    tokenizer = architecture.build_tokenizer(captions_per_scene=5)
    architecture.build_vae().save_pretrained(run / "autoencoder" / "model")
    unet = architecture.build_unet()
    unet.save_pretrained(run / "spatial" / "model")
    architecture.build_text_encoder(tokenizer).save_pretrained(run / "respaced" / "text_encoder")
    video = UNetMotionModel.from_unet2d(unet, architecture.build_motion_adapter())
    video.save_pretrained(run / "respaced" / "model")
    shipped.mkdir()
    (shipped / "MODEL_CARD.md").write_text("kept")
    export(run, shipped, tokenizer, architecture.build_scheduler())
    assert (shipped / "MODEL_CARD.md").read_text() == "kept"
    assert sum(path.stat().st_size for path in shipped.rglob("*") if path.is_file()) < 24 * 2**20

    assert not any(str(tmp_path) in path.read_text() for path in shipped.rglob("*.json"))

    early = UNetMotionModel.from_unet2d(unet, architecture.build_motion_adapter())
    early.save_pretrained(run / "early" / "model")
    export_early(run, shipped)
    adapter = MotionAdapter.from_pretrained(tmp_path / "shipped_early")
    weights = {name: weight for name, weight in early.state_dict().items() if "motion_modules" in name}
    assert adapter.state_dict().keys() == weights.keys()
    for name, weight in adapter.state_dict().items():
        assert torch.allclose(weight, weights[name], atol=1e-2, rtol=1e-3), name
    assert sum(path.stat().st_size for path in tmp_path.glob("shipped*/**/*") if path.is_file()) < 40 * 2**20

    pipe = AnimateDiffPipeline.from_pretrained(shipped)
    for name, weight in pipe.unet.state_dict().items():
        assert torch.allclose(weight, video.state_dict()[name], atol=1e-2, rtol=1e-3), name
    pipe.set_progress_bar_config(disable=True)
    clip = pipe("a red ball", num_frames=4, num_inference_steps=1, output_type="np").frames
    assert clip.shape == (1, 4, architecture.IMAGE_SIZE, architecture.IMAGE_SIZE, 3)


def test_reconstruction_loss_is_finite_and_learnable() -> None:
    torch.manual_seed(0)
    vae: AutoencoderKL = architecture.build_vae()
    loss = Reconstruction(vae)(torch.zeros(2, 3, 32, 32), torch.randn(2, 8, 4, 4))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None for p in vae.parameters())
