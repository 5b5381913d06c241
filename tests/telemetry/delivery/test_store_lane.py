"""The store's thread: what is open is there, what waits for Sentry waits there, old things go."""

from __future__ import annotations

import json
import queue
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import sentry_sdk

import telemetry
from telemetry.delivery import given, recovered, running, send_queue, store_lane
from telemetry.delivery.content import Rule
from telemetry.delivery.drops import Drops
from telemetry.delivery.lanes import Threads
from telemetry.store import Limits, Owed, StoredError, TraceStore, lost, rows
from telemetry.testing import capture
from telemetry.trace.registry import Registry
from tests.ingest import Ingest

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from telemetry.records import ConversationRecord
    from telemetry.trace.transaction import Transaction
    from tests.telemetry.conformance.whole import Lifecycle

CALLS = 150
"""More than there is room for in memory once the store has them."""


def _read(path: Path) -> ConversationRecord:
    found = TraceStore(path).conversation("c-1")
    assert found is not None
    return found


def test_a_running_conversation_is_there_with_its_open_spans(
    lifecycle: Lifecycle, tmp_path: Path
) -> None:
    """With what is known of them so far; as they end, they are as they ended."""
    path = tmp_path / "traces.db"
    with capture(lifecycle=lifecycle, store=path) as captured:
        with telemetry.conversation("host", id="c-1") as conversation:
            span = conversation.start_span("gen_ai.chat", attributes={"user.words": ["for", "Ada"]})
            assert captured.runtime.flush(30)
            first = _read(path)
            span.set({"gen_ai.request.model": "small"})
            assert captured.runtime.flush(30)
            second = _read(path)
            span.finish()
        assert captured.runtime.flush(30)
        last = _read(path)
    assert (first.status, [one.status for one in first.spans]) == ("open", ["open", "open"])
    assert first.spans[1].attributes == {"user.words": ["for", "Ada"]}
    assert second.spans[1].attributes["gen_ai.request.model"] == "small"
    assert (last.status, [one.status for one in last.spans]) == ("ok", ["ok", "ok"])


def test_notes_are_made_again_only_when_a_scope_says_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tag, or a member deep in a context that was given by reference; not at each look."""
    monkeypatch.setattr(running, "NOTES_SECONDS", 0.0)
    made: list[str] = []
    of = recovered.Notes.of

    def note(self: recovered.Notes, transaction: Transaction) -> str:
        made.append(of(self, transaction))
        return made[-1]

    monkeypatch.setattr(recovered.Notes, "of", note)
    with (
        capture(store=tmp_path / "traces.db") as captured,
        telemetry.conversation("host") as conversation,
    ):
        plan: dict[str, Any] = {"seats": {"free": 2}}
        sentry_sdk.get_isolation_scope().set_context("plan", plan)

        def looked(times: int) -> int:
            for _ in range(times):
                conversation.start_span("work").finish()
                assert captured.runtime.flush(30)
            return len(made)

        first = looked(1)  # two, where a pulse came before the context
        assert looked(2) == first
        conversation.set_tag("tier", "gold")
        assert looked(3) == first + 1
        plan["seats"]["free"] = 1
        assert looked(3) == first + 2
    assert [json.loads(notes)["tags"] for notes in made[first - 1 : -1]] == [{}, {"tier": "gold"}]
    assert json.loads(made[-1])["contexts"]["plan"] == {"seats": {"free": 1}}


def test_what_is_given_waits_for_the_next_pulse_unless_there_is_little_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look goes through all open calls, so the end of one has none of its own."""
    monkeypatch.setattr(given, "ROWS", 10)
    lane = store_lane.StoreLane(
        TraceStore(tmp_path / "traces.db"),
        queue.SimpleQueue(),
        Threads(),
        Drops(),
        registry=Registry(),
        notes=recovered.Notes(Rule(content=True), streaming=False),
        sends=lambda transaction: False,
        can_send=False,
        limits=Limits(),
    )
    error = given.Error(StoredError(None, None, 0.0, "ValueError", "one", None), "{}")
    for _ in range(5):
        lane.give(error)
    assert lane._wanted.empty()
    lane.give(error)
    assert not lane._wanted.empty()


