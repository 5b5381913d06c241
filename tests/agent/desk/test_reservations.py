"""The reservations service over real HTTP, and the client that speaks to it."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import signal
import socket
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from agent.desk import (
    Faults,
    Reservations,
    ReservationsError,
    ServiceError,
    create_app,
    serve,
)
from agent.desk.ledger import Ledger
from agent.desk.wire import Availability, Booking, Change, Reason, Reservation, Seating
from tests.agent.desk.conftest import HOUSE, NOW, TODAY

if TYPE_CHECKING:
    from pathlib import Path

FRIDAY = dt.date(2026, 11, 27)
EVENING = dt.time(19, 30)


def booking(name: str = "Johnson", party: int = 4, time: dt.time = EVENING) -> Booking:
    return Booking(name=name, date=FRIDAY, time=time, party=party)


async def fill(reservations: Reservations, time: dt.time = EVENING, leave: int = 0) -> None:
    """Take every seat at this time but ``leave``."""
    seats = HOUSE.seats - leave
    while seats:
        party = min(seats, HOUSE.largest_party)
        await reservations.book(booking("Everybody", party, time))
        seats -= party


async def test_booking_is_found_changed_and_cancelled(reservations: Reservations) -> None:
    """A reservation lives as long as its caller wants it to."""
    booked = await reservations.book(booking())
    assert await reservations.under("johnson") == [booked]
    changed = await reservations.change(booked.id, Change(time=dt.time(20)))
    assert changed == booked.model_copy(update={"time": dt.time(20)})
    assert await reservations.under("Johnson") == [changed]
    await reservations.cancel(booked.id)
    assert await reservations.under("Johnson") == []


def test_what_went_wrong_is_said_though_nothing_is_left_to_roll_back(tmp_path: Path) -> None:
    """SQLite ends the transaction itself on some errors, as here: that error is raised."""
    ledger = Ledger(tmp_path / "book.db", HOUSE)
    ledger.prepare()
    with closing(sqlite3.connect(ledger.path)) as db:
        db.execute(
            "CREATE TRIGGER full BEFORE INSERT ON reservations "
            "BEGIN SELECT RAISE(ROLLBACK, 'the book is full'); END"
        )
    with pytest.raises(sqlite3.IntegrityError, match="the book is full"):
        ledger.add(booking(), NOW)


async def test_opening_hours(reservations: Reservations) -> None:
    """The week is the house's."""
    assert await reservations.hours() == HOUSE.week


async def test_full_house_offers_the_nearest_times(reservations: Reservations) -> None:
    """What is full is said, with the nearest free times before and after."""
    await fill(reservations, leave=3)
    seating = Seating(date=FRIDAY, time=EVENING, party=4)
    times = (dt.time(19), dt.time(20))
    assert await reservations.availability(seating) == Availability(
        seating=seating, available=False, alternatives=times
    )
    with pytest.raises(ReservationsError, match=r"fully booked .* seven or eight") as refusal:
        await reservations.book(booking())
    assert refusal.value.problem
    assert refusal.value.problem.alternatives == times
    await reservations.book(booking(party=3))


async def test_last_table_goes_to_one_caller(reservations: Reservations) -> None:
    """Callers who book at the same time don't get the same seats."""
    await fill(reservations, leave=8)
    outcomes: list[Reservation | ReservationsError] = []

    async def book() -> None:
        try:
            outcomes.append(await reservations.book(booking()))
        except ReservationsError as error:
            outcomes.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(book)
    assert sum(isinstance(outcome, Reservation) for outcome in outcomes) == 2
    assert len(outcomes) == 8


async def test_own_seats_don_t_stand_in_the_way_of_a_change(reservations: Reservations) -> None:
    """A party that shrinks in a full slot fits: it is not counted twice."""
    booked = await reservations.book(booking(party=12))
    await fill(reservations, leave=12)
    assert (await reservations.change(booked.id, Change(party=11))).party == 11
    with pytest.raises(ReservationsError, match="larger party"):
        await reservations.change(booked.id, Change(party=13))


@pytest.mark.parametrize(
    ("seating", "reason"),
    [
        (Seating(date=TODAY, time=dt.time(9), party=2), Reason.PAST),
        (Seating(date=dt.date(2026, 11, 23), time=EVENING, party=2), Reason.CLOSED),
        (Seating(date=FRIDAY, time=dt.time(22, 30), party=2), Reason.CLOSED),
        (Seating(date=FRIDAY, time=dt.time(19, 10), party=2), Reason.NOT_A_SLOT),
        (Seating(date=FRIDAY, time=EVENING, party=13), Reason.PARTY_TOO_LARGE),
    ],
)
async def test_what_the_house_refuses(
    reservations: Reservations, seating: Seating, reason: Reason
) -> None:
    """A refusal has its reason, and a sentence that can be spoken."""
    with pytest.raises(ReservationsError) as refusal:
        await reservations.availability(seating)
    assert refusal.value.problem
    assert refusal.value.problem.reason is reason
    assert not any(character.isdigit() for character in str(refusal.value))


