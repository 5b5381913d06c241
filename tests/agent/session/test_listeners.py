"""Listeners to a session's events."""

from __future__ import annotations

import inspect

from livekit.agents import AgentSession, UserStateChangedEvent

from agent.session.listeners import listen


async def test_a_listener_is_told_of_each_event_of_its_kind() -> None:
    """And of no other."""
    session, told = AgentSession[None](), list[UserStateChangedEvent]()
    listen(session, "user_state_changed", told.append)
    event = UserStateChangedEvent(old_state="listening", new_state="speaking")
    session.emit("user_state_changed", event)
    session.emit("agent_state_changed", event)
    assert told == [event]


async def test_its_signature_is_not_worked_out_at_each_event() -> None:
    """It is written down where LiveKit finds it: ``inspect`` makes no new one."""
    session = AgentSession[None]()
    listen(session, "user_state_changed", print)
    (listener,) = session._events["user_state_changed"]
    assert inspect.signature(listener) is inspect.signature(listener)
