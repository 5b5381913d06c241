"""Whatever Sentry does, a call neither waits nor fails, and what was lost is counted exactly."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk.crons

import telemetry
from telemetry import configure
from telemetry.delivery import outbox, send_queue
from telemetry.trace import span_set
from tests.ingest import Ingest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from telemetry import Runtime
    from tests.telemetry.conformance.whole import Lifecycle

SPANS = 3
"""Spans of a conversation, its root aside."""

Behaviour = Callable[[Ingest], None]

WELL: dict[str, Behaviour] = {
    "healthy": lambda ingest: ingest.heal(),
    "slow": lambda ingest: ingest.slow(0.01),
}
ILL: dict[str, Behaviour] = {
    "hung": lambda ingest: ingest.hang(),
    "refusing": lambda ingest: ingest.refuse(),
    "429": lambda ingest: ingest.answer(429, {"Retry-After": "1"}),
    "500": lambda ingest: ingest.answer(500),
    "503": lambda ingest: ingest.answer(503, {"Retry-After": "0"}),
}


@pytest.fixture
def ingest() -> Iterator[Ingest]:
    """An ingest endpoint."""
    with Ingest() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other quickly."""
    monkeypatch.setattr(send_queue, "BACKOFF_SECONDS", (0.02, 0.02))


def talk(name: str) -> None:
    """A conversation of some spans, with an error that it reports and one that it logs."""
    with telemetry.conversation(name) as conversation:
        for number in range(SPANS):
            conversation.start_span("step", f"{name} {number}").finish()
        conversation.capture_exception(ValueError(name))
        logging.getLogger("app").error("%s", name)


def arrived(ingest: Ingest) -> Counter[str]:
    """How much of what has arrived."""
    counts = Counter(errors=len(ingest.errors))
    for event in ingest.transactions:
        counts["spans"] += 1 + len(event["spans"])
    for envelope in ingest.envelopes:
        for item in envelope:
            if item.type in ("span", "log"):
                counts[f"{item.type}s"] += len(json.loads(item.get_bytes())["items"])
    return counts


def dropped(runtime: Runtime) -> int:
    """How much was dropped, for whichever reason."""
    return sum(runtime.stats().dropped.values())


@pytest.mark.parametrize("behaviour", [*WELL, *ILL])
def test_everything_arrives_once_sentry_is_well(
    ingest: Ingest, lifecycle: Lifecycle, behaviour: str
) -> None:
    """What was recorded while it was slow, hung, refusing, limiting or failing: all, once."""
    with telemetry.init(dsn=ingest.dsn, lifecycle=lifecycle) as runtime:
        {**WELL, **ILL}[behaviour](ingest)
        for number in range(5):
            talk(f"c-{number}")
        ingest.wait_for(lambda: ingest.requests)
        ingest.heal()
        assert runtime.flush(30)
        assert arrived(ingest) == {"spans": 5 * (SPANS + 1), "errors": 10}
        assert runtime.stats().dropped == {}


