"""A session that behaves like one: it plays back what it hears, and does what it is typed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from agent.gateway.server import serve
from agent.session.line import Line, Outcome, SessionRequest, ToolCalled, Words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from anyio.abc import TaskStatus

    from agent.metrics import Limit

TRACE_ID = "0123456789abcdef0123456789abcdef"


class Echo:
    """An :class:`agent.session.line.Session`."""

    def __init__(self, request: SessionRequest, line: Line) -> None:
        if request.id == "unopenable":
            raise RuntimeError("no session for this caller")
        self.request = request
        self.line = line
        self.outcome: Outcome | None = None
        """What it was asked to end by first."""
        self.limit: Limit | None = None
        """The limit that it was asked to end for."""
        self.closed = anyio.Event()
        self.cancelled = False
        self.gaps: list[object] = []
        """What the caller says it waited, each time."""
        self.asked_from: Mapping[str, str] | None = None
        """The trace headers of what was typed last."""
        self._lingers = False
        self._leaving = anyio.Event()
        """Set unless it has a farewell to say, and then once that is cut short."""
        self._leaving.set()
        self._over = anyio.Event()
        self._typed, self._turns = anyio.create_memory_object_stream[str](10)

    @property
    def id(self) -> str:
        return self.request.id or "made-up"

    @property
    def trace_id(self) -> str:
        return TRACE_ID

    def end(self, outcome: Outcome, limit: Limit | None = None) -> None:
        if self._over.is_set():
            self._leaving.set()
        if self.outcome is None:
            self.outcome, self.limit = outcome, limit
        self._over.set()

    def hear(self, text: str, headers: Mapping[str, str] | None = None) -> None:
        self.asked_from = headers
        if text == "break the reader":
            raise RuntimeError("hear failed")
        self._typed.send_nowait(text)

    def caller_gap(self, seconds: object) -> None:
        self.gaps.append(seconds)

    async def run(self) -> Outcome:
        try:
            with self._typed, self._turns:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._echo)
                    tasks.start_soon(self._obey)
                    await self._over.wait()
                    if self._lingers:  # longer than anybody has patience for
                        await anyio.sleep_forever()
                    await self._leaving.wait()
                    tasks.cancel_scope.cancel()
        except BaseException:
            self.cancelled = True
            raise
        finally:
            self.closed.set()
        return self.outcome or Outcome.COMPLETED

    async def _echo(self) -> None:
        async for frame in self.line.audio_input:
            await self.line.audio_output.capture_frame(frame)

    async def _obey(self) -> None:
        async for text in self._turns:
            self.line.send(Words("user", text, final=True))
            match text:
                case "goodbye":
                    self.end(Outcome.COMPLETED)
                case "stop":
                    self.line.audio_output.clear_buffer()
                case "use a tool":
                    self.line.send(ToolCalled("book", '{"party": 2}', ok=True))
                case "crash":
                    raise RuntimeError("the session has a bug")
                case "linger":
                    self._lingers = True
                case "say a long goodbye":
                    self._leaving = anyio.Event()
                case "talk without end":
                    while True:
                        self.line.send(Words("agent", "blah " * 2000, final=False))
                        await anyio.lowlevel.checkpoint()


class Gateway:
    """A gateway of :class:`Echo` sessions, listening at ``url``."""

    def __init__(self) -> None:
        self.url = ""
        self.sessions: dict[str, Echo] = {}

    def open(self, request: SessionRequest, line: Line) -> Echo:
        session = Echo(request, line)
        self.sessions[session.id] = session
        return session


@asynccontextmanager
async def gateway(**options: Any) -> AsyncIterator[Gateway]:
    """A gateway on a port of its own, shut down at the end of the block."""
    echoes = Gateway()

    async def run(*, task_status: TaskStatus[str]) -> None:
        await serve(echoes.open, port=0, task_status=task_status, **options)

    async with anyio.create_task_group() as tasks:
        echoes.url = await tasks.start(run)
        yield echoes
        tasks.cancel_scope.cancel()
    assert all(session.closed.is_set() for session in echoes.sessions.values())
