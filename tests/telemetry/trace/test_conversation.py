"""One conversation: its tree, its scopes, its life."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk

import telemetry
from telemetry.testing import Captured, capture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def _turn(number: int) -> None:
    """Two stages side by side, in ours and in plain Sentry spans, with tags and errors."""

    async def stage(name: str) -> None:
        with telemetry.span("stage", name) as span:
            ambient = sentry_sdk.get_current_span()
            assert ambient is not None
            assert ambient.span_id == span.id
            await asyncio.sleep(0)
            with sentry_sdk.start_span(op="plain", name=name):
                await asyncio.sleep(0)
                with telemetry.span("inner", name):
                    await asyncio.sleep(0)
            assert sentry_sdk.get_current_span() is ambient
        sentry_sdk.set_tag("number", str(number))
        sentry_sdk.capture_exception(LookupError(f"of {number}"))
        logging.getLogger("app").error("logged by %s", number)

    conversation = telemetry.current_conversation()
    assert conversation is not None
    await asyncio.gather(stage("a"), stage("b"))
    assert sentry_sdk.get_current_scope().transaction is conversation.transaction
    assert sentry_sdk.get_current_span() is conversation.transaction


TREE = """\
conversation host
├─ stage a
│  └─ plain a
│     └─ inner a
└─ stage b
   └─ plain b
      └─ inner b"""


@pytest.mark.parametrize("count", [1, 20])
async def test_gathered_conversations_never_mix(captured: Captured, count: int) -> None:
    """Side by side, each has its own whole tree, user, tags and errors, in Sentry's view too."""

    async def hold(number: int) -> None:
        async with telemetry.conversation(
            "host", id=f"c-{number}", user={"id": f"u-{number}"}, tags={"tenant": f"t-{number}"}
        ):
            await _turn(number)

    await asyncio.gather(*(hold(number) for number in range(count)))

    assert [captured.tree(event) for event in captured.transactions] == [TREE] * count
    for event in captured.transactions:
        number = event["user"]["id"].removeprefix("u-")
        assert event["tags"] == {"tenant": f"t-{number}", "number": number}
        assert event["contexts"]["trace"]["data"]["gen_ai.conversation.id"] == f"c-{number}"
    traces = {event["contexts"]["trace"]["trace_id"]: event for event in captured.transactions}
    assert len(traces) == count
    assert len(captured.errors) == 4 * count
    for error in captured.errors:
        owner = traces[error["contexts"]["trace"]["trace_id"]]
        assert error["user"] == owner["user"]
        assert error["tags"]["tenant"] == owner["tags"]["tenant"]
    stats = captured.runtime.stats()
    assert (stats.conversations, stats.spans) == (count, 6 * count)
    assert stats.orphan_spans == stats.late_spans == stats.dropped_spans == 0


def test_siblings_of_plain_sentry_spans_do_not_nest(captured: Captured) -> None:
    """Two tasks of one conversation that only use `sentry_sdk` get sibling spans."""

    async def stage(name: str) -> None:
        with sentry_sdk.start_span(op="plain", name=name):
            await asyncio.sleep(0)

    async def hold() -> None:
        async with telemetry.conversation("host"):
            await asyncio.gather(stage("a"), stage("b"), stage("c"))

    asyncio.run(hold())

    [event] = captured.transactions
    assert captured.tree(event) == "conversation host\n├─ plain a\n├─ plain b\n└─ plain c"


