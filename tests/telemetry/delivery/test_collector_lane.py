"""A collector gets what Sentry gets, holds nothing up, and what it doesn't get is counted."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

import telemetry
from telemetry.attributes import USER_WORDS
from telemetry.delivery import collector_lane
from telemetry.encoding.envelope import encode
from telemetry.store import TraceStore
from tests.ingest import Ingest, spans_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sentry_sdk.envelope import Envelope

    from tests.telemetry.conformance.whole import Lifecycle

MANY = 1_500
"""Spans: some are held before the end."""


class Collector:
    """A collector in memory, which may hang or fail."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.answers.set()
        self.asked = threading.Event()
        self.fails = False
        self.names: list[str] = []
        self.envelopes: list[Envelope] = []
        self.connected = self.closed = 0
        self.threads: set[str] = set()

    def connect(self) -> Collector:
        self.connected += 1
        return self

    def send(self, envelopes: Sequence[Envelope]) -> int:
        self.threads.add(threading.current_thread().name)
        self.asked.set()
        self.answers.wait(30)
        if self.fails:
            raise OSError("no route")
        self.envelopes += envelopes
        for envelope in envelopes:
            for item in envelope:
                event: Any = json.loads(item.get_bytes()) if item.type == "transaction" else None
                if event is not None:
                    self.names += [event["transaction"], *map(_description, event["spans"])]
            self.names += [span["name"] for span in spans_in(envelope)]
        return 0

    def close(self) -> None:
        self.closed += 1
        self.answers.set()


def _description(span: dict[str, Any]) -> str:
    return str(span["description"])


def _init(**options: Any) -> telemetry.Runtime:
    """Telemetry that leaves names as they are: they aren't constants here."""
    return telemetry.init(send_content=True, **options)


def _talk(name: str) -> None:
    with telemetry.conversation(name), telemetry.span("turn", "in it"):
        pass


def test_a_flush_waits_for_it(lifecycle: Lifecycle) -> None:
    """What was recorded before is there then; one connection is opened, and closed at the end."""
    collector = Collector()
    with _init(lifecycle=lifecycle, otlp=collector) as runtime:
        for _ in range(3):
            _talk("host")
        assert runtime.flush(30)
        assert sorted(collector.names) == ["host"] * 3 + ["in it"] * 3
    assert (collector.connected, collector.closed) == (1, 1)
    assert collector.threads == {"telemetry-collector"}
    assert runtime.stats().dropped == {}


def test_what_is_recorded_last_is_there_when_it_is_closed(lifecycle: Lifecycle) -> None:
    """Closing waits for it."""
    collector = Collector()
    runtime = _init(lifecycle=lifecycle, otlp=collector)
    _talk("host")
    assert runtime.close(30)
    assert sorted(collector.names) == ["host", "in it"]


def test_one_that_hangs_keeps_neither_sentry_nor_the_store_waiting(
    lifecycle: Lifecycle, tmp_path: Path
) -> None:
    """Nor a flush for longer than its time, during which further calls are delivered; closing ends
    in time, and what it didn't get is counted."""
    collector, store = Collector(), tmp_path / "traces.db"
    with Ingest() as ingest:
        runtime = _init(dsn=ingest.dsn, lifecycle=lifecycle, store=store, otlp=collector)
        _talk("first")
        assert runtime.flush(30)
        collector.answers.clear()
        collector.asked.clear()
        _talk("second")
        assert collector.asked.wait(30)
        flushing = threading.Thread(target=runtime.flush, args=(30,))
        flushing.start()
        _talk("third")
        ingest.wait_for(lambda: _calls(ingest) == 3)
        assert not runtime.flush(0.2)
        assert not runtime.close(0.5)
        flushing.join(30)  # closing has told it
        assert not flushing.is_alive()
    assert {found.name for found in TraceStore(store).conversations()} == {
        "first",
        "second",
        "third",
    }
    assert runtime.stats().dropped == {"otlp_shutdown": 4}


def _calls(ingest: Ingest) -> int:
    return len(ingest.transactions) + len([one for one in ingest.spans if one["is_segment"]])


