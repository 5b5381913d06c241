"""AI spans, as Sentry's screens select them, in each way in which Sentry gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
from sentry_sdk.consts import DEFAULT_OPTIONS

import telemetry
from telemetry import attributes as names
from telemetry.testing import capture
from tests import screens
from tests.ingest import Ingest

from ..conformance.whole import WAYS, foreign_transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telemetry.testing import Captured


@pytest.fixture(params=WAYS)
def captured(request: pytest.FixtureRequest) -> Iterator[Captured]:
    """Telemetry in each way, sending what was said."""
    with capture(send_content=True, **WAYS[request.param]) as captured:
        yield captured


def is_streaming() -> bool:
    """True in the stream lifecycle, in which Sentry's spans have other names."""
    return bool(sentry_sdk.get_client().options["trace_lifecycle"] == "stream")


def test_ai_spans_name_their_conversation(captured: Captured) -> None:
    """Whoever made them, and whatever they think of it; no other span is listed with it."""
    elsewhere = {names.GEN_AI_CONVERSATION_ID: "RM_room"}
    with telemetry.conversation("host", id="c-17"):
        with telemetry.span("gen_ai.chat", attributes=elsewhere), telemetry.span("step"):
            pass
        with telemetry.span("own", attributes={names.GEN_AI_OPERATION_NAME: "chat"}):
            pass
        if is_streaming():
            with sentry_sdk.traces.start_span("embed", {"sentry.op": "gen_ai.embeddings"}):
                pass
        else:
            with sentry_sdk.start_span(op="gen_ai.embeddings", name="embed"):
                pass
    spans = screens.seen(captured.envelopes)
    rows = screens.conversations(spans)
    assert list(rows) == ["c-17"]
    assert rows["c-17"].calls == 3
    [step] = [span for span in spans if span.op == "step"]
    assert names.GEN_AI_CONVERSATION_ID not in step.data


@pytest.mark.parametrize("way", WAYS)
def test_where_there_is_no_conversation_none_is_named(way: str) -> None:
    """A service's request may ask a model, too."""
    with capture(**WAYS[way]) as captured:
        with telemetry.conversation("host", id="c-17"):
            pass
        with foreign_transaction("http.server", "GET /"):
            telemetry.span("gen_ai.chat").finish()
    [chat] = [span for span in screens.seen(captured.envelopes) if span.op == "gen_ai.chat"]
    assert names.GEN_AI_CONVERSATION_ID not in chat.data


def test_a_tools_words_stand_under_both_names(captured: Captured) -> None:
    """Pages of older releases of Sentry read the former ones."""
    about = {names.GEN_AI_TOOL_CALL_ARGUMENTS: "{}", names.GEN_AI_TOOL_CALL_RESULT: "Clear"}
    with telemetry.conversation("host"), telemetry.span(names.OP_TOOL, attributes=about):
        pass
    [tool] = [span for span in screens.seen(captured.envelopes) if span.type == "tool"]
    assert (tool.data["gen_ai.tool.input"], tool.data["gen_ai.tool.output"]) == ("{}", "Clear")


def test_it_is_one_tree_wherever_its_spans_travel(captured: Captured) -> None:
    """Spans beside the transaction, inside each other, and late ones."""
    with telemetry.conversation("host") as conversation:
        with (
            telemetry.span("gen_ai.invoke_agent"),
            telemetry.span("step"),
            telemetry.span("gen_ai.chat"),
            telemetry.span("http.client"),
        ):
            pass
        late = conversation.start_span("later")
        late.finish()
    late.start_span("gen_ai.chat").finish()
    spans = screens.seen(captured.envelopes)
    assert len(spans) == 7
    assert screens.is_one_tree(spans)
    assert screens.is_one_tree(reversed(spans))
    assert captured.runtime.stats().dropped == {}
    [whole] = captured.conversations
    assert captured.tree(whole).splitlines() == [
        "conversation host",
        "├─ gen_ai.invoke_agent",
        "│  └─ step",
        "│     └─ gen_ai.chat",
        "│        └─ http.client",
        "└─ later",
        *(["   └─ gen_ai.chat"] if is_beside(captured) else []),
    ]


def is_beside(captured: Captured) -> bool:
    """True where AI spans leave by themselves, late ones too: then they are in their segment."""
    return bool(captured.streamed)


@pytest.mark.parametrize("given", [{}, {"stream_gen_ai_spans": False}], ids=["default", "off"])
def test_they_travel_as_sentrys_sdk_has_it(given: dict[str, Any]) -> None:
    """By its own option, and its own default."""
    assert DEFAULT_OPTIONS["stream_gen_ai_spans"] is True
    with Ingest() as ingest:
        with (
            telemetry.init(dsn=ingest.dsn, **given),
            telemetry.conversation("host"),
            telemetry.span("gen_ai.chat"),
        ):
            pass
        spans = screens.seen(ingest.envelopes)
    assert {span.op: span.beside for span in spans} == {
        "conversation": False,
        "gen_ai.chat": not given,
    }
    assert screens.is_one_tree(spans)
