"""Nothing a stranger sends is printed raw: every field of every protocol, to every output.

The tables hold a message of each of a protocol's models with all of its fields. A model or a field
that isn't in its table fails the test: what it brings in must be looked for in what goes out.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
import logging
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote
from xml.etree import ElementTree as ET

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import BaseModel
from rich.console import Console
from websockets.datastructures import Headers

import telemetry
from agent import metrics, simulator
from agent.cli import check as checking
from agent.cli import terminal
from agent.cli.process import PrintableFormatter
from agent.cli.traces import list_conversations, show_conversation
from agent.desk import Reservations, ReservationsError, create_app, wire
from agent.gateway import ProtocolError, admission, parse_gateway_message, protocol
from agent.gateway.exchange import Exchange
from agent.gateway.page import Page
from agent.rooms import request
from agent.session import SessionRequest
from agent.simulator import expect, scenario
from agent.simulator.report import CallResult, Progress, Report, TurnResult
from config import load
from telemetry import attributes as names
from telemetry.integrations import livekit as livekit_telemetry
from telemetry.store import TraceStore
from telemetry.testing import capture
from tests.agent.desk.conftest import NOW
from tests.agent.simulator.results import STATS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import ModuleType

FORGED: Final = "2026-11-26 00:00:00 ERROR forged: all is lost"
HOSTILE: Final = (
    "\x1b[2J\x1b[31m\x1b]0;title\x07\x9b1m",
    f"first\r\n{FORGED}\n\u2028{FORGED}\x85{FORGED}",
    "\u202e\u2066turned\u2069\u200f \u200bhidden\ufeff",
    "<script>alert(1)</script><img src=x onerror=alert(1)> [bold red]markup[/]",
    "nul \x00 inside",
    "half \ud83d a pair",
    "a" * 1_000_000,
)
MOST_OUTPUT: Final = 100_000
"""Characters that one output may have, whatever it is about."""

TRACE: Final = {"sentry-trace": "0123456789abcdef" * 2 + "-fedcba9876543210-1", "baggage": "a=b"}
GATEWAY: Final[dict[type[BaseModel], dict[str, Any]]] = {
    protocol.Start: {
        "type": "start",
        "sample_rate": 16000,
        "id": "c-1",
        "user": {"id": "u"},
        "tags": {"tenant": "acme"},
        "headers": TRACE,
    },
    protocol.Text: {"type": "text", "text": "hello", "headers": TRACE},
    protocol.Gap: {"type": "gap", "seconds": 0.74},
    protocol.End: {"type": "end"},
    protocol.Started: {"type": "started", "id": "c", "trace_id": "a" * 32, "sample_rate": 8000},
    protocol.State: {"type": "state", "agent": "idle", "user": "away"},
    protocol.Words: {"type": "words", "speaker": "user", "text": "hello", "final": True},
    protocol.Tool: {"type": "tool", "name": "book", "arguments": "{}", "ok": True},
    protocol.AudioStarted: {"type": "audio_started"},
    protocol.AudioEnded: {"type": "audio_ended", "interrupted": False},
    protocol.Flush: {"type": "flush"},
    protocol.Ended: {"type": "ended", "outcome": "completed"},
}
FROM_CALLERS: Final = (protocol.Start, protocol.Text, protocol.Gap, protocol.End)
_SEATING: Final = {"date": "2026-11-27", "time": "19:30", "party": 4}
RESERVATIONS: Final[dict[type[BaseModel], dict[str, Any]]] = {
    wire.Hours: {"opens": "17:00", "closes": "23:00"},
    wire.Week: {"root": {"monday": None}},
    wire.Seating: _SEATING,
    wire.Booking: {**_SEATING, "name": "Johnson"},
    wire.Reservation: {**_SEATING, "name": "Johnson", "id": "00000000"},
    wire.Change: _SEATING,
    wire.Availability: {"seating": _SEATING, "available": False, "alternatives": ["20:00"]},
    wire.Problem: {"reason": "closed", "detail": "on Mondays", "alternatives": []},
}
_TURN: Final[dict[str, Any]] = {
    "wait_for": "agent",
    "barge_in_ms": None,
    "pause_ms": 200,
    "expect": {},
}
SCENARIO: Final[dict[type[BaseModel], dict[str, Any]]] = {
    expect.Expect: {
        "reply": "hello",
        "no_reply": False,
        "tool": "book",
        "arguments": {"party": 4},
        "tool_ok": True,
        "within_ms": 5000,
        "interruption": "stops",
    },
    scenario.SpokenTurn: {**_TURN, "say": "nobody.wav", "words": "hello"},
    scenario.TypedTurn: {**_TURN, "text": "hello"},
    scenario.SilentTurn: {**_TURN, "silence": 100},
    scenario.HangUpTurn: {
        name: value for name, value in {**_TURN, "hang_up": True}.items() if name != "expect"
    },
    scenario.Start: {"user": {"id": "u"}, "tags": {"tenant": "acme"}},
    scenario.Line: {
        "snr_db": 20.0,
        "loss": 0.0,
        "jitter_ms": 0.0,
        "gap_ms": 0.0,
        "clip_start_ms": 0.0,
        "echo_db": None,
    },
    scenario.Scenario: {
        "name": "hello",
        "description": "",
        "start": {},
        "turns": [{"text": "hello"}],
        "line": {},
        "reservations": None,
        "outcome": None,
    },
}
ROOMS: Final = {
    "metadata": {"id", "user", "tags", "headers"},
    "trace headers": {"sentry-trace", "traceparent", "baggage"},
    "participant": {"identity", "name", "attributes"},
}
SERVICE_PARAMETERS: Final = {"name", "approved", "id", "date", "time", "party"}


# -- the tables are complete ---------------------------------------------------------------------


def _models(*modules: ModuleType) -> set[type[BaseModel]]:
    """The models of these modules that messages are made of."""
    found = {
        each
        for module in modules
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, BaseModel)
        if each.__module__ == module.__name__ and "[" not in each.__name__
    }
    return {each for each in found if not each.__name__.startswith("_") and each.model_fields}


@pytest.mark.parametrize(
    ("table", "modules"),
    [(GATEWAY, [protocol]), (RESERVATIONS, [wire]), (SCENARIO, [scenario, expect])],
    ids=["gateway", "reservations", "scenario"],
)
def test_every_field_is_in_its_table(
    table: Mapping[type[BaseModel], Mapping[str, Any]], modules: list[ModuleType]
) -> None:
    """A protocol that grows grows here, too."""
    assert set(table) == _models(*modules)
    for model, sample in table.items():
        assert set(sample) == set(model.model_fields), model.__name__


def test_every_name_is_in_its_table() -> None:
    """So do those without models: rooms' metadata and attributes, a request's parameters."""
    given = [*inspect.signature(request.from_participant).parameters]
    assert set(given) == ROOMS["participant"]
    assert set(request._FIELDS) == ROOMS["metadata"]
    assert set(request._TRACE_HEADERS) == ROOMS["trace headers"]
    asked = set(wire.Seating.model_fields) | {"name", "approved", "id"}
    assert asked == SERVICE_PARAMETERS


# -- what comes out ------------------------------------------------------------------------------


def assert_plain(output: str) -> None:
    """Nothing in an output moves a cursor, turns a line, hides, or fills the screen."""
    raw = {c for c in output if not c.isprintable()} - {"\n"}
    assert not raw, f"{raw!r} in {output[:200]!r}"
    assert not any(line.startswith(FORGED) for line in output.split("\n"))
    assert len(" ".join(output.split())) < MOST_OUTPUT


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """What ``parley`` logs to stderr, down to the last detail, and nobody else gets meanwhile:
    half of a surrogate pair is more than one process of pytest can tell another."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    before, others = root.level, root.handlers
    root.handlers = [handler]
    root.setLevel(logging.DEBUG)
    try:
        yield stream
    finally:
        root.setLevel(before)
        root.handlers = others


