"""The local trace store, on real files."""

from __future__ import annotations

import math
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from telemetry.store import AmbiguousId, StoredError, TraceStore, bounded
from telemetry.store.stored_errors import LONGEST_EVENT

from .rows import ROOT, START, conversation, opened, span

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    """A new store."""
    made = TraceStore(tmp_path / "folder" / "traces.db")
    yield made
    made.close()


def test_read_back_as_written(store: TraceStore) -> None:
    """A conversation reads back whole: the root first, then its spans by start."""
    words = span(2, attributes={"model": "m", "tokens": 3, "list": ["ü"], "none": None})
    record = conversation()
    record = replace(record, spans=(*record.spans, words, span(1, status="cancelled")))
    store.open_conversation(opened(record))
    store.close_conversation(record)
    read = store.conversation("c-1")
    assert read is not None
    assert read.spans == (record.spans[0], record.spans[2], words)
    assert (read.id, read.trace_id, read.name) == ("c-1", "a" * 32, "host")
    assert (read.started_at, read.ended_at, read.status) == (START, START + 9, "ok")
    assert (read.user, read.tags) == ({"id": "u1"}, {"tenant": "acme"})
    assert (read.root_span_id, read.span_count, read.error_count) == (ROOT, 3, 0)


def test_values_without_a_json_form_become_text(store: TraceStore) -> None:
    """No attribute, name or id can keep its conversation out of the store."""
    cycle: list[object] = []
    cycle.append(cycle)
    odd = {"nan": math.nan, "object": {1, 2}, "cycle": cycle, "deep": {"object": {1}}, "n": 1}
    record = conversation(id="half \ud800")
    record = replace(record, user={(1, 2): 3}, spans=(span(0, name="\udfff", attributes=odd),))  # type: ignore[dict-item] # what isn't allowed
    store.close_conversation(record)
    read = store.conversation("half")
    assert read is not None
    assert read.user == {"(1, 2)": 3}
    assert read.spans[0].attributes == {
        "nan": "nan",
        "object": "{1, 2}",
        "cycle": "[[...]]",
        "deep": {"object": "{1}"},
        "n": 1,
    }


def test_a_running_conversation_shows(store: TraceStore) -> None:
    """What is still running is listed without an end, with the spans that arrived so far."""
    store.open_conversation(opened(conversation()))
    store.add_spans("a" * 32, "c-1", [span(1), span(2)])
    (listed,) = store.conversations()
    assert (listed.ended_at, listed.status, listed.span_count, listed.spans) == (
        None,
        "open",
        2,
        (),
    )


def test_a_span_counts_once(store: TraceStore) -> None:
    """Parts, the end and late spans may overlap: each span is there once, the root as it ended."""
    running = replace(conversation(), ended_at=None, spans=(span(0, span_id=ROOT, status="open"),))
    store.open_conversation(running)
    store.add_spans("a" * 32, "c-1", [span(1)])
    store.close_conversation(replace(conversation(), spans=(*conversation().spans, span(2))))
    store.add_spans("a" * 32, "c-1", [span(2, name="again"), span(3)])
    read = store.conversation("c-1")
    assert read is not None
    assert [item.name for item in read.spans] == ["reply 0", "reply 1", "reply 2", "reply 3"]
    assert read.spans[0].status == "ok"


def test_spans_of_nobody_are_kept(store: TraceStore) -> None:
    """Spans of an unknown conversation, or of none, are found by their trace."""
    store.add_spans("b" * 32, None, [span(1), span(2)])
    store.add_spans("b" * 32, None, [span(3)])
    read = store.conversation("b" * 32)
    assert read is not None
    assert (read.status, read.name, len(read.spans)) == ("unknown", "reply 1", 3)


def test_an_id_used_twice_does_not_mix(store: TraceStore) -> None:
    """One id and one trace can hold two conversations; each keeps its own spans."""
    second = replace(conversation(root="e" * 16), started_at=START + 100)
    for record in (conversation(), second):
        store.open_conversation(opened(record))
        store.add_spans("a" * 32, "c-1", [span(1, started_at=record.started_at + 1)])
        store.close_conversation(record)
    with pytest.raises(AmbiguousId, match=f"root {ROOT}.*root span's") as caught:
        store.conversation("c-1")
    assert [match.root_span_id for match in caught.value.matches] == ["e" * 16, ROOT]
    assert "\n" not in str(caught.value)
    for root, start in ((ROOT, START), ("e" * 16, START + 100)):
        read = store.conversation(root)
        assert read is not None
        assert read.spans[1].started_at == start + 1


def test_look_up_by_prefix(store: TraceStore) -> None:
    """An id, a trace id or the beginning of one is enough if only one conversation has it."""
    store.close_conversation(conversation("c-1", "a1" * 16, "1" * 16))
    store.close_conversation(conversation("c-12", "a2" * 16, "2" * 16))
    found = {
        text: None if (read := store.conversation(text)) is None else read.id
        for text in ("c-1", "c-12", "a1", "a2a2", "2222", "", "z", "%", "c_1")
    }
    assert found == {
        "c-1": "c-1",  # exactly, though another begins with it
        "c-12": "c-12",
        "a1": "c-1",
        "a2a2": "c-12",
        "2222": "c-12",
        "": None,
        "z": None,
        "%": None,
        "c_1": None,
    }
    with pytest.raises(AmbiguousId) as caught:
        store.conversation("c-")
    assert {match.id for match in caught.value.matches} == {"c-1", "c-12"}


