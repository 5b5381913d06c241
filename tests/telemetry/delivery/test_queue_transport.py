"""What the SDK loses on its way to delivery is counted: whatever the reason, each thing once."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
from sentry_sdk import traces
from sentry_sdk.envelope import Envelope

import telemetry
from telemetry.testing import capture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telemetry.testing import Captured
    from tests.telemetry.conformance.whole import Lifecycle

LOGS, METRICS, SPANS = 2_000, 10_500, 2_500
"""More than the SDK's batches hold: 1,000 of one, 10,000 of the other, 2,000 of a trace."""
app = logging.getLogger("app")


@contextmanager
def _new_threads_wait() -> Iterator[None]:
    """A block in which threads that start, as the SDK's do that empty its batches, get no turn."""
    go_on = threading.Event()

    def wait(*_: object) -> None:
        assert go_on.wait(30)

    threading.settrace(wait)
    try:
        yield
    finally:
        threading.settrace(None)
        go_on.set()


def _arrived(captured: Captured) -> Counter[str]:
    """How many of which kind."""
    counts: Counter[str] = Counter()
    for envelope in captured.envelopes:
        for item in Envelope.deserialize(envelope):
            if "items" in item.headers.get("content_type", ""):
                counts[str(item.type)] += len(json.loads(item.get_bytes())["items"])
    return counts


def _log() -> None:
    for number in range(LOGS):
        sentry_sdk.logger.warning("by Sentry's API", attributes={"number": number})


def _measure() -> None:
    for _ in range(METRICS):
        sentry_sdk.metrics.count("asked", 1)


def _trace() -> None:
    with traces.start_span("of no conversation"):
        for _ in range(SPANS - 1):
            traces.start_span("step", active=False).end()


@pytest.mark.parametrize(
    ("lifecycle", "kind", "make", "made"),
    [
        ("transaction", "log", _log, LOGS),
        ("stream", "log", _log, LOGS),
        ("transaction", "trace_metric", _measure, METRICS),
        ("stream", "span", _trace, SPANS),
    ],
)
def test_a_batch_of_the_sdks_that_overflows(
    lifecycle: Lifecycle, kind: str, make: Callable[[], None], made: int
) -> None:
    """What doesn't arrive is in Stats, under Sentry's own reason."""
    with capture(lifecycle=lifecycle, enable_logs=True) as captured:
        telemetry.conversation("first").close()
        before = _arrived(captured)[kind]  # delivery has its threads
        with _new_threads_wait():
            make()
            assert captured.runtime.flush(30)
        arrived = _arrived(captured)[kind] - before
        dropped = captured.runtime.stats().dropped
        assert set(dropped) == {"queue_overflow"}
        assert arrived + dropped["queue_overflow"] == made


def test_what_is_logged_overflows_no_batch(
    lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much at once: delivery empties the SDK's batch before it is full."""
    monkeypatch.setattr(app, "propagate", False)
    with capture(lifecycle=lifecycle, enable_logs=True) as captured:
        telemetry.conversation("first").close()
        assert captured.runtime.flush(30)  # delivery has its threads
        with _new_threads_wait():
            for number in range(3 * LOGS // 2):
                app.warning("line %d", number)
            assert captured.runtime.flush(30)
        assert _arrived(captured)["log"] == 3 * LOGS // 2
        assert captured.runtime.stats().dropped == {}


def _drop(event: object, hint: object) -> None:
    """A hook that wants nothing."""


def _drop_each(lifecycle: Lifecycle) -> dict[str, Any]:
    hooks: dict[str, Any] = {f"before_send_{kind}": _drop for kind in ("log", "metric")}
    if lifecycle == "transaction":
        hooks["before_send_transaction"] = _drop
    return {"before_send": _drop, "enable_logs": True, **hooks}


def test_what_an_operator_does_not_want_is_no_loss(lifecycle: Lifecycle) -> None:
    """Hooks, event processors and samplers decide; nothing is counted for it."""
    with capture(lifecycle=lifecycle, **_drop_each(lifecycle)) as captured:
        with telemetry.conversation("host"):
            app.error("failed")
            sentry_sdk.metrics.count("asked", 1)
        assert captured.errors == []
        assert captured.runtime.stats().dropped == {}
    with capture(lifecycle=lifecycle, sample_rate=0) as captured:
        with telemetry.conversation("host"), telemetry.span("turn"):
            sentry_sdk.get_isolation_scope().add_event_processor(_drop)
            app.error("failed")
        assert captured.envelopes == []
        assert captured.runtime.stats().dropped == {}
