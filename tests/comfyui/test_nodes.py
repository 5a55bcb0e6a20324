"""The nodes as ComfyUI sees them: their schemas, what they hand out, and the package's own pipelines."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bytheway import generate
from bytheway.config import AUTO_SETTINGS
from bytheway.errors import ByTheWayError, ByTheWayWarning
from tests.comfyui import fakes
from tests.comfyui.sampling import PROMPT, WHOLE, sample
from tests.comfyui.test_animatediff import LATENTS, forward

PACK = Path(__file__).parents[2] / "comfyui"
_TYPES = {"BOOLEAN": {bool}, "INT": {int}, "FLOAT": {int, float}, "STRING": {str}}


def node_classes() -> list[Any]:
    from bytheway.comfyui.extension import comfy_entrypoint

    return asyncio.run(asyncio.run(comfy_entrypoint()).get_node_list())


def test_every_node_and_input_is_told_in_words() -> None:
    schemas = [node.define_schema() for node in node_classes()]
    assert len({schema.node_id for schema in schemas}) == len(schemas) == 6
    for schema in schemas:
        assert schema.display_name.startswith("ByTheWay (")
        assert schema.description
        for one in [*schema.inputs, *schema.outputs]:
            assert one.said["tooltip"].endswith((".", ")")), (schema.node_id, one.id)


def test_what_a_node_is_called_with_are_its_inputs() -> None:
    for node in node_classes():
        accepted = node.execute.__func__.__code__.co_varnames[1 : node.execute.__func__.__code__.co_argcount]
        assert list(accepted) == [one.id for one in node.define_schema().inputs]


def test_every_node_has_a_help_page_that_names_its_inputs() -> None:
    pages = {path.stem: path.read_text() for path in (PACK / "web" / "docs").glob("*.md")}
    schemas = {node.define_schema().node_id: node.define_schema() for node in node_classes()}
    assert set(pages) == set(schemas)
    for name, schema in schemas.items():
        words = set(re.findall(r"[a-z_]+", pages[name]))
        left = {"model", "pipe", "negative_prompt"}  # what goes without saying
        assert {one.id for one in schema.inputs} - left <= words, name


def test_presets_answer_which_numbers_for_which_model() -> None:
    for node in node_classes()[:2]:
        schema = node.define_schema()
        [preset] = [one for one in schema.inputs if one.id == "preset"]
        assert "Which numbers for which model: " in preset.said["tooltip"]
    text = next(one for one in node_classes()[0].define_schema().inputs if one.id == "preset").said["tooltip"]
    assert (
        "'animatediff' has self_guidance 0.6, motion 1.5, band 7, active_share 0.2, for motion modules v1 to v3" in text
    )
    assert "unmeasured" in text
    assert len(text) < 500
    assert "diorama" not in text


def test_the_band_of_a_video_model_is_told_and_begun_with_in_latent_frames() -> None:
    bands = [next(one.said for one in node.define_schema().inputs if one.id == "band") for node in node_classes()[:2]]
    assert [band["default"] for band in bands] == [7, 16]
    assert "7 for 16" in bands[0]["tooltip"]
    assert "latent frames" in bands[1]["tooltip"]
    assert "7 for 16" not in bands[1]["tooltip"]


def test_animatediff_node_makes_a_clone_with_the_preset_or_own_values() -> None:
    from bytheway.comfyui.models import ByTheWayAnimateDiff

    model = fakes.animated()
    vanilla = forward(model)
    execute = ByTheWayAnimateDiff.execute
    preset, recorder = execute(model, preset="animatediff", **WHOLE | {"motion": 9.0}, record=True)
    own, unused = execute(model, preset="own values", **WHOLE | {"motion": 9.0}, record=False)
    same, _ = execute(model, preset="own values", **WHOLE, record=False)
    assert torch.allclose(forward(preset), forward(same), atol=1e-6)
    assert not torch.allclose(forward(preset), forward(own), atol=1e-3)
    assert torch.equal(vanilla, forward(model))
    assert len(recorder.record) == 12
    assert unused is None


def test_a_value_out_of_range_is_said() -> None:
    from bytheway.comfyui.models import ByTheWayAnimateDiff

    with pytest.raises(ByTheWayError, match="beta is 0"):
        ByTheWayAnimateDiff.execute(fakes.animated(), preset="own values", **WHOLE | {"motion": 0.5}, record=False)


def test_an_older_comfyui_is_told_what_it_knows() -> None:
    from bytheway.comfyui.inputs import schema

    made = schema(node_id="one", search_aliases=["other"])
    assert made.node_id == "one"
    assert not hasattr(made, "search_aliases")


class TestPipelines:
    def test_a_clip_is_that_of_the_package(self, pipe: Any) -> None:
        from bytheway.generation.run import generate

        [image], [fps], [settings], [recorded], choice = sample(pipe, record=True)
        [clip] = generate(pipe.pipe, PROMPT, seed=3, steps=2, num_frames=8)
        assert image.shape == (8, 64, 64, 3)
        assert torch.equal((image * 255).round().to(torch.uint8), torch.from_numpy(clip.frames))
        assert fps == clip.fps
        assert json.loads(settings)["seed"] == 3
        assert recorded.record.rows()
        assert choice == "Made with self_guidance 0.2, motion 1.5, band 7, active_share 0.2, adaptive sqrt."

    def test_presets_off_and_own_values(self, pipe: Any) -> None:
        moved = {"self_guidance": 0.9, "motion": 9.0}
        by_model, off = sample(pipe, **moved), sample(pipe, preset="off")
        same = sample(pipe, preset="own values", self_guidance=0.2)
        assert torch.equal(by_model[0][0], same[0][0])
        assert by_model[4] == same[4] != ""
        assert not torch.equal(by_model[0][0], off[0][0])
        assert off[4] == "Made without the method."
        assert off[3] == [None]

    def test_small_clips_are_enlarged(self, pipe: Any) -> None:
        assert sample(pipe, enlarge=0)[0][0].shape == (8, 256, 256, 3)

    def test_steps_move_the_bar_and_show_the_middle_frame(self, pipe: Any) -> None:
        fakes.ProgressBar.made.clear()
        sample(pipe)
        [bar] = fakes.ProgressBar.made
        assert [value for value, _, _ in bar.seen] == [0, 1, 2]
        kind, picture, largest = bar.seen[-1][2]
        assert (kind, picture.size) == ("JPEG", (64, 64))
        assert bar.seen[0][2] is None
        assert largest >= 64

    def test_the_user_can_end_it_and_the_next_run_is_as_if_nothing_had_been(self, pipe: Any, comfy: Any) -> None:
        [before] = sample(pipe)[0]
        comfy.interrupt = True
        with pytest.raises(fakes.InterruptedByUserError):
            sample(pipe)
        comfy.interrupt = False
        assert torch.equal(before, sample(pipe)[0][0])

    def test_load_has_the_models_that_start_from_a_prompt(self) -> None:
        from bytheway.comfyui.pipelines import ByTheWayLoad

        names = next(one for one in ByTheWayLoad.define_schema().inputs if one.id == "model").said["options"]
        assert names[:2] == ["diorama", "diorama-early"]
        assert "pia" not in names
        with pytest.raises(ByTheWayError):
            ByTheWayLoad.execute("folder or hub id below", "no-such-model")
        [loaded] = ByTheWayLoad.execute("diorama-early", "")
        assert loaded.name == "diorama-early"

    def test_load_says_what_contradicts_itself(self) -> None:
        from bytheway.comfyui.pipelines import ByTheWayLoad

        with pytest.raises(ByTheWayError, match="'folder' says, and it is empty"):
            ByTheWayLoad.execute("folder or hub id below", "")
        with pytest.raises(ByTheWayError, match="'folder' has one, and the model is diorama"):
            ByTheWayLoad.execute("diorama", "one")
        with pytest.raises(ByTheWayError, match="diorama is a video model already"):
            ByTheWayLoad.execute("diorama", "", "a-motion-adapter")

    @pytest.mark.parametrize(("kind", "unloaded"), [("cpu", 0), ("meta", 1)])
    def test_an_image_model_gets_its_motion_and_comfyui_makes_room(
        self, monkeypatch: pytest.MonkeyPatch, kind: str, unloaded: int
    ) -> None:
        from bytheway.comfyui.pipelines import ByTheWayLoad

        asked: list[Any] = []
        device = torch.device(kind)

        def load(model: str, **said: Any) -> str:
            asked.append((model, said, len(fakes.UNLOADED)))
            return "a pipeline"

        monkeypatch.setattr("bytheway.models.loading.load", load)
        management = sys.modules["comfy.model_management"]
        monkeypatch.setitem(management.__dict__, "get_torch_device", lambda: device)
        fakes.UNLOADED.clear()
        [loaded] = ByTheWayLoad.execute("folder or hub id below", "sd15.safetensors", "modules.ckpt")
        ByTheWayLoad.execute("animatediff", "")
        assert (loaded.name, loaded.pipe) == ("sd15.safetensors", "a pipeline")
        assert asked[0] == ("sd15.safetensors", {"motion_adapter": "modules.ckpt", "device": device}, unloaded)
        assert asked[1][1]["motion_adapter"] is None
        last = ByTheWayLoad.define_schema().inputs[-1]
        assert (last.id, last.said["optional"]) == ("motion_adapter", True)


class TestRecordNode:
    def recorded(self) -> Any:
        from bytheway.comfyui.models import ByTheWayAnimateDiff

        model, recorder = ByTheWayAnimateDiff.execute(
            fakes.animated(), preset="own values", **WHOLE | {"active_share": 0.6}, record=True
        )
        sampling = fakes.AnimateDiffGlobalState()
        for step in (*range(5), *range(5)):
            forward(model, step=step, ADGS=sampling)
        return recorder

    def test_picture_and_tables(self) -> None:
        from bytheway.comfyui.records import ByTheWayRecord

        recorder = self.recorded()
        image, text = ByTheWayRecord.execute(recorder, after={"samples": LATENTS})
        assert image.shape[0] == 1
        assert image.shape[-1] == 3
        assert len({tuple(pixel) for pixel in image[0, ::7].flatten(0, 1).tolist()}) > 4
        lines = text.splitlines()
        assert lines[0] == "Record of 72 rows, 2 runs, 6 steps, 1 video"
        steps = [line for line in lines if line.startswith(("0 ", "1 "))]
        assert len(steps) == 2 * 3 * 3
        energies = {(row.run, row.step, row.block): [] for row in recorder.record.rows()}
        for row in recorder.record.rows():
            energies[row.run, row.step, row.block].append(row.energy)
        for line, values in zip(steps, energies.values(), strict=True):
            assert float(line.split()[3]) == pytest.approx(sum(values) / len(values), abs=1e-4)

    def test_lines_rise_where_numbers_do(self) -> None:
        from bytheway.comfyui.plot import _COLOURS, Line, _panel

        line = Line("a block", {(0, step): float(step) for step in range(4)}, _COLOURS[0])
        panel = _panel("title", [line], [(0, step) for step in range(4)])
        width = panel.width - 190
        heights = []
        for x in range(120, width - 90, 40):
            column = [y for y in range(panel.height) if panel.getpixel((x, y)) == _COLOURS[0]]
            if column:
                heights.append(sum(column) / len(column))
        assert len(heights) > 5
        assert heights == sorted(heights, reverse=True)

    def test_nothing_recorded_is_said(self) -> None:
        from bytheway.comfyui.recorder import Recorder
        from bytheway.comfyui.records import ByTheWayRecord

        for nothing in (None, Recorder()):
            with pytest.raises(ByTheWayError, match="Nothing was recorded"):
                ByTheWayRecord.execute(nothing)

    def test_nothing_to_come_is_said_before_anybody_samples(self) -> None:
        """ComfyUI asks for inputs that are connected and not made yet, by names that are None then."""
        from bytheway.comfyui.records import ByTheWayDiagnose, ByTheWayRecord

        recorder = self.recorded()
        after = next(one for one in ByTheWayRecord.define_schema().inputs if one.id == "after")
        assert after.said["lazy"]
        assert ByTheWayRecord.check_lazy_status(recorded=recorder, after=None) == ["after"]
        assert ByTheWayRecord.check_lazy_status(recorded=recorder) == []
        assert ByTheWayRecord.check_lazy_status(recorded=None, after=None) == []
        assert ByTheWayDiagnose.check_lazy_status(recorded=[recorder, recorder], after=[None]) == ["after"]
        assert ByTheWayDiagnose.check_lazy_status(recorded=[None], after=[None]) == []


def test_the_folder_is_a_pack_of_nodes() -> None:
    import tomllib

    said = tomllib.loads((PACK / "pyproject.toml").read_text())
    assert re.fullmatch(r"[a-z][a-z-]{0,98}", said["project"]["name"])
    assert "comfyui" not in said["project"]["name"]
    assert said["tool"]["comfy"].keys() >= {"PublisherId", "DisplayName", "requires-comfyui"}
    for address in (said["tool"]["comfy"].get("Icon"), said["project"].get("urls", {}).get("Repository")):
        assert address is None or address.startswith("https://")
    assert (PACK / "requirements.txt").read_text().split() == said["project"]["dependencies"]
    ours = (PACK.parent / "pyproject.toml").read_text()
    assert f'version = "{said["project"]["version"]}"' in ours


def test_example_workflows_fit_the_schemas() -> None:
    schemas = {node.define_schema().node_id: node.define_schema() for node in node_classes()}
    workflows = list((PACK / "example_workflows").glob("*.json"))
    assert len(workflows) == 5
    for workflow in workflows:
        assert workflow.with_suffix(".jpg").exists()
        nodes = [node for node in json.loads(workflow.read_text())["nodes"] if node["type"].startswith("ByTheWay")]
        assert nodes, workflow
        for node in nodes:
            schema, said = schemas[node["type"]], (workflow.name, node["type"])
            widgets = [one for one in schema.inputs if one.kind in ("BOOLEAN", "COMBO", "FLOAT", "INT", "STRING")]
            assert {one["name"] for one in node["inputs"]} == {one.id for one in schema.inputs}, said
            assert [one["name"] for one in node["inputs"] if "widget" in one] == [one.id for one in widgets], said
            assert [one["name"] for one in node["outputs"]] == [one.said["display_name"] for one in schema.outputs], (
                said
            )
            values = iter(node.get("widgets_values", []))
            for one in widgets:
                value = next(values)
                options = one.said.get("options")
                assert value in options if options else type(value) in _TYPES[one.kind], (*said, one.id, value)
                if one.said.get("control_after_generate"):
                    assert next(values) in ("fixed", "increment", "decrement", "randomize"), said
            assert not list(values), said


def test_auto_is_what_the_package_finds_and_is_found_once(pipe: Any) -> None:
    image, _, settings, _, said = sample(pipe, preset="auto", steps=5)
    wanted = dict.fromkeys(AUTO_SETTINGS, "auto")
    with pytest.warns(ByTheWayWarning, match="Found for this model"):
        [clip] = generate(pipe.pipe, PROMPT, seed=3, steps=5, num_frames=8, config=wanted)
    assert np.array_equal((255 * image[0]).round().byte().numpy(), clip.frames)
    said_of_clip = json.loads(settings[0])
    assert (said_of_clip["config"], said_of_clip["auto"]) == (clip.settings["config"], clip.settings["auto"])
    assert said.startswith("Found for this model: alpha ")
    assert sample(pipe, preset="auto", steps=5)[4] == said


def test_auto_moves_the_bar_and_can_be_ended_in_the_middle_of_a_clip(pipe: Any, comfy: Any) -> None:
    fakes.ProgressBar.made.clear()
    comfy.interrupt_after = 4
    with pytest.raises(fakes.InterruptedByUserError):
        sample(pipe, preset="auto", steps=10)
    [bar] = fakes.ProgressBar.made
    assert [(value, of) for value, of, _ in bar.seen] == [(0, 16), (1, 16), (2, 16), (2, 16)]
