"""Chromium without a window at ComfyUI's front end: graphs put into the form it saves, and pictures of it."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

LOADED = "window.app?.graph && document.querySelector('canvas') ? true : false"


class Page:
    """A page of Chromium, spoken to over its debugging port."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket, self.number = socket, 0

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol, and what it answers."""
        self.number += 1
        await self.socket.send_str(json.dumps({"id": self.number, "method": method, "params": parameters}))
        async for message in self.socket:
            said = json.loads(message.data)
            if said.get("id") == self.number:
                return said["result"]  # type: ignore[no-any-return]
        raise ConnectionError("Chromium has gone")

    async def evaluate(self, code: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        said = await self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in said:
            raise RuntimeError(json.dumps(said["exceptionDetails"])[:1000])
        return said["result"].get("value")

    async def wait(self, code: str, seconds: float = 300) -> None:
        """Until an expression is true."""
        for _ in range(int(seconds * 2)):
            if await self.evaluate(code):
                return
            await asyncio.sleep(0.5)
        raise TimeoutError(code)

    async def picture(self, path: Path, size: list[float] | None = None) -> None:
        """What the page shows, as a JPEG or PNG; with a size only so much of the graph, from its upper left corner."""
        form = "jpeg" if path.suffix == ".jpg" else "png"
        clip = {} if size is None else {"clip": dict(zip(("x", "y", "width", "height", "scale"), size, strict=True))}
        said = await self.call("Page.captureScreenshot", format=form, **clip)
        path.write_bytes(base64.b64decode(said["data"]))


@asynccontextmanager
async def page(address: str, chromium: str, port: int = 9333) -> AsyncIterator[Page]:
    """ComfyUI's front end, loaded."""
    profile = tempfile.mkdtemp()
    process = await asyncio.create_subprocess_exec(
        chromium, "--headless=new", "--no-sandbox", "--disable-gpu", f"--remote-debugging-port={port}",
        f"--user-data-dir={profile}", "--window-size=2300,1300", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with aiohttp.ClientSession() as session:
            for _ in range(240):
                try:
                    async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                        pages = [one for one in await answer.json() if one["type"] == "page"]
                    break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.5)
            async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                shown = Page(socket)
                await shown.call("Page.enable")
                await shown.call("Page.navigate", url=address)
                await shown.wait(LOADED)
                await asyncio.sleep(3)
                yield shown
    finally:
        process.terminate()
        await process.wait()
        shutil.rmtree(profile, ignore_errors=True)


async def save_workflow(shown: Page, graph: dict[str, Any], path: Path) -> None:
    """A graph of the API as the front end saves it, with its picture beside it."""
    await shown.evaluate(f"window.app.loadApiJson({json.dumps(graph)}, {json.dumps(path.stem)})")
    await asyncio.sleep(2)
    await shown.evaluate("window.app.graph._nodes.forEach(n => n.setSize([Math.max(n.size[0], 250), n.size[1]]))")
    await shown.evaluate("window.app.graph.arrange()")
    saved = await shown.evaluate("JSON.stringify(window.app.graph.serialize())")
    path.write_text(json.dumps(json.loads(saved), indent=1, ensure_ascii=False) + "\n")
    await shown.picture(path.with_suffix(".jpg"), await fit(shown))


async def show_help(shown: Page, node: str, path: Path) -> str:
    """A picture of a node's help page in the panel at the side; what the panel says."""
    await shown.evaluate(
        f"""(() => {{
        const stores = document.querySelector('#vue-app').__vue_app__.config.globalProperties.$pinia._s;
        window.app.canvas.selectNode(window.app.graph._nodes.find(n => n.type === {json.dumps(node)}));
        stores.get('rightSidePanel').openPanel('info');
        }})()"""
    )
    await asyncio.sleep(5)
    await shown.picture(path)
    return str(await shown.evaluate("document.body.innerText"))


async def fit(shown: Page) -> list[float]:
    """All nodes in view; where on the screen they are, and how much a picture of them is enlarged."""
    size: list[float] = await shown.evaluate(
        """(() => {
        const nodes = window.app.graph._nodes, canvas = window.app.canvas;
        const left = Math.min(...nodes.map(n => n.pos[0])), top = Math.min(...nodes.map(n => n.pos[1]));
        const right = Math.max(...nodes.map(n => n.pos[0] + n.size[0]));
        const bottom = Math.max(...nodes.map(n => n.pos[1] + n.size[1]));
        const scale = Math.min(2100 / (right - left), 900 / (bottom - top), 1);
        canvas.ds.scale = scale;
        canvas.ds.offset = [100 / scale - left, 130 / scale - top];
        canvas.setDirty(true, true);
        return [85, 85, (right - left) * scale + 30, (bottom - top + 40) * scale + 30, 1];
        })()"""
    )
    await asyncio.sleep(2)
    return size
