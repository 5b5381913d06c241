"""The spans and events that are dropped: counted, each under a reason."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

from ..stats import Counter

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope, Item

OVERFLOW: Final = "queue_overflow"
SHUTDOWN: Final = "shutdown"
STORE: Final = "store_error"
EXPIRED: Final = "expired"
INTERNAL: Final = "internal_error"
NETWORK_ERROR: Final = "network_error"
RATE_LIMITED: Final = "ratelimit_backoff"
TOO_LARGE: Final = "too_large"
CONTENT: Final = "content"
CALLBACK_ERROR: Final = "callback_error"
UNENCODABLE: Final = "internal_sdk_error"
OTLP_OVERFLOW: Final = "otlp_overflow"
OTLP_FAILED: Final = "otlp_failed"
OTLP_SHUTDOWN: Final = "otlp_shutdown"
"""Reasons, besides ``http_NNN``; Sentry's own names for client reports where it has one.
Those that begin with ``otlp_`` are of the collector: Sentry has got what it didn't get."""
IN_THE_END: Final = (SHUTDOWN, STORE, OTLP_SHUTDOWN)
"""Those of what is dropped as time is up."""
RECENT_SECONDS: Final = 300.0
"""Time for which something that was dropped is trouble."""


class Drops:
    """Counts of what was dropped, by reason. Any thread may add to them."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter] = {}
        self._last: dict[str, float] = {}
        """The time at which something was dropped, by reason (monotonic seconds)."""

    def add(self, reason: str, count: int = 1) -> None:
        """Count spans and events that are dropped."""
        counter = self._counts.get(reason) or self._counts.setdefault(reason, Counter())
        for _ in range(count):
            counter.add()
        if count:
            self._last[reason] = time.monotonic()

    def told(self) -> list[str]:
        """What was dropped in the last minutes, a sentence or none; called by any thread."""
        since = time.monotonic() - RECENT_SECONDS
        recent = [reason for reason, last in sorted(self._last.copy().items()) if last > since]
        if not recent:
            return []
        counts = self.read()
        named = ", ".join(f"{reason} ({counts[reason]} since the start)" for reason in recent)
        return [f"spans or events were dropped in the last {RECENT_SECONDS / 60:.0f} min: {named}"]

    def read(self) -> dict[str, int]:
        """The counts so far, without reasons that never occurred."""
        counts = {reason: counter.read() for reason, counter in list(self._counts.items())}
        return {reason: count for reason, count in counts.items() if count}


def events_in(envelope: Envelope) -> int:
    """Spans, logs and events of an envelope."""
    return sum(map(events_of, envelope))


def events_of(item: Item) -> int:
    """Spans of an item, logs of it, or 1."""
    if item.type != "transaction":
        return int(item.headers.get("item_count", 1))
    transaction = item.payload.json
    if transaction is None:  # as it waits
        transaction = json.loads(item.get_bytes())
    spans = transaction.get("spans")
    return 1 + len(spans) if isinstance(spans, list) else 1
