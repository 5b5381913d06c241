"""The token endpoint for development: one room, a short time, this machine only."""

from __future__ import annotations

import socket

import httpx
import pytest
from livekit import api

from agent.rooms import LiveKit, RoomsError
from agent.rooms.client import TOKEN_TTL
from agent.rooms.tokens import HOST, serve_tokens

LIVEKIT = LiveKit("ws://127.0.0.1:7880", "key", "a-secret-of-at-least-32-characters")


async def test_a_token_is_for_one_room_and_a_short_time() -> None:
    """Each caller gets a room of its own, ten minutes to join it, and the agent that is named."""
    async with (
        serve_tokens(LIVEKIT, port=0, agent_name="desk") as url,
        httpx.AsyncClient() as client,
    ):
        first, second = [(await client.post(url)).json() for _ in range(2)]
    assert first["url"] == LIVEKIT.url
    assert first["room"] != second["room"]
    granted = api.TokenVerifier(LIVEKIT.key, LIVEKIT.secret).verify(first["token"])
    assert granted.video is not None
    assert (granted.video.room_join, granted.video.room) == (True, first["room"])
    assert not granted.video.room_admin
    assert granted.room_config is not None
    assert [each.agent_name for each in granted.room_config.agents] == ["desk"]
    assert TOKEN_TTL.total_seconds() <= 600


@pytest.mark.parametrize(
    ("origin", "status"), [("http://localhost:3000", 200), ("https://elsewhere.example", 403)]
)
async def test_pages_of_this_machine_only(origin: str, status: int) -> None:
    """A page from elsewhere that a developer happens to have open gets no token."""
    async with serve_tokens(LIVEKIT, port=0) as url, httpx.AsyncClient() as client:
        answer = await client.post(url, headers={"Origin": origin})
    assert answer.status_code == status
    assert ("token" in answer.text) == (status == 200)


async def test_a_port_that_is_taken() -> None:
    """One line that names the setting."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RoomsError, match=f"^PARLEY_TOKEN_PORT={port}: "):
            async with serve_tokens(LIVEKIT, port=port):
                pass
