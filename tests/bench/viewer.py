"""The viewer's server time, with a thousand stored conversations and with ten thousand, and of one
long conversation.

A conversation is one of eight turns with some hundred spans, its caller's own transaction and a
request to a service. Two hundred are written by the store, each with words of its own; the rest are
copies of their rows under other ids. *Cold* is the first page of a viewer that has just started and
hasn't read anything yet.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import statistics
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from telemetry import attributes as names
from telemetry.records import ConversationRecord, SpanRecord
from telemetry.store import TraceStore
from telemetry.viewer import app

from .figures import Figure

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from starlette.applications import Starlette

SIZES: Final = (1_000, 10_000)
TARGETS: Final = {
    1_000: {"list": 300.0, "list, cold": 300.0, "search": 300.0},
    10_000: {"list": 500.0, "list, cold": 500.0},
}
"""Milliseconds."""
PAGES: Final = {
    "list": "/",
    "list, sorted by p95": "/?sort=-p95",
    "list, live rows": "/rows",
    "search": "/?q=table+for",
    "search, a rare word": "/?q=walrus",
    "latency": "/latency",
    "latency by model": "/latency?by=model",
    "health": "/health",
}
_ORIGINALS: Final = 200
_TURNS: Final = 8
_LONG_TURNS: Final = 72
"""Turns that have a thousand spans."""
_REPEATS: Final = 9
_VOCABULARY: Final = """
table for two four six people on Friday Saturday evening at seven eight please thank you name under
window terrace vegetarian allergic nuts children birthday cancel change booking confirm number yes
telephone manager opening hours tonight tomorrow available sorry full moment no
""".split()  # noqa: SIM905 - words are easier to read so
_MODELS: Final = ("moonshine-tiny-en", "small-1", "en_US-joe-medium")


def measure(sizes: Sequence[int], repeats: int = _REPEATS) -> Iterator[Figure]:
    """The time that each page takes, in milliseconds: the median of some requests."""
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="bench-viewer-") as folder:
            store = _filled(Path(folder, "traces.db"), size)
            yield from _of(store, size, repeats)
    yield from _long(repeats)


def _long(repeats: int) -> Iterator[Figure]:
    """The page of a conversation of a thousand spans, and the document that it draws."""
    with tempfile.TemporaryDirectory(prefix="bench-viewer-") as folder:
        store = TraceStore(Path(folder, "traces.db"))
        call, *_ = _conversation(0, time.time() - 600, random.Random(7), _LONG_TURNS)
        store.close_conversation(call)
        store.close()
        path = f"/conversations/{call.trace_id}/{call.spans[0].span_id}"
        with served(app([store])) as port:
            for name, asked in (("page", path), ("document", f"{path}/document.json")):
                took = statistics.median(_request(port, asked) for _ in range(repeats))
                yield Figure(
                    f"a conversation of {len(call.spans):,} spans: {name}", took, "ms", target=500.0
                )


def _of(store: TraceStore, size: int, repeats: int) -> Iterator[Figure]:
    made = app([store])
    with served(made) as port:
        cold = _request(port, "/")
        began = time.monotonic()
        assert made.state.index.wait(600)
        read = time.monotonic() - began
        figures = {"list, cold": cold} | {
            name: statistics.median(_request(port, path) for _ in range(repeats))
            for name, path in PAGES.items()
        }
    for name, took in figures.items():
        target = TARGETS.get(size, {}).get(name)
        yield Figure(f"{size:,} conversations: {name}", took, "ms", target=target)
    yield Figure(f"{size:,} conversations: all of them read", read, "s")


def _request(port: int, path: str) -> float:
    """The milliseconds that a page takes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    took = 1000 * (time.perf_counter() - began)
    connection.close()
    assert answer.status == 200, (path, answer.status)
    return took


