"""LiveKit Agents: its own spans become the conversation's, and what they leave out is added.

With ``telemetry.init``, all that an existing agent adds::

    from telemetry.integrations import livekit as telemetry_livekit

    async def entrypoint(ctx: JobContext) -> None:
        session = AgentSession(...)
        telemetry_livekit.trace(session, ctx)
        await session.start(agent, room=ctx.room)

LiveKit names about thirteen spans a turn.

================  =================================================================================
``session``       the one call
``tracer``        starts each of LiveKit's spans in the conversation, and where it went before
``livekit_span``  such a span, and what it learns
``clients``       sees to it that a request is one AI span, whoever else has seen it
``vocabulary``    the op each has; it is ``livekit.<name>`` where the table has none
``turns``         the state machine that says what each turn was; ``turn`` is one
``spans``         what LiveKit's spans tell it
``events``        what the session's events tell it
``record``        puts turns down as spans, and ends the conversation
``recognition``   the span that LiveKit lacks
``charges``       puts down the cost of a call; ``prices`` are what models cost
``latency``       tiles each turn's response latency
``recorder``      has a session recorded
``recording``     LiveKit's recorder; ``arrivals`` tell it when the caller spoke
``gaps``          holds what callers say they waited against it
``repeats``       sees to it that an error is reported once
================  =================================================================================
"""

from __future__ import annotations

from .latency import Marks, Stage, tile
from .prices import Prices
from .recorder import Recorder
from .session import asked_from, audible, caller_gap, trace

__all__ = [
    "Marks",
    "Prices",
    "Recorder",
    "Stage",
    "asked_from",
    "audible",
    "caller_gap",
    "tile",
    "trace",
]
