"""The JSON that the reservations service and its callers exchange.

Dates are ISO (``2026-11-27``), times are wall-clock times of the restaurant (``19:30``), and a
party is a number of people. The same models are what the agent's tools return.
"""

from __future__ import annotations

import datetime as dt
import enum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, RootModel


class Weekday(enum.StrEnum):
    """A day of the week."""

    # in the order of date.weekday(); the docstring is part of what a language model is told
    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"

    @classmethod
    def of(cls, day: dt.date) -> Weekday:
        """The weekday a date falls on."""
        return list(cls)[day.weekday()]


def _wall_clock(value: dt.time) -> dt.time:
    if value.tzinfo is not None or value.second or value.microsecond:
        raise ValueError("give hours and minutes only, such as 19:30")
    return value


WallTime = Annotated[
    dt.time, AfterValidator(_wall_clock), PlainSerializer(lambda value: value.strftime("%H:%M"))
]
Name = Annotated[str, Field(min_length=1, max_length=80, pattern=r"\S")]
Party = Annotated[int, Field(ge=1, le=1000)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Hours(_Model):
    """Opening and closing time on one day."""

    opens: WallTime
    closes: WallTime


class Week(RootModel[dict[Weekday, Hours | None]]):
    """Opening hours by weekday; None on a day when the house is closed."""

    model_config = ConfigDict(frozen=True)


class Seating(_Model):
    """A party, a day and a time."""

    date: dt.date
    time: WallTime
    party: Party


class Booking(Seating):
    """A seating somebody asks for."""

    name: Name


class Reservation(Booking):
    """A booking that is in the book."""

    id: str


class Change(_Model):
    """Changes to a reservation; None leaves a part as it is."""

    date: dt.date | None = None
    time: WallTime | None = None
    party: Party | None = None

    def of(self, old: Reservation) -> Reservation:
        """The reservation as it is after the change."""
        return old.model_copy(update={name: value for name, value in self if value is not None})


class Availability(_Model):
    """A table, free or not; if not, the nearest times that day at which there is one."""

    seating: Seating
    available: bool
    alternatives: tuple[WallTime, ...] = ()


class Reason(enum.StrEnum):
    """The reason of a refusal."""

    INVALID = "invalid"
    CLOSED = "closed"
    FULLY_BOOKED = "fully_booked"
    NOT_A_SLOT = "not_a_slot"
    PAST = "past"
    PARTY_TOO_LARGE = "party_too_large"
    UNKNOWN_RESERVATION = "unknown_reservation"
    MAINTENANCE = "maintenance"
    BUSY = "busy"


class Problem(_Model):
    """The body of every refusal."""

    reason: Reason
    detail: str
    """One line of text, for whoever calls the service."""
    alternatives: tuple[WallTime, ...] = ()
