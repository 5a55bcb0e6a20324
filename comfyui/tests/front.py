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

    async def picture(self, path: Path) -> None:
        """What the page shows, as a JPEG or PNG."""
        form = "jpeg" if path.suffix == ".jpg" else "png"
        said = await self.call("Page.captureScreenshot", format=form)
        path.write_bytes(base64.b64decode(said["data"]))


@asynccontextmanager
async def page(address: str, chromium: str, port: int = 9333) -> AsyncIterator[Page]:
    """ComfyUI's front end, loaded."""
    profile = tempfile.mkdtemp()
    process = await asyncio.create_subprocess_exec(
        chromium, "--headless=new", "--no-sandbox", "--disable-gpu", f"--remote-debugging-port={port}",
        f"--user-data-dir={profile}", "--window-size=1600,1000", "about:blank",
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
    await shown.evaluate("window.app.graph.arrange && window.app.graph.arrange()")
    await shown.evaluate("window.app.canvas.ds.reset()")
    await shown.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', {key: '.'}))")
    saved = await shown.evaluate("JSON.stringify(window.app.graph.serialize())")
    path.write_text(json.dumps(json.loads(saved), indent=1, ensure_ascii=False) + "\n")
    await fit(shown)
    await shown.picture(path.with_suffix(".jpg"))


async def fit(shown: Page) -> None:
    """All nodes in view."""
    await shown.evaluate(
        """(() => {
        const nodes = window.app.graph._nodes, canvas = window.app.canvas;
        const left = Math.min(...nodes.map(n => n.pos[0])), top = Math.min(...nodes.map(n => n.pos[1]));
        const right = Math.max(...nodes.map(n => n.pos[0] + n.size[0]));
        const bottom = Math.max(...nodes.map(n => n.pos[1] + n.size[1]));
        const scale = Math.min(1500 / (right - left + 60), 880 / (bottom - top + 120), 1);
        canvas.ds.scale = scale;
        canvas.ds.offset = [40 / scale - left, 70 / scale - top + 30];
        canvas.setDirty(true, true);
        })()"""
    )
    await asyncio.sleep(2)
