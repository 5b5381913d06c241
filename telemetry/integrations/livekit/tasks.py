"""The task that something runs in."""

from __future__ import annotations

import asyncio
from typing import Any


def current_task() -> asyncio.Task[Any] | None:
    """The task that this runs in, if it is one."""
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return None
