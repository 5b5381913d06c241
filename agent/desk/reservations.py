"""The reservations service: a small Starlette application over the reservations book.

====== ====================== ================================== =========================
method path                   takes                              answers
====== ====================== ================================== =========================
GET    /health                                                   ``{"status": "ok"}``
GET    /hours                                                    :class:`Week`
GET    /availability          ``?date=&time=&party=``            :class:`Availability`
GET    /reservations          ``?name=``                         list of :class:`Reservation`
POST   /reservations          :class:`Booking`, ``?approved=``   201, :class:`Reservation`
PATCH  /reservations/{id}     :class:`Change`                    :class:`Reservation`
DELETE /reservations/{id}                                        204
====== ====================== ================================== =========================

The models are in :mod:`agent.desk.wire`. A request that can't be granted is answered by a
:class:`~agent.desk.wire.Problem`: 422 for input that is not valid, 404 for a reservation that
doesn't exist, 409 for what the house can't offer, 503 with ``Retry-After`` while the book is
locked; 413 and 408 for what is too large and too slow (:mod:`agent.desk.limits`).
``?approved=true`` is the manager's word that a party larger than the house's largest may come.

Each request but ``/health`` is a transaction below the span of whoever made it, with the queries it
took, when the process has telemetry (``telemetry.init``).

Started with :class:`Faults`, the service is slow, out of order or silent for certain days.
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
import math
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple, Unpack

import anyio
import anyio.to_thread
import uvicorn
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.desk.house import COPPER_KETTLE, House, local_now
from agent.desk.ledger import (
    BUSY_SECONDS,
    Ledger,
    RequestRefusedError,
    ServiceError,
    is_busy,
)
from agent.desk.limits import LIMITS, BoundedBody, BoundedConnection, Limits
from agent.desk.wire import Booking, Change, Name, Problem, Reason, Seating
from telemetry.integrations.asgi import TraceRequests
from telemetry.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

    from anyio.abc import TaskStatus
    from starlette.requests import Request

logger = logging.getLogger(__name__)

_STATUS: Final = {
    Reason.INVALID: 422,
    Reason.UNKNOWN_RESERVATION: 404,
    Reason.MAINTENANCE: 503,
    Reason.BUSY: 503,
}
_NAME: Final = TypeAdapter(Name)
_SHOWN_CHARACTERS: Final = 100
"""Length of what is repeated of a field's name."""
_GRACE_SECONDS: Final = 2
"""Time a request in progress has when the service stops."""

_Found = TypeVar("_Found")
_Given = TypeVarTuple("_Given")

Clock = Callable[[], dt.datetime]


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults on purpose, to see the agent deal with them: days, of any year, for which the service
    doesn't work. Given as (month, day)."""

    slow: tuple[int, int] = (12, 24)
    """The day for which it takes ``delay`` seconds to answer."""
    failing: tuple[int, int] = (12, 25)
    """The day for which it answers 503, with :attr:`Reason.MAINTENANCE`."""
    silent: tuple[int, int] = (12, 26)
    """The day for which it takes ten times ``delay`` seconds: longer than anybody waits."""
    delay: float = 3.0

    async def meet(self, day: dt.date) -> None:
        """Wait or refuse, as is due on this day."""
        match (day.month, day.day):
            case self.slow:
                await anyio.sleep(self.delay)
            case self.failing:
                detail = "the reservations book is being maintained; try again later"
                raise RequestRefusedError(Problem(reason=Reason.MAINTENANCE, detail=detail))
            case self.silent:
                await anyio.sleep(10 * self.delay)
            case _:
                pass


def create_app(
    db: Path,
    *,
    house: House = COPPER_KETTLE,
    now: Clock = local_now,
    faults: Faults | None = None,
    limits: Limits = LIMITS,
) -> TraceRequests:
    """The service, an ASGI application over the SQLite file ``db``, which is made if it is missing.

    ``now`` is what the service takes for the current wall-clock time; ``faults`` are none. Of the
    ``limits`` those of a body are held.

    Raises:
        ServiceError: ``db`` can't be used.
    """
    ledger = Ledger(db, house)
    ledger.prepare()
    service = _Service(ledger, now, faults)
    app = Starlette(
        routes=[
            Route("/health", service.health),
            Route("/hours", service.hours),
            Route("/availability", service.availability),
            Route("/reservations", service.find),
            Route("/reservations", service.book, methods=["POST"]),
            Route("/reservations/{id}", service.change, methods=["PATCH"]),
            Route("/reservations/{id}", service.cancel, methods=["DELETE"]),
        ],
        exception_handlers={RequestRefusedError: _refused, ValidationError: _invalid},
    )
    return TraceRequests(BoundedBody(app, limits))


