"""A caller's room, and its agent, which goes and comes back or doesn't: what no server can be made
to time."""

from __future__ import annotations

from typing import cast

import anyio
import pytest
from livekit import rtc

from agent.gateway import Disconnected
from agent.rooms import client
from agent.rooms.ffi_events import AudioSource


class Agent:
    """The agent's participant."""

    identity = "agent"


AGENT = cast("rtc.RemoteParticipant", Agent())


@pytest.mark.parametrize("returns", [True, False])
async def test_an_agent_that_goes(monkeypatch: pytest.MonkeyPatch, returns: bool) -> None:
    """The call is over when its agent stays away; one that reconnects goes on with it."""
    monkeypatch.setattr(client, "_LAST_WORDS_SECONDS", 0.01)
    room, source = rtc.Room(), AudioSource(client.SAMPLE_RATE_HZ, 1)
    call = client.Call(room, source)
    call._agent = AGENT.identity
    try:
        with anyio.fail_after(10):
            async with call._tasks:
                call._left(AGENT)
                if returns:
                    room._remote_participants[AGENT.identity] = AGENT
            if returns:
                call._check()
            else:
                with pytest.raises(Disconnected, match="the agent left the call"):
                    await anext(call)
    finally:
        call._incoming.close()
        call._received.close()
        await source.aclose()


def test_no_call_is_in_another_ones_room() -> None:
    """The same caller who calls again at once has a room to which an agent comes."""
    assert client.new_room("anna") != client.new_room("anna")
    assert client.new_room("anna").startswith("call-anna-")
    assert client.new_room() != client.new_room()
