"""Sentry that doesn't take what it is sent: told once when it begins, and once when it is over.

=============  ==========================  ============================  =======================
trouble        seen by                     what was to be sent           is over when
=============  ==========================  ============================  =======================
``unreached``  no answer, or HTTP 5xx      waits                         it answers again
``limited``    a rate limit                waits, or is dropped in part  that category arrives
``refused``    HTTP 4xx, as of a wrong     is dropped                    something arrives
               key
``too_large``  HTTP 413                    is dropped                    nothing more was, for a
                                                                         while
=============  ==========================  ============================  =======================

None has a line of the log for each envelope. One that passes at once has none at all, and neither
has one that comes back within a minute, unless it stays: a server that fails every other time is
told of once. The counts are exact all the same (:mod:`.drops`).
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..printable import printable
from .drops import EXPIRED, INTERNAL, NETWORK_ERROR, OVERFLOW, RATE_LIMITED, TOO_LARGE, UNENCODABLE
from .sender import Delivered, Dropped, Retry
from .unobserved import unobserved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sentry_sdk.envelope import Item

    from .drops import Drops
    from .sender import Sent
    from .waiting import Waiting

logger = logging.getLogger(__name__)

LASTING_SECONDS: Final = 2.0
"""What waits for less than this isn't told."""
CALM_SECONDS: Final = 60.0
"""Without trouble, until more of the same is trouble of its own."""
_LIMIT_SECONDS: Final = 60.0
"""For a rate limit whose time isn't known here."""
_MOST_CHARACTERS: Final = 300
"""Length of what is repeated of an error, or of an answer."""
_OURS: Final = (INTERNAL, UNENCODABLE)
"""Reasons for which nothing was sent: they say nothing of Sentry."""


@dataclass(slots=True)
class _Trouble:
    """One kind of it. Times are monotonic seconds."""

    patience: float = 0.0
    """Seconds that it may last untold."""
    since: float | None = None
    """None while all is well."""
    last: float = -math.inf
    ended: float = -math.inf
    """The time at which the last one that was told of was over, or more of the same since."""
    is_told: bool = False
    dropped_before: int = 0
    why: str = ""
    """The reason that it is counted under."""

    def met(self, why: str, dropped: int, *, now: float, until: float) -> bool:
        """Take note of it; True if it is to be told now. It is known to last until then."""
        if self.since is None:
            self.since = now
            if now - self.ended >= CALM_SECONDS:
                self.dropped_before = dropped
        self.last, self.why = now, why
        patience = CALM_SECONDS if self.since - self.ended < CALM_SECONDS else self.patience
        if self.is_told or until - self.since < patience:
            return False
        self.is_told = True
        return True

    def over(self, now: float) -> float | None:
        """Take note of its end; the seconds that it has lasted, if the log was told of it."""
        since, is_told = self.since, self.is_told
        self.since, self.is_told = None, False
        if since is None:
            return None
        if is_told or since - self.ended < CALM_SECONDS:
            self.ended = now
        return now - since if is_told else None

    def lasts(self, now: float) -> float | None:
        """Seconds since it began; None if there is none that is worth a word."""
        since = self.since
        if since is None or not (self.is_told or now - since >= self.patience):
            return None
        return now - since


