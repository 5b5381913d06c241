"""Conversations to view, written by the store as delivery would."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.testclient import TestClient

from telemetry import attributes as names
from telemetry.records import ConversationRecord, SpanRecord
from telemetry.store import TraceStore
from telemetry.viewer import app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from starlette.applications import Starlette

START = 1_795_000_000.0
ROOT = "f" * 16
HOST = "http://127.0.0.1:8790"


@dataclass(frozen=True)
class Turn:
    """A turn of a conversation: what the caller said, what the agent said, and how soon."""

    caller: str = ""
    agent: str = ""
    latency: float | None = None
    stages: dict[str, float] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)

    def span(self, number: int, at: float) -> SpanRecord:
        said = {names.USER_WORDS: self.caller, names.AGENT_WORDS: self.agent}
        known: dict[str, Any] = {name: words for name, words in said.items() if words}
        if self.latency is not None:
            known[names.RESPONSE_LATENCY] = self.latency
        known |= {names.LATENCY_STAGE + stage: took for stage, took in self.stages.items()}
        if self.models:
            known[names.MODELS] = list(self.models)
        return SpanRecord(
            span_id=f"{number:016x}",
            parent_span_id=ROOT,
            op=names.OP_TURN,
            name=f"turn {number}",
            started_at=at,
            ended_at=at + 1,
            attributes=known | self.attributes,
        )


def conversation(
    number: int,
    turns: Sequence[Turn] = (),
    *,
    spans: Sequence[SpanRecord] = (),
    seconds: float = 60.0,
    op: str = names.OP_CONVERSATION,
    **fields: Any,
) -> ConversationRecord:
    """A conversation that began this many minutes after the first and has ended."""
    began = START + 60 * number
    root = SpanRecord(
        span_id=ROOT if op == names.OP_CONVERSATION else f"{len(op):016}",
        parent_span_id=None,
        op=op,
        name="call",
        started_at=began,
        ended_at=began + seconds,
        attributes=fields.pop("attributes", {names.CONVERSATION_OUTCOME: "completed"}),
    )
    made = [turn.span(index, began + index) for index, turn in enumerate(turns)]
    return ConversationRecord(
        **{
            "id": f"c-{number}",
            "trace_id": f"{number:032x}",
            "name": "call",
            "started_at": began,
            "ended_at": began + seconds,
            "status": "ok",
            "op": op,
            "spans": (root, *made, *spans),
            **fields,
        }
    )


def store(path: Path, *records: ConversationRecord) -> TraceStore:
    """A store with these conversations; one without an end is open."""
    made = TraceStore(path)
    for record in records:
        if record.ended_at is None:
            made.open_conversation(record)
            made.add_spans(record.trace_id, record.id, record.spans)
        else:
            made.close_conversation(record)
    made.close()
    return made


@contextmanager
def viewed(*stores: TraceStore, **options: Any) -> Iterator[TestClient]:
    """A client of a viewer of these stores, all of which it has read."""
    made = app(stores, **options)
    try:
        with TestClient(made, base_url=HOST, follow_redirects=False) as client:
            assert made.state.index.wait(20)
            yield client
    finally:
        for each in stores:
            each.close()


@contextmanager
def served(made: Starlette) -> Iterator[str]:
    """A viewer on a port of its own; yields the host and the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(made, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something another process does has come true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)