def test_while_sentry_is_away_the_store_keeps_what_is_recorded(
    lifecycle: Lifecycle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory holds few of them, nothing is dropped, and all of it arrives when it is back:
    conversations first."""
    monkeypatch.setattr(send_queue, "BACKOFF_SECONDS", (0.05, 0.1))
    began = time.time()
    with Ingest() as ingest:
        ingest.refuse()
        store = tmp_path / "traces.db"
        with telemetry.init(dsn=ingest.dsn, lifecycle=lifecycle, store=store) as runtime:
            for number in range(CALLS):
                with telemetry.conversation(f"c-{number}") as conversation:
                    conversation.start_span("work").finish()
                    conversation.capture_exception(ValueError(f"in {number}"))
            runtime.flush(2.0)
            stats = runtime.stats()
            assert stats.waiting >= 2 * CALLS
            assert stats.waiting_since is not None
            assert began <= stats.waiting_since <= time.time()
            queue = runtime._delivery._queue  # type: ignore[union-attr]  # there is one
            assert queue is not None
            assert queue._count <= 2  # one to try with, one on its way
            ingest.heal()
            assert runtime.flush(60)
            assert runtime.flush(30)  # until the store has forgotten them, too
            stats = runtime.stats()
        spans = len(ingest.spans) + sum(1 + len(event["spans"]) for event in ingest.transactions)
        assert (spans, len(ingest.errors)) == (2 * CALLS, CALLS)
        kinds = [item.type for envelope in ingest.envelopes for item in envelope]
    assert (stats.waiting, stats.waiting_since, stats.dropped) == (0, None, {})
    ordered = sorted(kinds, key=lambda kind: kind == "event")
    assert sum(a != b for a, b in zip(kinds, ordered, strict=True)) < CALLS / 5


def test_what_waits_is_bounded(
    lifecycle: Lifecycle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is worth least goes first, and is counted; conversations stay."""
    monkeypatch.setattr(send_queue, "BACKOFF_SECONDS", (0.05, 0.1))
    limits = Limits(unsent_bytes=30_000)
    with Ingest() as ingest:
        ingest.refuse()
        with telemetry.init(
            dsn=ingest.dsn, lifecycle=lifecycle, store=tmp_path / "t.db", store_limits=limits
        ) as runtime:
            for number in range(20):
                with telemetry.conversation(f"c-{number}") as conversation:
                    for error in range(5):
                        conversation.capture_exception(ValueError(f"in {number}: {error}"))
            runtime.flush(1.0)
            ingest.heal()
            runtime.flush(30)
            dropped = runtime.stats().dropped
        roots = len(ingest.transactions) + len(ingest.spans)
        assert roots == 20
        assert 0 < len(ingest.errors) < 100
        assert dropped == {"queue_overflow": 100 - len(ingest.errors)}


def test_old_recordings_go_while_calls_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By size here: the file and its row; the conversation stays, and so does what is recorded."""
    monkeypatch.setattr(store_lane, "FORGET_SECONDS", 0.0)
    path, limits = tmp_path / "traces.db", Limits(recording_bytes=150)
    with telemetry.init(store=path, store_limits=limits) as runtime:
        running = telemetry.conversation("running")
        files = []
        for conversation in (running, *map(telemetry.conversation, ("first", "second"))):
            file = conversation.record_audio()
            assert file is not None
            file.create()
            file.path.write_bytes(b"x" * 100)
            file.began(time.time())
            files.append(file.path)
            if conversation is not running:
                conversation.close()
        for _ in range(3):  # each flush is a round, at least
            assert runtime.flush(30)
        assert [file.exists() for file in files] == [True, False, False]
        assert len(TraceStore(path).conversations()) == 3
        running.close()


def test_a_recording_that_can_not_be_deleted_stops_nothing(
    lifecycle: Lifecycle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Conversations go on to be stored, with their ends; the log names the folder, once."""
    monkeypatch.setattr(store_lane, "FORGET_SECONDS", 0.0)
    path = tmp_path / "traces.db"
    with capture(lifecycle=lifecycle, store=path) as captured:
        with telemetry.conversation("recorded") as conversation:
            file = conversation.record_audio(keep=lambda _: False)
            assert file is not None
            file.path.mkdir(parents=True)  # it is no file: deleting it fails, whoever asks
            file.began(time.time())
        for name in ("second", "third"):
            assert captured.runtime.flush(30)
            telemetry.conversation(name).close()
        assert captured.runtime.flush(30)
        assert captured.runtime.flush(30)  # a round after the last write
        found = {one.name: one.status for one in TraceStore(path).conversations()}
    assert found == dict.fromkeys(("recorded", "second", "third"), "ok")
    [line] = [one for one in caplog.messages if "can't be deleted" in one]
    assert f"from {tmp_path / 'traces.db.audio'}: " in line


def test_old_conversations_go_while_calls_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By number here; what runs stays."""
    monkeypatch.setattr(store_lane, "FORGET_SECONDS", 0.0)
    path, limits = tmp_path / "traces.db", Limits(conversations=3)
    with telemetry.init(store=path, store_limits=limits) as runtime:
        running = telemetry.conversation("running")
        assert runtime.flush(30)
        for number in range(10):
            telemetry.conversation(f"c-{number}").close()
            assert runtime.flush(30)
        assert runtime.flush(30)
        names = [found.name for found in TraceStore(path).conversations()]
        running.close()
    assert names == ["c-9", "c-8", "c-7", "running"]


def test_a_rate_limit_at_the_end_costs_nothing_that_waits(
    lifecycle: Lifecycle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that hears of one as it ends leaves all of it in the store; the next sends it."""
    store = tmp_path / "traces.db"
    begin_closing, limit = send_queue.SendQueue.begin_closing, {"Retry-After": "3600"}

    def begin_closing_and_hear_of_it(queue: send_queue.SendQueue) -> None:
        begin_closing(queue)
        ingest.answer(429, limit)

    monkeypatch.setattr(send_queue.SendQueue, "begin_closing", begin_closing_and_hear_of_it)
    with Ingest() as ingest:
        ingest.answer(429, limit, delay=60)
        with telemetry.init(dsn=ingest.dsn, lifecycle=lifecycle, store=store) as runtime:
            for number in range(20):
                with telemetry.conversation(f"c-{number}") as conversation:
                    conversation.capture_exception(ValueError(f"in {number}"))
            ingest.wait_for(lambda: ingest.requests)
            runtime.flush(0.5)  # to the store; what is on its way to Sentry isn't answered
        monkeypatch.undo()
        assert runtime.stats().dropped == {}
        ingest.heal()
        with telemetry.init(dsn=ingest.dsn, lifecycle=lifecycle, store=store) as runtime:
            assert runtime.recover(30)
            ingest.wait_for(
                lambda: (
                    len(ingest.errors) == 20 and len(ingest.transactions) + len(ingest.spans) == 20
                )
            )
        assert runtime.stats().dropped == {}


def test_what_the_store_refuses_is_counted_where_memory_has_no_room_for_it(
    lifecycle: Lifecycle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody takes it for stored: of three conversations one waits, two are counted as gone."""
    monkeypatch.setattr(given, "ROWS", 0)
    monkeypatch.setattr(send_queue, "LIMIT", 1)
    with Ingest() as ingest:
        ingest.answer(503)
        with telemetry.init(
            dsn=ingest.dsn, lifecycle=lifecycle, store=tmp_path / "t.db"
        ) as runtime:
            for number in range(3):
                telemetry.conversation(f"c-{number}").close()
            runtime.flush(0.5)
            assert runtime.stats().dropped == {"store_error": 3, "queue_overflow": 2}
            ingest.heal()
            assert runtime.flush(30)
        assert len(ingest.transactions) + len(ingest.spans) == 1


def test_a_row_is_written_again_when_it_has_more_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spans come and go without it, as many rows as there are spans."""
    written: list[str] = []
    put = rows.put_conversation

    def noted(*given: Any, **named: Any) -> int:
        written.append(given[1].status)
        return put(*given, **named)

    monkeypatch.setattr(rows, "put_conversation", noted)
    path = tmp_path / "traces.db"
    with capture(store=path) as captured:
        with telemetry.conversation("host", id="c-1") as conversation:
            for _ in range(3):
                conversation.start_span("work").finish()
                assert captured.runtime.flush(30)
            assert written == ["open"]
            conversation.set_tag("table", "7")
            assert captured.runtime.flush(30)
            assert written == ["open"] * 2
        assert captured.runtime.flush(30)
        found = _read(path)
    assert written == ["open", "open", "ok"]
    assert (found.status, found.tags, len(found.spans)) == ("ok", {"table": "7"}, 4)


def test_who_was_taken_for_dead_goes_on(tmp_path: Path) -> None:
    """Another process has closed the conversation and is to send it: with the next span it is open
    again, and its own."""
    path = tmp_path / "traces.db"
    with capture(store=path) as captured:
        with telemetry.conversation("host", id="c-1") as conversation:
            assert captured.runtime.flush(30)
            with closing(TraceStore(path)) as another, another.writing() as cursor:
                [own] = [row["key"] for row in cursor.execute("SELECT key FROM process")]
                lost.take_over(cursor, [own], None)
            assert _read(path).status == "aborted"
            conversation.start_span("work").finish()
            assert captured.runtime.flush(30)
            assert _read(path).status == "open"
            with TraceStore(path).reading() as cursor:
                assert cursor is not None
                [owed] = cursor.execute("SELECT owed FROM conversation").fetchone()
        assert captured.runtime.flush(30)
        assert (_read(path).status, owed) == ("ok", Owed.BY_ITS_PROCESS)
        assert len(captured.transactions) == 1