def variants(sample: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The message with each field in turn full of what is hostile, and with a field too many."""
    for bad in HOSTILE:
        for name in sample:
            for value in (bad, {bad: bad}, [bad], {"id": bad}):
                yield {**sample, name: value}
        yield {**sample, bad: bad}


def hold(call: SessionRequest, words: str = "hello") -> None:
    """Hold a conversation with this caller, as a session does."""
    with telemetry.conversation(
        "call", id=call.id, user=call.user, tags=call.tags, headers=telemetry.extract(call.headers)
    ) as conversation:
        conversation.start_span(names.OP_TURN, attributes={names.USER_WORDS: words}).finish()
        logging.getLogger("agent").warning("call %s by %s: %s", call.id, call.user, call.tags)


def shown(store: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[str]:
    """What ``parley traces`` prints of a store: the list, and each conversation."""
    list_conversations([store], 1000)
    yield from _parts(capsys.readouterr().out)
    for each in TraceStore(store).conversations(limit=1000):
        show_conversation([store], each.root_span_id, words=True)
        yield capsys.readouterr().out


def _parts(text: str) -> Iterator[str]:
    """A listing has a line for each: each is an output."""
    yield from text.split("\n")


def reports(*texts: str) -> Iterator[str]:
    """A simulation's outputs, all of whose texts are these."""
    for text in texts:
        turn = TurnResult(
            text,
            "spoken",
            words=text,
            heard=text,
            reply=text,
            failures=(text,),
            stages_ms={text: 9},
        )
        call = CallResult(text, text, text, None, (turn,), failures=(text,), line=text)
        report = Report((call,), STATS, seed=7, command=text)
        console = Console(file=io.StringIO(), width=10_000, force_terminal=False)
        with simulator.watch(console) as on_progress:
            on_progress(Progress(text, text, 1, 1, text))
        console.print(simulator.render(report))
        assert isinstance(console.file, io.StringIO)
        yield console.file.getvalue()
        document = simulator.junit(report)
        ET.fromstring(document)  # noqa: S314 - our own
        assert "<script" not in document
        yield document
        as_json = json.dumps(simulator.as_json(report))
        assert as_json.isascii()
        assert json.loads(as_json)["conversations"][0]["id"] == text


# -- each protocol -------------------------------------------------------------------------------


def test_the_gateways_callers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Refusals, logs and traces of calls with anything in any field."""
    store = tmp_path / "traces.db"
    with capture(store=store), logged() as log:
        for model in FROM_CALLERS:
            for message in variants(GATEWAY[model]):
                exchange = Exchange()
                if model is not protocol.Start:
                    exchange.from_caller(json.dumps(GATEWAY[protocol.Start]))
                    exchange.to_caller(protocol.Started(id="c", trace_id="t", sample_rate=16000))
                try:
                    told = exchange.from_caller(json.dumps(message))
                except ProtocolError as error:
                    logging.getLogger("agent").info("connection refused: %s", error)
                    assert_plain(f"{error} {error.reason}")
                    continue
                if isinstance(told, protocol.Start):
                    hold(SessionRequest(None, told.user, told.tags, told.headers))
                elif isinstance(told, protocol.Text):
                    hold(SessionRequest(), told.text)
                elif isinstance(told, protocol.Gap):
                    with telemetry.conversation("call") as conversation:
                        livekit_telemetry.caller_gap(conversation, told.seconds)
    for line in log.getvalue().split("\n"):
        assert_plain(line)
    outputs = list(shown(store, capsys))
    assert len(outputs) > 20
    for output in outputs:
        assert_plain(output)


def test_the_gateways_answers() -> None:
    """A caller's reports on a gateway that says anything."""
    for model in set(GATEWAY) - set(FROM_CALLERS):
        for message in variants(GATEWAY[model]):
            try:
                told = parse_gateway_message(json.dumps(message))
            except ProtocolError as error:
                assert_plain(f"{error} {error.reason}")
                continue
            assert isinstance(told, BaseModel)
            texts = {value for _, value in told if isinstance(value, str) and value in HOSTILE}
            for output in reports(*texts):
                assert_plain(output)


async def test_the_reservations_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Refusals, logs and traces of requests with anything in any field, parameter or path."""
    store = tmp_path / "traces.db"
    with capture(store=store), logged() as log:
        app = create_app(tmp_path / "book.db", now=lambda: NOW)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://desk") as http:
            answers = [
                await http.request(method, path, content=_json(document))
                for method, path, model in (
                    ("POST", "/reservations", wire.Booking),
                    ("PATCH", "/reservations/none", wire.Change),
                )
                for document in variants(RESERVATIONS[model])
            ]
            for bad in HOSTILE[:-1]:
                text = bad.encode(errors="replace").decode()
                for parameter in SERVICE_PARAMETERS:
                    query: dict[str, Any] = {**_SEATING, parameter: text}
                    answers.append(await http.get("/availability", params=query))
                    answers.append(await http.get("/reservations", params=query))
                answers.append(await http.delete(f"/reservations/{quote(text, safe='')}"))
                answers.append(await http.get(f"/{quote(text)}"))
                answers.append(await http.get("/hours", headers=[(b"baggage", text.encode())]))
    refused = [answer for answer in answers if answer.is_client_error]
    assert len(refused) > 100
    for answer in refused:
        assert_plain(answer.text)
    for output in (*log.getvalue().split("\n"), *shown(store, capsys)):
        assert_plain(output)


async def test_a_reservations_service_of_somebody_elses() -> None:
    """What the agent says, and the log, of answers with anything in any field."""
    with logged() as log:
        for model in RESERVATIONS:
            for document in variants(RESERVATIONS[model]):
                status = 409 if model is wire.Problem else 200
                content = _json(document.get("root", document))
                answer = httpx.MockTransport(
                    lambda _, status=status, content=content: httpx.Response(
                        status, content=content
                    )
                )
                async with httpx.AsyncClient(transport=answer, base_url="http://desk") as http:
                    try:
                        await Reservations(http).hours()
                    except ReservationsError as error:
                        assert_plain(str(error))
    for line in log.getvalue().split("\n"):
        assert_plain(line)


def test_rooms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Logs and traces of calls whose metadata or attributes hold anything."""
    store = tmp_path / "traces.db"
    start = {name: GATEWAY[protocol.Start][name] for name in ROOMS["metadata"]}
    with capture(store=store), logged() as log:
        for found in variants({**start, **dict.fromkeys(ROOMS["trace headers"], "")}):
            if (call := request.from_metadata(json.dumps(found))) is not None:
                hold(SessionRequest(None, call.user, call.tags, call.headers))
        for bad in HOSTILE:
            for attributes in (
                {bad: bad},
                {request.CONVERSATION: bad},
                *({name: bad} for name in ROOMS["trace headers"]),
            ):
                hold(request.from_participant(bad, bad, attributes))
    for output in (*log.getvalue().split("\n"), *shown(store, capsys)):
        assert_plain(output)


def test_scenario_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is said of a file with anything in any field; and the reports on one that can be run."""
    path = tmp_path / "hello.yaml"
    for model, sample in SCENARIO.items():
        for document in variants(sample):
            path.write_text(json.dumps(_scenario_of(model, document)))
            try:
                read = simulator.load_scenario(path)
            except simulator.ScenarioError as error:
                terminal.warn(f"parley: {error}")
                assert_plain(capsys.readouterr().err)
                continue
            texts = {read.name, read.description, *(turn.doing for turn in read.turns)}
            for output in reports(*(text for text in texts if text in HOSTILE)):
                assert_plain(output)


def _scenario_of(model: type[BaseModel], part: dict[str, Any]) -> dict[str, Any]:
    """A scenario with this part of it."""
    whole = SCENARIO[scenario.Scenario]
    if model is scenario.Scenario:
        return part
    if model is expect.Expect:
        return {**whole, "turns": [{"text": "hello", "expect": part}]}
    if model in (scenario.Start, scenario.Line):
        return {**whole, model.__name__.lower(): part}
    return {**whole, "turns": [part]}


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


# -- the other outputs ---------------------------------------------------------------------------


@pytest.mark.parametrize("bad", HOSTILE, ids=range(len(HOSTILE)))
def test_headers_of_a_refused_connection(bad: str) -> None:
    """What is repeated of a header is plain, and short."""
    # as a server reads them: bytes, none of which is a control character of ASCII's
    sent = re.sub(r"[\x00-\x1f\x7f]", "", bad.encode(errors="replace").decode("latin-1"))
    headers = Headers(Host=sent, Origin=sent)
    refusals = [
        admission.check_host(headers, "parley.example"),
        admission.check_origin(headers, own_page=True),
        admission.check_token(Headers(Authorization=sent), "s3cret"),
    ]
    for refusal in refusals:
        assert refusal is not None
        assert_plain(refusal.text)
        assert len(refusal.text) < 1000


class Unreadable(str):
    """A text that is quoted in full where it can't be read."""

    def __int__(self) -> int:
        raise ValueError(str(self))


@pytest.mark.parametrize("bad", HOSTILE, ids=range(len(HOSTILE)))
def test_logs(bad: str) -> None:
    """A message, its arguments and the exception's own words: none begins a line of its own."""
    with logged() as log:
        try:
            int(Unreadable(bad))
        except ValueError:
            logging.getLogger("agent").exception("%s", bad, stack_info=True)
    for line in log.getvalue().split("\n"):
        assert_plain(line)
    first, *others = log.getvalue().removesuffix("\n").split("\n")
    assert first.startswith("ERROR agent: ")
    assert others
    assert all(line.startswith("    ") for line in others)


@pytest.mark.parametrize("bad", HOSTILE, ids=range(len(HOSTILE)))
def test_check(
    bad: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a service answers to ``parley check`` is a line of text, whatever it is."""

    async def well() -> str:
        return bad

    async def wrong() -> str:
        raise RuntimeError(bad)

    found = [("first", well), ("second", wrong)]
    monkeypatch.setattr(checking, "_probes", lambda _: found)
    assert not checking.check(load(trace_store=None), limit=5)
    out = capsys.readouterr().out
    assert_plain(out)
    assert "1 problem." in out


def test_labels_of_metrics() -> None:
    """Prometheus is told of few reasons, in few characters."""
    counts = dict.fromkeys(
        each.name for each in dataclasses.fields(telemetry.Stats) if each.name != "dropped"
    )
    stats = telemetry.Stats(**dict.fromkeys(counts, 0), dropped=dict.fromkeys(HOSTILE, 1))
    registry = CollectorRegistry()
    registry.register(metrics.Worker(sessions=lambda: 0, max_sessions=1, stats=lambda: stats))
    output = generate_latest(registry).decode()
    assert_plain(output)
    assert max(map(len, output.split("\n"))) < 1000


def test_the_page_takes_text_for_text() -> None:
    """Nothing on the page makes markup of what it is sent, and all of it passes ``printable``."""
    page = Page()
    for path in page.paths:
        found = page.find(path)
        assert found is not None
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in found.text, path
        for line in found.text.splitlines():
            if re.search(r"\.(textContent|title) \+?= ", line):
                assert re.search(r"printable\(|= shown|milliseconds\(|String\(|= clock", line), line