async def test_bad_requests_get_one_line(service: str) -> None:
    """What is not valid is answered by a status and one line that names the field."""
    async with httpx.AsyncClient(base_url=service) as http:
        answers = [
            await http.get("/availability?date=2026-11-27&time=19:30"),
            await http.get("/availability?date=soon&time=19:30&party=2"),
            await http.get("/reservations"),
            await http.post("/reservations", content="{"),
            await http.post(
                "/reservations",
                json={"name": " ", "date": "2026-11-27", "time": "19:30", "party": 2},
            ),
            await http.patch("/reservations/none", json={"party": 0}),
        ]
        assert [answer.status_code for answer in answers] == [422] * 6
        details = [answer.json()["detail"] for answer in answers]
        assert [detail.split(":")[0] for detail in details] == [
            *("party", "date", "body", "body", "name", "party")
        ]
        assert not any("\n" in detail for detail in details)
        assert (await http.delete("/reservations/none")).status_code == 404
        assert (await http.get("/health")).json() == {"status": "ok"}


async def test_service_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    """A service that can't be reached is a sentence, not an exception of the HTTP client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with Reservations.connect(f"http://127.0.0.1:{port}") as reservations:
        with pytest.raises(ReservationsError, match="can't reach our reservations book") as failure:
            await reservations.check()
    assert failure.value.problem is None
    assert "GET /health: ConnectError" in caplog.text  # the operator is told why


async def test_request_does_not_meet_a_connection_being_closed() -> None:
    """An idle connection is let go before the service does so.

    The service closes it in the moment the next request is on its way, as any may that has kept it
    for long enough: that request would get no answer.
    """
    answer = HOUSE.week.model_dump_json().encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(answer)}\r\n\r\n".encode()

    async def serve_once(asked: asyncio.StreamReader, told: asyncio.StreamWriter) -> None:
        await asked.readuntil(b"\r\n\r\n")
        told.write(head + answer)
        await asked.read(1)
        told.close()

    async with await asyncio.start_server(serve_once, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Reservations.connect(f"http://127.0.0.1:{port}") as reservations:
            await reservations.hours()
            await anyio.sleep(3)  # uvicorn, and many others, keep it for five
            await reservations.hours()


async def test_service_that_is_something_else(service: str) -> None:
    """An answer that makes no sense is a service that can't be reached."""
    async with Reservations.connect(f"{service}/elsewhere") as reservations:
        with pytest.raises(ReservationsError, match="can't reach"):
            await reservations.hours()


async def test_address_in_use_is_one_line(tmp_path: Path) -> None:
    """A port that is taken is reported with what to do, and nothing is left running."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ServiceError, match=f"can't listen on 127.0.0.1:{port}: .*; choose"):
            await serve(tmp_path / "book.db", port=port)


async def test_signals_are_left_to_the_program(tmp_path: Path) -> None:
    """Uvicorn, by itself, would take them from the program that the service runs in."""
    taken = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(each) for each in taken]
    async with anyio.create_task_group() as tasks:
        await tasks.start(functools.partial(serve, tmp_path / "book.db", port=0))
        assert [signal.getsignal(each) for each in taken] == before
        tasks.cancel_scope.cancel()


def test_database_that_is_none_is_one_line(tmp_path: Path) -> None:
    """A file that is no database is named."""
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, this is not a database at all." * 40)
    with pytest.raises(ServiceError, match=r"can't use .*notes.txt as the reservations database"):
        create_app(path)
    with pytest.raises(ServiceError, match="unable to open database file"):
        create_app(tmp_path / "nowhere" / "book.db")


def test_reservations_outlive_the_service(tmp_path: Path) -> None:
    """An existing book is opened, not started over."""
    create_app(tmp_path / "book.db")
    create_app(tmp_path / "book.db")


async def test_faults_are_what_they_say(tmp_path: Path) -> None:
    """A service started with faults is slow, out of order or silent for their days only."""
    faults = Faults(delay=0.5)
    transport = httpx.ASGITransport(
        create_app(tmp_path / "book.db", now=lambda: NOW, faults=faults)
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://desk") as http:
        reservations = Reservations(http)

        async def ask(day: int) -> Availability:
            seating = Seating(date=dt.date(2026, 12, day), time=EVENING, party=2)
            return await reservations.availability(seating)

        began = anyio.current_time()
        assert (await ask(24)).available
        assert anyio.current_time() - began >= faults.delay
        with pytest.raises(ReservationsError, match="being looked after") as refused:
            await ask(25)
        assert refused.value.problem is not None
        assert refused.value.problem.reason is Reason.MAINTENANCE
        with anyio.move_on_after(2 * faults.delay) as patience:
            await ask(26)
        assert patience.cancelled_caught
        assert (await ask(27)).available


async def test_the_manager_may_book_any_party(reservations: Reservations) -> None:
    """A large party needs approval, keeps it for another time, and needs seats all the same."""
    with pytest.raises(ReservationsError, match="larger party"):
        await reservations.book(booking(party=20))
    booked = await reservations.book(booking(party=20), approved=True)
    later = await reservations.change(booked.id, Change(time=dt.time(20)))
    assert later.party == 20
    with pytest.raises(ReservationsError, match="larger party"):
        await reservations.change(booked.id, Change(party=21))
    with pytest.raises(ReservationsError, match="fully booked"):
        await reservations.book(booking(party=HOUSE.seats + 1), approved=True)
