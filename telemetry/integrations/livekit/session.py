"""``trace``: the one call that makes a LiveKit session a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from livekit.agents import telemetry as livekit_telemetry

from ... import context, runtime
from ...conversation import Conversation
from . import tracer
from .turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from livekit.agents import AgentSession, JobContext


def trace(
    session: AgentSession[Any],
    job: JobContext | None = None,
    *,
    conversation: Conversation | None = None,
    voiced_until: Callable[[], float | None] = lambda: None,
    name: str = "conversation",
    id: str | None = None,
    user: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Conversation:
    """Open a conversation for a session and make LiveKit's own spans part of it.

    Call it in the task that then starts the session: the conversation is current there, and in
    everything the session starts. It closes when the session has closed or, given the job, when
    the job shuts down, and is then delivered before the job's process ends.

    Args:
        session: not started yet.
        job: the job the session belongs to, if there is one.
        conversation: one that is open already, to be used instead of a new one; the arguments
            below are then its opener's affair.
        voiced_until: asked when the caller has stopped speaking: when the last sample that can be
            heard came in (Unix seconds), if whoever has the audio knows. Speech detection alone
            is up to 0.1 s late, and latency that much too short.
        name: the transaction's name.
        id: the conversation's id; made up when None.
        user: whose conversation it is.
        tags: tags of its transaction and errors.
        headers: the caller's ``sentry-trace`` and ``baggage``.
    """
    _install()
    conversation = conversation or Conversation(
        runtime.active(), name, id=id, user=user, tags=tags, headers=headers
    )
    conversation.__enter__()  # closed by the session's end, not by a block's
    turns = Turns(conversation, session, voiced_until)
    tracer.listeners[conversation] = turns
    conversation.on_close(lambda: tracer.listeners.pop(conversation, None))
    if job is not None:

        async def shut_down() -> None:
            turns.close()
            await runtime.active().aflush()

        job.add_shutdown_callback(shut_down)
    return conversation


def audible(conversation: Conversation, at: float) -> None:
    """Tell when the first audible sample of the agent's current speech was sent (Unix seconds).

    Whoever sends the audio knows it: synthesis begins with silence, which the caller waits through
    too. Without this call latency ends at the first frame.
    """
    listener = tracer.listeners.get(conversation)
    if isinstance(listener, Turns):
        listener.audible(at)


def _install() -> None:
    if tracer.current_livekit_span not in context.framework_span:
        context.framework_span.append(tracer.current_livekit_span)
        livekit_telemetry.set_tracer_provider(tracer.ConversationTracerProvider())
