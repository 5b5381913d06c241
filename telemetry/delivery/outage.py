"""A store that can't be written to: tried again, told once when it begins and once when it ends."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from ..store import TraceStoreError

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

AGAIN_SECONDS: Final = (0.3, 5.0)
"""Before the first and at most before a later attempt."""


class Outage:
    """The store's state, as the log tells it. Of one thread: the store's."""

    def __init__(self, path: Path) -> None:
        self.since: float | None = None
        """Monotonic seconds; None while all is well."""
        self.lost = 0
        """Spans and errors that were dropped in this outage."""
        self._path = path
        self._keeps_files = False
        self._attempts = 0
        self._not_before = 0.0

    def may_try(self, *, at_once: bool) -> bool:
        """True if it is time for an attempt."""
        return at_once or time.monotonic() >= self._not_before

    def failed(self, error: Exception, *, aside: Path | None, sends: bool) -> None:
        """A write failed."""
        first, longest = AGAIN_SECONDS
        now = time.monotonic()
        self._not_before = now + min(first * 2**self._attempts, longest)
        self._attempts += 1
        if aside is not None:
            self._not_before = 0.0  # a new file is made at once
            logger.warning(
                "%s: it was set aside as %s, and a new one is made; conversations that are in it "
                "aren't listed any more",
                error,
                aside,
            )
            return
        if self.since is not None:
            return
        self.since = now
        self.lost = 0
        known = isinstance(error, TraceStoreError)
        logger.warning(
            "telemetry could not store: %s; calls go on%s. What is recorded meanwhile waits in "
            "memory, and is lost where there is too much of it or the process is killed",
            error,
            ", and Sentry gets them" if sends else "",
            exc_info=None if known else error,
        )

    def over(self) -> None:
        """A write succeeded again."""
        assert self.since is not None
        logger.warning(
            "the trace store at %s takes what is recorded again, after %.0f s; %s",
            self._path,
            time.monotonic() - self.since,
            f"{self.lost} spans and errors were lost" if self.lost else "nothing was lost",
        )
        self.since = None
        self._attempts = 0
        self._not_before = 0.0

    def told(self) -> list[str]:
        """What is wrong with the store now, a sentence or none; called by any thread."""
        since = self.since
        if since is None:
            return []
        lasts = time.monotonic() - since
        lost = f"; {self.lost} spans and errors were lost" if self.lost else ""
        return [f"the trace store can't be written to for {lasts:.0f} s, see the log{lost}"]

    def is_new(self) -> None:
        """The file that was written to isn't there any more."""
        logger.warning(
            "the trace store at %s was removed or replaced while it was written to: what was in it "
            "is lost, and a new one is made; leave the file alone while calls run",
            self._path,
        )

    def deletes(self, folder: Path, problem: OSError | None) -> None:
        """Recordings that nobody wants were deleted, or one of them couldn't be."""
        if problem is not None and not self._keeps_files:
            logger.warning(
                "recordings that nobody wants can't be deleted from %s: %s; it is tried again and "
                "again, and told once",
                folder,
                problem.strerror or problem,
            )
        self._keeps_files = problem is not None

    def gave_up(self, dropped: int) -> None:
        """The process ends, and not all is written."""
        logger.warning(
            "telemetry dropped %d spans and errors that the trace store at %s did not take in "
            "time: see who holds the file, or give telemetry more time to close",
            dropped,
            self._path,
        )
