"""``trace``: the one call that makes a LiveKit session a conversation."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from typing import TYPE_CHECKING, Any

from livekit.agents import telemetry as livekit_telemetry

from ... import runtime
from ...attributes import OP_CONVERSATION
from ...context import chain
from ...context.place import current_task
from ...headers import valid
from ...stats import refused_gaps, refused_headers
from ...trace.conversation import Conversation
from ...trace.span import current_span, sentrys
from ..harmless import harmless
from . import clients, gaps, livekit_span, repeats, tracer
from .charges import Charges
from .events import EventListener
from .recognition import Recognition
from .record import Record
from .spans import SpanListener

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from livekit.agents import AgentSession, JobContext, SpeechHandle

    from ...trace.transaction import Transaction
    from .prices import Prices
    from .recorder import Recorder

ASKED = (
    "clear_user_turn",
    "commit_user_turn",
    "generate_reply",
    "interrupt",
    "run",
    "say",
    "shutdown",
    "update_agent",
)
"""Methods by which anybody may ask a session for something that it then does in its own tasks."""
JOB_TIMEOUT = 10.0
"""Seconds that a job waits for its session to close, at most, before it is closed without."""
RECORDING_TIMEOUT = 5.0
"""Seconds that it then waits for the recording's file to be complete, at most."""


