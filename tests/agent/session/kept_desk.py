"""The desk, whose sessions are kept, so that a test can ask for their histories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import telemetry
from agent.desk import FrontDesk

if TYPE_CHECKING:
    from livekit.agents import AgentSession

sessions: Final[dict[str, AgentSession[Any]]] = {}
"""Sessions by their conversations' traces."""


class KeptDesk(FrontDesk):
    """The desk of a call whose session is kept."""

    async def on_enter(self) -> None:
        """Keep it, and answer."""
        conversation = telemetry.current_conversation()
        assert conversation is not None
        sessions[conversation.trace_id] = self.session
        await super().on_enter()