@pytest.mark.parametrize("first", ["outer", "inner"])
def test_two_conversations_of_one_task_close_in_either_order(
    captured: Captured, first: str
) -> None:
    """Closing one leaves the other current; nothing of the outer shows on the inner."""
    outside = sentry_sdk.get_current_scope()
    outer = telemetry.conversation("outer", user={"id": "o"}, tags={"of": "outer"}).__enter__()
    inner = telemetry.conversation("inner").__enter__()
    leaving, staying = (outer, inner) if first == "outer" else (inner, outer)
    leaving.__exit__(None, None, None)

    assert telemetry.current_conversation() is staying
    assert sentry_sdk.get_current_scope().transaction is staying.transaction
    with telemetry.span("after", "one closed"):
        pass
    staying.__exit__(None, None, None)

    assert telemetry.current_conversation() is None
    assert sentry_sdk.get_current_scope() is outside
    trees = {event["transaction"]: captured.tree(event) for event in captured.transactions}
    assert trees[staying.name] == f"conversation {staying.name}\n└─ after one closed"
    assert trees[leaving.name] == f"conversation {leaving.name}"
    users = {event["transaction"]: event.get("user") for event in captured.transactions}
    assert users == {"outer": {"id": "o"}, "inner": None}


async def test_closed_by_another_task(captured: Captured) -> None:
    """Closed elsewhere, it is no longer current in its opener, for Sentry neither."""
    conversation = telemetry.conversation("host").__enter__()
    await asyncio.create_task(asyncio.to_thread(conversation.close))

    assert telemetry.current_conversation() is None
    assert sentry_sdk.get_current_span() is None
    assert len(captured.conversations) == 1


async def test_a_block_in_an_async_generator_is_not_its_consumers_parent(
    captured: Captured,
) -> None:
    """It parents what runs in the generator's own frame only, also when it is closed elsewhere."""

    async def produce() -> AsyncIterator[int]:
        with telemetry.span("generator"):
            for number in range(2):
                with telemetry.span("inside", str(number)):
                    pass
                yield number

    async with telemetry.conversation("host") as conversation:
        with telemetry.span("consumer"):
            numbers = produce()
            async for number in numbers:
                assert sentry_sdk.get_current_span() is not None
                with telemetry.span("body", str(number)):
                    pass
        half_read = produce()
        await anext(half_read)
        assert telemetry.current_span() is conversation.root
        await asyncio.create_task(half_read.aclose())  # type: ignore[attr-defined]  # a generator

    [event] = captured.transactions
    assert captured.tree(event) == (
        "conversation host\n"
        "├─ consumer\n"
        "│  ├─ generator\n"
        "│  │  ├─ inside 0\n"
        "│  │  └─ inside 1\n"
        "│  ├─ body 0\n"
        "│  └─ body 1\n"
        "└─ generator\n"
        "   └─ inside 0"
    )