def trace(
    session: AgentSession[Any],
    job: JobContext | None = None,
    *,
    conversation: Conversation | None = None,
    voiced_until: Callable[[], float | None] = lambda: None,
    prices: Prices | None = None,
    recorder: Recorder | None = None,
    name: str = "conversation",
    id: str | None = None,
    user: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Conversation:
    """Open a conversation for a session and make LiveKit's own spans part of it.

    Call it in the task that then starts the session: the conversation is current there, and in
    everything the session starts. It closes when the session has closed or couldn't be started
    or, given the job, when the job shuts down, and is then delivered before the job's process
    ends. Any number of sessions of a process, a job or a task may be traced side by side.

    Nothing is taken from whoever had LiveKit's spans before: the OpenTelemetry provider set up
    before this call, the operator's or LiveKit Cloud's, gets them as it did, this session's too.
    Set one up afterwards and LiveKit's spans are its alone, until the next session is traced.

    Args:
        session: not started yet.
        job: the job the session belongs to, if there is one.
        conversation: one that is open already, to be used instead of a new one; the arguments
            below are then its opener's affair.
        voiced_until: asked when the caller has stopped speaking: when the last sample that can be
            heard came in (Unix seconds), if whoever has the audio knows. Speech detection alone
            is up to 0.1 s late, and latency that much too short.
        prices: prices of models: with them, spans and the conversation say what they cost.
        recorder: records the session; nothing is recorded without.
        name: the transaction's name.
        id: the conversation's id; made up when None.
        user: whose conversation it is.
        tags: tags of its transaction and errors.
        headers: the caller's ``sentry-trace`` and ``baggage``.
    """
    _install()
    conversation = conversation or Conversation(
        runtime.active().sink,
        name,
        id=id,
        op=OP_CONVERSATION,
        user=user,
        tags=tags,
        headers=headers,
    )
    conversation.__enter__()  # closed by the session's end, not by a block's
    record = Record(conversation)
    _listen(session, record, prices, voiced_until)
    _watch_start(session, record, recorder)
    if job is not None:
        job.add_shutdown_callback(_delivered(record, recorder))
        if (entrypoint := current_task()) is not None:
            entrypoint.add_done_callback(functools.partial(_crashed, conversation))
    return conversation


def _listen(
    session: AgentSession[Any],
    record: Record,
    prices: Prices | None,
    voiced_until: Callable[[], float | None],
) -> None:
    """Hear of a session what its spans and its events tell."""
    conversation = record.conversation
    charges = Charges(prices, record.turns, conversation)
    recognition = Recognition(session, record, charges)
    record.on_close(EventListener(record, recognition, session).close)
    livekit_span.listeners[conversation] = SpanListener(record, recognition, charges, voiced_until)
    conversation.on_close(lambda: livekit_span.listeners.pop(conversation, None))


def audible(conversation: Conversation, at: float) -> None:
    """Tell when the first audible sample of the agent's current speech was sent (Unix seconds).

    Whoever sends the audio knows it: synthesis begins with silence, which the caller waits through
    too. Without this call latency ends at the first frame.
    """
    listener = livekit_span.listeners.get(conversation)
    if isinstance(listener, SpanListener):
        listener.record.turns.agent_audible(at)


@harmless
def caller_gap(conversation: Conversation, seconds: object) -> None:
    """Tell the gap at the caller's ear: their last sound to the answer's first, as they heard it.

    For a client that measures it and sends it as it hears the answer. It becomes an attribute of
    the response, beside the latency: the network and the caller's buffers are in it. Whatever was
    received may be given. What isn't a number, can't be (less than the answer took to be sent, more
    than has passed since), is told twice, or comes when its turn is over is left out and counted
    (``Stats.refused_gaps``).
    """
    listener = livekit_span.listeners.get(conversation)
    turns = listener.record.turns if isinstance(listener, SpanListener) else None
    if turns is None or not gaps.note(turns, seconds, time.time()):
        refused_gaps.add()


def asked_from(
    conversation: Conversation, speech: SpeechHandle, headers: Mapping[str, str] | None
) -> None:
    """Put the turn that ``speech`` opens below the caller's span that the headers name.

    For what a caller asks in a message with a trace context of its own, right after the speech was
    created. A span of another trace can't be the parent: it is passed over and counted.
    """
    listener = livekit_span.listeners.get(conversation)
    context = valid(headers).get("sentry-trace")
    if context is None or not isinstance(listener, SpanListener):
        return
    trace_id, _, span_id = context.partition("-")
    if trace_id == conversation.trace_id:
        listener.record.asked_from[speech.id] = span_id
    else:
        refused_headers.add()


def _watch_start(session: AgentSession[Any], record: Record, recorder: Recorder | None) -> None:
    """Start the session inside its conversation, wherever that is done, and end it if it fails.

    LiveKit has no event for a session that doesn't start, and never ends its span.
    """
    start, conversation = session.start, record.conversation

    @functools.wraps(start)
    async def traced_start(*args: Any, **kwargs: Any) -> Any:
        with conversation.attach():
            token = tracer.starting.set([conversation])
            try:
                if recorder is not None:
                    await recorder.begin(session, conversation)
                return await start(*args, **kwargs)
            except BaseException as error:
                record.close(error)
                raise
            finally:
                tracer.starting.reset(token)

    def forget() -> None:
        for name in ("start", *ASKED):
            session.__dict__.pop(name, None)  # a session may be started again

    session.start = traced_start  # type: ignore[method-assign]  # see the docstring
    for name in ASKED:
        setattr(session, name, _inside(getattr(session, name), conversation))
    conversation.on_close(forget)


def _inside(ask: Callable[..., Any], conversation: Transaction) -> Callable[..., Any]:
    """A session's method, whose tasks then are in the session's conversation.

    They inherit the context of whoever asks: a room's callback, a timer, another call.
    """

    @functools.wraps(ask)
    def asking(*args: Any, **kwargs: Any) -> Any:
        here = current_span()
        if here is not None and here.conversation is conversation:
            return ask(*args, **kwargs)  # what is current goes on being the parent
        with conversation.attach():
            return ask(*args, **kwargs)

    return asking


@harmless
def _crashed(conversation: Conversation, entrypoint: asyncio.Task[Any]) -> None:
    """Mark the conversation failed, if that is how the job's entrypoint has ended."""
    if not entrypoint.cancelled() and (error := entrypoint.exception()) is not None:
        conversation.fail(error)


def _delivered(record: Record, recorder: Recorder | None) -> Callable[[], Any]:
    """A job's last step: let the session close, end the conversation, deliver it.

    The callbacks of a job run side by side, and one of them closes the session.
    """
    closed, loop = asyncio.Event(), asyncio.get_running_loop()
    record.conversation.on_close(lambda: loop.call_soon_threadsafe(closed.set))

    async def deliver_conversation() -> None:
        if record.is_running:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(closed.wait(), JOB_TIMEOUT)
        record.close()
        try:
            if recorder is not None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(recorder.aclose(), RECORDING_TIMEOUT)
        finally:
            await runtime.active().aflush()

    return deliver_conversation


def _install() -> None:
    """Put our tracer in front of the provider that LiveKit has, whoever set that and whenever.

    LiveKit has no public way to ask for it; ``test_provider.py`` fails when the private one goes.
    """
    if tracer.current_livekit_span not in chain.framework_span:
        chain.framework_span.append(tracer.current_livekit_span)
        sentrys.append(clients.ends)
        repeats.mark()
    before = vars(livekit_telemetry.tracer)["_tracer_provider"]
    if not isinstance(before, tracer.ConversationTracerProvider):
        livekit_telemetry.set_tracer_provider(tracer.ConversationTracerProvider(before))
