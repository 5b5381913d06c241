"""Several stores read as one: a trace, its errors and its audio are whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.attributes import OP_CONVERSATION
from telemetry.records import AudioRecord, ConversationRecord, SpanRecord
from telemetry.store import StoredError, Stores, TraceStore

if TYPE_CHECKING:
    from pathlib import Path

START = 1_795_000_000.0
TRACE = "a" * 32


def record(op: str, span_id: str, second: float) -> ConversationRecord:
    began = START + second
    root = SpanRecord(span_id, None, op, op, began, began + 1)
    return ConversationRecord(
        f"{op} {second}", TRACE, op, began, began + 1, "ok", op, spans=(root,)
    )


def error(second: float, event: str) -> StoredError:
    return StoredError(TRACE, None, START + second, "ValueError", "no", event)


def stores(folder: Path) -> tuple[Stores, ConversationRecord]:
    """An agent's and a service's, each with a part of one trace."""
    agent, service = TraceStore(folder / "agent.db"), TraceStore(folder / "service.db")
    call, request = record(OP_CONVERSATION, "1" * 16, 0), record("http.server", "2" * 16, 0.5)
    agent.close_conversation(call)
    agent.add_error(call.id, error(0.9, "e" * 32), None)
    service.close_conversation(request)
    service.add_error(request.id, error(0.6, "f" * 32), None)
    agent.audio_folder.mkdir()
    (agent.audio_folder / "one.ogg").write_bytes(b"sound")
    agent.add_recording(call, AudioRecord("one.ogg", START))
    for each in (agent, service):
        each.close()
    return Stores([agent, service]), call


def test_a_trace_is_found_by_its_root(tmp_path: Path) -> None:
    """With the rest of it, from whatever store."""
    sources, _ = stores(tmp_path)
    found = sources.find(TRACE, "1" * 16)
    assert found is not None
    shown, rest = found
    assert (shown.op, [each.op for each in rest]) == (OP_CONVERSATION, ["http.server"])
    assert sources.find(TRACE, "3" * 16) is None


def test_errors_of_a_whole_trace(tmp_path: Path) -> None:
    """The conversation's and those of the services it asked, by time; each once, though its store
    is given twice."""
    sources, _ = stores(tmp_path)
    twice = Stores([*sources.all, *sources.all])
    for each in (sources, twice):
        assert [found.event_id for found in each.trace_errors(TRACE)] == ["f" * 32, "e" * 32]


def test_the_audio_of_a_conversation(tmp_path: Path) -> None:
    """From whatever store, each file once."""
    sources, call = stores(tmp_path)
    for each in (sources, Stores([*sources.all, *sources.all])):
        found = each.find(TRACE, "1" * 16)
        assert found is not None
        [recording] = each.recordings(found[0])
        assert recording.path.read_bytes() == b"sound"
    assert call.trace_id == TRACE
