"""Other processes deliver to the viewer, by an ordinary DSN; nothing hostile gets in."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
import threading
import zlib
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, cast

import brotli
import httpx
import pytest
from starlette.testclient import TestClient

from telemetry import attributes as names
from telemetry.store import TraceStore
from telemetry.viewer import app
from telemetry.viewer.access import ingest_key
from telemetry.viewer.bodies import MOST_BYTES, MOST_BYTES_INSIDE
from telemetry.viewer.health import of
from telemetry.viewer.ingest import AT_ONCE
from telemetry.viewer.received import SILENT_SECONDS, Received

from .stored import HOST, START, served, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from telemetry.store import StoredConversation

TRACE = "a" * 32
ROOT = "b" * 16
TRANSACTION = {
    "type": "transaction",
    "transaction": "nightly",
    "contexts": {"trace": {"trace_id": TRACE, "span_id": ROOT, "op": "task", "status": "ok"}},
    "start_timestamp": START,
    "timestamp": START + 2,
    "spans": [
        {
            "trace_id": TRACE,
            "span_id": "c" * 16,
            "parent_span_id": ROOT,
            "op": "db.query",
            "description": "SELECT 1",
            "start_timestamp": "2026-11-18T08:00:00.5Z",
            "timestamp": START + 1,
        }
    ],
    "tags": [["tenant", "acme"]],
    "user": {"id": "ada"},
    "release": "x@1",
}
ERROR = {
    "event_id": "d" * 32,
    "timestamp": START + 1,
    "contexts": {"trace": {"trace_id": TRACE, "span_id": "c" * 16}},
    "exception": {"values": [{"type": "ValueError", "value": "no such table"}]},
}


def streamed(span_id: str, *, is_segment: bool = False, **attributes: Any) -> dict[str, Any]:
    """A span of the stream lifecycle, in the transaction of :data:`ROOT`."""
    told = {"sentry.segment.id": ROOT, "sentry.op": "task", **attributes}
    return {
        "trace_id": TRACE,
        "span_id": span_id,
        "name": f"span {span_id[:1]}",
        "status": "ok",
        "is_segment": is_segment,
        "start_timestamp": START,
        "end_timestamp": START + 1,
        "attributes": {name: {"value": value, "type": "x"} for name, value in told.items()},
    }


def envelope(*items: tuple[str, Any]) -> bytes:
    """The bytes of an envelope with items of these types."""
    parts = [b"{}"]
    for kind, content in items:
        payload = json.dumps(content).encode()
        parts += [json.dumps({"type": kind, "length": len(payload)}).encode(), payload]
    return b"\n".join(parts)


class Viewer:
    """A viewer that takes envelopes."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.app = cast("Any", client.app)
        self.state = self.app.state

    def post(self, body: bytes, **headers: str) -> int:
        """The status of the answer to an envelope."""
        key = headers.pop("key", "viewer")
        auth = {"X-Sentry-Auth": f"Sentry sentry_key={key}, sentry_version=7", **headers}
        return self.client.post("/api/1/envelope/", content=body, headers=auth).status_code

    def all(self) -> list[StoredConversation]:
        """All that is stored."""
        found = self.state.sources.newest(100)
        return [self.state.sources.find(each.trace_id, each.root_span_id)[0] for each in found]


@pytest.fixture
def viewer(tmp_path: Path) -> Iterator[Viewer]:
    with taking(tmp_path) as made:
        yield made


@contextmanager
def taking(folder: Path, **options: Any) -> Iterator[Viewer]:
    received = TraceStore(folder / "received.db")
    with TestClient(app([], received=received, **options), base_url=HOST) as client:
        yield Viewer(client)


