"""Telemetry never initialised, initialised twice, closed under a conversation, and after a fork."""

from __future__ import annotations

import asyncio
import json
import queue
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk

import telemetry
from telemetry import configure
from telemetry.delivery.sender import Delivered
from telemetry.delivery.thread import Delivery
from telemetry.store import TraceStore
from telemetry.testing import capture
from tests.ingest import spans_in

from . import forking
from .whole import assert_current, assert_faultless, assert_nothing_current, traces, tree

if TYPE_CHECKING:
    from pathlib import Path

    from sentry_sdk.envelope import Envelope

    from telemetry.testing import Captured

    from .whole import Lifecycle


async def test_without_init_everything_works_and_goes_nowhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Code under telemetry needs no telemetry; the log says once that there is none."""
    caplog.set_level("WARNING")
    async with telemetry.conversation("host", user={"id": "u"}) as conversation:
        with telemetry.span("work") as span:
            assert telemetry.current_span() is span
            await asyncio.to_thread(telemetry.bind(lambda: telemetry.span("there").finish()))
        conversation.start_span("handle").finish()
        conversation.capture_exception(ValueError())
        sentry_sdk.set_tag("plain", "tag")
        assert telemetry.trace_headers()["sentry-trace"].startswith(conversation.trace_id)
    with telemetry.span("no conversation"):
        pass
    assert_nothing_current()
    assert caplog.text.count("telemetry.init() has not been called") <= 1  # once in a process


def test_without_init_in_a_process_that_has_sentry(lifecycle: Lifecycle) -> None:
    """Sentry set up by somebody else, whose lifecycle a conversation has: it complains of none."""
    kept = sentry_sdk.get_global_scope().client
    sentry_sdk.init(trace_lifecycle="stream" if lifecycle == "stream" else "static")
    try:
        with telemetry.conversation("host") as conversation, telemetry.span("work") as span:
            assert_current(span)
        assert conversation.ended
        assert_nothing_current()
    finally:
        sentry_sdk.get_client().close()
        sentry_sdk.get_global_scope().set_client(kept)


async def test_a_second_init_changes_nothing(captured: Captured) -> None:
    """It raises where it is called; the conversations that are open go on."""
    async with telemetry.conversation("host") as conversation:
        with pytest.raises(telemetry.TelemetryError, match="already"):
            telemetry.init()
        with telemetry.span("work") as span:
            assert_current(span)

    assert tree(captured, conversation) == "conversation host\n└─ work"
    assert_faultless(captured)


async def test_init_again_after_closing(lifecycle: Lifecycle) -> None:
    """Each runtime counts and delivers its own; a conversation stays with the one it began in."""
    with capture(lifecycle=lifecycle) as first:
        outlived = telemetry.conversation("outlived").__enter__()
        assert_current(outlived.root)
    with capture(lifecycle=lifecycle) as second:
        async with telemetry.conversation("host") as conversation:
            assert_current(conversation.root)
        outlived.__exit__(None, None, None)
        assert tree(second, conversation) == "conversation host"
        assert_faultless(second)
    assert first.runtime.stats().conversations == 1
    assert_nothing_current()


def test_what_comes_after_closing_is_counted(lifecycle: Lifecycle) -> None:
    """Closing ends what is open; what it goes on to record can't arrive, and is known not to."""
    with capture(lifecycle=lifecycle) as captured:
        conversation = telemetry.conversation("host").__enter__()
        conversation.start_span("open")
    conversation.start_span("too late").finish()
    conversation.capture_exception(ValueError())
    conversation.__exit__(None, None, None)

    stats = captured.runtime.stats()
    assert (stats.open_at_finish, stats.late_spans) == (1, 1)
    assert stats.dropped == {"shutdown": 2}


def test_after_a_fork_each_process_delivers_its_own(lifecycle: Lifecycle, tmp_path: Path) -> None:
    """The parent's conversation stays the parent's; what the child adds to it arrives as late."""
    store = tmp_path / "traces.db"
    seen = _fork(lifecycle, store, "conversation")
    parent, child = seen["parent"], seen["child"]

    assert parent["trees"] == [
        "conversation before",
        "conversation parent's\n└─ around\n   └─ work parent",
    ]
    assert "conversation child's\n└─ work child" in child["trees"]
    assert not any(text.startswith("conversation parent's") for text in child["trees"])
    assert (parent["late"], child["late"]) == (0, 1)
    assert (parent["orphans"], child["orphans"]) == (0, 0)
    assert (parent["dropped"], child["dropped"]) == (0, 0)
    stored = {found.name: len(found.spans) for found in _stored(store)}
    assert stored == {"before": 1, "parent's": 4, "child's": 2}


def _stored(path: Path) -> list[telemetry.records.ConversationRecord]:
    store = TraceStore(path)
    found = [store.conversation(listed.id) for listed in store.conversations()]
    return [each for each in found if each is not None]


# -- what is open when the runtime closes ---------------------------------------------------------


