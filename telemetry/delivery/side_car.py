"""Spotlight's side-car on a developer's machine: gets a copy of each envelope, as Sentry gets it.

Sentry's client would send that copy in the call, before what people said has been left out, and by
a connection that its own integrations trace. Here it is sent in a thread of its own, unobserved: a
side-car that hangs keeps nobody waiting. What it can't take is gone, as with Sentry's client.
Configured as Sentry has it: ``SENTRY_SPOTLIGHT`` or the option ``spotlight``.
"""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Final

import urllib3

from .unobserved import unobserved

if TYPE_CHECKING:
    import threading

    from sentry_sdk.envelope import Envelope
    from sentry_sdk.spotlight import SpotlightClient

    from .lanes import Threads

TIMEOUT_SECONDS: Final = 2.0
"""For a request."""
WAITING: Final = 200
"""Envelopes that wait; more are not copied."""


class SideCar:
    """Sends copies by Sentry's client for it, which pauses while nobody answers."""

    def __init__(self, spotlight: SpotlightClient, threads: Threads) -> None:
        spotlight.http = urllib3.PoolManager(
            timeout=urllib3.Timeout(TIMEOUT_SECONDS), retries=False
        )
        self._spotlight = spotlight
        self._threads = threads
        self._waiting: queue.SimpleQueue[Envelope | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def copy(self, envelope: Envelope) -> None:
        """Send a copy, soon."""
        if self._thread is None:
            self._thread = self._threads.start("side-car", self._work)
        if self._waiting.qsize() < WAITING:
            self._waiting.put(envelope)

    def close(self, timeout: float) -> None:
        """Send what waits, if that is done within so many seconds."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(timeout)

    def _work(self) -> None:
        with unobserved():
            while (envelope := self._waiting.get()) is not None:
                self._spotlight.capture_envelope(envelope)
