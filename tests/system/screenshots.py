"""The README's pictures: ``python -m tests.system.screenshots [FOLDER]`` makes them anew.

The simulator holds the calls and records them, ``parley viewer`` shows them, Chromium is the
camera. A busy machine answers late, and is seen to: have it do nothing else.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from playwright.async_api import expect

from telemetry.store import TraceStore

from .chromium import chromium
from .viewing import ROOT, simulated, viewer

if TYPE_CHECKING:
    from playwright.async_api import Page, ViewportSize

PICTURES: Final = ROOT / "docs" / "pictures"
_LIST: Final[ViewportSize] = {"width": 1240, "height": 620}
_CALL: Final[ViewportSize] = {"width": 1240, "height": 1380}
_CALLS: Final = ("booking", "opening_hours", "barge_in", "slow_tool", "failing_tool", "correction")


async def take(folder: Path) -> None:
    """Hold the calls, and take all the pictures."""
    with tempfile.TemporaryDirectory(prefix="screenshots-") as name:
        where = Path(name)
        await simulated(where, *_CALLS)
        calls = TraceStore(where / "traces.db").conversations()
        slow = next(call.id for call in calls if call.id.startswith("slow_tool"))
        async with viewer(where) as url, chromium(viewport=_LIST) as (tab, _):
            await tab.goto(url)
            await expect(tab.locator(".conversations tbody tr")).to_have_count(len(_CALLS))
            await tab.fill("input[name=q]", "table")
            await tab.keyboard.press("Enter")
            await expect(tab.locator("mark").first).to_be_visible()
            await tab.evaluate("document.activeElement.blur()")
            await tab.screenshot(path=folder / "conversations.png")
            await tab.set_viewport_size(_CALL)
            await tab.click(f"a.name:has-text('{slow}')")
            await _slow_turn(tab)
            await tab.screenshot(path=folder / "conversation.png")


async def _slow_turn(tab: Page) -> None:
    """Go to the answer that a slow tool has kept waiting."""
    await expect(tab.locator("#conversation")).to_have_attribute("data-ready", "true")
    await tab.keyboard.press("e")
    await expect(tab.locator("#details h3")).to_be_visible()
    await tab.evaluate("document.activeElement.blur()")


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.screenshots", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=PICTURES)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    anyio.run(take, folder)


if __name__ == "__main__":
    main()
