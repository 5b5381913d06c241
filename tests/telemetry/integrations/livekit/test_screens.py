"""Sentry's AI screens show a call as it was: its own selections, replayed over what is sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from livekit.agents import Agent, function_tool

import telemetry
from telemetry import attributes as names
from telemetry.testing import capture
from tests import screens

from ...conformance.whole import WAYS
from .call import Call, calling
from .providers import Reply
from .test_agents import Desk
from .test_realtime import Seance, Seer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telemetry.testing import Captured


@pytest.fixture(params=WAYS)
def sent(request: pytest.FixtureRequest) -> Iterator[Captured]:
    """Telemetry that sends what was said, in each way."""
    with capture(send_content=True, **WAYS[request.param]) as captured:
        yield captured


@pytest.fixture(params=WAYS)
def withheld(request: pytest.FixtureRequest) -> Iterator[Captured]:
    """Telemetry that sends no words."""
    with capture(**WAYS[request.param]) as captured:
        yield captured


async def booking(**options: Any) -> Call:
    """A call in two turns, with a tool and a handover."""
    call = Call(
        {"Hello": "Good evening", "Pay": Reply(tools={"pay": {}}), "Thanks": "You are welcome"}
    )
    async with calling(call, Desk(), **options):
        await call.asks("Hello")
        await call.asks("Pay")
        await call.asks("Thanks")
    return call


def counted(call: Call) -> tuple[int, int]:
    """What LiveKit says of a call: the requests to its model, and their tokens."""
    [usage] = [one for one in call.session.usage.model_usage if one.type == "llm_usage"]
    return call.mind.requests, usage.input_tokens + usage.output_tokens


async def test_a_call_is_counted_as_livekit_counts_it(withheld: Captured) -> None:
    """Each request to a model is one, each tool call, each speech of an agent's; and no more."""
    call = await booking()
    spans = screens.seen(withheld.envelopes)
    [row] = screens.agents(spans).values()
    assert (row.calls, row.tokens) == counted(call) == (3, 36)
    assert row.tools == 1
    assert row.runs == sum(span.op == names.OP_INVOKE_AGENT for span in spans) == 4
    assert row.agents == {"desk", "cashier"}
    requests = [span for span in spans if span.op == "livekit.llm_request"]
    took = sum(span.ended_at - span.started_at for span in requests)
    assert row.seconds == pytest.approx(took, abs=0.1)
    assert row.seconds < max(span.ended_at for span in spans) - min(s.started_at for s in spans)


async def test_a_conversation_is_listed_once_under_its_own_id(withheld: Captured) -> None:
    """With all that its AI spans count."""
    call = await booking(id="c-17")
    rows = screens.conversations(screens.seen(withheld.envelopes))
    assert list(rows) == ["c-17"]
    assert (rows["c-17"].calls, rows["c-17"].tokens) == counted(call)
    assert rows["c-17"].tools == 1
    assert {one.type for one in rows["c-17"].named} == {"agent", "ai_client", "tool", "handoff"}


async def test_a_conversations_page_has_its_turns(sent: Captured) -> None:
    """What the caller said and what the agent did, each once, in order."""
    await booking(id="c-17")
    assert screens.messages(screens.seen(sent.envelopes), "c-17") == [
        ("user", "Hello"),
        ("assistant", "Good evening"),
        ("user", "Pay"),
        ("user", "Thanks"),
        ("assistant", "You are welcome"),
    ]


async def test_a_call_is_one_tree_wherever_its_spans_travel(withheld: Captured) -> None:
    """Also where what is beside the transaction comes first, or last."""
    await booking()
    assert screens.is_one_tree(screens.seen(withheld.envelopes))
    assert screens.is_one_tree(screens.seen(reversed(withheld.envelopes)))


async def test_ai_spans_are_named_as_sentry_names_them(withheld: Captured) -> None:
    """By what is done and by whom, which is safe to send."""
    await booking()
    spans = screens.seen(withheld.envelopes)
    named = {span.name for span in spans if span.type is not None}
    assert named == {
        "chat mind-1",
        "execute_tool pay",
        "handoff from desk to cashier",
        "invoke_agent cashier",
        "invoke_agent desk",
    }


