"""The browser that the page's tests drive."""

from __future__ import annotations

import os
from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest

from .chromium import chromium
from .processes import family, running_on

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]  # the first may install Chromium


@pytest.mark.parametrize("end", ["as it should", "with an error", "cancelled"])
async def test_nothing_runs_on(end: str) -> None:
    """No process of a browser is left, however the test ends."""
    before = family(os.getpid())
    started: list[int] = []

    async def use(scope: anyio.CancelScope) -> None:
        async with chromium() as (tab, _):
            await tab.goto("data:text/html,hello")
            started.extend(each for each in family(os.getpid()) if each not in before)
            if end == "with an error":
                raise LookupError
            if end == "cancelled":
                scope.cancel()
                await anyio.lowlevel.checkpoint()

    with anyio.CancelScope() as scope, suppress(LookupError):
        await use(scope)
    assert scope.cancelled_caught == (end == "cancelled")
    assert len(started) > 3  # what drives it, the browser, its helpers, the page
    assert running_on(started, timeout=10) == []
