"""The real reservations service on a free port, and a clock that stands still."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import anyio
import pytest

from agent.desk import COPPER_KETTLE, Reservations, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW: Final = dt.datetime(2026, 11, 21, 10, 0)  # noqa: DTZ001 - the restaurant's wall clock
"""A Saturday morning."""
TODAY: Final = NOW.date()
HOUSE: Final = replace(COPPER_KETTLE, seats=24)
"""Small, so that it fills quickly."""


@pytest.fixture
def anyio_backend() -> str:
    """LiveKit needs asyncio."""
    return "asyncio"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a reservations service that runs during the test."""
    async with anyio.create_task_group() as tasks:

        async def run(*, task_status: anyio.abc.TaskStatus[str]) -> None:
            book = tmp_path / "book.db"
            await serve(book, port=0, house=HOUSE, now=lambda: NOW, task_status=task_status)

        yield await tasks.start(run)
        tasks.cancel_scope.cancel()


@pytest.fixture
async def reservations(service: str) -> AsyncIterator[Reservations]:
    """A client of that service."""
    async with Reservations.connect(service) as reservations:
        yield reservations