@dataclass(frozen=True, slots=True)
class _Service:
    """The service's answers, each to one kind of request."""

    ledger: Ledger
    now: Clock
    faults: Faults | None

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def hours(self, _: Request) -> Response:
        return _answer(self.ledger.house.week)

    async def availability(self, request: Request) -> Response:
        seating = Seating.model_validate(dict(request.query_params))
        await self._meet_faults(seating.date)
        ledger = self.ledger
        return _answer(await _in_book(ledger.availability, seating, self.now()))

    async def find(self, request: Request) -> Response:
        name = _NAME.validate_python(request.query_params.get("name", ""))
        found = await _in_book(self.ledger.under, name, self.now())
        return JSONResponse([reservation.model_dump(mode="json") for reservation in found])

    async def book(self, request: Request) -> Response:
        booking = Booking.model_validate_json(await request.body())
        approved = request.query_params.get("approved") == "true"
        await self._meet_faults(booking.date)
        added = await _in_book(self.ledger.add, booking, self.now(), approved)
        return _answer(added, status=201)

    async def change(self, request: Request) -> Response:
        wanted = Change.model_validate_json(await request.body())
        id = request.path_params["id"]
        if wanted.date is not None:
            await self._meet_faults(wanted.date)
        return _answer(await _in_book(self.ledger.change, id, wanted, self.now()))

    async def cancel(self, request: Request) -> Response:
        await _in_book(self.ledger.remove, request.path_params["id"])
        return Response(status_code=204)

    async def _meet_faults(self, day: dt.date) -> None:
        if self.faults is not None:
            await self.faults.meet(day)


async def _in_book(operation: Callable[[Unpack[_Given]], _Found], *given: *_Given) -> _Found:
    """Do something in the book, in a thread.

    Raises:
        RequestRefusedError: it is locked, or there is no thread in time because it is.
    """
    try:
        with anyio.fail_after(BUSY_SECONDS):  # waits for a thread; one that runs is not given up
            return await anyio.to_thread.run_sync(operation, *given)
    except TimeoutError:
        pass
    except sqlite3.Error as error:
        if not is_busy(error):
            raise
    detail = "the reservations book is locked: try again in a moment"
    raise RequestRefusedError(Problem(reason=Reason.BUSY, detail=detail))


async def serve(
    db: Path,
    host: str = "127.0.0.1",
    port: int = 8780,
    *,
    house: House = COPPER_KETTLE,
    now: Clock = local_now,
    faults: Faults | None = None,
    limits: Limits = LIMITS,
    task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Run the service until cancelled. Reports its URL when ready; port 0 takes a free one.

    Raises:
        ServiceError: ``db`` can't be used, or the address can't be listened on.
    """
    app = await anyio.to_thread.run_sync(
        lambda: create_app(db, house=house, now=now, faults=faults, limits=limits)
    )
    with _listen(host, port) as listener:
        address, bound = listener.getsockname()[:2]
        url = f"http://[{address}]:{bound}" if ":" in address else f"http://{address}:{bound}"
        server = _EmbeddedServer(
            uvicorn.Config(
                app,
                http=functools.partial(BoundedConnection, limits),  # type: ignore[arg-type]  # makes one
                h11_max_incomplete_event_size=limits.head_bytes,
                limit_concurrency=limits.connections + 1,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )

        async def run() -> None:
            # uvicorn is told to stop rather than cancelled, so that it closes its connections
            with anyio.CancelScope(shield=True):
                await server.serve(sockets=[listener])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            try:
                await server.ready.wait()
                logger.info("reservations service listening on %s", url)
                task_status.started(url)
                await anyio.sleep_forever()
            finally:
                server.should_exit = True


class _EmbeddedServer(uvicorn.Server):
    """A uvicorn server that says when it is ready and leaves signals to the program it is in."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=_family(host))
    except (OSError, OverflowError) as error:
        raise ServiceError(
            f"can't listen on {host}:{port}: {error}; choose another host or port (0 is any free)"
        ) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _answer(model: BaseModel, *, status: int = 200) -> Response:
    return Response(model.model_dump_json(), status_code=status, media_type="application/json")


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestRefusedError)
    answer = _answer(error.problem, status=_STATUS.get(error.problem.reason, 409))
    if error.problem.reason is Reason.BUSY:
        answer.headers["Retry-After"] = str(math.ceil(BUSY_SECONDS))
    return answer


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationError)
    first = error.errors(include_url=False)[0]
    where = printable(".".join(str(part) for part in first["loc"]), _SHOWN_CHARACTERS) or "body"
    detail = printable(f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}")
    return _answer(Problem(reason=Reason.INVALID, detail=detail), status=422)