class Refusals:
    """Sentry's state, as the log and whoever asks are told it.

    Args:
        drops: counts of what was dropped.
    """

    def __init__(self, drops: Drops) -> None:
        self._drops = drops
        self._unreached = _Trouble(LASTING_SECONDS)
        self._limited = _Trouble(LASTING_SECONDS)
        self._refused = _Trouble()
        self._too_large = _Trouble()
        self._limits: dict[str, float] = {}
        """The categories that a rate limit holds back, until when (monotonic seconds)."""
        self._keeps = False
        """What waits gets a copy in the store."""

    def told(self, waiting: Callable[[], int]) -> list[str]:
        """What Sentry doesn't take now, a sentence for each kind; called by any thread.

        ``waiting`` counts the envelopes that wait; it is asked if anything keeps them.
        """
        now, said = time.monotonic(), list[str]()
        if (seconds := self._unreached.lasts(now)) is not None:
            why = self._unreached.why
            said.append(f"Sentry hasn't been reached for {seconds:.0f} s ({why})")
        until = max(list(self._limits.values()), default=0.0)
        if (seconds := self._limited.lasts(now)) is not None and until + CALM_SECONDS > now:
            said.append(f"a rate limit of Sentry's holds for {seconds:.0f} s")
        if said:
            place = "in the local store" if self._keeps else "in memory"
            count = waiting()
            wait = f"{_so_many(count, 'envelope')} {'waits' if count == 1 else 'wait'} {place}"
            said = [f"{one}: {wait}" for one in said]
        if (seconds := self._refused.lasts(now)) is not None:
            why = self._refused.why
            said.append(f"Sentry has refused what it is sent for {seconds:.0f} s ({why})")
        if now - self._too_large.last < CALM_SECONDS:
            said.append("Sentry refuses envelopes as too large")
        return said

    # -- called by delivery ------------------------------------------------------------------------

    def answered(self, waiting: Waiting, sent: Sent) -> None:
        """Take in what came of an envelope, before it is counted."""
        self._keeps = self._keeps or waiting.key is not None
        match sent:
            case Delivered(left_out):
                self._arrived(waiting, left_out)
            case Retry(after, reason) if reason == RATE_LIMITED:
                if sent.is_answer:
                    self._reached()
                until = time.monotonic() + (_LIMIT_SECONDS if after is None else after)
                self._limit(waiting.envelope, until)
                self._tell_limits("waits until then")
            case Retry(_, reason):
                self._not_reached(reason, sent.detail)
            case Dropped(reason) if reason not in _OURS:
                self._reached()
                self._was_refused(reason, sent.detail, waiting.events)
        self._forget_limits()

    def _arrived(self, waiting: Waiting, left_out: tuple[Item, ...]) -> None:
        self._reached()
        now = time.monotonic()
        if (seconds := self._refused.over(now)) is not None:
            self._say(
                "Sentry takes what telemetry sends again, after %.0f s; %s",
                seconds,
                self._lost(self._refused),
            )
        calm = now - self._too_large.last
        if calm >= CALM_SECONDS and self._too_large.over(now) is not None:
            self._say(
                "Sentry has refused nothing as too large for %.0f s; %s",
                calm,
                self._lost(self._too_large),
            )
        if self._limits:
            for category in _categories(item for item in waiting.envelope if item not in left_out):
                self._limits.pop(category, None)
        if left_out:
            self._limit(left_out, now + _LIMIT_SECONDS)
            self._tell_limits("is dropped where it goes together with what Sentry takes")

    def _reached(self) -> None:
        if (seconds := self._unreached.over(time.monotonic())) is not None:
            self._say(
                "Sentry is reached again, after %.0f s; what waited is sent now; %s",
                seconds,
                self._lost(self._unreached),
            )

    def _not_reached(self, reason: str, detail: str) -> None:
        if not self._met(self._unreached, reason):
            return
        if reason == NETWORK_ERROR:
            why, mend = detail or reason, "check the DSN's host, the network and the proxy"
        else:
            why, mend = f"it answers {_status(reason)}", "look at Sentry's status page, or its log"
        self._say(
            "telemetry could not reach Sentry: %s; calls go on. What is recorded waits %s: %s",
            printable(why, _MOST_CHARACTERS),
            _WAITS_IN_STORE if self._keeps else _WAITS_IN_MEMORY,
            mend,
        )

    def _was_refused(self, reason: str, detail: str, events: int) -> None:
        if reason == TOO_LARGE:
            if self._met(self._too_large, reason):
                self._say(
                    "Sentry refused an envelope as too large (HTTP 413): its %s dropped, and so "
                    "are others like it, counted as %s: raise the limit of the proxy or Relay "
                    "before it",
                    _so_many(events, "span or event is", "spans and events are"),
                    reason,
                )
        elif self._met(self._refused, reason):
            self._say(
                "Sentry refuses what telemetry sends: %s%s; calls go on. It is dropped, and "
                "counted as %s: %s",
                _status(reason),
                f" ({printable(detail, _MOST_CHARACTERS)})" if detail else "",
                reason,
                _MENDS.get(reason, "look at the log of the proxy or Relay before it"),
            )

    # -- rate limits -------------------------------------------------------------------------------

    def _limit(self, items: Iterable[Item], until: float) -> None:
        for category in _categories(items):
            self._limits[category] = max(until, self._limits.get(category, 0.0))

    def _tell_limits(self, effect: str) -> None:
        until = max(self._limits.values(), default=0.0)
        if self._met(self._limited, RATE_LIMITED, until):
            self._say(
                "Sentry takes no more of category %s for %.0f s, by a rate limit; calls go on. "
                "What is recorded %s: raise the project's quota, or send less",
                ", ".join(printable(name, _MOST_CHARACTERS) for name in sorted(self._limits)),
                until - time.monotonic(),
                effect,
            )

    def _forget_limits(self) -> None:
        """Forget those that are long past: nothing of their category was tried since."""
        now = time.monotonic()
        for category, until in list(self._limits.items()):
            if until + CALM_SECONDS <= now:
                del self._limits[category]
        if not self._limits and (seconds := self._limited.over(now)) is not None:
            self._say(
                "Sentry's rate limit is over, after %.0f s; what waited is sent now; %s",
                seconds,
                self._lost(self._limited),
            )

    # -- the log -----------------------------------------------------------------------------------

    def _met(self, trouble: _Trouble, why: str, until: float = 0.0) -> bool:
        now = time.monotonic()
        return trouble.met(why, self._dropped(), now=now, until=max(now, until))

    def _lost(self, trouble: _Trouble) -> str:
        """What was dropped meanwhile, in words."""
        dropped = self._dropped()
        lost, trouble.dropped_before = dropped - trouble.dropped_before, dropped
        if not lost:
            return "nothing was lost"
        return f"{_so_many(lost, 'span or event was', 'spans and events were')} dropped"

    def _dropped(self) -> int:
        """Spans and events that were dropped for Sentry's sake."""
        counts = self._drops.read()
        reasons = (OVERFLOW, EXPIRED, RATE_LIMITED, TOO_LARGE)
        return sum(
            count
            for reason, count in counts.items()
            if reason in reasons or reason.startswith("http_")
        )

    def _say(self, text: str, *arguments: object) -> None:
        with unobserved():
            logger.warning(text, *arguments)


_WAITS_IN_STORE: Final = "in the local store, and is sent when Sentry is back"
_WAITS_IN_MEMORY: Final = (
    "in memory, is sent when Sentry is back, and is lost where there is too much of it or the "
    "process ends (a local store would keep it)"
)
_KEY: Final = "copy the DSN again from the project's settings, Client Keys"
_MENDS: Final = {
    "http_400": _KEY,
    "http_401": _KEY,
    "http_403": _KEY,
    "http_404": "see that the project is there, and copy its DSN again (Client Keys)",
}


def _categories(items: Iterable[Item]) -> Iterator[str]:
    for item in items:
        yield item.data_category


def _status(reason: str) -> str:
    return reason.replace("http_", "HTTP ")


def _so_many(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or f'{one}s'}"