SOMEBODYS = """
import sys, sentry_sdk
sentry_sdk.init(dsn=sys.argv[1], traces_sample_rate=1.0, release="shop@2")
with sentry_sdk.start_transaction(op="task", name="nightly"):
    with sentry_sdk.start_span(op="gen_ai.chat", name="ask") as span:
        span.set_data("gen_ai.request.model", "small-1")
    try:
        raise ValueError("no such table")
    except ValueError:
        sentry_sdk.capture_exception()
"""
STREAMING = """
import sys, sentry_sdk
sentry_sdk.init(dsn=sys.argv[1], traces_sample_rate=1.0, trace_lifecycle="stream", release="shop@2")
with sentry_sdk.traces.start_span(name="nightly", attributes={"sentry.op": "task"}):
    with sentry_sdk.traces.start_span(name="ask", attributes={"sentry.op": "gen_ai.chat"}):
        pass
    try:
        raise ValueError("no such table")
    except ValueError:
        sentry_sdk.capture_exception()
"""


@pytest.mark.parametrize("script", [SOMEBODYS, STREAMING], ids=["transaction", "stream"])
def test_ten_lines_of_somebody_elses_appear(tmp_path: Path, script: str) -> None:
    """An ordinary process with an ordinary DSN: its transaction whole, its error in it."""
    made = app([], received=TraceStore(tmp_path / "received.db"))
    with served(made) as where:
        dsn = f"http://{ingest_key(None)}@{where}/1"
        subprocess.run([sys.executable, "-c", script, dsn], check=True, timeout=50)
        sources = made.state.sources

        def whole() -> bool:
            rows = sources.newest(10)
            return [(row.name, row.span_count, row.error_count) for row in rows] == [
                ("nightly", 2, 1)
            ]

        until(whole)
        [row] = sources.newest(10)
        shown, rest = sources.find(row.trace_id, row.root_span_id)
        assert (rest, shown.op, shown.status) == ([], "task", "ok")
        assert [span.op for span in shown.spans] == ["task", "gen_ai.chat"]
        assert [span.name for span in shown.spans] == ["nightly", "ask"]
        [error] = sources.errors(shown)
        assert (error.type, error.message) == ("ValueError", "no such table")
        assert (made.state.received.refused, made.state.received.dropped) == ({}, {})
        with made.state.index.reading() as cursor:
            assert [tuple(row) for row in cursor.execute("SELECT release FROM entry")] == [
                ("shop@2",)
            ]


OURS = """
import sys
import telemetry
with telemetry.init(dsn=sys.argv[1], lifecycle=sys.argv[2], store=sys.argv[3]) as runtime:
    with telemetry.conversation("call", id="c-1", tags={"tenant": "acme"}) as conversation:
        for number in range(1200):
            with telemetry.span("gen_ai.chat" if number % 2 else "work", f"step {number}"):
                pass
        conversation.capture_exception(ValueError("no such table"))
    assert runtime.flush(20)
"""


def spans_in(store: TraceStore) -> set[str]:
    """The ids of the spans of the only conversation of a store."""
    found = store.conversation("c-1")
    assert found is not None
    return {span.span_id for span in found.spans}


@pytest.mark.parametrize("lifecycle", ["transaction", "stream"])
def test_a_conversation_of_ours_arrives_whole(tmp_path: Path, lifecycle: str) -> None:
    """Long as it is, in parts and beside its transaction: the same spans as in its own store, once
    in the list where both are looked at, and what was said is the store's."""
    own = TraceStore(tmp_path / "own.db")
    made = app([own], received=TraceStore(tmp_path / "received.db"))
    with served(made) as where:
        command = [sys.executable, "-c", OURS, f"http://{ingest_key(None)}@{where}/1", lifecycle]
        subprocess.run([*command, str(own.path)], check=True, timeout=50)
        received = made.state.received.store
        until(lambda: [each.span_count for each in received.conversations()] == [1201])
        [row], [kept] = received.conversations(), own.conversations()
        assert (
            (row.id, row.op, row.name)
            == (kept.id, kept.op, kept.name)
            == (
                "c-1",
                "conversation",
                "call",
            )
        )
        assert (row.root_span_id, row.error_count) == (kept.root_span_id, 1)
        assert spans_in(received) == spans_in(own)
        assert made.state.index.wait(20)
        with made.state.index.reading() as cursor:
            listed = cursor.execute("SELECT store FROM entry WHERE listed").fetchall()
        assert [tuple(one) for one in listed] == [(0,)]
        assert (made.state.received.refused, made.state.received.dropped) == ({}, {})


