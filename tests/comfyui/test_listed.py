"""The fakes hold the room to what is listed, and the list to what is used."""

import ast
from pathlib import Path
from types import CodeType

import pytest
import torch

import bytheway
from tests.comfyui.fakes import BaseModel, Executor, animated, modules, options
from tests.comfyui.listed import LISTED, Inputs, UnlistedError

PACKAGE = Path(bytheway.__file__).parent


def run_in_package(code: str, **names: object) -> None:
    """Runs code as if it stood in a file of the package."""
    compiled: CodeType = compile(code, "/src/bytheway/families/anything.py", "exec")
    exec(compiled, names)


@pytest.mark.parametrize(
    ("touch", "name"),
    [
        ("executor.class_obj.latent_format", "BaseModel.latent_format"),
        ("getattr(executor, 'idx', None)", "Executor.idx"),
        ("options.get('uuids')", "Options.uuids"),
        ("'patches' in options", "Options.patches"),
        ("executor.class_obj.diffusion_model.input_blocks", "UNetModel.input_blocks"),
        ("attention.norm", "VersatileAttention.norm"),
        ("inputs.get('vace_context')", "Inputs.vace_context"),
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
        "inputs": Inputs(),
        "attention": unet.motion()[0].temporal_transformer.transformer_blocks[0].attention_blocks[0],
        "comfy": modules(lambda: None)["comfy.model_management"],
    }
    with pytest.raises(UnlistedError, match=name):
        run_in_package(touch, **said)


def test_what_is_listed_can_be_touched() -> None:
    run_in_package("executor.class_obj.diffusion_model.output_blocks", executor=Executor(animated().model, []))


def test_everything_listed_is_used() -> None:
    files = [*(PACKAGE / "comfyui").glob("*.py"), PACKAGE / "families" / "sites.py"]
    text = "\n".join(path.read_text() for path in files)
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
