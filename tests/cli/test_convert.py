"""`bytheway convert`, and clips made with what it wrote; prompts from a file."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from typer.testing import Result

from bytheway.clips.read import load_video, read_metadata
from bytheway.models.videocrafter import VideoCrafterPipeline, VideoCrafterScheduler, VideoCrafterUNet
from bytheway.models.videocrafter import convert as conversion
from tests.models.videocrafter import official_layout
from tests.toys import tiny

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def pipe() -> VideoCrafterPipeline:
    """Two levels, frames of twice the latents' size."""
    torch.manual_seed(0)
    tokenizer = tiny.make_tokenizer()
    unet = VideoCrafterUNet(
        sample_size=(8, 8),
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=32,
        attention_head_dim=4,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
    )
    text_encoder = tiny.make_text_encoder(tokenizer)
    return official_layout.use_opens_text_encoder(
        VideoCrafterPipeline(vae, text_encoder, tokenizer, unet, VideoCrafterScheduler())
    )


@pytest.fixture
def published(pipe: VideoCrafterPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny model's checkpoint, as if it were the published one, and CLIP's vocabulary beside it."""
    monkeypatch.setattr(conversion, "PUBLISHED", official_layout.configurations(pipe))
    pipe.tokenizer.save_pretrained(tmp_path / "words")
    torch.save({"state_dict": official_layout.checkpoint(pipe)}, tmp_path / "model.ckpt")
    return tmp_path / "model.ckpt"


def refused(result: Result, said: str) -> None:
    assert result.exit_code == 2
    assert result.stdout == ""
    sentence = result.stderr.strip().splitlines()[-1]
    assert sentence.startswith("Error: ")
    assert said in sentence
    assert not [path.name for path in Path().iterdir() if "out" in path.name]


def test_from_the_checkpoint_to_clips(bytheway: Command, published: Path) -> None:
    converted = bytheway("convert", "videocrafter2", published, "out", "--tokenizer", "words", "--dtype", "float16")
    assert converted.exit_code == 0, converted.output
    assert "bytheway generate" in converted.stdout
    assert "unet: " in converted.stderr
    assert "100% written" in converted.stderr

    Path("prompts.txt").write_text("  a red ball  \n\n\na blue star\n")
    small = ["--frames", 2, "--steps", 1, "--scale", 1, "--dtype", "float32", "--device", "cpu", "--seed", 1]
    made = bytheway("generate", "--prompts-file", "prompts.txt", "--model", "out", *small)
    assert made.exit_code == 0, made.output
    assert sorted(path.name for path in Path("prompts").iterdir()) == ["0001.mp4", "0002.mp4"]
    frames, fps = load_video("prompts/0002.mp4")
    assert (frames.shape, fps) == ((2, 16, 16, 3), 10)
    settings = read_metadata("prompts/0002.mp4")
    assert (settings["prompt"], settings["guidance_scale"]) == ("a blue star", 12)
    assert settings["scheduler"] == "VideoCrafterScheduler"
    assert settings["config"]["beta"] == 10

    again = bytheway("convert", "videocrafter2", published, "out", "--tokenizer", "words")
    assert again.exit_code == 2
    assert "out is there already and is not replaced" in again.stderr
    no_free_init = bytheway("generate", "a ball", "--model", "out", "--free-init", "-o", "clip.mp4", *small)
    assert no_free_init.exit_code == 2
    assert "VideoCrafterPipeline) cannot be run with FreeInit" in no_free_init.stderr


class Hostile:
    """Unpickled carelessly, this creates a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.ckpt", "out"], "There is no file nowhere.ckpt"),
        (["words", "out"], "There is no file words"),
        (["notes.txt", "out"], "notes.txt is no checkpoint: give a file that ends in .safetensors, .ckpt"),
        (["notes.ckpt", "out"], "notes.ckpt"),
        (["short.ckpt", "new/out"], "damaged or cut short"),
        (["hostile.ckpt", "out"], "holds something other than tensors"),
        (["image.ckpt", "out"], "is no checkpoint of VideoCrafter2"),
        (["part.ckpt", "out"], "it lacks model.diffusion_model.input_blocks.0.0.weight, "),
        (["model.ckpt", "notes.txt"], "notes.txt is there already"),
        (["model.ckpt", "notes.txt/out"], "cannot be written: Not a directory"),
        (["model.ckpt", "out", "--dtype", "int8"], "'int8' is no precision"),
        (["model.ckpt", "out", "--tokenizer", "nowhere"], "There is no tokenizer nowhere"),
    ],
)
def test_bad_input_is_one_sentence(bytheway: Command, published: Path, arguments: list[str], said: str) -> None:
    Path("notes.txt").write_text("no weights")
    Path("notes.ckpt").write_text("no weights")
    Path("short.ckpt").write_bytes(published.read_bytes()[:-100])
    torch.save({"state_dict": {}, "hook": Hostile()}, "hostile.ckpt")
    torch.save({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(1)}, "image.ckpt")
    torch.save({"model.diffusion_model.input_blocks.1.0.temopral_conv.conv1.0.bias": torch.zeros(8)}, "part.ckpt")
    given = arguments if "--tokenizer" in arguments else [*arguments, "--tokenizer", "words"]
    refused(bytheway("convert", "videocrafter2", *given), said)
    assert not Path("executed").exists()
    assert not Path("new").exists()
    assert not list(Path().glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Give either prompts or a file of them"),
        (["a ball", "--prompts-file", "words.txt"], "Give either prompts or a file of them"),
        (["--prompts-file", "nowhere.txt"], "nowhere.txt cannot be read: No such file"),
        (["--prompts-file", "blank.txt"], "blank.txt holds no prompt"),
        (["--prompts-file", "picture.png"], "picture.png is no text file"),
    ],
)
def test_files_of_prompts_that_are_none(bytheway: Command, arguments: list[str], said: str) -> None:
    Path("blank.txt").write_text(" \n\n")
    Path("picture.png").write_bytes(b"\x89PNG\xff")
    refused(bytheway("generate", *arguments, "-o", "out"), said)


def test_prompts_of_a_file_into_a_folder(generate: Command) -> None:
    Path("prompts.txt").write_text("a ball\na star\n")
    options = ["--num-videos", 2, "--record", "r.csv", "-o", "new/clips", "--seed", 1, "--scale", 1, "--steps", 1]
    assert generate("--prompts-file", "prompts.txt", *options).exit_code == 0
    assert sorted(path.name for path in Path("new/clips").iterdir()) == [f"000{number}.mp4" for number in (1, 2, 3, 4)]
    assert read_metadata("new/clips/0004.mp4")["prompt"] == "a star"
    assert read_metadata("new/clips/0004.mp4")["seed"] == 2
