"""Processes that share a port, in one process here: each has a socket of its own name."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agent.siblings import Place, Siblings, ask, socket_of, together

if TYPE_CHECKING:
    from pathlib import Path


def health(sessions: int, *reasons: str) -> dict[str, Any]:
    """One process's."""
    status = "degraded" if reasons else "healthy"
    return {
        "status": status,
        "reasons": [*reasons],
        "sessions": sessions,
        "max_sessions": 20,
        "token_required": True,
    }


def test_a_place_has_its_share(tmp_path: Path) -> None:
    """Rounded up: all have at least the whole together."""
    place = Place(tmp_path, 1, 3, seats=-1)
    assert [place.share(whole) for whole in (1, 3, 100)] == [1, 1, 34]


def test_health_of_several_is_one() -> None:
    """Calls are added up, a reason of several is said once, and that one doesn't answer is one."""
    others = [json.dumps(health(2, "Sentry is away")), json.dumps(health(3)), None]
    found = together(health(1, "Sentry is away"), others)
    assert found == {
        "status": "degraded",
        "reasons": ["Sentry is away", "1 of 4 processes didn't answer"],
        "sessions": 6,
        "max_sessions": 20,
        "token_required": True,
        "processes": 3,
    }
    assert together(health(1), [json.dumps(health(2))])["status"] == "healthy"


async def test_each_answers_the_others(tmp_path: Path) -> None:
    """Health and metrics, inside the block."""
    siblings = Siblings(Place(tmp_path, 0, 2, seats=-1), lambda: health(3))
    own = socket_of(tmp_path, os.getpid())
    async with siblings.told():
        assert json.loads(await ask(own, "health") or "") == health(3)
        assert "parley_response_latency_seconds" in (await ask(own, "metrics") or "")
        assert (await siblings.health())["sessions"] == 3
    with pytest.raises(OSError, match="No such file"):
        await ask(own, "health")


async def test_one_asks_all_the_others(tmp_path: Path) -> None:
    """One that is gone, and has left its socket, is none; others are asked once in a while, however
    often one is asked oneself."""
    asked = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response(health(4))

    app = web.Application()
    app.add_routes([web.get("/health", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(socket_of(tmp_path, 1))).start()
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(socket_of(tmp_path, 2)))
    siblings = Siblings(Place(tmp_path, 0, 3, seats=-1), lambda: health(1))
    found = [await siblings.health() for _ in range(20)]
    await runner.cleanup()
    assert {(each["sessions"], each["processes"], each["status"]) for each in found} == {
        (5, 2, "healthy")
    }
    assert asked < len(found)