async def test_ai_spans_say_whose_they_are(withheld: Captured) -> None:
    """The agent on each; on its own, the model that answered and what that took."""
    await booking()
    spans = [span for span in screens.seen(withheld.envelopes) if span.type is not None]
    assert all(names.GEN_AI_AGENT_NAME in span.data for span in spans)
    chat = next(span for span in spans if span.op == names.OP_CHAT)
    run = next(span for span in spans if span.id == chat.parent)
    assert run.op == names.OP_INVOKE_AGENT
    for span in (chat, run):
        assert span.data[names.GEN_AI_REQUEST_MODEL] == "mind-1"
        assert span.data[names.GEN_AI_PROVIDER_NAME] == "tests"
    assert run.data[names.USAGE + "input_tokens"] == chat.data[names.GEN_AI_USAGE_INPUT_TOKENS]
    assert chat.data[names.GEN_AI_RESPONSE_STREAMING] is True
    assert json.loads(chat.data[names.GEN_AI_RESPONSE_FINISH_REASONS]) == ["stop"]
    [handoff] = [span for span in spans if span.op == names.OP_HANDOFF]
    assert handoff.data[names.GEN_AI_OPERATION_NAME] == "handoff"


async def test_a_tools_result_is_where_its_page_reads_it(sent: Captured) -> None:
    """Under the name of the conventions, and under the former one."""
    call = Call({"Stars": Reply(tools={"stars": {}}), "Clear": "It is clear"})
    async with calling(call, Seer()):
        await call.asks("Stars")
    [tool] = [span for span in screens.seen(sent.envelopes) if span.type == "tool"]
    for name in (names.GEN_AI_TOOL_CALL_RESULT, "gen_ai.tool.output"):
        assert "Clear" in tool.data[name]


async def test_a_realtime_models_answers_are_calls_too(withheld: Captured) -> None:
    """One each, with its tokens."""
    call = Seance()
    async with calling(call, Seer()):
        await call.hears("What will be", "Who knows")
        await call.hears("And then", "Nothing")
    spans = screens.seen(withheld.envelopes)
    [row] = screens.conversations(spans).values()
    assert (row.calls, row.tokens) == (2, 100)
    assert {span.name for span in spans if span.op == names.OP_CHAT} == {"chat oracle-1"}


async def test_words_are_kept_once_a_call(sent: Captured) -> None:
    """A request's messages are its node's: the request doesn't repeat them."""
    await booking()
    for span in screens.seen(sent.envelopes):
        has_messages = names.GEN_AI_INPUT_MESSAGES in span.data
        assert has_messages == (span.op == names.OP_CHAT), span.op


async def test_a_conversation_whose_words_stay_here_is_listed_too(withheld: Captured) -> None:
    """Also by releases of Sentry that list what has messages: it shows them as scrubbed."""
    await booking(id="c-17")
    chats = [s for s in screens.seen(withheld.envelopes) if names.GEN_AI_INPUT_MESSAGES in s.data]
    assert [(chat.op, chat.data[names.GEN_AI_INPUT_MESSAGES]) for chat in chats] == [
        (names.OP_CHAT, "[Filtered]")
    ] * 3
    assert {chat.data[names.GEN_AI_OUTPUT_MESSAGES] for chat in chats} == {"[Filtered]"}


async def test_a_model_asked_for_by_other_means(withheld: Captured) -> None:
    """An application's own span of a call in a tool names its conversation as well."""

    class Asking(Agent):
        @function_tool
        async def stars(self) -> str:
            """Look at the stars."""
            with telemetry.span("gen_ai.chat", attributes={names.GEN_AI_REQUEST_MODEL: "own-1"}):
                return "Clear"

    call = Call({"Stars": Reply(tools={"stars": {}}), "Clear": "It is clear"})
    async with calling(call, Asking(instructions="Be brief."), id="c-17"):
        await call.asks("Stars")
    [row] = screens.conversations(screens.seen(withheld.envelopes)).values()
    assert row.calls == 3
