"""A headless Chromium, driven over the DevTools protocol: what a test of a page needs, no more.

Debian's own package; a browser driver would download a browser of its own.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
import httpx
from anyio.streams.text import TextReceiveStream
from websockets.asyncio.client import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from anyio.abc import Process, TaskStatus
    from websockets.asyncio.client import ClientConnection

NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
SPEAKS_TO_NOBODY: Final = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
)
PATIENCE: Final = 30.0
"""Seconds for what a page is to come to."""
KEYS: Final = {
    "Tab": {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9},
    "Enter": {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"},
    " ": {"key": " ", "code": "Space", "windowsVirtualKeyCode": 32, "text": " "},
}


def find_chromium() -> str:
    """Chromium's path; installed from Debian's packages where it is missing and we may."""
    found = _on_path()
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        for command in (
            ["update", "-qq"],
            ["install", "-qq", "--no-install-recommends", "chromium"],
        ):
            environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run(["apt-get", "-y", *command], check=True, timeout=600, env=environ)
        found = _on_path()
    if found is None:
        raise RuntimeError(f"none of {', '.join(NAMES)} on PATH: install Chromium (apt: chromium)")
    return found


def _on_path() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class BrowserError(Exception):
    """The browser says no, or the page didn't come to what was waited for."""


class Tab:
    """One page. What it logs as an error, or throws, is in :attr:`errors`."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.errors: list[str] = []
        self._websocket = websocket
        self._count = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._changed = anyio.Event()

    async def listen(self) -> None:
        """Take what the browser says, until cancelled."""
        async for data in self._websocket:
            message = json.loads(data)
            match message:
                case {"id": number}:
                    self._answers[number] = message
                case {"method": "Runtime.consoleAPICalled", "params": {"type": "error"} as params}:
                    self.errors.append(json.dumps(params["args"]))
                case {"method": "Runtime.exceptionThrown", "params": params}:
                    self.errors.append(json.dumps(params["exceptionDetails"]))
                case {"method": "Log.entryAdded", "params": {"entry": {"level": "error"} as entry}}:
                    self.errors.append(f"{entry['text']} {entry.get('url', '')}")
            self._changed.set()
            self._changed = anyio.Event()

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the DevTools protocol, and its result."""
        return await self._ask(method, params, PATIENCE)

    async def _ask(self, method: str, params: dict[str, Any], patience: float) -> dict[str, Any]:
        self._count += 1
        number = self._count
        await self._websocket.send(json.dumps({"id": number, "method": method, "params": params}))
        with anyio.fail_after(patience):
            while number not in self._answers:
                await self._changed.wait()
        answer = self._answers.pop(number)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def open(self, url: str) -> None:
        """Go there, and wait until it has loaded."""
        await self.command("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def value(self, expression: str, patience: float = PATIENCE) -> Any:
        """What a JavaScript expression comes to in the page; promises are awaited."""
        params = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = await self._ask("Runtime.evaluate", params, patience)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {answer['exceptionDetails']['exception']}")
        return answer["result"].get("value")

    async def until(self, expression: str, patience: float = PATIENCE) -> Any:
        """What an expression comes to, once it holds; the page itself looks."""
        watch = f"""new Promise((resolve) => {{
            const end = performance.now() + {1000 * patience};
            const look = () => {{
                const value = {expression};
                if (value || performance.now() > end) resolve(value);
                else setTimeout(look, 10);
            }};
            look();
        }})"""
        value = await self.value(watch, patience + PATIENCE)
        if not value:
            text = await self.value("document.body.innerText")
            raise BrowserError(f"never came: {expression}\n{text}\n{self.errors}")
        return value

    async def click(self, selector: str) -> None:
        """Click in the middle of an element, as a mouse does."""
        box = await self.value(f"""(() => {{
            const element = document.querySelector({json.dumps(selector)});
            element.scrollIntoView({{ block: "nearest" }});
            const {{ x, y, width, height }} = element.getBoundingClientRect();
            return [x + width / 2, y + height / 2];
        }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            await self.command(
                "Input.dispatchMouseEvent",
                type=kind,
                x=box[0],
                y=box[1],
                button="left",
                clickCount=1,
            )

    async def press(self, key: str) -> None:
        """Press a key of :data:`KEYS`."""
        for kind in ("keyDown", "keyUp"):
            await self.command("Input.dispatchKeyEvent", type=kind, **KEYS[key])

    async def type(self, text: str) -> None:
        """Type into what has the focus."""
        await self.command("Input.insertText", text=text)

    async def resize(self, width: int, height: int) -> None:
        """A screen of this many CSS pixels."""
        await self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    async def screenshot(self, path: Path) -> None:
        """What can be seen, as a PNG."""
        shot = await self.command("Page.captureScreenshot", format="png")
        await anyio.Path(path).write_bytes(base64.b64decode(shot["data"]))


@asynccontextmanager
async def chromium(profile: Path, *flags: str) -> AsyncIterator[Tab]:
    """A browser with one empty tab, closed at the end; ``profile`` is an empty folder for it."""
    command = [
        await anyio.to_thread.run_sync(find_chromium),
        "--headless=new", "--window-size=1180,860", "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        *SPEAKS_TO_NOBODY, *(["--no-sandbox"] if os.geteuid() == 0 else []),
        *flags, "about:blank",
    ]  # fmt: skip
    async with (
        await anyio.open_process(command, stdout=subprocess.DEVNULL) as process,
        anyio.create_task_group() as tasks,
    ):
        try:
            url = await tasks.start(_read_log, process)
            async with connect(url, max_size=None, proxy=None) as websocket:
                tab = Tab(websocket)
                tasks.start_soon(tab.listen)
                for domain in ("Page", "Runtime", "Log"):
                    await tab.command(f"{domain}.enable")
                yield tab
        finally:
            tasks.cancel_scope.cancel()
            process.terminate()
            with anyio.move_on_after(10, shield=True) as closing:
                await process.wait()
            if closing.cancelled_caught:
                process.kill()


async def _read_log(process: Process, *, task_status: TaskStatus[str]) -> None:
    """Find in the browser's log where it listens, then read on, so that it never waits for us."""
    assert process.stderr is not None
    log, told = "", False
    async for text in TextReceiveStream(process.stderr, errors="replace"):
        if told:
            continue
        log += text
        if (found := re.search(r"DevTools listening on ws://([\d.:]+)/\S+\s", log)) is not None:
            async with httpx.AsyncClient(trust_env=False) as http:
                targets = (await http.get(f"http://{found[1]}/json/list")).json()
            pages = [target for target in targets if target["type"] == "page"]
            task_status.started(pages[0]["webSocketDebuggerUrl"])
            told = True
    if not told:
        raise BrowserError(f"Chromium didn't start:\n{log}")
