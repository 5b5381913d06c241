"""The reservations book: one SQLite table, safe to use from many threads and processes.

Every operation opens a connection of its own (about 0.1 ms) and blocks: call them in a thread.
Room is counted inside the transaction that writes, so two callers can't get the last table. Each
query is a ``db.query`` span of whatever asks; its parameters are not in it.
"""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import telemetry
from agent.desk.house import House, distance
from agent.desk.wire import Availability, Booking, Change, Problem, Reason, Reservation, Seating
from agent.errors import InputError
from telemetry.attributes import DB_SYSTEM_NAME, OP_DB_QUERY
from telemetry.printable import printable

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS reservations (
    id    TEXT PRIMARY KEY,
    name  TEXT NOT NULL COLLATE NOCASE,
    date  TEXT NOT NULL,
    time  TEXT NOT NULL,
    party INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS reservations_by_slot ON reservations (date, time);
CREATE INDEX IF NOT EXISTS reservations_by_name ON reservations (name);
"""
_MAX_ALTERNATIVES: Final = 2
BUSY_SECONDS: Final = 1.0
"""Time to wait for another writer of the book, less than any caller waits for an answer."""
_SQLITE: Final = {DB_SYSTEM_NAME: "sqlite"}


class ServiceError(InputError):
    """A reservations service that can't run; the message says what to do, in one line of text."""


class RequestRefusedError(Exception):
    """A request that the house can't grant. ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Ledger:
    """The reservations of one house, in the SQLite file ``path``."""

    path: Path
    house: House

    def prepare(self) -> None:
        """Create the table if it is missing.

        Raises:
            ServiceError: the file can't be opened, or is not such a database.
        """
        try:
            with closing(self._connect()) as db:
                db.execute("PRAGMA journal_mode=WAL")
                db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise ServiceError(
                f"can't use {self.path} as the reservations database: {error}; "
                "name a file that can be created or a database made by this service"
            ) from error

    def availability(self, seating: Seating, now: dt.datetime) -> Availability:
        """Look for a table, and for the nearest times that day if there is none.

        Raises:
            RequestRefusedError: the house takes no booking for that day or time.
        """
        self._check(seating, now)
        with closing(self._connect()) as db:
            taken = _taken(db, seating.date)
        if self._has_room(seating, taken):
            return Availability(seating=seating, available=True)
        return Availability(
            seating=seating, available=False, alternatives=self._alternatives(seating, taken, now)
        )

    def add(self, booking: Booking, now: dt.datetime, approved: bool = False) -> Reservation:
        """Write a booking into the book; one that is ``approved`` may be of any size.

        Raises:
            RequestRefusedError: the house takes no booking for that day or time, or is full.
        """
        reservation = Reservation(id=secrets.token_hex(4), **dict(booking))
        with self._transaction() as db:
            self._admit(db, reservation, now, approved=approved)
            _query(
                db,
                "INSERT INTO reservations (id, name, date, time, party) VALUES (?, ?, ?, ?, ?)",
                *_row(reservation),
            )
        return reservation

    def change(self, id: str, change: Change, now: dt.datetime) -> Reservation:
        """Change a reservation, or leave it as it was.

        Raises:
            RequestRefusedError: there is no such reservation, or it can't be changed to that.
        """
        with self._transaction() as db:
            found = _query(db, "SELECT * FROM reservations WHERE id = ?", id)
            if not found:
                raise RequestRefusedError(_unknown(id))
            before = _reservation(found[0])
            reservation = change.of(before)
            # a large party that was let in may come at another time
            self._admit(db, reservation, now, approved=reservation.party <= before.party)
            _query(
                db,
                "UPDATE reservations SET name = ?2, date = ?3, time = ?4, party = ?5 WHERE id = ?1",
                *_row(reservation),
            )
        return reservation

    def remove(self, id: str) -> None:
        """Strike a reservation out.

        Raises:
            RequestRefusedError: there is no such reservation.
        """
        with self._transaction() as db:
            if not _query(db, "DELETE FROM reservations WHERE id = ? RETURNING id", id):
                raise RequestRefusedError(_unknown(id))

    def under(self, name: str, now: dt.datetime) -> list[Reservation]:
        """The reservations under a name, upper or lower case, from today on, soonest first."""
        with closing(self._connect()) as db:
            rows = _query(
                db,
                "SELECT * FROM reservations WHERE name = ? AND date >= ? ORDER BY date, time, id",
                name.strip(),
                now.date().isoformat(),
            )
        return [_reservation(row) for row in rows]

    def _admit(
        self, db: sqlite3.Connection, wanted: Reservation, now: dt.datetime, *, approved: bool
    ) -> None:
        self._check(wanted, now, approved=approved)
        taken = _taken(db, wanted.date, besides=wanted.id)
        if not self._has_room(wanted, taken):
            raise RequestRefusedError(
                Problem(
                    reason=Reason.FULLY_BOOKED,
                    detail=f"time: no room for {wanted.party} at {wanted.time:%H:%M} that day",
                    alternatives=self._alternatives(wanted, taken, now),
                )
            )

    def _check(self, seating: Seating, now: dt.datetime, *, approved: bool = False) -> None:
        if problem := self.house.objection(seating, now, approved=approved):
            raise RequestRefusedError(problem)

    def _has_room(self, seating: Seating, taken: Mapping[str, int]) -> bool:
        return taken.get(f"{seating.time:%H:%M}", 0) + seating.party <= self.house.seats

    def _alternatives(
        self, seating: Seating, taken: Mapping[str, int], now: dt.datetime
    ) -> tuple[dt.time, ...]:
        others = (
            Seating(date=seating.date, time=time, party=seating.party)
            for time in sorted(
                self.house.slots(seating.date), key=lambda slot: distance(slot, seating.time)
            )
        )
        free = [
            other.time
            for other in others
            if self.house.objection(other, now) is None and self._has_room(other, taken)
        ]
        return tuple(sorted(free[:_MAX_ALTERNATIVES]))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(self._connect()) as db:
            # IMMEDIATE: the room that is counted is still there when the row is written
            _query(db, "BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                if db.in_transaction:  # some errors have ended it already
                    _query(db, "ROLLBACK")
                raise
            _query(db, "COMMIT")

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        db.row_factory = sqlite3.Row
        return db


def is_busy(error: sqlite3.Error) -> bool:
    """True when another writer, or whoever locks the book, was waited for in vain."""
    code: int = getattr(error, "sqlite_errorcode", 0)  # not set by every error
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _query(db: sqlite3.Connection, sql: str, *parameters: str | int) -> list[Any]:
    """The rows. Waiting for another writer, or for the disk, is in the span."""
    with telemetry.span(OP_DB_QUERY, sql, attributes=_SQLITE):
        return db.execute(sql, parameters).fetchall()


def _taken(db: sqlite3.Connection, day: dt.date, besides: str = "") -> dict[str, int]:
    """Seats that are taken that day, by time; ``besides`` is a reservation that doesn't count."""
    return dict(
        _query(
            db,
            "SELECT time, sum(party) FROM reservations WHERE date = ? AND id <> ? GROUP BY time",
            day.isoformat(),
            besides,
        )
    )


def _row(reservation: Reservation) -> tuple[str, str, str, str, int]:
    return (
        reservation.id,
        reservation.name.strip(),
        reservation.date.isoformat(),
        f"{reservation.time:%H:%M}",
        reservation.party,
    )


def _reservation(row: sqlite3.Row) -> Reservation:
    return Reservation.model_validate(dict(row))


def _unknown(id: str) -> Problem:
    return Problem(
        reason=Reason.UNKNOWN_RESERVATION, detail=f"id: no reservation {printable(id, 100)}"
    )
