"""Debian's Chromium, driven by Playwright, whose own browser would have to be downloaded."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
from playwright.async_api import async_playwright, expect

from .debian import program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import ConsoleMessage, Page

PATIENCE_SECONDS: Final = 30.0
"""For what a page is to come to."""
_CLOSING_SECONDS: Final = 10.0
_SPEAKS_TO_NOBODY: Final = ("--disable-background-networking", "--disable-quic", "--disable-sync")
_SCREEN: Final = {"width": 1180, "height": 860}

expect.set_options(timeout=1000 * PATIENCE_SECONDS)


@asynccontextmanager
async def chromium(*flags: str, **options: Any) -> AsyncIterator[tuple[Page, list[str]]]:
    """A headless browser with one empty page, and what that page logs as an error or throws.

    The browser is closed at the end of the block. ``flags`` are Chromium's, ``options`` those of
    Playwright's ``new_context``.
    """
    path = await anyio.to_thread.run_sync(program, "chromium")
    playwright = await async_playwright().start()
    try:
        browser = await playwright.chromium.launch(
            executable_path=path,
            args=[*_SPEAKS_TO_NOBODY, *flags],
            ignore_default_args=["--hide-scrollbars"],  # they take their room from the page
            chromium_sandbox=os.geteuid() != 0,  # root's Chromium has none
        )
        page = await browser.new_page(**{"viewport": _SCREEN, **options})
        page.set_default_timeout(1000 * PATIENCE_SECONDS)
        yield page, _errors(page)
    finally:
        with anyio.move_on_after(_CLOSING_SECONDS, shield=True):
            await playwright.stop()  # and with it the browser


def _errors(page: Page) -> list[str]:
    """A list that grows with the page's errors."""
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(f"{message.text} {message.location['url']}")

    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors
