"""Figures for Prometheus: sessions, response latency, limits reached, losses of telemetry.

:class:`Worker` has them read where :func:`served` is asked; both transports use these two.
"""

from __future__ import annotations

import enum
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from livekit.agents.telemetry import http_server
from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from agent.listening import listening
from telemetry.printable import printable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from prometheus_client import Metric

    from telemetry import Stats

RESPONSES: Final = Histogram(
    "parley_response_latency_seconds",
    "From the caller's last audible sample to the agent's first, per answer",
    buckets=(0.3, 0.5, 0.65, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0),
)

CALLS: Final = Counter("parley_calls", "Calls that have ended, by outcome", ["outcome"])
PROVIDER_FAILURES: Final = Counter(
    "parley_provider_failures",
    "Requests to a provider that failed, those that are made again included",
    ["kind", "reason"],
)
PROVIDER_FALLBACKS: Final = Counter(
    "parley_provider_fallbacks", "Providers that another one stands in for from then on", ["kind"]
)
_LIMITS: Final = Counter(
    "parley_limits_reached", "Times that a limit was reached, and acted upon", ["limit"]
)


class Limit(enum.StrEnum):
    """The limits that hold a call's neighbours, as metrics and traces name them."""

    SESSIONS = "sessions"
    """All sessions are taken: a caller, or a room, is turned away."""
    STRANGERS = "strangers"
    """As many connections without a call as may be: the oldest was closed."""
    ADMISSION = "admission"
    """A request with a wrong host, origin or token was refused."""
    HANDSHAKE = "handshake"
    """A connection's handshake took too long."""
    START = "start"
    """No ``start`` came in time."""
    PROTOCOL = "protocol"
    """A message that isn't of the protocol, or not of that moment, or too long."""
    TOO_FAST = "too_fast"
    """More audio, messages or typed text than anybody sends."""
    UNREAD = "unread"
    """A caller doesn't take what it is sent."""
    UNHEARD = "unheard"
    """A frame of the caller's audio was dropped: its session is too slow to take it."""
    HALF_OPEN = "half_open"
    """A ping had no answer: the caller's end is gone, or as good as that."""
    IDLE = "idle"
    """A caller whose microphone says nothing at all, or who stayed silent."""
    DURATION = "duration"
    """A call lasted as long as one may."""
    CLOSE = "close"
    """A session or a pipeline didn't close in time, and was cut off."""
    TEXT = "text"
    """A typed text that did not come whole in time."""
    CONNECT = "room_connect"
    """A room could not be connected to in time."""
    NO_CALLER = "no_caller"
    """Nobody came into the room."""
    RECONNECT = "reconnect"
    """The connection to LiveKit was away for too long."""
    TOOL = "tool"
    """A tool took too long, and was cancelled."""
    REPLY = "reply"
    """A reply whose first word didn't come in time was given up."""
    RESERVATIONS = "reservations"
    """The reservations service didn't answer in time."""


for _limit in Limit:
    _LIMITS.labels(_limit.value)  # 0, and not absent, before it is reached


def reached(limit: Limit, times: int = 1) -> None:
    """Count that a limit was reached."""
    _LIMITS.labels(limit.value).inc(times)


_COUNTS: Final = {
    "conversations": "Conversations opened",
    "spans": "Spans started in them",
    "orphan_spans": "Spans started where no conversation was current",
    "late_spans": "Spans started after their conversation had ended",
    "open_at_finish": "Spans still open when their conversation ended",
    "refused_headers": "Trace headers that somebody sent and that were passed over",
    "recovered": "Conversations that killed processes had left open",
    "left_out": "Conversations that neither PARLEY_KEEP nor PARLEY_SAMPLE_RATE chose for Sentry",
    "refused_gaps": "Gaps that callers say they heard and that were passed over",
    "faults": "Bugs of telemetry's that calls went on in spite of",
}


_MOST_CHARACTERS: Final = 64
"""Length of a label's value. Labels are reasons of telemetry's, of which there are few; nothing a
caller sends is one."""


@asynccontextmanager
async def served(host: str, port: int) -> AsyncIterator[str]:
    """Answer ``GET /metrics`` inside the block, on all interfaces if the host is empty; yields the
    URL. Raises :class:`~agent.listening.PortError`."""
    server = http_server.HttpServer(host, port)
    async with listening(server, "PARLEY_METRICS_PORT") as url:
        yield f"{url}/metrics"


class Worker(Collector):
    """Sessions and telemetry's counts, read when they are asked for.

    A context manager: registered inside the block. ``stats`` is None where telemetry is in other
    processes: then only sessions are told.
    """

    def __init__(
        self, *, sessions: Callable[[], int], max_sessions: int, stats: Callable[[], Stats] | None
    ) -> None:
        self._sessions = sessions
        self._max_sessions = max_sessions
        self._stats = stats

    def describe(self) -> list[Metric]:
        """No metrics: registering must not collect, the worker doesn't run yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics, now."""
        yield GaugeMetricFamily("parley_sessions", "Calls being held", value=self._sessions())
        yield GaugeMetricFamily("parley_sessions_max", "Calls at once", value=self._max_sessions)
        if self._stats is None:
            return
        stats = self._stats()
        for name, text in _COUNTS.items():
            yield CounterMetricFamily(f"parley_telemetry_{name}", text, value=getattr(stats, name))
        yield GaugeMetricFamily(
            "parley_telemetry_waiting",
            "Envelopes that Sentry hasn't acknowledged",
            value=stats.waiting,
        )
        since = stats.waiting_since
        yield GaugeMetricFamily(
            "parley_telemetry_waiting_seconds",
            "Age of the oldest of them",
            value=0.0 if since is None else max(0.0, time.time() - since),
        )
        dropped = CounterMetricFamily(
            "parley_telemetry_dropped", "Dropped by telemetry, by reason", labels=["reason"]
        )
        for reason, count in stats.dropped.items():
            dropped.add_metric([printable(reason, _MOST_CHARACTERS)], count)
        yield dropped

    def __enter__(self) -> None:
        REGISTRY.register(self)

    def __exit__(self, *_: object) -> None:
        REGISTRY.unregister(self)
