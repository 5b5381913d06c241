"""Listeners to a session's events."""

from __future__ import annotations

from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from livekit.agents import AgentSession
    from livekit.agents.voice.events import EventTypes

T = TypeVar("T")

_ONE_EVENT: Final = Signature([Parameter("event", Parameter.POSITIONAL_ONLY)])


def listen(session: AgentSession[Any], kind: EventTypes, listener: Callable[[T], object]) -> None:
    """Call the listener with each event of this kind.

    LiveKit works out a listener's signature at each event, which takes longer than most listeners
    do: 2 % of a session. One that is written down, it takes as it is.
    """

    def told(event: T, /) -> None:
        listener(event)

    told.__signature__ = _ONE_EVENT  # type: ignore[attr-defined]
    session.on(kind, told)
