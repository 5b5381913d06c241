"""The decision at a conversation's end: the chosen ones whole, a share of the others, no halves."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk

import telemetry
from telemetry.attributes import (
    CONVERSATION_INTERRUPTIONS,
    CONVERSATION_OUTCOME,
    CONVERSATION_TURNS,
    OP_TURN,
    RESPONSE_LATENCY,
)
from telemetry.delivery import tail
from telemetry.store import TraceStore
from telemetry.testing import capture
from tests.ingest import Ingest
from tests.telemetry.conformance.whole import LIFECYCLES, Lifecycle

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry import Conversation, Summary

pytestmark = pytest.mark.parametrize("lifecycle", LIFECYCLES)


def _arrived(ingest: Ingest) -> dict[str, set[str]]:
    """Names of the spans that arrived, by the name of their conversation."""
    names: dict[str, str] = {}
    spans: dict[str, set[str]] = {}
    for event in ingest.transactions:
        trace = event["contexts"]["trace"]
        if trace["op"] == "conversation":
            names[trace["trace_id"]] = event["transaction"]
            spans.setdefault(trace["trace_id"], set()).add(event["transaction"])
        spans.setdefault(trace["trace_id"], set()).update(s["description"] for s in event["spans"])
    for span in ingest.spans:
        if span["is_segment"]:
            names[span["trace_id"]] = span["name"]
        spans.setdefault(span["trace_id"], set()).add(span["name"])
    return {names.get(trace, f"half: {trace}"): found for trace, found in spans.items()}


def _held(runtime: telemetry.Runtime) -> int:
    """Bytes that are held by the process's delivery."""
    found: tail.Tail = runtime._delivery._processor._tail  # type: ignore[union-attr, assignment]
    return found.size


def _call(name: str, turns: int) -> Conversation:
    """A conversation that isn't over."""
    conversation = telemetry.conversation(name)
    for turn in range(turns):
        with (
            conversation.attach(),
            telemetry.span(OP_TURN, f"turn {turn}"),
            telemetry.span("gen_ai.chat", f"reply {turn}"),
        ):
            pass
    return conversation


def _names(name: str, turns: int) -> set[str]:
    return {name} | {f"{what} {turn}" for turn in range(turns) for what in ("turn", "reply")}


def test_of_a_thousand_the_failed_and_the_slow_are_whole(lifecycle: Lifecycle) -> None:
    """About a tenth of the others are there besides; nothing is there in part; nothing stays."""
    with Ingest() as ingest:
        with telemetry.init(
            dsn=ingest.dsn,
            send_content=True,
            lifecycle=lifecycle,
            sample_rate=0.1,
            keep="errors,slower:1.5",
        ) as runtime:
            for number in range(1_000):
                kind = {0: "failed", 1: "slow"}.get(number % 20, "fine")
                conversation = _call(f"{kind} {number}", 3)
                with conversation.attach(), telemetry.span(OP_TURN, "last") as turn:
                    turn.set({RESPONSE_LATENCY: 2.0 if kind == "slow" else 0.5})
                    if kind == "failed":
                        turn.fail(ValueError())
                conversation.close()
                if number % 100 == 99:  # so that the outbox has room for the next
                    assert runtime.flush(60)
            stats = runtime.stats()
            assert _held(runtime) == 0
            assert not runtime._delivery.outbox.registry.alive()
        arrived = _arrived(ingest)

    kinds = Counter(name.split()[0] for name in arrived)
    assert (kinds["failed"], kinds["slow"], kinds["half:"]) == (50, 50, 0)
    assert 40 < kinds["fine"] < 160  # of 900, six standard deviations to each side
    assert all(spans == _names(name, 3) | {"last"} for name, spans in arrived.items())
    assert stats.left_out == 1_000 - len(arrived)
    assert stats.dropped == {}


@pytest.mark.parametrize("alone", [False, True])
def test_a_long_conversation_is_held_whole_until_its_end(lifecycle: Lifecycle, alone: bool) -> None:
    """What it hands over while it runs is neither sent nor lost, and forgotten with it."""
    with (
        Ingest() as ingest,
        telemetry.init(
            dsn=ingest.dsn,
            send_content=True,
            lifecycle=lifecycle,
            sample_rate=0,
            keep="outcome:failed",
            stream_gen_ai_spans=alone,
        ) as runtime,
    ):
        failed, fine = _call("failed", 2_600), _call("fine", 2_600)
        assert runtime.flush(60)
        assert ingest.envelopes == []
        assert _held(runtime) > 0
        failed.set({CONVERSATION_OUTCOME: "failed"})
        failed.close()
        fine.close()
        assert runtime.flush(60)
        assert _arrived(ingest) == {"failed": _names("failed", 2_600)}
        assert _held(runtime) == 0
        assert runtime.stats().dropped == {}


