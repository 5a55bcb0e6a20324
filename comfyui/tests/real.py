"""Everything against a real ComfyUI with AnimateDiff-Evolved, on a CPU, with toy models of random weights.

    python comfyui/tests/real.py COMFYUI ADE [--kjnodes KJNODES] [--chromium CHROMIUM] [--workflows] > output.md

COMFYUI and ADE are checkouts; with KJNodes Enhance-A-Video is tried as well. First come checks in this process, then a
server that runs every example workflow. With Chromium the graph and a help page are looked at, and `--workflows` writes
the example workflows anew. What is printed is a page in Markdown; docs/comfyui.md has the latest.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import graphs  # noqa: E402
import serving  # noqa: E402
import standins  # noqa: E402

FAILED: list[str] = []


def say(name: str, check: Callable[[], str]) -> None:
    """A row of the table: what a check saw, or that it failed."""
    begun = time.perf_counter()
    try:
        seen = check()
    except Exception:
        FAILED.append(name)
        traceback.print_exc()
        seen = "**failed**"
    print(f"| {name} | {seen} | {time.perf_counter() - begun:.1f} s |", flush=True)


def commit(folder: Path) -> str:
    done = subprocess.run(["git", "-C", str(folder), "log", "-1", "--format=%h of %cs"], capture_output=True, text=True)
    return done.stdout.strip() or "no git"


def in_this_process(comfyui: Path, ade: Path, kjnodes: Path | None) -> None:
    """Checks on toys, without a server."""
    sys.argv = ["main.py", "--cpu"]
    sys.path.insert(1, str(comfyui))
    standins.install()
    import comfy.options

    comfy.options.enable_args_parsing()
    import checks
    import harness
    import torch
    import video_checks

    torch.set_grad_enabled(False)
    with redirect_stdout(sys.stderr):  # where its logger is to write
        pack = harness.import_pack(ade, "animatediff_evolved")
    for name, check in checks.CHECKS.items():
        say(name, lambda check=check: check(pack))  # type: ignore[misc]
    for name in video_checks.FIRST:
        say(name, lambda name=name: video_checks.check_model(name))  # type: ignore[misc]
    say("another override", video_checks.check_overrides)
    say("caches", video_checks.check_cache)
    say("Wan's context windows", video_checks.check_windows)
    say("torch.compile", video_checks.check_compiled)
    if kjnodes is not None:
        say("Enhance-A-Video", lambda: video_checks.check_enhance_a_video(kjnodes))


def frames_of(server: serving.Server, graph: graphs.Graph) -> list[bytes]:
    """The pictures that a graph saves, byte by byte."""
    server.post("/free", {"free_memory": True})  # a graph that has run is answered from memory otherwise
    time.sleep(2)
    images = server.run(graph)["pictures"]["images"]
    return [server.file(image).read_bytes() for image in images]


def with_pictures(graph: graphs.Graph, method: bool) -> graphs.Graph:
    """The same, with every frame saved as a PNG, and with or without the method."""
    changed = {name: {**node, "inputs": dict(node["inputs"])} for name, node in graph.items()}
    for name in ("video", "save", "record", "plot", "text"):
        changed.pop(name, None)
    if not method:
        changed["sampler"]["inputs"]["model"] = changed.pop("method")["inputs"]["model"]
    changed["pictures"] = {"class_type": "SaveImage", "inputs": {"images": ["decode", 0], "filename_prefix": "frame"}}
    return changed


def interrupted(server: serving.Server, graph: graphs.Graph) -> str:
    """A run that is ended in the middle: vanilla is bit-equal before and after, and so is the enhanced clip."""
    vanilla = frames_of(server, with_pictures(graph, method=False))
    enhanced = frames_of(server, with_pictures(graph, method=True))
    assert vanilla != enhanced
    long = with_pictures(graph, method=True)
    long["sampler"]["inputs"]["steps"] = 200
    long["method"]["inputs"] |= {"preset": "own values", "active_share": 1.0}
    number = server.start(long)
    time.sleep(6)
    server.post("/interrupt", {})
    status = server.finish(number)["status"]
    assert not status["completed"]
    assert "execution_interrupted" in str(status["messages"])
    assert frames_of(server, with_pictures(graph, method=False)) == vanilla
    assert frames_of(server, with_pictures(graph, method=True)) == enhanced
    return f"interrupted in the middle; {len(vanilla)} frames vanilla and enhanced bit-equal before and after"


def dioramas_best(server: serving.Server) -> str:
    """The frames of the seed that is kept are those that `bytheway.generate` makes of it alone."""
    import numpy as np

    from bytheway import generate, load

    prompt, settings, _, shown = sampled(server, best_of=3, aim="motion")
    [clip] = generate(load("diorama", device="cpu"), prompt, seed=settings["seed"], steps=8)
    assert np.array_equal(shown, clip.frames)
    return f"the best of 3 seeds: {len(shown)} frames equal to those of `bytheway.generate` with its seed, to the bit"


def dioramas_found(server: serving.Server) -> str:
    """The settings that the model's own maps ask for, and the frames, are those of `bytheway.generate`."""
    import numpy as np

    from bytheway import AutoConfig, generate, load
    from bytheway.config import AUTO_SETTINGS
    from bytheway.families.known import preset_for

    prompt, settings, said, shown = sampled(server, preset="auto")
    pipe = load("diorama", device="cpu")
    wanted = AutoConfig(preset_for(pipe).config, AUTO_SETTINGS)
    [clip] = generate(pipe, prompt, seed=settings["seed"], steps=8, config=wanted)
    assert settings["config"] == clip.settings["config"]
    assert np.array_equal(shown, clip.frames)
    return f"{len(shown)} frames equal to those of `bytheway.generate`, to the bit; said: {said}"


