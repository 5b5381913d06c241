"""What may be asked of the store, and when: envelopes that only the store has.

Of one thread: delivery's.
"""

from __future__ import annotations

import math

from .waiting import Worth


class Asking:
    """The question that is under way, and the worths that asking for is of no use now.

    Attributes:
        is_under_way: whether the store has been asked, and hasn't answered.
    """

    def __init__(self) -> None:
        self.is_under_way = False
        self._asked_for: list[Worth] = []
        self._held_until: dict[Worth, float] = {}
        """Rate limits (monotonic seconds)."""
        self._none_of: set[Worth] = set()
        """The store had none of these, and has had nothing since."""

    def hold(self, worth: Worth, until: float) -> None:
        """A rate limit holds these back (monotonic seconds)."""
        self._held_until[worth] = until

    def release(self) -> None:
        """Forget rate limits."""
        self._held_until.clear()

    def has(self, *worths: Worth) -> None:
        """The store may have some of these, by default of any, whatever it is just answering."""
        new = {*worths} or {*Worth}
        self._none_of -= new
        self._asked_for = [worth for worth in self._asked_for if worth not in new]

    def at(self) -> float:
        """The time from which on there may be something to ask for (monotonic seconds)."""
        worths = (worth for worth in Worth if worth not in self._none_of)
        return min((self._held_until.get(worth, 0.0) for worth in worths), default=math.inf)

    def begin(self, now: float) -> list[Worth]:
        """Ask; the worths to ask for."""
        self.is_under_way = True
        self._asked_for = [
            worth
            for worth in Worth
            if worth not in self._none_of and self._held_until.get(worth, 0.0) <= now
        ]
        return [*self._asked_for]

    def answered(self, *, found: bool) -> bool:
        """The store has answered; False if by that it has nothing besides what it was asked for."""
        self.is_under_way = False
        if not found:
            self._none_of |= {*self._asked_for}
        if len(self._none_of) < len(Worth):
            return True
        self._none_of.clear()
        return False