async def test_a_context_manager_made_of_a_generator_is_a_block(captured: Captured) -> None:
    """`@asynccontextmanager` is an async generator, but its block holds for the caller's."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def timed() -> AsyncIterator[None]:
        with telemetry.span("timed"):
            yield

    async with telemetry.conversation("host"), timed():
        with telemetry.span("inside"):
            pass

    [event] = captured.transactions
    assert captured.tree(event) == "conversation host\n└─ timed\n   └─ inside"


def test_spans_begun_here_and_ended_there(captured: Captured) -> None:
    """Looked up by op: the newest open one; completed once."""
    with telemetry.conversation("host") as conversation:
        older = conversation.start_span("stt.recognize", "older")
        newer = conversation.start_span("stt.recognize", "newer")
        assert telemetry.get_span_by_op("stt.recognize") is newer
        assert telemetry.complete_span_by_op("stt.recognize") is newer
        assert conversation.get_span_by_op("stt.recognize") is older
        newer.finish()
        older.finish()
        assert telemetry.complete_span_by_op("stt.recognize") is None

    assert len(captured.transactions[0]["spans"]) == 2


def test_times_given_are_kept(captured: Captured) -> None:
    """A span may be backdated at both ends; it never ends before it started."""
    with telemetry.conversation("host") as conversation:
        conversation.start_span("a", started_at=100.0).finish(100.25)
        conversation.start_span("b", started_at=100.0).finish(99.0)

    spans = captured.transactions[0]["spans"]
    assert [(s["start_timestamp"], s["timestamp"]) for s in spans] == [(100.0, 100.25), (100, 100)]


def test_what_is_left_open_is_closed_and_counted(captured: Captured) -> None:
    """A span open at the end arrives with a status."""
    with telemetry.conversation("host") as conversation:
        conversation.start_span("tts.synthesize")

    assert [s["status"] for s in captured.transactions[0]["spans"]] == ["cancelled"]
    assert captured.runtime.stats().open_at_finish == 1


def test_a_late_span_arrives_once_under_its_own_name(captured: Captured) -> None:
    """Started after the end, it is in the same trace, under its true parent, counted as late."""
    with telemetry.conversation("host") as conversation:
        parent = conversation.start_span("parent")
        parent.finish()
    late = parent.start_span("tool.cleanup", "late one")
    late.finish()
    late.finish()

    main, extra = captured.transactions
    trace = extra["contexts"]["trace"]
    assert (extra["transaction"], trace["op"], trace["parent_span_id"]) == (
        "late one",
        "tool.cleanup",
        parent.id,
    )
    assert trace["trace_id"] == main["contexts"]["trace"]["trace_id"]
    assert captured.runtime.stats().late_spans == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("x"), "internal_error"),
        (TimeoutError(), "deadline_exceeded"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_failures_are_statuses(captured: Captured, error: BaseException, status: str) -> None:
    """What a block raises marks its span and the conversation, and passes through."""
    with (
        pytest.raises(type(error)),
        telemetry.conversation("host"),
        telemetry.span("gen_ai.chat"),
    ):
        raise error

    [event] = captured.transactions
    assert event["contexts"]["trace"]["status"] == status
    assert event["spans"][0]["status"] == status
    assert event["spans"][0]["data"]["error.type"] == type(error).__qualname__


def test_a_callers_trace_is_continued(captured: Captured) -> None:
    """`headers` make the conversation a child; its own headers name the span current now."""
    trace_id, parent = "0123456789abcdef" * 2, "fedcba9876543210"
    with telemetry.conversation("host", headers={"sentry-trace": f"{trace_id}-{parent}-1"}):
        with telemetry.span("http.client") as span:
            headers = telemetry.trace_headers()
        assert headers["sentry-trace"] == f"{trace_id}-{span.id}-1"
        assert span.id not in telemetry.trace_headers()["sentry-trace"]

    trace = captured.transactions[0]["contexts"]["trace"]
    assert (trace["trace_id"], trace["parent_span_id"]) == (trace_id, parent)


def test_unsampled_conversations_are_only_stored(tmp_path: Path) -> None:
    """The sample rate is about what Sentry gets; the local store has every conversation."""
    from telemetry.store import TraceStore

    with capture(sample_rate=0.0, store=tmp_path / "traces.db") as captured:
        with telemetry.conversation("host", id="c-1"), telemetry.span("gen_ai.chat"):
            pass
        assert captured.transactions == []
        stored = TraceStore(tmp_path / "traces.db").conversation("c-1")

    assert stored is not None
    assert [span.op for span in stored.spans] == ["conversation", "gen_ai.chat"]
    assert captured.runtime.stats().dropped_spans == 0


def test_content_stays_here_unless_it_is_asked_for(tmp_path: Path) -> None:
    """What was said is in the store; Sentry gets it only with `send_content`."""
    from telemetry.attributes import USER_WORDS
    from telemetry.store import TraceStore

    def said(**options: Any) -> tuple[dict[str, Any], Any]:
        with capture(store=tmp_path / "traces.db", **options) as captured:
            with telemetry.conversation("host") as conversation:
                attributes = {USER_WORDS: "my secret", "lk.pii.user_transcript": "my secret"}
                with telemetry.span("stt.recognize", attributes=attributes):
                    pass
            [event] = captured.transactions
            stored = TraceStore(tmp_path / "traces.db").conversation(conversation.trace_id)
            assert stored is not None
            return event["spans"][0]["data"], stored.spans[1].attributes

    sent, stored = said()
    assert (sent, stored[USER_WORDS]) == ({}, "my secret")
    sent, _ = said(send_content=True)
    assert sent[USER_WORDS] == "my secret"