def test_a_transaction_is_shown_with_all_that_it_says(viewer: Viewer) -> None:
    """Times as numbers or as texts, tags as pairs."""
    assert viewer.post(envelope(("transaction", TRANSACTION))) == 200
    [found] = viewer.all()
    assert (found.name, found.op, found.status) == ("nightly", "task", "ok")
    assert (found.started_at, found.ended_at) == (START, START + 2)
    assert (found.tags, found.user) == ({"tenant": "acme"}, {"id": "ada"})
    root, query = found.spans
    assert (query.name, query.parent_span_id) == ("SELECT 1", root.span_id)
    assert "nightly" in viewer.client.get("/").text


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_what_belongs_together_finds_together_in_any_order(
    viewer: Viewer, order: tuple[int, ...]
) -> None:
    """A transaction, a span beside it, and an error: one conversation with two more in it."""
    sent = [
        envelope(("transaction", TRANSACTION)),
        envelope(("span", {"version": 2, "items": [streamed("e" * 16)]})),
        envelope(("event", ERROR)),
    ]
    for number in order:
        assert viewer.post(sent[number]) == 200
    [found] = viewer.all()
    assert {span.span_id for span in found.spans} == {ROOT, "c" * 16, "e" * 16}
    assert found.ended_at == START + 2
    [error] = viewer.state.sources.errors(found)
    assert error.message == "no such table"


def test_the_same_twice_is_there_once(viewer: Viewer) -> None:
    """An SDK that has had no answer sends it again."""
    body = envelope(("transaction", TRANSACTION), ("event", ERROR))
    assert [viewer.post(body), viewer.post(body)] == [200, 200]
    [found] = viewer.all()
    assert (found.span_count, found.error_count) == (2, 1)


def test_an_error_of_which_nothing_else_is_known_is_shown(viewer: Viewer) -> None:
    """A process that traces nothing."""
    assert viewer.post(envelope(("event", ERROR))) == 200
    [found] = viewer.all()
    assert (found.op, found.name) == ("error", "ValueError: no such table")
    assert "ValueError: no such table" in viewer.client.get("/").text


def test_spans_that_stream_are_a_call_that_runs_until_their_root_comes(viewer: Viewer) -> None:
    """It is on top, and live; when its process is silent for long it was cut off."""
    assert viewer.post(envelope(("span", {"items": [streamed("c" * 16)]}))) == 200
    assert "running" in viewer.client.get("/").text
    root = streamed(ROOT, is_segment=True)
    assert viewer.post(envelope(("span", {"items": [root]}))) == 200
    viewer.state.index.refresh(at_once=True)
    assert "running" not in viewer.client.get("/rows").text
    [found] = viewer.all()
    assert (found.ended_at, found.span_count) == (START + 1, 2)