def test_one_that_fails_costs_its_spans_alone(
    lifecycle: Lifecycle, caplog: pytest.LogCaptureFixture
) -> None:
    """They are counted, the log says why once for each attempt, and no error is made of that."""
    collector = Collector()
    collector.fails = True
    with Ingest() as ingest:
        runtime = _init(dsn=ingest.dsn, lifecycle=lifecycle, otlp=collector)
        _talk("host")
        assert runtime.flush(30)
        collector.fails = False
        _talk("host")
        assert runtime.close(30)
        assert _calls(ingest) == 2
        assert not ingest.errors
    assert sorted(collector.names) == ["host", "in it"]
    assert runtime.stats().dropped == {"otlp_failed": 2}
    assert caplog.text.count("could not send to the collector") == 1


def test_what_there_is_no_room_for_is_counted(
    lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it hangs, memory holds so many spans for it and no more; then it goes on."""
    monkeypatch.setattr(collector_lane, "MOST_SPANS", 8)
    collector = Collector()
    collector.answers.clear()
    with Ingest() as ingest:
        runtime = _init(dsn=ingest.dsn, lifecycle=lifecycle, otlp=collector)
        for _ in range(10):
            _talk("host")
        ingest.wait_for(lambda: _calls(ingest) == 10, 30)
        collector.answers.set()
        assert runtime.flush(30)
        _talk("later")
        assert runtime.close(30)
    assert sorted(collector.names) == sorted(["host", "in it"] * 4 + ["later", "in it"])
    assert runtime.stats().dropped == {"otlp_overflow": 12}


def test_words_leave_with_neither(lifecycle: Lifecycle) -> None:
    """What was said is in nothing that it is given, as it is in nothing that Sentry is."""
    words = " ".join(["violet", "tulip"])  # no constant of the code
    collector = Collector()
    with Ingest() as ingest:
        with telemetry.init(dsn=ingest.dsn, lifecycle=lifecycle, otlp=collector) as runtime:
            with telemetry.conversation("host", attributes={USER_WORDS: words}) as conversation:
                conversation.start_span(
                    "turn", f"says {words}", attributes={"app.note": words}
                ).finish()
            assert runtime.flush(30)
        sent = [envelope.serialize() for envelope in ingest.envelopes]
    given = [encode(envelope) for envelope in collector.envelopes]
    assert len(given) == len(sent)
    assert not [envelope for envelope in (*given, *sent) if words.encode() in envelope]


def test_what_sentry_does_not_get_it_does_not_get(lifecycle: Lifecycle) -> None:
    """A conversation that isn't sampled, an error, a log."""
    collector = Collector()
    with _init(lifecycle=lifecycle, otlp=collector, sample_rate=0.0, enable_logs=True) as runtime:
        with telemetry.conversation("host") as conversation:
            conversation.capture_exception(ValueError("no table"))
        assert runtime.flush(30)
    assert (collector.names, collector.connected) == ([], 0)


@pytest.mark.parametrize("answers", [True, False], ids=["", "hangs"])
def test_what_is_chosen_at_its_end_it_gets_then(lifecycle: Lifecycle, answers: bool) -> None:
    """With what was held of it, which is counted as what it is; nothing of what is left out."""
    collector = Collector()
    with _init(lifecycle=lifecycle, otlp=collector, sample_rate=0.0, keep=_is_chosen) as runtime:
        if not answers:
            collector.answers.clear()
        for name in ("chosen", "left out"):
            with telemetry.conversation(name):
                for _ in range(MANY):
                    telemetry.span("turn").finish()
        if answers:
            assert runtime.flush(30)
            assert collector.names.count("turn") == MANY
            assert {*collector.names} == {"chosen", "turn"}  # its parts are called as it is
        assert runtime.close(30 if answers else 0.3) is answers
    dropped = runtime.stats().dropped
    assert dropped == {} if answers else dropped["otlp_shutdown"] > MANY


def _is_chosen(call: telemetry.Summary) -> bool:
    return call.name == "chosen"
