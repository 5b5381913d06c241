"""The plan of faults: drawn from a seed, printed, and the same again for the same seed."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["process", "sentry", "store", "clock", "loop"]

RECOVERY_SECONDS: Final = 7.0
"""From the end of a store's trouble to the next kill, or trouble. A store that was in trouble is
tried again after five seconds at most; of a process that is killed before, what the store doesn't
have is lost, and that is no fault."""
SENTRY: Final = ("hangs", "refuses", "429", "500", "is slow")
STORE: Final = ("locked", "moved away", "full")
LONGEST_STEP_SECONDS: Final = 7200.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of the plan. Times are seconds."""

    at: float
    """Its time since the beginning; it may come later, as a process takes its time to start."""
    kind: Kind
    how: str
    seconds: float = 0.0
    """The length of it or, of a clock, how far it is ahead from then on."""

    @property
    def over_at(self) -> float:
        """The time at which it is over; a clock stays where it is."""
        return self.at if self.kind == "clock" else self.at + self.seconds

    @property
    def settled_at(self) -> float:
        """The time from which on nothing of it is left: a process may be killed."""
        return self.over_at + RECOVERY_SECONDS * (self.kind == "store")

    def __str__(self) -> str:
        amount = f" {self.seconds:+.1f} s" if self.seconds else ""
        return f"{self.at:6.1f} s  {self.kind} {self.how}{amount}"


def drawn(seed: int, seconds: float, *, kills: bool) -> list[Fault]:
    """The faults of so many seconds, in order: a longer run begins as a shorter one does.

    ``kills`` is for those that end the process.
    """

    def chance(line: str) -> random.Random:
        return random.Random(f"{seed} {kills} {line}")

    lines = (
        _store_and_process(chance("store and process"), kills=kills),
        _sentry(chance("sentry")),
        _clock(chance("clock")),
        _loop(chance("loop")),
    )
    found = [
        *itertools.chain.from_iterable(
            itertools.takewhile(lambda fault: fault.settled_at <= seconds, line) for line in lines
        )
    ]
    return sorted(found, key=lambda fault: fault.at)


def _store_and_process(chance: random.Random, *, kills: bool) -> Iterator[Fault]:
    """Troubles of the store, and ends of the process that never come near one."""
    at = chance.uniform(2.0, 5.0)
    while True:
        if kills and chance.random() < 0.6:
            yield Fault(
                at, "process", chance.choice(["killed", "killed", "killed", "asked to end"])
            )
            at += chance.uniform(4.0, 9.0)
        else:
            lasts = chance.uniform(2.0, 6.0)
            yield Fault(at, "store", chance.choice(STORE), lasts)
            at += lasts + RECOVERY_SECONDS


def _sentry(chance: random.Random) -> Iterator[Fault]:
    at = chance.uniform(1.0, 4.0)
    while True:
        lasts = chance.uniform(2.0, 10.0)
        yield Fault(at, "sentry", chance.choice(SENTRY), lasts)
        at += lasts + chance.uniform(1.0, 6.0)


def _clock(chance: random.Random) -> Iterator[Fault]:
    at = chance.uniform(4.0, 15.0)
    while True:
        step = chance.choice([0.0, 2.0, 60.0, LONGEST_STEP_SECONDS]) * chance.choice([-1, 1])
        yield Fault(at, "clock", "stepped to", step)
        at += chance.uniform(8.0, 25.0)


def _loop(chance: random.Random) -> Iterator[Fault]:
    at = chance.uniform(2.0, 6.0)
    while True:
        yield Fault(at, "loop", "stands still", chance.uniform(0.2, 2.0))
        at += chance.uniform(3.0, 12.0)