def test_listing_in_pages(store: TraceStore) -> None:
    """The newest come first; ``before`` continues a list."""
    for number in range(5):
        store.close_conversation(replace(conversation(f"c-{number}"), started_at=START + number))
    first = store.conversations(limit=2)
    assert [record.id for record in first] == ["c-4", "c-3"]
    rest = store.conversations(before=first[-1].started_at)
    assert [record.id for record in rest] == ["c-2", "c-1", "c-0"]


def test_errors_belong_to_their_conversation(store: TraceStore) -> None:
    """An error is found with the conversation of its trace; one without a trace is kept too."""
    store.open_conversation(opened(conversation()))
    store.add_error(None, StoredError("a" * 32, ROOT, START + 1, "ValueError", "no table"))
    store.add_error(None, StoredError(None, None, START + 2, "OSError", "nobody's"))
    (listed,) = store.conversations()
    assert listed.error_count == 1
    assert store.errors(listed) == [
        StoredError("a" * 32, ROOT, START + 1, "ValueError", "no table")
    ]


def test_a_long_conversation(store: TraceStore) -> None:
    """A thousand spans in one transaction come back complete and in order."""
    spans = tuple(span(number) for number in range(1, 1001))
    store.close_conversation(replace(conversation(), spans=(*conversation().spans, *spans)))
    read = store.conversation("c-1")
    assert read is not None
    assert read.spans[1:] == spans


def test_reading_while_writing(store: TraceStore) -> None:
    """Readers in other threads see whole conversations only, and never an error."""
    started, done = threading.Barrier(3), threading.Event()

    def read() -> int:
        started.wait()
        most = 0
        while not done.is_set():
            for listed in store.conversations(limit=100):
                record = store.conversation(listed.id)
                assert record is not None
                assert len(record.spans) == 21
                most += 1
        return most

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        started.wait()
        try:
            for number in range(50):
                record = conversation(f"c-{number:02}", f"{number:032x}", f"{number:016x}")
                more = tuple(span(100 + other) for other in range(20))
                store.close_conversation(replace(record, spans=(*record.spans, *more)))
        finally:
            done.set()
        assert all(reader.result() >= 0 for reader in readers)
    assert len(store.conversations(limit=100)) == 50


def test_the_newest_are_kept(tmp_path: Path) -> None:
    """Old conversations go with their spans and errors, so that the file stops growing."""
    store = TraceStore(tmp_path / "traces.db", keep=10)
    for number in range(101):
        record = conversation(f"c-{number}", f"{number:032x}", f"{number:016x}")
        store.close_conversation(replace(record, started_at=START + number))
        store.add_error(None, StoredError(record.trace_id, None, START + number, "E", ""))
    store.close()
    assert [record.id for record in store.conversations(limit=200)] == [
        f"c-{number}" for number in range(100, 90, -1)
    ]
    with sqlite3.connect(store.path) as file:
        assert file.execute("SELECT count(*) FROM span").fetchone() == (10,)
        assert file.execute("SELECT count(*) FROM error").fetchone() == (10,)
    file.close()


def test_a_trace_is_more_than_its_conversation(store: TraceStore) -> None:
    """What others did in the trace comes with it; the list and a look-up mean the conversation."""
    host = conversation()
    request = replace(
        conversation("request", root="2" * 16), op="http.server", started_at=host.started_at + 1
    )
    alone = replace(conversation("alone", trace="b" * 32, root="3" * 16), op="http.server")
    for record in (host, request, alone):
        store.close_conversation(record)

    assert {row.id for row in store.conversations()} == {"c-1", "alone"}
    found = store.conversation("a" * 32)
    assert found is not None
    assert (found.id, found.op) == ("c-1", "conversation")
    assert [(row.id, row.op) for row in store.trace("a" * 32)] == [
        ("c-1", "conversation"),
        ("request", "http.server"),
    ]
    assert [span.span_id for span in store.trace("a" * 32)[1].spans] == ["2" * 16]
    assert store.trace("c" * 32) == []


def test_a_service_forgets_too(tmp_path: Path) -> None:
    """Transactions of other ops are bounded where there is never a conversation."""
    with closing(TraceStore(tmp_path / "traces.db", keep=2)) as store:
        for number in range(201):
            request = conversation(str(number), trace=f"{number:032}", root=f"{number:016}")
            store.close_conversation(replace(request, op="http.server"))
        assert len(store.conversations(limit=1000)) == 40


def test_an_error_is_found_by_sentrys_id(store: TraceStore) -> None:
    """By all of it or by its beginning, with all that it said, and whose conversation it is of."""
    store.open_conversation(opened(conversation()))
    event = {"event_id": "e" * 32, "extra": {"note": "for Ada"}}
    store.add_error(
        None,
        StoredError("a" * 32, ROOT, START + 1, "ValueError", "no table", "e" * 32),
        bounded(event),
    )
    for asked in ("e" * 32, "e" * 8, "eeeeeeee-eeee"):
        [found] = store.errors_by_event(asked)
        assert (found.event, found.conversation) == (event, "c-1")
    assert store.errors_by_event("e" * 7) == []
    assert store.errors_by_event("f" * 32) == []


@pytest.mark.parametrize("long", ["extra", "breadcrumbs", "exception"])
def test_of_an_event_that_is_too_long_the_rest_is_kept(store: TraceStore, long: str) -> None:
    """What matters least goes first; at last each text is cut."""
    event = {"event_id": "e" * 32, "level": "error", long: {"values": ["x" * 200_000]}}
    kept = bounded(event)
    assert len(kept) <= LONGEST_EVENT
    assert '"level": "error"' in kept
    assert (long in kept) == (long == "exception")