def test_closing_ends_orphans_and_late_spans_too(lifecycle: Lifecycle) -> None:
    """What stands alone, or came after its conversation, arrives as cancelled, and is counted."""
    with capture(strict=False, lifecycle=lifecycle) as captured:
        orphan = telemetry.span("orphan")
        assert isinstance(orphan, telemetry.Span)
        orphan.start_span("below it")
        with telemetry.conversation("host") as conversation:
            pass
        late = conversation.start_span("late")
        captured.runtime.close()
    statuses = {
        span.op: span.status for spans in traces(captured).values() for span in spans if span.op
    }
    assert statuses == {
        "orphan": "cancelled",
        "below it": "cancelled",
        "conversation": "ok",
        "late": "cancelled",
    }
    assert not late.is_open
    stats = captured.runtime.stats()
    assert (stats.open_at_finish, stats.orphan_spans, stats.late_spans) == (3, 1, 1)
    assert stats.dropped == {}


def test_closed_by_many_threads_at_once(lifecycle: Lifecycle) -> None:
    """It closes once; all of them wait for that, and none gets to the end before it."""
    outlet = _Gate()
    delivery = Delivery(store=None, sender=outlet, streaming=lifecycle == "stream")
    running = configure.start(delivery, strict=True, traces_sample_rate=1.0)
    telemetry.conversation("host")
    with ThreadPoolExecutor(8) as pool:
        closing = [pool.submit(running.close, 30) for _ in range(8)]
        assert outlet.entered.wait(30)
        with pytest.raises(telemetry.TelemetryError, match="already"):
            telemetry.init()
        assert not any(future.done() for future in closing)
        outlet.door.set()
        assert [future.result() for future in closing] == [True] * 8
    assert running.close()
    assert (outlet.sent, outlet.closed) == (1, 1)
    telemetry.init().close()


def test_closing_from_within_closing_does_not_wait_for_itself(lifecycle: Lifecycle) -> None:
    """Something that a closing conversation calls may close telemetry as well."""
    answers: list[bool] = []
    with capture(lifecycle=lifecycle) as captured:
        conversation = telemetry.conversation("host")
        conversation.on_close(lambda: answers.append(captured.runtime.close(30)))
    assert answers == [False]
    assert len(traces(captured)) == 1


class _Gate:
    """An outlet that keeps nothing, and waits in its first request for a door to open."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.door = threading.Event()
        self.sent = self.closed = 0

    def send(self, envelope: Envelope, *, timeout: float | None = None) -> Delivered:
        self.entered.set()
        self.door.wait(30)
        self.sent += 1
        return Delivered()

    def close(self) -> None:
        self.closed += 1


def test_a_flush_waits_for_nothing_that_comes_after_it(lifecycle: Lifecycle) -> None:
    """Under traffic that never ends it returns, and what came before it has arrived."""
    outlet = _Endless()
    traffic = threading.Thread(target=outlet.converse)
    delivery = Delivery(store=None, sender=outlet, streaming=lifecycle == "stream")
    with configure.start(delivery, strict=True, traces_sample_rate=1.0) as running:
        traffic.start()
        telemetry.conversation("before").close()
        outlet.goes_on = True
        arrived = running.flush(20)
        outlet.goes_on = False
    outlet.sent.put(None)
    traffic.join(30)
    assert arrived
    assert outlet.names[0] == "before"


class _Endless:
    """An outlet at which the next conversation has always just ended."""

    goes_on = False

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sent: queue.SimpleQueue[threading.Event | None] = queue.SimpleQueue()

    def converse(self) -> None:
        """Hold a conversation whenever something is sent: not in delivery's own thread."""
        while (ended := self.sent.get()) is not None:
            telemetry.conversation("after").close()
            ended.set()

    def send(self, envelope: Envelope, *, timeout: float | None = None) -> Delivered:
        for item in envelope:
            if item.type == "transaction":
                self.names.append(json.loads(item.get_bytes())["transaction"])
        self.names += [span["name"] for span in spans_in(envelope)]
        if self.goes_on:
            ended = threading.Event()
            self.sent.put(ended)
            assert ended.wait(30)
        return Delivered()

    def close(self) -> None: ...


# -- forks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", forking.MOMENTS)
def test_a_fork_at_a_bad_moment(lifecycle: Lifecycle, tmp_path: Path, moment: str) -> None:
    """Whatever other threads are doing: the child records, and each delivers its own, once."""
    seen = _fork(lifecycle, tmp_path / "traces.db", moment)
    assert "conversation child's\n└─ work child" in seen["child"]["trees"]
    assert (seen["child"]["conversations"], seen["child"]["dropped"]) == (1, 0)
    assert "conversation child's\n└─ work child" not in seen["parent"]["trees"]
    assert seen["parent"]["dropped"] == 0
    names = [found.name for found in _stored(tmp_path / "traces.db")]
    assert names.count("child's") == 1


def _fork(lifecycle: Lifecycle, store: Path, moment: str) -> Any:
    result = subprocess.run(
        [sys.executable, "-m", forking.__name__, lifecycle, str(store), moment],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)