def test_a_process_that_falls_silent_is_taken_for_cut_off(viewer: Viewer) -> None:
    """At the last that was heard of it."""
    viewer.post(envelope(("span", {"items": [streamed("c" * 16)]})))
    heard = viewer.state.received._heard
    heard.update({key: at - SILENT_SECONDS - 1 for key, at in heard.items()})
    other = {**ERROR, "contexts": {}}
    viewer.post(envelope(("event", other)))
    [found] = [each for each in viewer.all() if each.trace_id == TRACE]
    assert (found.status, found.ended_at) == ("aborted", START + 1)


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("br", brotli.compress),
        ("identity", bytes),
    ],
)
def test_bodies_are_taken_as_sdks_encode_them(viewer: Viewer, encoding: str, encode: Any) -> None:
    """Gzip, deflate, Brotli, or as they are."""
    body = encode(envelope(("transaction", TRANSACTION)))
    assert viewer.post(body, **{"Content-Encoding": encoding}) == 200
    assert len(viewer.all()) == 1


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("br", brotli.compress)],
)
def test_what_grows_too_large_or_ends_too_soon_is_refused(
    viewer: Viewer, encoding: str, encode: Any
) -> None:
    """However little it is as it is sent."""
    whole = encode(envelope(("transaction", TRANSACTION)))
    headers = {"Content-Encoding": encoding}
    assert viewer.post(encode(bytes(MOST_BYTES_INSIDE + 1)), **headers) == 413
    assert viewer.post(encode(bytes(5 * MOST_BYTES_INSIDE)), **headers) == 413
    assert viewer.post(whole[:-8], **headers) == 400
    assert viewer.post(b"never compressed", **headers) == 400
    assert viewer.all() == []


@pytest.mark.parametrize("encoding", ["zstd", "gzip, gzip"])
def test_another_encoding_is_refused_with_the_way_to_mend_it(viewer: Viewer, encoding: str) -> None:
    """In one line of text."""
    answer = viewer.client.post(
        f"/api/1/envelope/?sentry_key={ingest_key(None)}",
        content=b"x",
        headers={"Content-Encoding": encoding},
    )
    assert answer.status_code == 415
    assert "transport_compression_algo" in answer.json()["detail"]
    assert of(viewer.app).refused == {f"encoded as {encoding}": 1}


def test_only_who_has_the_key_delivers(tmp_path: Path) -> None:
    """It isn't the token that pages ask for."""
    body = envelope(("transaction", TRANSACTION))
    with taking(tmp_path, token="to-view", host="0.0.0.0") as viewer:
        assert [viewer.post(body), viewer.post(body, key="to-view")] == [403, 403]
        assert viewer.post(body, key=ingest_key("to-view")) == 200


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_no_web_page_delivers(viewer: Viewer, headers: dict[str, str]) -> None:
    """A browser lets any page send to this machine, and says where it comes from."""
    assert viewer.post(envelope(("transaction", TRANSACTION)), **headers) == 403
    assert viewer.all() == []


def with_trace(**changes: Any) -> dict[str, Any]:
    return {**TRANSACTION, "contexts": {"trace": {**TRANSACTION["contexts"]["trace"], **changes}}}  # type: ignore[index]