def sampled(server: serving.Server, **inputs: Any) -> tuple[str, dict[str, Any], str, Any]:
    """A clip of diorama by the sample node: its prompt, its settings, what the node says, and the frames."""
    import numpy as np
    from PIL import Image

    graph = graphs.diorama()
    for name in ("video", "save", "record", "plot", "text"):
        graph.pop(name)
    graph["sample"]["inputs"] |= {"enlarge": 1, "steps": 8, **inputs}
    graph["pictures"] = {"class_type": "SaveImage", "inputs": {"images": ["sample", 0], "filename_prefix": "diorama"}}
    for name, output in (("settings", 2), ("said", 4)):
        graph[name] = {"class_type": "PreviewAny", "inputs": {"source": ["sample", output]}}
    outputs = server.run(graph)
    settings, said = (outputs[name]["text"][0] for name in ("settings", "said"))
    images = [Image.open(server.file(image)).convert("RGB") for image in outputs["pictures"]["images"]]
    frames = np.stack([np.asarray(image) for image in images])
    return graph["sample"]["inputs"]["prompt"], json.loads(settings), said, frames


def best_of_interrupted(server: serving.Server) -> str:
    """A choice among seeds that is ended in the middle; the next run is as if nothing had been."""
    graph = graphs.best_of()
    graph["sample"]["inputs"] |= {"best_of": 64, "steps": 20}
    number = server.start(graph)
    time.sleep(8)
    server.post("/interrupt", {})
    status = server.finish(number)["status"]
    assert "execution_interrupted" in str(status["messages"]), status
    return f"interrupted among 64 seeds; then {dioramas_best(server)}"


def diagnosed(server: serving.Server) -> str:
    """The findings on AnimateDiff-Evolved's record."""
    graph = graphs.with_toys(graphs.animatediff())
    graph["record"]["class_type"] = "ByTheWayDiagnose"
    said = server.run(graph)["text"]["text"][0]
    topics = [line for line in said.splitlines() if line.isupper() or line.endswith(": found")]
    assert len(topics) == 6, said
    [schedule] = [line for line in said.splitlines() if "log-SNR" in line and "active step, " in line]
    return f"findings on {', '.join(topics).lower()}; {schedule}"


def unrecorded(server: serving.Server) -> str:
    """With 'record' off the record node ends the run, before the sampler begins."""
    graph = graphs.with_toys(graphs.animatediff(), seed=77)
    graph["method"]["inputs"]["record"] = False
    messages = server.finish(server.start(graph))["status"]["messages"]
    [error] = [said for name, said in messages if name == "execution_error"]
    assert error["node_id"] == "record", error
    assert "sampler" not in error["executed"], error["executed"]
    return f"before the sampler: '{error['exception_message'].strip()[:50]}...'"