@contextmanager
def served(made: Starlette) -> Iterator[int]:
    """A viewer on a port of its own; yields that."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(made, log_config=None, ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


# -- conversations ---------------------------------------------------------------------------------


def _filled(path: Path, size: int) -> TraceStore:
    """A store with so many conversations."""
    store, chance = TraceStore(path, keep=10 * size), random.Random(7)
    now = time.time()
    for number in range(min(_ORIGINALS, size)):
        for record in _conversation(number, now - 60 * number, chance):
            store.close_conversation(record)
    with store.writing() as cursor:
        copied = _ORIGINALS
        while copied < size:
            _copy(cursor, copied, min(_ORIGINALS, size - copied))
            copied += _ORIGINALS
    store.close()
    return store


def _copy(cursor: sqlite3.Cursor, copied: int, count: int) -> None:
    """Copy the rows of the first conversations, under other ids and of another time."""
    given = {"by": 10 * copied, "seconds": 60.0 * copied, "most": 3 * count}
    cursor.execute(
        "INSERT INTO conversation (key, id, trace_id, root_span_id, op, name, started_at, "
        "ended_at, status, user, tags) SELECT key + :by, id || '-' || :by, "
        "substr(trace_id, 1, 16) || printf('%016x', :by), root_span_id, op, name, "
        "started_at - :seconds, ended_at - :seconds, status, user, tags "
        "FROM conversation WHERE key <= :most",
        given,
    )
    cursor.execute(
        "INSERT INTO span SELECT conversation + :by, span_id, parent_span_id, op, name, "
        "started_at - :seconds, ended_at - :seconds, status, origin, attributes, code "
        "FROM span WHERE conversation <= :most",
        given,
    )
    cursor.execute(
        "INSERT INTO piece SELECT conversation + :by, number, text FROM piece "
        "WHERE conversation <= :most",
        given,
    )


def _conversation(
    number: int, began: float, chance: random.Random, turns: int = _TURNS
) -> Iterator[ConversationRecord]:
    """A conversation, its caller's own transaction, and a request that a service answered."""
    trace = f"{number + 1:016x}" * 2
    root = f"{number + 1:016x}"
    spans: list[SpanRecord] = []
    history: list[dict[str, Any]] = []
    for index in range(turns):
        spans += _turn(root, index, began + 6 * index, history, chance)
    whole = {
        names.CONVERSATION_OUTCOME: chance.choice(("completed", "completed", "hung_up")),
        names.CONVERSATION_TURNS: turns,
        names.CONVERSATION_INTERRUPTIONS: chance.randrange(3),
        names.USAGE + "input_tokens": chance.randrange(500, 5000),
        names.USAGE + "output_tokens": chance.randrange(50, 500),
        names.USAGE + "cost": chance.random() / 10,
        names.USAGE + "recognized_seconds": 20.0,
        names.USAGE + "synthesized_seconds": 30.0,
    }
    yield _transaction(trace, root, "call", names.OP_CONVERSATION, began, whole, spans)
    yield _transaction(trace, "c" + root[1:], "booking", names.OP_CALLER, began - 0.01, {}, [])
    yield _transaction(trace, "d" + root[1:], "GET /hours", "http.server", began + 20, {}, [])


def _transaction(
    trace: str,
    root: str,
    name: str,
    op: str,
    began: float,
    attributes: dict[str, Any],
    spans: list[SpanRecord],
) -> ConversationRecord:
    ended = began + 6 * _TURNS
    first = SpanRecord(root, None, op, name, began, ended, attributes=attributes)
    return ConversationRecord(
        id=f"{name}-{root}",
        trace_id=trace,
        name=name,
        started_at=began,
        ended_at=ended,
        status="ok",
        op=op,
        tags={"voice": "slt"},
        spans=(first, *spans),
    )


def _turn(
    root: str, index: int, began: float, history: list[dict[str, Any]], chance: random.Random
) -> Iterator[SpanRecord]:
    """A turn, with as many spans as one has."""
    said, answered = (" ".join(chance.choices(_VOCABULARY, k=14)) for _ in range(2))
    if index == 3 and root.endswith("7"):
        said += " walrus"
    history.append({"role": "user", "parts": [{"type": "text", "content": said}]})
    stages = {names.LATENCY_STAGE + stage: chance.random() / 5 for stage in names.STAGES}
    latency = {names.RESPONSE_LATENCY: sum(stages.values()), **stages}
    turn = f"{index + 1:016x}"
    words = {names.USER_WORDS: said, names.AGENT_WORDS: answered, names.MODELS: list(_MODELS)}
    yield SpanRecord(
        turn, root, names.OP_TURN, f"turn {index}", began, began + 5, attributes=words | latency
    )
    asked = {
        names.GEN_AI_REQUEST_MODEL: "small-1",
        names.GEN_AI_PROVIDER_NAME: "openai",
        names.GEN_AI_INPUT_MESSAGES: json.dumps(history),
    }
    history.append({"role": "assistant", "parts": [{"type": "text", "content": answered}]})
    works: tuple[tuple[str, dict[str, Any]], ...] = (
        (names.OP_CHAT, asked),
        (names.OP_RESPONSE, latency),
        (names.OP_TTS, {names.GEN_AI_REQUEST_MODEL: "en_US-joe-medium"}),
        (names.OP_STT, {names.GEN_AI_REQUEST_MODEL: "moonshine-tiny-en"}),
        *((op, {}) for op in (names.OP_USER_SPEECH, names.OP_ENDPOINTING, names.OP_AGENT_SPEECH)),
        *((f"conversation.response.{stage}", {}) for stage in names.STAGES[:6]),
    )
    for number, (op, attributes) in enumerate(works):
        at = began + number / 10
        id = f"{index + 1:08x}{number:08x}"
        yield SpanRecord(id, turn, op, op, at, at + 0.5, attributes=attributes)
