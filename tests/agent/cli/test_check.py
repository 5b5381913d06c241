"""``parley check`` against real servers: all well, all wrong, and nothing told that is secret."""

from __future__ import annotations

import functools
import os
import socket
import sqlite3
import sys
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
import uvicorn
from livekit.api import ListRoomsResponse
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent import desk
from agent.cli import probes
from telemetry.store import StoredError, TraceStore
from tests.agent.providers.openai_server import OpenAIServer
from tests.ingest import Ingest
from tests.telemetry.integrations.collector import Collector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

SECRET = "s3cret-s3cret-s3cret-s3cret-s3cret"


class Services:
    """Sentry's ingestion and a LiveKit server, as far as ``parley check`` talks to them."""

    def __init__(self) -> None:
        self.envelopes: list[bytes] = []

    async def envelope(self, request: Request) -> Response:
        """Takes the project's key only."""
        if f"sentry_key={SECRET}" not in request.headers["X-Sentry-Auth"]:
            return JSONResponse({"detail": "bad sentry DSN public key"}, status_code=403)
        self.envelopes.append(await request.body())
        return JSONResponse({})

    async def rooms(self, request: Request) -> Response:
        """One empty list of rooms, to those with a token."""
        if not request.headers["Authorization"].startswith("Bearer ey"):
            return JSONResponse({"code": "unauthenticated", "msg": "no"}, status_code=401)
        body = ListRoomsResponse().SerializeToString()
        return Response(body, media_type="application/protobuf")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """The host and port while it runs."""
        routes = [
            Route("/api/{project}/envelope/", self.envelope, methods=["POST"]),
            Route("/twirp/livekit.RoomService/ListRooms", self.rooms, methods=["POST"]),
        ]
        config = uvicorn.Config(Starlette(routes=routes), lifespan="off", log_level="error", port=0)
        listening = config.bind_socket()
        http = uvicorn.Server(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(http.serve, [listening])
            try:
                yield f"127.0.0.1:{listening.getsockname()[1]}"
            finally:
                http.should_exit = True


async def _check(folder: Path, *arguments: str, **environ: str) -> tuple[int, str]:
    """Run the command in ``folder``; exit code, and what it printed."""
    ours = ("PARLEY_", "SENTRY_", "LIVEKIT_", "OPENAI_")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    with anyio.fail_after(50):
        done = await anyio.run_process(
            [sys.executable, "-c", "from agent.cli import main; main()", "check", *arguments],
            cwd=folder,
            env={**clean, "COLUMNS": "200", "PYTHONPATH": os.getcwd(), **environ},
            check=False,
        )
    return done.returncode, done.stdout.decode() + done.stderr.decode()


async def test_all_is_well(tmp_path: Path) -> None:
    """A line for each thing that was reached, exit code 0, and nothing recorded anywhere."""
    services, models, collector = Services(), OpenAIServer(), Collector()
    with collector:
        await _all_is_well(services, models, collector, tmp_path)
    assert collector.requests[0]["x-key"] == SECRET
    assert collector.spans == []


async def _all_is_well(
    services: Services, models: OpenAIServer, collector: Collector, tmp_path: Path
) -> None:
    async with (
        services.serving() as host,
        models.serving() as base_url,
        anyio.create_task_group() as tasks,
    ):
        service = await tasks.start(functools.partial(desk.serve, tmp_path / "r.db", port=0))
        code, said = await _check(
            tmp_path,
            "--timeout",
            "40",
            PARLEY_LLM="openai,scripted",
            PARLEY_LLM_MODEL="tiny",
            PARLEY_STT="local,openai",
            PARLEY_TTS="openai",
            OPENAI_API_KEY="key",
            OPENAI_BASE_URL=base_url,
            SENTRY_DSN=f"http://{SECRET}@{host}/7",
            PARLEY_OTLP_ENDPOINT=collector.endpoint,
            PARLEY_OTLP_HEADERS=f"x-key={SECRET}",
            LIVEKIT_URL=f"http://{host}",
            LIVEKIT_API_KEY="devkey",
            LIVEKIT_API_SECRET=SECRET,
            PARLEY_RESERVATIONS_URL=service,
            PARLEY_GATEWAY_PORT="0",
        )
        tasks.cancel_scope.cancel()
    assert code == 0, said
    lines = said.splitlines()
    assert lines[-1] == "All is well."
    assert all(line.startswith("ok ") for line in lines[:-1])
    for name in (
        "agent ",
        "language model openai ",
        "language model scripted ",
        "recognition local ",
        "recognition openai ",
        "voice openai ",
        "reservations ",
        "trace store ",
        "sentry ",
        "collector ",
        "livekit ",
        "gateway port ",
    ):
        assert any(line[9:].startswith(name) and line.endswith(" ms") for line in lines), name
    assert "open on monday" in said.lower()
    assert SECRET not in said
    assert not (tmp_path / "traces.db").exists()
    (envelope,) = services.envelopes
    assert b'"type": "client_report"' in envelope


async def test_each_problem_says_how_to_mend_it(tmp_path: Path) -> None:
    """Every wrong thing has its line, the others are reached all the same; exit code 1."""
    (tmp_path / "traces.db").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with Services().serving() as host, OpenAIServer().serving() as base_url:
            code, said = await _check(
                tmp_path,
                PARLEY_AGENT="no_such:Agent",
                PARLEY_LLM="openai",
                PARLEY_LLM_MODEL="tiny",
                PARLEY_TTS="plugin:no_such",
                PARLEY_STT="deepgram/nova-3",
                LIVEKIT_INFERENCE_URL=f"http://{host}/v1",
                OPENAI_API_KEY=SECRET,
                OPENAI_BASE_URL=base_url,
                SENTRY_DSN=f"http://wrong-{SECRET}@{host}/7",
                PARLEY_OTLP_ENDPOINT="http://127.0.0.1:9/v1/traces",
                PARLEY_OTLP_HEADERS=f"x-key={SECRET}",
                LIVEKIT_URL="http://127.0.0.1:9",
                LIVEKIT_API_KEY="devkey",
                LIVEKIT_API_SECRET=SECRET,
                PARLEY_RESERVATIONS_URL="http://127.0.0.1:9",
                PARLEY_GATEWAY_HOST="0.0.0.0",
                PARLEY_GATEWAY_PORT=str(taken.getsockname()[1]),
            )
    assert code == 1
    for state, name, mend in (
        ("problem", "agent", "No module named 'no_such'"),
        ("problem", "language model openai", "wrong key (HTTP 401): check the key"),
        ("problem", "voice plugin:no_such", "uv add livekit-plugins-no-such"),
        ("problem", "recognition deepgram/nova-3", "PARLEY_STT=deepgram/nova-3"),
        ("problem", "sentry", "refuses the key of project 7"),
        ("problem", "collector", "(Connection refused): check PARLEY_OTLP_ENDPOINT"),
        ("problem", "livekit", "check LIVEKIT_URL"),
        ("problem", "trace store", "PARLEY_TRACE_STORE"),
        ("problem", "gateway port", "PARLEY_GATEWAY_PORT"),
        ("warning", "gateway token", "set PARLEY_GATEWAY_TOKEN"),
    ):
        (line,) = [line for line in said.splitlines() if line[9:].startswith(f"{name} ")]
        assert line.startswith(state)
        assert mend in line
    assert "reservations" not in said  # another agent than the desk has no use for them
    assert SECRET not in said
    assert "Traceback" not in said


async def test_what_does_not_answer_is_given_up(tmp_path: Path) -> None:
    """Each check has a time limit of its own."""
    async with OpenAIServer(hangs=True).serving() as base_url:
        code, said = await _check(
            tmp_path,
            "--timeout",
            "0.5",
            PARLEY_LLM="openai",
            PARLEY_LLM_MODEL="tiny",
            PARLEY_STT="openai",
            PARLEY_TTS="openai",
            OPENAI_API_KEY="key",
            OPENAI_BASE_URL=base_url,
        )
    assert code == 1
    assert said.count("no answer within 0.5 s") == 3


@pytest.mark.parametrize(
    ("status", "headers", "says", "mend"),
    [
        (401, {"X-Sentry-Error": "bad key"}, "the key of project 1 (HTTP 401: bad key)", "copy S"),
        (404, {}, "knows no project 1 (HTTP 404)", "see that it is there, and copy SENTRY_DSN"),
        (429, {"Retry-After": "60"}, "takes no more of project 1 for now (HTTP 429)", "quota"),
        (503, {}, "answers HTTP 503", "status page"),
        (302, {"Location": "/"}, "answers HTTP 302", "the proxy's before it"),
        (200, {"X-Sentry-Rate-Limits": "60:transaction:key"}, "(60:transaction:key)", "quota"),
    ],
    ids=["key", "project", "limited", "down", "redirect", "limited in part"],
)
async def test_sentry_that_refuses(
    status: int, headers: dict[str, str], says: str, mend: str
) -> None:
    """An envelope is sent, and its refusal told with the reason and the way to mend it."""
    with Ingest() as ingest:
        ingest.answer(status, headers)
        with pytest.raises(probes.Problem) as problem:
            await probes.sentry(ingest.dsn)
    assert says in str(problem.value)
    assert mend in str(problem.value)


async def test_sentry_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that doesn't answer, that isn't there, and a name that nobody knows."""
    monkeypatch.setattr(probes, "SENTRY_TIMEOUT_SECONDS", 0.2)
    with Ingest() as ingest:
        ingest.hang()
        with pytest.raises(probes.Problem, match=r"doesn't answer within 0\.2 s.*the network"):
            await probes.sentry(ingest.dsn)
        dsn = ingest.dsn
    for gone in (dsn, "http://key@sentry.invalid/1"):
        with pytest.raises(probes.Problem, match=r"can't be reached .*: check SENTRY_DSN"):
            await probes.sentry(gone)


async def test_settings_that_cannot_be_read_are_exit_code_2(tmp_path: Path) -> None:
    """Nothing is reached with settings that are wrong."""
    code, said = await _check(tmp_path, PARLEY_LLM="gpt")
    assert (code, said.count("\n")) == (2, 1)
    assert "PARLEY_LLM" in said


async def test_what_waits_in_the_store_is_told(tmp_path: Path) -> None:
    """Envelopes, since when; and conversations that killed processes left open."""
    path = tmp_path / "traces.db"
    store = TraceStore(path)
    with store.writing() as cursor:
        cursor.execute("INSERT INTO process VALUES (7, 1, '', '', 0, 0, 1)")
        cursor.execute("INSERT INTO unsent VALUES ('k', 7, 0, 1795000000, 1, 1, '', x'')")
        cursor.execute(
            "INSERT INTO conversation (id, trace_id, op, name, started_at, status, user, tags, "
            "process) VALUES ('c', 't', 'conversation', 'host', 0, 'open', '{}', '{}', 7)"
        )
    store.close()
    said = await probes.trace_store(path)
    assert "waiting for Sentry since 2026-11-18" in said
    assert "left by processes that are gone: 1, see `parley traces recover`" in said


async def test_a_store_in_use_or_out_of_reach_is_a_problem(tmp_path: Path) -> None:
    """The store is tried for writing and left as it was."""
    path = tmp_path / "traces.db"
    assert await probes.trace_store(path) == str(path)
    assert not path.exists()
    TraceStore(path).add_error(None, StoredError(None, None, 0.0, "E", ""))
    busy = sqlite3.connect(path)
    assert await probes.trace_store(path) == str(path)
    busy.execute("BEGIN EXCLUSIVE")
    with pytest.raises(probes.Problem, match="locked"):
        await probes.trace_store(path)
    busy.close()
    with pytest.raises(probes.Problem, match="no folder that is writable"):
        await probes.trace_store(tmp_path / "no" / "where.db")
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE t (x)")
    with pytest.raises(probes.Problem, match="another program's database"):
        await probes.trace_store(tmp_path / "other.db")
    os.mkfifo(tmp_path / "pipe")
    for place, problem in {"pipe": "a pipe", ".": "a folder", ":memory:": "in memory"}.items():
        with anyio.fail_after(20), pytest.raises(probes.Problem, match=problem):
            await probes.trace_store(Path(place) if place == ":memory:" else tmp_path / place)