def help_is_served(server: serving.Server) -> str:
    listed = server.get("/api/workflow_templates")
    assert set(graphs.WORKFLOWS) <= {name for names in listed.values() for name in names}, listed
    pages = [path.stem for path in (HERE.parent / "web" / "docs").glob("*.md")]
    for page in pages:
        assert server.get(f"/extensions/bytheway/docs/{page}.md").startswith("# ByTheWay"), page
    tooltips = 0
    for page in pages:
        said = server.get(f"/object_info/{page}")[page]
        inputs = {**said["input"].get("required", {}), **said["input"].get("optional", {})}
        assert all(one[1].get("tooltip") for one in inputs.values()), page
        tooltips += len(inputs)
    return f"{len(pages)} help pages, {tooltips} inputs with tooltips, {len(graphs.WORKFLOWS)} example workflows listed"


def on_a_server(comfyui: Path, packs: dict[str, Path], base: Path, port: int, also: Callable[[Any], None]) -> None:
    """Every example workflow by HTTP, a run that is interrupted, and what the front end asks for."""
    with serving.running(comfyui, base, port) as server:
        print(f"| server | up with our nodes and AnimateDiff-Evolved | {server.boot_seconds:.1f} s |", flush=True)
        for name, make in graphs.WORKFLOWS.items():

            def workflow(make: Callable[[], graphs.Graph] = make) -> str:
                outputs = server.run(graphs.with_toys(make()))
                files = [
                    f"`{one['filename']}`, {server.file(one).stat().st_size} bytes" for one in outputs["save"]["images"]
                ]
                said = [line for line in outputs["text"]["text"][0].splitlines() if line] if "text" in outputs else []
                return "; ".join(files + ([f"text of {len(said)} lines: {said[0]}"] if said else []))

            say(f"workflow '{name}'", workflow)
        say("interruption by HTTP", lambda: interrupted(server, graphs.with_toys(graphs.animatediff())))
        say("AnimateDiff diagnosed", lambda: diagnosed(server))
        say("nothing recorded", lambda: unrecorded(server))
        say("diorama", lambda: dioramas_best(server))
        say("diorama, settings found", lambda: dioramas_found(server))
        say("interruption among seeds", lambda: best_of_interrupted(server))
        also(server)
        say("help and tooltips", lambda: help_is_served(server))


async def look(server: Any, chromium: str, base: Path, workflows: bool) -> None:
    """The front end in Chromium: pictures of the graph and of a help page, and the workflows if they are wanted."""
    import front

    async with front.page(server.address, chromium) as shown:
        folder = HERE.parent / "example_workflows" if workflows else base
        for name, make in graphs.WORKFLOWS.items():
            await front.save_workflow(shown, graphs.numbered(make()), folder / f"{name}.json")
        said = await front.show_help(shown, "ByTheWaySample", base / "help.png")
    assert "Two of these nodes with one seed" in " ".join(said.split()), said[:500]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comfyui", type=Path)
    parser.add_argument("ade", type=Path)
    parser.add_argument("--kjnodes", type=Path)
    parser.add_argument("--chromium")
    parser.add_argument("--workflows", action="store_true")
    parser.add_argument("--base", type=Path, help="where the server keeps its files; a new folder by default")
    parser.add_argument("--port", type=int, default=8299)
    said = parser.parse_args()
    base = said.base or Path(tempfile.mkdtemp())
    base.mkdir(exist_ok=True)
    packs = {"ComfyUI-AnimateDiff-Evolved": said.ade.resolve(), "bytheway": HERE.parent.resolve()}
    serving.lay_out(base, packs)
    number = (said.comfyui / "comfyui_version.py").read_text().rpartition("=")[2].strip(' "\n')
    others = tomllib.loads((said.ade / "pyproject.toml").read_text())["project"]["version"]
    print(f"ComfyUI {number} ({commit(said.comfyui)}), AnimateDiff-Evolved {others} ({commit(said.ade)}),")
    print(f"torch {version('torch')}, on a CPU. Toys of random weights, drawn from seeds.\n")
    print("| check | what was seen | time |\n|---|---|---|", flush=True)
    in_this_process(said.comfyui.resolve(), said.ade.resolve(), said.kjnodes and said.kjnodes.resolve())

    def also(server: Any) -> None:
        if said.chromium:

            def looked() -> str:
                asyncio.run(look(server, said.chromium, base, said.workflows))
                return "graphs loaded, serialized and pictured; the help page of a node shown beside it"

            say("Chromium", looked)

    on_a_server(said.comfyui.resolve(), packs, base, said.port, also)
    print(f"\n{len(FAILED)} failed{': ' + ', '.join(FAILED) if FAILED else ''}.")
    raise SystemExit(bool(FAILED))


if __name__ == "__main__":
    main()
