"""Every video denoiser that diffusers has is either declared or refused by name."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import diffusers
import pytest

from bytheway import ByTheWayError, apply_bytheway, load
from bytheway.families.known import families, family_of
from bytheway.families.unsupported import UNSUPPORTED
from tests.toys.parts import seeded

PIPELINES = Path(str(diffusers.__file__)).parent / "pipelines"
DECLARED = {denoiser for family in families() for denoiser in family.denoisers}


def video_denoisers() -> dict[str, str]:
    """What the pipelines of diffusers that make videos say in their signatures that they run, each with one of them."""
    found: dict[str, str] = {}
    for file in sorted(PIPELINES.rglob("pipeline_*.py")):
        text = file.read_text(encoding="utf-8")
        if not re.search(r"num_frames|postprocess_video|frames=", text):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Pipeline"):
                found |= dict.fromkeys(run_by(node), node.name)
    return found


def run_by(pipeline: ast.ClassDef) -> list[str]:
    init = next((one for one in pipeline.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
    arguments = [] if init is None else init.args.args
    of_denoiser = [one.annotation for one in arguments if re.fullmatch(r"unet|transformer(_2)?", one.arg)]
    return [name for one in of_denoiser if one for name in re.findall(r"\w*(?:UNet|Transformer)\w*", ast.unparse(one))]


def test_every_video_denoiser_is_declared_or_refused_by_name() -> None:
    found = video_denoisers()
    assert {"WanVACETransformer3DModel", "SkyReelsV2Transformer3DModel", "UNetMotionModel"} <= found.keys()
    image_models = {"UNet2DConditionModel"}  # of Text2Video-Zero and the like
    left = found.keys() - DECLARED - UNSUPPORTED.keys() - image_models
    assert {name: found[name] for name in left} == {}


def test_what_has_3d_in_its_name_is_declared_or_refused_too() -> None:
    """Those that no pipeline runs, but modular blocks."""
    edits_images = {"JoyImageEditTransformer3DModel", "JoyImageEditPlusTransformer3DModel"}
    names = {name for name in dir(diffusers) if re.search(r"Transformer3DModel$|Video\w*Transformer\w*Model$", name)}
    assert "WanAnimate2Transformer3DModel" in names
    assert names - edits_images - DECLARED == UNSUPPORTED.keys() & names


def test_nothing_is_both() -> None:
    assert DECLARED & UNSUPPORTED.keys() == set()
    assert all(hasattr(diffusers, name) for name in UNSUPPORTED)


@pytest.fixture(scope="module")
def skyreels() -> Any:
    settings = {"num_attention_heads": 2, "attention_head_dim": 12, "text_dim": 8, "freq_dim": 16, "ffn_dim": 8}
    return seeded(diffusers.SkyReelsV2Transformer3DModel, num_layers=1, **settings)


def test_the_reason_is_said(skyreels: Any) -> None:
    said = r"does not support SkyReels-V2 \(SkyReelsV2Transformer3DModel\): it may have .*; use .*AnimateDiff, .*Mochi"
    for refuse in (family_of, apply_bytheway):
        with pytest.raises(ByTheWayError, match=said):
            refuse(skyreels)


def test_the_reason_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    """There are no weights in this folder at all."""
    parts = {"transformer": ["diffusers", "AllegroTransformer3DModel"]}
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "AllegroPipeline", **parts}))
    with pytest.raises(ByTheWayError, match=r"does not support Allegro \(Allegro\w+\): it attends over space and time"):
        load(str(tmp_path), device="cpu")
