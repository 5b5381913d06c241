"""One conversation: an ``AgentSession`` from accept to close.

``line``
    What a transport and a session ask of each other: :class:`Line`, :class:`Session`,
    :class:`Outcome` and the events a caller is told of.
``voice``
    :class:`VoiceSession`: a :class:`Session` on LiveKit's ``AgentSession``.
``manners``
    What is said to silence, to waiting and at the end; an agent may have its own.
``courtesy``, ``heard``, ``tools``
    What a session does for any agent: see to silence and slow tools, cut words to what was heard,
    give tools a limit.
``agents``
    Which agent answers: ``module:Class`` and what all its conversations share.
"""

from __future__ import annotations

from .agents import AgentError, load_agent, resources
from .line import (
    Line,
    OpenSession,
    Outcome,
    Session,
    SessionEvent,
    SessionRequest,
    StateChanged,
    ToolCalled,
    Words,
)
from .manners import Manners
from .voice import VoiceSession

__all__ = [
    "AgentError",
    "Line",
    "Manners",
    "OpenSession",
    "Outcome",
    "Session",
    "SessionEvent",
    "SessionRequest",
    "StateChanged",
    "ToolCalled",
    "VoiceSession",
    "Words",
    "load_agent",
    "resources",
]
