"""Long conversations, many conversations: nothing is lost, nothing stays behind."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from typing import TYPE_CHECKING

import pytest

import telemetry
from telemetry import configure
from telemetry.delivery import send_queue
from telemetry.delivery.sender import Delivered
from telemetry.delivery.thread import Delivery

from .whole import assert_faultless, traces

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope

    from telemetry.testing import Captured

    from .whole import Lifecycle

pytestmark = pytest.mark.usefixtures("settled")


class _Nowhere:
    """An outlet that keeps nothing, once its door is open."""

    def __init__(self, *, open: bool = True) -> None:
        self.entered = threading.Event()
        self.door = threading.Event()
        if open:
            self.door.set()

    def send(self, envelope: Envelope, *, timeout: float | None = None) -> Delivered:
        self.entered.set()
        self.door.wait(30)
        return Delivered()

    def close(self) -> None: ...


def _telemetry(lifecycle: Lifecycle, outlet: _Nowhere | None = None) -> telemetry.Runtime:
    delivery = Delivery(store=None, sender=outlet or _Nowhere(), streaming=lifecycle == "stream")
    return configure.start(delivery, strict=True, traces_sample_rate=1.0)


def _alive_of(conversation: telemetry.Conversation) -> int:
    """Spans of it; a test before this one may have left a thread that gives up its own later."""
    gc.collect()
    spans = [thing for thing in gc.get_objects() if type(thing) is telemetry.Span]
    return sum(span.conversation is conversation for span in spans)


def _alive(kind: type) -> int:
    gc.collect()
    return sum(type(thing) is kind for thing in gc.get_objects())


def test_five_thousand_spans_in_one_conversation(captured: Captured, lifecycle: Lifecycle) -> None:
    """One transaction of op `conversation`; all spans once, under their true parents."""
    with telemetry.conversation("host") as conversation:
        for turn in range(50):
            with telemetry.span("conversation.turn", str(turn)):
                for step in range(99):
                    conversation.start_span("step", f"{turn}/{step}").finish()

    assert len(captured.conversations) == 1
    if lifecycle == "transaction":
        assert max(len(event["spans"]) for event in captured.transactions) == 1_000
    spans = traces(captured)[conversation.trace_id]
    turns = {span.span_id: span.name for span in spans if span.op == "conversation.turn"}
    steps = [span for span in spans if span.op == "step"]
    assert sorted(map(int, turns.values())) == list(range(50))
    assert {span.name for span in steps} == {f"{t}/{s}" for t in range(50) for s in range(99)}
    for span in steps:
        assert turns[span.parent_span_id or ""] == span.name.partition("/")[0]
    assert_faultless(captured)


def test_a_running_conversation_keeps_a_bounded_number_of_spans(lifecycle: Lifecycle) -> None:
    """20,000 spans into it, only the last few thousand are still in memory."""
    most = 0
    with _telemetry(lifecycle) as running:
        with telemetry.conversation("host") as conversation:
            for _ in range(10):
                for number in range(2_000):
                    conversation.start_span("step", str(number)).finish()
                assert running.flush(30)
                most = max(most, _alive_of(conversation))
        assert running.flush(30)
        assert running.stats().spans == 20_000
        assert running.stats().dropped_spans == 0
    assert most < 1_100  # a batch that isn't full yet, and the root


def test_a_burst_waits_its_turn(lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand conversations end while one request is on its way: none is given up."""
    monkeypatch.setattr(send_queue, "LIMIT", 500)
    outlet = _Nowhere(open=False)
    with _telemetry(lifecycle, outlet) as running:
        telemetry.conversation("first").close()
        assert outlet.entered.wait(30)
        for number in range(1_000):
            telemetry.conversation(f"host {number}").close()
        outlet.door.set()
        assert running.flush(30)
        assert running.stats().dropped == {}


def test_ten_thousand_finished_conversations_leave_nothing(lifecycle: Lifecycle) -> None:
    """Memory is flat: no conversation, span or scope stays, and not a byte for each."""
    rounds = 20

    def hold(count: int) -> int:
        for _ in range(count):
            with telemetry.conversation("host", user={"id": "u"}), telemetry.span("turn"):
                pass
        assert running.flush(30)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    gc.freeze()  # a test before this one may have left a thread that gives up its own later
    with _telemetry(lifecycle) as running:
        for _ in range(100 - rounds):
            hold(100)
        assert _alive(telemetry.Conversation) == _alive(telemetry.Span) == 0
        objects = len(gc.get_objects())
        tracemalloc.start()
        sizes = [hold(100) for _ in range(rounds)]
        tracemalloc.stop()
        assert len(gc.get_objects()) - objects < rounds * 10  # less than one for each
        # somebody's cache that is filled once isn't filled again in the other half
        half = rounds // 2
        grown = min(sizes[half - 1] - sizes[0], sizes[-1] - sizes[half])
        assert grown < half * 100 * 50  # bytes; a conversation takes thousands
        assert running.stats().conversations == 10_000
        assert running.stats().dropped_spans == 0