HOSTILE = {
    "nothing": b"",
    "no JSON": b"{",
    "a list": b"[]\n",
    "half of one": b'{}\n{"type": "transaction", "length": 99}\n{}',
    "a negative length": b'{}\n{"type": "event", "length": -1}\n{}',
    "a length of text": b'{}\n{"type": "event", "length": "2"}\n{}',
    "not UTF-8": b'{}\n{"type": "event"}\n{"a": "\xff"}',
    "deep": b'{}\n{"type": "event"}\n' + b"[" * 100_000,
    "an id of another kind": envelope(("transaction", with_trace(trace_id="../../etc"))),
    "no id": envelope(("transaction", with_trace(span_id=None))),
    "a time that isn't": envelope(("transaction", {**TRANSACTION, "timestamp": "yesterday"})),
    "a time past all": envelope(("transaction", {**TRANSACTION, "timestamp": 1e300})),
    "not a number": b'{}\n{"type": "transaction"}\n'
    + json.dumps({**TRANSACTION, "timestamp": float("nan")}).encode(),
    "spans that aren't": envelope(("transaction", {**TRANSACTION, "spans": ["x"]})),
    "an event that isn't": envelope(("event", "x")),
    "a report that isn't": envelope(("client_report", {"discarded_events": 5})),
    "too many items": b"{}\n" + b'{"type":"x"}\n\n' * 2_000,
    "a number of many digits": b'{}\n{"type": "event"}\n' + b"9" * 10_000,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_malformed_or_hostile_is_refused_and_counted(viewer: Viewer, body: bytes) -> None:
    """With the asker's fault as the status, and nothing stored."""
    assert 400 <= viewer.post(body) < 500
    assert viewer.all() == []
    assert sum(of(viewer.app).refused.values()) == 1
    assert viewer.client.get("/health").status_code == 200


def test_what_is_too_large_is_refused_before_it_is_held(viewer: Viewer) -> None:
    """As it is sent, as it says it is, and as it would be when it is decompressed."""
    assert viewer.post(b"x", **{"Content-Length": str(MOST_BYTES + 1)}) == 413
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = bytearray()
    for _ in range(MOST_BYTES_INSIDE // 1_000_000 + 1):
        body += bomb.compress(bytes(1_000_000))
    body += bomb.flush()
    assert len(body) < 100_000
    assert viewer.post(bytes(body), **{"Content-Encoding": "gzip"}) == 413


def test_one_too_many_at_once_is_to_come_again(tmp_path: Path) -> None:
    """Those that are being read go on; it is counted."""
    made = app([], received=TraceStore(tmp_path / "received.db"))
    key = ingest_key(None)
    url = f"/api/1/envelope/?sentry_key={key}"
    body = envelope(("transaction", TRANSACTION))
    with served(made) as where, ExitStack() as slow:
        client = slow.enter_context(httpx.Client(base_url=f"http://{where}"))
        host, _, port = where.partition(":")
        for _ in range(AT_ONCE):
            one = slow.enter_context(socket.create_connection((host, int(port))))
            head = f"POST {url} HTTP/1.1\r\nHost: {where}\r\nContent-Length: 99\r\n\r\n{{}}"
            one.sendall(head.encode())
        until(lambda: made.state.taking == AT_ONCE)
        answer = client.post(url, content=body)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert made.state.received.refused == {"busy": 1}
        one.close()
        until(lambda: made.state.taking < AT_ONCE)
        assert client.post(url, content=body).status_code == 200


def test_a_refusal_doesnt_wait_for_the_store(tmp_path: Path) -> None:
    """It is counted on the event loop, while an envelope waits for another process's writing."""
    received = Received(TraceStore(tmp_path / "received.db"))
    received.add(envelope(("event", ERROR)))
    other = TraceStore(tmp_path / "received.db")
    body = envelope(("transaction", TRANSACTION))
    with other.writing():
        thread = threading.Thread(target=received.add, args=(body,))
        thread.start()
        until(received._lock.locked)
        received.refuse("wrong key")
        assert received.refused == {"wrong key": 1}
        assert thread.is_alive()
    thread.join()
    other.close()
    received.store.close()


def deep(levels: int) -> Any:
    """A value of as many levels."""
    return [deep(levels - 1)] if levels > 1 else []


@pytest.mark.parametrize(
    "odd",
    [deep(51), deep(900), {"\0pieces": 5}, {"a": [{"\0pieces": [1]}]}],
    ids=["deep", "too deep", "pieces", "pieces inside"],
)
def test_attributes_that_nobody_can_show_are_left_out(viewer: Viewer, odd: Any) -> None:
    """Nested too deep, or with what the store itself writes; the others are there, on each view."""
    data = {"odd": odd, "\0pieces": [1], "fine": {"a": deep(49)}}
    parts = (
        ("transaction", with_trace(data=data)),
        ("span", {"items": [streamed("e" * 16, **data)]}),
    )
    assert viewer.post(envelope(*parts)) == 200
    [found] = viewer.all()
    assert [span.attributes.keys() for span in found.spans if span.attributes] == [{"fine"}] * 2
    place = f"/conversations/{TRACE}/{ROOT}"
    for path in ("", "/document.json", f"/spans/{ROOT}.json", "/export.html", "/export.json"):
        assert viewer.client.get(place + path).status_code == 200


@pytest.mark.parametrize("levels", [60, 970, 980, 984, 990])
def test_an_error_with_something_nested_too_deep_is_shown_without_it(
    viewer: Viewer, levels: int
) -> None:
    """Whoever reads it again goes down as deep; where that ends nobody knows beforehand. More than
    Python reads at all is malformed."""
    body = envelope(("event", {**ERROR, "extra": "here"})).replace(b'"length"', b'"once"')
    body = body.replace(b'"here"', b"[" * levels + b"]" * levels)
    assert viewer.post(body) in (200, 400)
    for found in viewer.all():
        [error] = viewer.state.sources.errors(found)
        assert error.message == "no such table"
        place = f"/conversations/{TRACE}/{found.root_span_id}"
        assert viewer.client.get(place).status_code == 200
    assert levels > 100 or viewer.all()


def test_no_number_in_an_attribute_is_too_great_to_be_shown(viewer: Viewer) -> None:
    """It is none that anybody counted."""
    wanted = (
        names.USAGE + "input_tokens", names.CONVERSATION_TURNS, names.TURN_INDEX,
        names.RESPONSE_LATENCY, names.INTERRUPTS, names.LATENCY_STAGE + "llm",
    )  # fmt: skip
    data = dict.fromkeys(wanted, 10**400)
    turn = {**TRANSACTION["spans"][0], "op": names.OP_TURN, "data": data}  # type: ignore[index]
    body = envelope(("transaction", {**with_trace(op="conversation", data=data), "spans": [turn]}))
    assert viewer.post(body) == 200
    place = f"/conversations/{TRACE}/{ROOT}"
    for path in ("", "/document.json", f"/spans/{ROOT}.json", "/export.html", "/export.json"):
        assert viewer.client.get(place + path).status_code == 200
    assert viewer.client.get(f"{place}/document.json").json()["facts"]["input_tokens"] is None


def test_a_number_of_many_digits_is_no_fault_of_ours(viewer: Viewer) -> None:
    """As a project, as a length, as a page: Python makes no number of it."""
    many = "9" * 5_000
    body = envelope(("transaction", TRANSACTION))
    headers = {"X-Sentry-Auth": "Sentry sentry_key=viewer"}
    answer = viewer.client.post(f"/api/{many}/envelope/", content=body, headers=headers)
    assert answer.status_code == 200
    assert viewer.post(body, **{"Content-Length": many}) == 413
    assert viewer.client.get(f"/?page={many}").status_code == 200


def test_the_good_items_of_an_envelope_are_taken(viewer: Viewer) -> None:
    """One that is malformed is counted, and keeps none of the others out."""
    body = envelope(("transaction", with_trace(span_id="x")), ("transaction", TRANSACTION))
    assert viewer.post(body) == 200
    assert len(viewer.all()) == 1
    assert of(viewer.app).refused == {"malformed": 1}


def test_what_a_process_dropped_is_told_on_the_page_of_health(viewer: Viewer) -> None:
    """Sentry's SDKs report it."""
    report = {"discarded_events": [{"reason": "queue_overflow", "category": "span", "quantity": 7}]}
    assert viewer.post(envelope(("client_report", report), ("session", {}))) == 200
    health = of(viewer.app)
    assert health.dropped == {"spans: queue_overflow": 7}
    assert not health.is_well
    assert "7 spans: queue_overflow" in " ".join(viewer.client.get("/health").text.split())


def test_hostile_text_is_shown_as_text(viewer: Viewer) -> None:
    """Whatever a process calls its work."""
    name = "<img src=x onerror=alert(1)>\u202e\x00\ud800"
    assert viewer.post(envelope(("transaction", {**TRANSACTION, "transaction": name}))) == 200
    text = viewer.client.get("/").text
    assert "<img src=x" not in text
    assert "\u202e" not in text


def test_long_attributes_make_room(viewer: Viewer) -> None:
    """The longest go; the span is there."""
    data = {"long": "x" * 1_000_000, "short": "y"}
    assert viewer.post(envelope(("transaction", with_trace(data=data)))) == 200
    [found] = viewer.all()
    assert found.spans[0].attributes == {"short": "y"}
