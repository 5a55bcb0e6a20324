"""A real ComfyUI server with our nodes, AnimateDiff-Evolved and toys, and how to talk to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from graphs import FILES, Graph

HERE = Path(__file__).parent
# Of the front end: no greeting, and letters however small they are.
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Minimap.Visible": False,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,
}


class Server:
    """Where a server listens, and what it keeps its files in."""

    def __init__(self, port: int, base: Path, boot_seconds: float = 0.0) -> None:
        self.address, self.base, self.boot_seconds = f"http://127.0.0.1:{port}", base, boot_seconds

    def get(self, path: str) -> Any:
        with urlopen(self.address + path, timeout=60) as answer:
            text = answer.read().decode()
        return json.loads(text) if text[:1] in "{[" else text

    def post(self, path: str, data: Any) -> Any:
        request = Request(self.address + path, json.dumps(data).encode(), {"Content-Type": "application/json"})
        with urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
        return json.loads(text) if text else None

    def start(self, graph: Graph) -> str:
        """Hand in a graph; its number."""
        return str(self.post("/prompt", {"prompt": graph})["prompt_id"])

    def finish(self, number: str, seconds: float = 600) -> dict[str, Any]:
        """Wait for a graph: its status and outputs."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found: dict[str, Any] = self.get(f"/history/{number}")
            if found:
                return found[number]  # type: ignore[no-any-return]
            time.sleep(0.5)
        raise TimeoutError(f"prompt {number} took more than {seconds} seconds")

    def run(self, graph: Graph) -> dict[str, Any]:
        """The outputs of a graph, by node."""
        done = self.finish(self.start(graph))
        if done["status"]["status_str"] != "success":
            raise RuntimeError(json.dumps(done["status"])[-2000:])
        return done["outputs"]  # type: ignore[no-any-return]

    def file(self, output: dict[str, Any]) -> Path:
        """Where a file of an output is."""
        return self.base / output["type"] / output["subfolder"] / output["filename"]


def lay_out(base: Path, packs: dict[str, Path]) -> None:
    """A base directory with packs of nodes in it, and empty files of the names that the loaders offer."""
    nodes = base / "custom_nodes"
    nodes.mkdir(parents=True, exist_ok=True)
    for name, folder in packs.items():
        (nodes / name).unlink(missing_ok=True)
        (nodes / name).symlink_to(folder, target_is_directory=True)
    shutil.copy(HERE / "toy_pack.py", nodes / "toy_pack.py")
    for folder, name in FILES.items():
        path = base / "models" / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@contextmanager
def running(comfyui: Path, base: Path, port: int, *arguments: str) -> Iterator[Server]:
    """A server, until the block ends; what it says goes into `server.log` in its base directory."""
    boot = (
        f"import sys, runpy; sys.path[:0] = [{str(HERE)!r}, {str(comfyui)!r}]; import standins; standins.install(); "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    main = str(comfyui / "main.py")
    said = ["--cpu", "--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(base)]
    said += ["--database-url", "sqlite:///:memory:", "--disable-auto-launch", *arguments]
    code = f"import sys; sys.argv = [{main!r}] + sys.argv[1:]; {boot}"
    with open(base / "server.log", "w") as log:
        begun = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-c", code, *said], cwd=comfyui, stdout=log, stderr=log, env=dict(os.environ)
        )
        try:
            server = Server(port, base)
            while True:
                try:
                    server.get("/system_stats")
                    break
                except (URLError, ConnectionError) as error:
                    if process.poll() is not None or time.monotonic() > begun + 600:
                        raise RuntimeError((base / "server.log").read_text()[-3000:]) from error
                    time.sleep(0.5)
            server.boot_seconds = time.monotonic() - begun
            for setting, value in SETTINGS.items():
                server.post(f"/settings/{setting}", value)
            yield server
        finally:
            process.terminate()
            process.wait(60)
