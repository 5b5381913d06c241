"""The restaurant: its opening hours, its seats, and its objections to a booking.

Edit :data:`COPPER_KETTLE` to make it yours. Nothing here does I/O; times are the restaurant's own
wall-clock times.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agent.desk.wire import Hours, Problem, Reason, Seating, Week, Weekday

if TYPE_CHECKING:
    from collections.abc import Mapping

SLOT: Final = dt.timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class House:
    """A restaurant: its hours, seats and limits."""

    name: str
    hours: Mapping[Weekday, Hours | None]
    seats: int
    """Guests who can arrive in one half-hour slot."""
    largest_party: int
    last_seating: dt.timedelta
    """Time before closing at which the last party can arrive."""

    @property
    def week(self) -> Week:
        """The opening hours as the service answers them."""
        return Week(dict(self.hours))

    def slots(self, day: dt.date) -> tuple[dt.time, ...]:
        """The times at which a party can arrive on a day; none when the house is closed."""
        hours = self.hours[Weekday.of(day)]
        if hours is None:
            return ()
        first = dt.datetime.combine(day, hours.opens)
        last = dt.datetime.combine(day, hours.closes) - self.last_seating
        return tuple((first + n * SLOT).time() for n in range((last - first) // SLOT + 1))

    def objection(
        self, seating: Seating, now: dt.datetime, *, approved: bool = False
    ) -> Problem | None:
        """The problem with a seating, whoever else comes; None if there is none.

        ``now`` is the restaurant's wall-clock time, without a time zone. ``approved`` lets in a
        party larger than the largest.
        """
        if seating.party > self.largest_party and not approved:
            return Problem(
                reason=Reason.PARTY_TOO_LARGE,
                detail=f"party: {seating.party} is more than the {self.largest_party} we can seat",
            )
        if dt.datetime.combine(seating.date, seating.time) <= now:
            return Problem(
                reason=Reason.PAST, detail=f"date: {seating.date} {seating.time:%H:%M} is past"
            )
        slots = self.slots(seating.date)
        if not slots:
            return Problem(
                reason=Reason.CLOSED,
                detail=f"date: closed on {Weekday.of(seating.date).value}s",
            )
        if not slots[0] <= seating.time <= slots[-1]:
            return Problem(
                reason=Reason.CLOSED,
                detail=f"time: tables are from {slots[0]:%H:%M} to {slots[-1]:%H:%M} that day",
                alternatives=(min(slots, key=lambda slot: distance(slot, seating.time)),),
            )
        if seating.time not in slots:
            return Problem(
                reason=Reason.NOT_A_SLOT,
                detail=f"time: {seating.time:%H:%M} is not on the hour or the half hour",
            )
        return None


def local_now() -> dt.datetime:
    """The wall-clock time of this machine, without a time zone."""
    return dt.datetime.now().astimezone().replace(tzinfo=None)


def distance(one: dt.time, other: dt.time) -> int:
    """Minutes between two times of the same day."""
    return abs((one.hour - other.hour) * 60 + one.minute - other.minute)


def _open(opens: int, closes: int) -> Hours:
    return Hours(opens=dt.time(opens), closes=dt.time(closes))


COPPER_KETTLE: Final = House(
    name="The Copper Kettle",
    hours=MappingProxyType(
        {
            Weekday.MONDAY: None,
            Weekday.TUESDAY: _open(17, 22),
            Weekday.WEDNESDAY: _open(17, 22),
            Weekday.THURSDAY: _open(17, 22),
            Weekday.FRIDAY: _open(12, 23),
            Weekday.SATURDAY: _open(12, 23),
            Weekday.SUNDAY: _open(12, 21),
        }
    ),
    seats=240,
    largest_party=12,
    last_seating=dt.timedelta(hours=1),
)
