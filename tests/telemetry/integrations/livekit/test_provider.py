"""Whoever had LiveKit's spans before still has them: with the real OpenTelemetry SDK."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from livekit.agents import Agent, function_tool
from livekit.agents import telemetry as livekit_telemetry
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import telemetry
from telemetry.integrations.livekit import tracer

from .call import Call, calling
from .providers import Reply
from .tree import complete, only

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from telemetry.testing import Captured


class Operator:
    """An operator's own OpenTelemetry, set up as LiveKit's documentation says."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def sees_livekit(self) -> None:
        """Give LiveKit the provider."""
        livekit_telemetry.set_tracer_provider(self.provider)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """What was exported."""
        return self.exporter.get_finished_spans()


@pytest.fixture
def operator() -> Iterator[Operator]:
    """The operator; afterwards LiveKit has the provider that it had."""
    before = livekit_telemetry.tracer._tracer_provider
    yield Operator()
    livekit_telemetry.set_tracer_provider(before)


def shape(spans: Sequence[ReadableSpan]) -> list[str]:
    """Each span under its parent, by name; siblings by name."""
    lines: list[str] = []

    def walk(parent: int | None, depth: int) -> None:
        below = [s for s in spans if (None if s.parent is None else s.parent.span_id) == parent]
        for span in sorted(below, key=lambda span: span.name):
            assert span.context is not None
            lines.append("  " * depth + span.name)
            walk(span.context.span_id, depth + 1)

    walk(None, 0)
    return lines


async def talk(call: Call) -> None:
    """A session that nobody traces."""
    await call.session.start(Agent(instructions="Be brief."))
    await call.asks("Hello")
    await call.session.aclose()


async def test_the_operators_provider_gets_what_it_got(
    captured: Captured, operator: Operator
) -> None:
    """A traced session's spans are in the conversation, and in the operator's backend as ever."""
    operator.sees_livekit()
    await asyncio.create_task(talk(Call()))  # LiveKit nests two sessions of a task
    expected = shape(operator.spans)
    assert len(expected) > 10
    operator.exporter.clear()
    async with calling(call := Call()):
        await call.asks("Hello")
    assert shape(operator.spans) == expected
    [spans] = complete(captured)
    assert {f"livekit.{span.name}" for span in operator.spans} & {span.op for span in spans}
    request = next(span for span in operator.spans if span.name == "llm_request")
    assert request.attributes is not None
    assert request.attributes["gen_ai.usage.input_tokens"] == 7


async def test_an_untraced_session_goes_where_it_went(
    captured: Captured, operator: Operator
) -> None:
    """Also one that is started in the midst of a traced one, by the same task."""
    operator.sees_livekit()
    async with calling(traced := Call()):
        await traced.asks("Hello")
        before = len(operator.spans)
        await talk(Call())
        beside = operator.spans[before:]
        assert {"agent_session", "llm_request", "user_turn"} <= {span.name for span in beside}
        await traced.asks("Still there?")
    [spans] = complete(captured)
    assert sum(span.op == "livekit.agent_session" for span in spans) == 1
    assert sum(span.op == "conversation.turn" for span in spans) == 2


async def test_without_a_provider_an_untraced_session_stays_apart(captured: Captured) -> None:
    """Started by the task of a traced one, its turns are not the conversation's, nor its end."""
    async with calling(traced := Call()) as conversation:
        await talk(Call())
        assert not conversation.ended
        await traced.asks("Hello")
    [spans] = complete(captured)
    assert sum(span.op == "conversation.turn" for span in spans) == 1


async def test_a_provider_set_up_between_two_sessions(
    captured: Captured, operator: Operator
) -> None:
    """As an entrypoint does once a job: the next session is traced all the same."""
    async with calling(Call()):
        pass
    operator.sees_livekit()
    async with calling(call := Call()):
        await call.asks("Hello")
    first, second = complete(captured)
    assert not any(span.op == "conversation.turn" for span in first)
    assert any(span.op == "conversation.turn" for span in second)
    assert "agent_turn" in {span.name for span in operator.spans}


async def test_a_provider_set_up_during_a_session(
    captured: Captured, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process's own: what begins from then on goes there, too."""
    livekit_telemetry.set_tracer_provider(otel.ProxyTracerProvider())
    async with calling(call := Call()):
        await call.asks("Hello")
        monkeypatch.setattr(otel, "_TRACER_PROVIDER", operator.provider)  # it is set only once
        await call.asks("Still there?")
    complete(captured)
    assert [span.name for span in operator.spans].count("agent_turn") == 1


async def test_tracing_again_does_not_pile_up(captured: Captured, operator: Operator) -> None:
    """However many sessions a process has, a span goes to the operator once."""
    operator.sees_livekit()
    for _ in range(3):
        async with calling(Call()):
            pass
    provider = livekit_telemetry.tracer._tracer_provider
    assert isinstance(provider, tracer.ConversationTracerProvider)
    assert provider.before is operator.provider
    assert [span.name for span in operator.spans].count("agent_session") == 3
    assert len(complete(captured)) == 3


class Instrumented(Agent):
    """Has a tool that starts a span of the operator's own instrumentation."""

    def __init__(self, operator: Operator) -> None:
        super().__init__(instructions="Be brief.")
        self._own = operator.provider.get_tracer("own")

    @function_tool
    async def look(self) -> str:
        """Look."""
        with self._own.start_as_current_span("own"), telemetry.span("ours"):
            return "Seen"


async def test_the_operators_own_spans_keep_their_parents(
    captured: Captured, operator: Operator
) -> None:
    """What the operator's instrumentation starts is below LiveKit's span, in its own backend."""
    operator.sees_livekit()
    call = Call({"Look": Reply(tools={"look": {}}), "Seen": "Yes"})
    async with calling(call, Instrumented(operator)):
        await call.asks("Look")
    own = next(span for span in operator.spans if span.name == "own")
    tool = next(span for span in operator.spans if span.name == "function_tool")
    assert own.parent is not None
    assert tool.context is not None
    assert own.parent.span_id == tool.context.span_id
    [spans] = complete(captured)
    assert only(spans, "ours").parent_span_id == only(spans, "gen_ai.execute_tool").span_id


async def test_a_job_around_the_session(captured: Captured, operator: Operator) -> None:
    """LiveKit's span of the job, begun before the session was traced, is above it as ever."""
    operator.sees_livekit()
    with livekit_telemetry.tracer.start_as_current_span("job_entrypoint"):
        async with calling(call := Call()):
            await call.asks("Hello")
    [root, session, *_] = shape(operator.spans)
    assert (root, session) == ("job_entrypoint", "  agent_session")
    [spans] = complete(captured)
    assert only(spans, "livekit.agent_session").parent_span_id == spans[0].span_id


async def test_the_loop_monitor_names_a_span_by_its_identity(
    captured: Captured, operator: Operator
) -> None:
    """With a provider beside it, the identity is the provider's: the span is found by it."""
    operator.sees_livekit()
    async with calling(Call()):
        identity = otel.get_current_span().get_span_context()
        around = otel.set_span_in_context(otel.NonRecordingSpan(identity))
        livekit_telemetry.tracer.start_span("event_loop_blocked", context=around).end()
    [spans] = complete(captured)
    session = only(spans, "livekit.agent_session")
    assert only(spans, "livekit.event_loop_blocked").parent_span_id == session.span_id
