"""One conversation: an ``AgentSession`` from accept to close.

``line``
    The contract of a transport and a session: :class:`Line`, :class:`Session`, :class:`Outcome`
    and the events a caller is told of.
``voice``
    :class:`VoiceSession`: a :class:`Session` on LiveKit's ``AgentSession``.
``phrases``
    :class:`Manners`: the words for silence, waiting and the end; an agent may have its own.
``silence``
    Leaves no caller in silence: asks again, asks for patience, apologises.
``backchannel``
    Leaves out a listener's "mm-hm" over the agent's speech.
``heard``
    Cuts the agent's words to what was heard of them.
``recorded``
    Says which calls are recorded: :class:`Record`.
``turn_taking``
    Finds the end of a caller's turn: :class:`TurnTaking`.
``tools``
    Gives tools a time limit.
``listeners``
    Calls whoever listens to a session's events.
``agents``
    The agent that answers: ``module:Class``, and the resources all its conversations share.
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
from .phrases import Manners
from .recorded import Record
from .turn_taking import TurnTaking
from .voice import VoiceSession

__all__ = [
    "AgentError",
    "Line",
    "Manners",
    "OpenSession",
    "Outcome",
    "Record",
    "Session",
    "SessionEvent",
    "SessionRequest",
    "StateChanged",
    "ToolCalled",
    "TurnTaking",
    "VoiceSession",
    "Words",
    "load_agent",
    "resources",
]