def test_a_full_intake_refuses_and_counts(
    ingest: Ingest, lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds no more than its limit; errors and conversations have room where logs have none."""
    monkeypatch.setattr(outbox, "LIMIT", 20)
    busy, go_on = threading.Event(), threading.Event()

    def hook(event: Any, hint: Any) -> Any:
        busy.set()
        assert go_on.wait(30)
        return event

    options: dict[str, Any] = {"enable_logs": True, "before_send": hook}
    with telemetry.init(dsn=ingest.dsn, lifecycle=lifecycle, **options) as runtime:
        with telemetry.conversation("first") as first:
            first.capture_exception(ValueError("the hook takes its time"))
            assert busy.wait(30)  # delivery sits in it now, and takes nothing
        for number in range(29):
            logging.getLogger("app").warning("%s", number)
        assert runtime.stats().dropped == {"queue_overflow": 20}
        logging.getLogger("app").error("an error")
        for number in range(15):
            with telemetry.conversation(f"c-{number}") as conversation:
                conversation.start_span("step").finish()
        assert runtime.stats().dropped == {"queue_overflow": 20 + 6 * 2}

        go_on.set()
        assert runtime.flush(30)
        assert arrived(ingest) == {"spans": 1 + 9 * 2, "logs": 9 + 1, "errors": 1 + 1}


def test_a_full_outbox_keeps_conversations_and_errors(
    ingest: Ingest, lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All else makes room for them, repeats of an error first; what has no room is counted."""
    monkeypatch.setattr(send_queue, "LIMIT", 6)
    monkeypatch.setattr(configure, "AT_ONCE", 1)  # none is on its way but the first
    ingest.answer(503, {"Retry-After": "60"})
    with telemetry.init(dsn=ingest.dsn, lifecycle=lifecycle) as runtime:
        sentry_sdk.crons.capture_checkin("nightly", status="ok")
        ingest.wait_for(lambda: ingest.requests)
        for _ in range(5):
            sentry_sdk.crons.capture_checkin("nightly", status="ok")
        for number in range(3):
            talk(f"c-{number}")  # three envelopes each; the errors are of two kinds
        refused = 5 + 2 * 2
        ingest.heal()
        assert runtime.close(30)
        assert runtime.stats().dropped == {"queue_overflow": refused}
        assert arrived(ingest) == {"spans": 3 * (SPANS + 1), "errors": 2}


def test_what_waits_for_sentry_is_bounded_by_spans_too(
    ingest: Ingest, lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few envelopes may be much: what there is no room for is counted."""
    monkeypatch.setattr(send_queue, "EVENTS", 6)
    ingest.answer(500)
    with telemetry.init(dsn=ingest.dsn, lifecycle=lifecycle) as runtime:
        for number in range(3):
            with telemetry.conversation(f"c-{number}") as conversation:
                for _ in range(SPANS):
                    conversation.start_span("step").finish()
            ingest.wait_for(lambda: ingest.requests)
        ingest.wait_for(lambda: dropped(runtime) == 2 * (SPANS + 1))
        ingest.heal()
        assert runtime.flush(30)
        assert runtime.stats().dropped == {"queue_overflow": 2 * (SPANS + 1)}
        assert arrived(ingest) == {"spans": SPANS + 1, "errors": 0}


@pytest.mark.parametrize("behaviour", ILL)
def test_closing_counts_what_it_gives_up(
    ingest: Ingest, lifecycle: Lifecycle, behaviour: str
) -> None:
    """Wherever it was waiting: on its way, in the outbox, or not even looked at."""
    ILL[behaviour](ingest)
    runtime = telemetry.init(dsn=ingest.dsn, lifecycle=lifecycle)
    talk("c-0")
    ingest.wait_for(lambda: ingest.requests)
    for number in range(1, 5):
        talk(f"c-{number}")
    still_open = telemetry.conversation("open")
    still_open.start_span("step")
    assert not runtime.close(0.3)
    still_open.start_span("late").finish()
    assert runtime.stats().dropped == {"shutdown": 5 * (SPANS + 1 + 2) + 2 + 1}
    assert arrived(ingest) == {"errors": 0}


def test_a_refused_conversation_leaves_nothing_behind(
    ingest: Ingest, lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spans that delivery had of it already are counted too, and are nobody else's."""
    monkeypatch.setattr(span_set, "HAND_OVER", 2)
    with telemetry.init(dsn=ingest.dsn, lifecycle=lifecycle) as runtime:
        refused = telemetry.conversation("refused")
        for _ in range(4):
            refused.start_span("step").finish()
        early = 4 if lifecycle == "stream" else 0
        ingest.wait_for(lambda: arrived(ingest)["spans"] == early)
        ingest.hang()
        before = len(ingest.requests)
        telemetry.conversation("first").close()
        ingest.wait_for(lambda: len(ingest.requests) > before)
        monkeypatch.setattr(outbox, "LIMIT", 0)
        refused.start_span("step").finish()
        refused.close()
        monkeypatch.undo()
        ingest.heal()
        del refused
        for number in range(3):
            telemetry.conversation(f"c-{number}").close()
        assert runtime.flush(30)
        assert arrived(ingest) == {"spans": early + 1 + 3, "errors": 0}
        assert runtime.stats().dropped == {"queue_overflow": 4 - early + 2}


def test_limits_on_one_kind_leave_the_others_alone(ingest: Ingest, lifecycle: Lifecycle) -> None:
    """At closing too: behind a conversation that is held back, errors still get out."""
    kind = "span" if lifecycle == "stream" else "transaction"
    runtime = telemetry.init(dsn=ingest.dsn, lifecycle=lifecycle)
    ingest.answer(200, {"X-Sentry-Rate-Limits": f"60:{kind}:key"})
    with telemetry.conversation("limited") as limited:
        limited.capture_exception(ValueError("brings the limit"))
        assert runtime.flush(30)  # the answer is read: from here on the limit is known
    ingest.answer(500)
    limited.capture_exception(ValueError("second"))
    limited.capture_exception(ValueError("third"))
    ingest.wait_for(lambda: len(ingest.requests) > 1)
    ingest.heal()
    assert not runtime.close(0.5)
    assert arrived(ingest) == {"errors": 3}
    assert runtime.stats().dropped == {"shutdown": 1}


def test_a_store_that_fails_keeps_nothing_from_sentry(
    ingest: Ingest, lifecycle: Lifecycle, tmp_path: Path
) -> None:
    """What could not be stored is counted; Sentry gets all of it."""
    path = tmp_path / "traces.db"
    with telemetry.init(dsn=ingest.dsn, lifecycle=lifecycle, store=path) as runtime:
        path.mkdir()  # no file can be opened there any more
        talk("c-0")
        assert runtime.flush(30)
        assert arrived(ingest) == {"spans": SPANS + 1, "errors": 2}
        assert runtime.stats().dropped == {"store_error": SPANS + 1 + 2}