def test_one_that_there_is_no_room_for_is_left_out_whole(
    lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest goes, and is counted; the others aren't touched."""
    monkeypatch.setattr(tail, "HELD_BYTES", 100_000)
    with (
        Ingest() as ingest,
        telemetry.init(
            dsn=ingest.dsn, send_content=True, lifecycle=lifecycle, keep=lambda summary: True
        ) as runtime,
    ):
        small = _call("small", 600)
        large = _call("large", 20_000)
        assert runtime.flush(60)
        assert _held(runtime) <= 100_000
        for conversation in (small, large):
            conversation.close()
        late = large.start_span("late", "late")
        late.finish()
        assert runtime.flush(60)
        assert _arrived(ingest) == {"small": _names("small", 600)}
        assert runtime.stats().dropped == {"queue_overflow": 40_000 + 1}


def test_a_summary_says_what_happened(lifecycle: Lifecycle) -> None:
    """What ``keep`` is asked with."""
    asked: list[Summary] = []

    def keep(summary: Summary) -> bool:
        asked.append(summary)
        return True

    with capture(lifecycle=lifecycle, keep=keep) as captured:
        with telemetry.conversation("host", id="c-1") as conversation:
            with telemetry.span(OP_TURN) as turn:
                turn.set({RESPONSE_LATENCY: 0.75})
            with telemetry.span("db.query") as query:
                query.fail(OSError())
            conversation.capture_exception(ValueError("wrong"))
            sentry_sdk.capture_message("odd", level="error")
            conversation.set(
                {
                    CONVERSATION_OUTCOME: "completed",
                    CONVERSATION_TURNS: 4,
                    CONVERSATION_INTERRUPTIONS: 2,
                    "app.tables": 3,
                }
            )
        assert captured.runtime.flush(30)

    [summary] = asked
    assert (summary.id, summary.name, summary.op) == ("c-1", "host", "conversation")
    assert (summary.status, summary.outcome) == ("ok", "completed")
    assert (summary.turns, summary.interruptions) == (4, 2)
    assert (summary.errors, summary.failed_spans, summary.failed) == (2, 1, True)
    assert summary.slowest_response_seconds == 0.75
    assert summary.duration_seconds > 0
    assert summary.attributes["app.tables"] == 3


def test_what_was_chosen_counts_once_in_sentry(lifecycle: Lifecycle) -> None:
    """Its rate is 1, that of an ordinary one the share: Sentry extrapolates by it."""
    with Ingest() as ingest:
        with telemetry.init(
            dsn=ingest.dsn, send_content=True, lifecycle=lifecycle, sample_rate=0.5, keep="errors"
        ):
            for number in range(40):
                conversation = _call(f"{'failed' if number % 2 else 'fine'} {number}", 1)
                if number % 2:
                    conversation.fail(ValueError())
                conversation.close()
        rates: dict[str, set[Any]] = {"failed": set(), "fine": set()}
        for envelope in ingest.envelopes:
            trace = envelope.headers["trace"]
            failed = b'"failed ' in envelope.serialize()
            rates["failed" if failed else "fine"].add(
                (trace["sampled"], float(trace["sample_rate"]))
            )
    assert rates == {"failed": {("true", 1.0)}, "fine": {("true", 0.5)}}


def test_a_keep_that_raises_sends_and_is_told_of_once(
    lifecycle: Lifecycle, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost by a mistake in it."""

    def keep(summary: Summary) -> bool:
        raise KeyError(summary.id)

    with (
        Ingest() as ingest,
        telemetry.init(
            dsn=ingest.dsn, send_content=True, lifecycle=lifecycle, sample_rate=0, keep=keep
        ) as runtime,
        caplog.at_level(logging.WARNING, "telemetry"),
    ):
        for number in range(3):
            _call(f"call {number}", 1).close()
        assert runtime.flush(30)
        assert len(_arrived(ingest)) == 3
        assert [record.getMessage() for record in caplog.records] == [
            "keep raised; what it was asked about is sent"
        ]


@pytest.mark.parametrize("chosen", [True, False])
def test_what_comes_late_goes_with_its_conversation(lifecycle: Lifecycle, chosen: bool) -> None:
    """A span after the end is sent if its conversation was, and only then."""
    with (
        Ingest() as ingest,
        telemetry.init(
            dsn=ingest.dsn,
            send_content=True,
            lifecycle=lifecycle,
            sample_rate=0,
            keep=lambda summary: chosen,
        ) as runtime,
    ):
        conversation = _call("host", 1)
        conversation.close()
        assert runtime.flush(30)
        conversation.start_span("db.query", "late").finish()
        assert runtime.flush(30)
        sent = b"".join(envelope.serialize() for envelope in ingest.envelopes)
        assert (b'"late"' in sent) is chosen


# -- killed ----------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
import telemetry
dsn, store, lifecycle, keep, number = sys.argv[1:]
runtime = telemetry.init(
    dsn=dsn, send_content=True, store=store, lifecycle=lifecycle, sample_rate=0, keep=keep
)
conversation = telemetry.conversation("running")
for turn in range(int(number)):
    conversation.start_span("turn", f"turn {turn}").finish()
telemetry.conversation("over").close()
assert runtime.flush(30)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("keep", "kept"), [("errors", True), ("interrupted", False)])
def test_what_a_killed_process_held_is_decided_by_the_next(
    tmp_path: Path, lifecycle: Lifecycle, keep: str, kept: bool
) -> None:
    """An aborted conversation failed: it is sent whole if that is a rule, and stored anyway."""
    store = tmp_path / "traces.db"
    with Ingest() as ingest:
        command = [sys.executable, "-c", KILLED, ingest.dsn, str(store), lifecycle, keep, "1500"]
        subprocess.run(command, check=False)
        assert ingest.envelopes == []
        with telemetry.init(
            dsn=ingest.dsn,
            send_content=True,
            store=store,
            lifecycle=lifecycle,
            sample_rate=0,
            keep=keep,
        ) as runtime:
            assert runtime.recover(30)
            assert runtime.flush(30)
        whole = {"running"} | {f"turn {turn}" for turn in range(1_500)}
        assert _arrived(ingest) == ({"running": whole} if kept else {})
    stored = {one.name: one.status for one in TraceStore(store).conversations()}
    assert stored == {"running": "aborted", "over": "ok"}
