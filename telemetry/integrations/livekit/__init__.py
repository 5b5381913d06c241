"""LiveKit Agents: its own spans become the conversation's, and what they leave out is added.

With ``telemetry.init``, all that an existing agent adds::

    from telemetry.integrations import livekit as telemetry_livekit

    async def entrypoint(ctx: JobContext) -> None:
        session = AgentSession(...)
        telemetry_livekit.trace(session, ctx)
        await session.start(agent, room=ctx.room)

LiveKit names about thirteen spans a turn. :mod:`.tracer` records each in the conversation, under
the op of our table where it has one and as ``livekit.<name>`` otherwise; :mod:`.turns` groups them
into turns (:mod:`.turn`), :mod:`.recognition` adds the span LiveKit lacks, :mod:`.latency` tiles
each turn's response latency, :mod:`.repeats` sees to it that an error is reported once, and
:mod:`.session` is the one call.
"""

from __future__ import annotations

from .latency import Marks, Stage, tile
from .session import audible, trace

__all__ = ["Marks", "Stage", "audible", "tile", "trace"]
