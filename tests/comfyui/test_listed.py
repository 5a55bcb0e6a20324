"""The fakes hold the room to what is listed, and the list to what is used."""

import ast
from pathlib import Path
from types import CodeType

import pytest
import torch

import bytheway
from tests.comfyui.fakes import BaseModel, Executor, animated, modules, options
from tests.comfyui.listed import LISTED, UnlistedError

ROOM = Path(bytheway.__file__).parent / "comfyui"


def run_in_room(code: str, **names: object) -> None:
    """Runs code as if it stood in a file of the room."""
    compiled: CodeType = compile(code, "/src/bytheway/comfyui/anything.py", "exec")
    exec(compiled, names)


@pytest.mark.parametrize(
    ("touch", "name"),
    [
        ("executor.class_obj.latent_format", "BaseModel.latent_format"),
        ("getattr(executor, 'idx', None)", "Executor.idx"),
        ("options.get('uuids')", "Options.uuids"),
        ("'patches' in options", "Options.patches"),
        ("executor.class_obj.diffusion_model.input_blocks", "UNetModel.input_blocks"),
        ("attention.to_q", "VersatileAttention.to_q"),
        ("attention.scale = 1", "VersatileAttention.scale"),
        ("comfy.get_total_memory", "comfy.model_management.get_total_memory"),
    ],
)
def test_what_is_not_listed_cannot_be_touched(touch: str, name: str) -> None:
    model = animated().model
    unet = model.diffusion_model
    said = {
        "executor": Executor(model, []),
        "options": options(),
        "attention": unet.motion()[0].temporal_transformer.transformer_blocks[0].attention_blocks[0],
        "comfy": modules(lambda: None)["comfy.model_management"],
    }
    with pytest.raises(UnlistedError, match=name):
        run_in_room(touch, **said)


def test_what_is_listed_can_be_touched() -> None:
    run_in_room("executor.class_obj.diffusion_model.output_blocks", executor=Executor(animated().model, []))


def test_everything_listed_is_used() -> None:
    text = "\n".join(path.read_text() for path in ROOM.glob("*.py"))
    names = {node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}
    strings = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
    imported = {
        one.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom) for one in node.names
    }
    for kind, listed in LISTED.items():
        assert listed <= names | strings | imported, kind


def test_unlisted_is_no_ordinary_error() -> None:
    assert not issubclass(UnlistedError, Exception)
    assert isinstance(BaseModel(diffusion_model=torch.nn.Identity()).diffusion_model, torch.nn.Identity)
