"""Sentry that doesn't take what it is sent: one line of the log when it begins, one at its end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import pytest
from sentry_sdk.envelope import Envelope, Item, PayloadRef

import telemetry
from telemetry.delivery import refusals
from telemetry.delivery.drops import NETWORK_ERROR, OVERFLOW, RATE_LIMITED, TOO_LARGE, Drops
from telemetry.delivery.refusals import Refusals
from telemetry.delivery.sender import Delivered, Dropped, Retry
from telemetry.delivery.waiting import Waiting, Worth
from tests.ingest import Ingest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from telemetry.delivery.sender import Sent

Lifecycle = Literal["transaction", "stream"]
AWAY = Retry(None, NETWORK_ERROR, "Connection refused")
LIMITED = Retry(60.0, RATE_LIMITED, is_answer=True)
NO_KEY = Dropped("http_403", "bad sentry DSN public key")
LARGE = Dropped(TOO_LARGE)


class Clock:
    """Time, which passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


class Told:
    """The state of Sentry, told by hand, with the time and the log."""

    def __init__(self, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
        self.drops = Drops()
        self.refusals = Refusals(self.drops)
        self.clock = clock
        self._caplog = caplog

    def answered(self, sent: Sent, *kinds: str, key: str | None = None) -> None:
        """Take in what came of an envelope with items of these kinds; a transaction if none."""
        items = [Item(PayloadRef(json={}), type=kind) for kind in kinds or ("transaction",)]
        waiting = Waiting(Envelope(items=items), 1, 3, Worth.CONVERSATION, key=key)
        self.refusals.answered(waiting, sent)

    @property
    def lines(self) -> list[str]:
        """The log's lines since it was asked last."""
        lines = [one.getMessage() for one in self._caplog.records if one.name == refusals.__name__]
        self._caplog.clear()
        return lines

    @property
    def troubles(self) -> list[str]:
        return self.refusals.told(lambda: 14)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Told:
    """Sentry, of which nothing is known yet."""
    clock = Clock()
    monkeypatch.setattr(refusals, "time", clock)
    return Told(clock, caplog)


@pytest.fixture
def ingest() -> Iterator[Ingest]:
    """An ingest endpoint."""
    with Ingest() as endpoint:
        yield endpoint


@pytest.mark.parametrize(
    ("sent", "says", "mend", "state"),
    [
        (AWAY, "Connection refused", "the network", "hasn't been reached for 3600 s (network_e"),
        (Retry(None, "http_503"), "HTTP 503", "status page", "for 3600 s (http_503): 14 envelopes"),
        (LIMITED, "category transaction for 60 s", "quota", "rate limit of Sentry's holds"),
        (NO_KEY, "HTTP 403 (bad sentry DSN public key)", "Client Keys", "has refused what it is"),
        (Dropped("http_404"), "HTTP 404", "copy its DSN again", "3600 s (http_404)"),
        (LARGE, "3 spans and events are dropped", "the limit of the proxy", "as too large"),
    ],
    ids=["network", "503", "429", "403", "404", "413"],
)
def test_an_hour_is_two_lines(told: Told, sent: Sent, says: str, mend: str, state: str) -> None:
    """One says what, what becomes of it and what to do; one that it is over. So does the state."""
    for _ in range(361):
        told.answered(sent)
        state_then = told.troubles
        told.clock.now += 10
    [begun] = told.lines
    assert says in begun
    assert mend in begun
    [one] = state_then
    assert state in one
    told.clock.now += refusals.CALM_SECONDS
    told.answered(Delivered())
    [over] = told.lines
    assert " s; " in over
    assert "nothing was lost" in over
    assert told.troubles == []


def test_what_passes_at_once_is_not_told(told: Told) -> None:
    """A connection that was cut, a limit of a second: they are tried again, and that is all."""
    for sent in (AWAY, Retry(1.0, RATE_LIMITED, is_answer=True)):
        told.answered(sent)
        assert told.troubles == []
        told.clock.now += 1
        told.answered(Delivered())
    assert told.lines == []


def test_what_fails_every_other_time_is_told_of_once(told: Told) -> None:
    """A server behind a balancer that is half well: no line an envelope, for each kind."""
    for sent in (AWAY, NO_KEY, LARGE):
        for _ in range(100):
            told.answered(sent)
            told.clock.now += 3
            told.answered(sent)
            told.answered(Delivered())
        assert len(told.lines) in (1, 2)  # the second: that it was over once


def test_trouble_that_comes_back_and_stays_is_told_again(told: Told) -> None:
    """After a minute; what was lost is told once, of all of it."""
    told.answered(NO_KEY)
    told.drops.add("http_403", 3)
    told.answered(Delivered())
    assert "3 spans and events were dropped" in told.lines[1]
    told.answered(NO_KEY)
    told.drops.add("http_403", 4)
    assert told.lines == []
    told.clock.now += refusals.CALM_SECONDS
    told.answered(NO_KEY)
    assert len(told.lines) == 1
    told.answered(Delivered())
    assert "4 spans and events were dropped" in told.lines[0]


def test_what_is_lost_meanwhile(told: Told) -> None:
    """The end says what there was no room for; what was dropped for other reasons isn't in it."""
    told.drops.add(OVERFLOW, 5)
    told.answered(AWAY)
    told.clock.now += 300
    told.answered(AWAY)
    told.drops.add(OVERFLOW, 1)
    told.drops.add("store_error", 7)
    told.answered(Delivered())
    begun, over = told.lines
    assert "a local store would keep it" in begun
    assert "after 300 s; what waited is sent now; 1 span or event was dropped" in over


def test_where_it_waits(told: Told) -> None:
    """With a store, what waits is there, and isn't lost."""
    told.answered(AWAY, key="k")
    told.clock.now += 3
    told.answered(AWAY, "log")
    [begun] = told.lines
    assert "waits in the local store, and is sent when Sentry is back" in begun
    assert told.troubles == [
        "Sentry hasn't been reached for 3 s (network_error): 14 envelopes wait in the local store"
    ]


def test_a_limit_on_one_category(told: Told) -> None:
    """Conversations arrive, logs don't: that begins once, and ends when logs do."""
    for _ in range(60):
        told.answered(LIMITED, "log")
        told.answered(Delivered())
        told.clock.now += 60
    assert len(told.lines) == 1
    told.answered(Delivered(), "log")
    assert len(told.lines) == 1
    assert told.troubles == []


def test_a_limit_on_a_part(told: Told) -> None:
    """Spans beside a conversation that are held back are dropped, and the line says so."""
    transaction, spans = Item(b"{}", type="transaction"), Item(b"{}", type="span")
    waiting = Waiting(Envelope(items=[transaction, spans]), 1, 2, Worth.CONVERSATION)
    told.refusals.answered(waiting, Delivered((spans,)))
    [line] = told.lines
    assert "no more of category span" in line
    assert "is dropped" in line


def test_a_limit_of_which_nothing_is_tried_again(told: Told) -> None:
    """It is forgotten a while after its time: there is no more of that category."""
    told.answered(LIMITED, "log")
    assert len(told.lines) == 1
    told.clock.now += 60 + refusals.CALM_SECONDS
    assert told.troubles == []
    told.answered(Delivered())
    assert "rate limit is over" in told.lines[0]


def test_sentry_that_is_back_and_refuses(told: Told) -> None:
    """Each has its own lines: what waited until now is dropped from now on."""
    told.answered(AWAY)
    told.clock.now += 3
    told.answered(AWAY)
    told.answered(NO_KEY)
    _, over, begun = told.lines
    assert "is reached again" in over
    assert "It is dropped" in begun
    told.answered(Retry(60.0, RATE_LIMITED))  # by a limit that holds still: nobody was asked
    assert any("has refused" in one for one in told.troubles)


def test_an_answer_cannot_forge_a_line(told: Told) -> None:
    """What a server says is one line of text, and a short one."""
    told.answered(Dropped("http_403", "no\n2026-11-26 ERROR forged \x1b[2J" + "a" * 10_000))
    [line] = told.lines
    assert line.isprintable()
    assert len(line) < 1_000


@pytest.mark.parametrize("lifecycle", ["transaction", "stream"])
@pytest.mark.parametrize("stores", [True, False], ids=["store", "memory"])
def test_a_process_says_so(
    ingest: Ingest,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    lifecycle: Lifecycle,
    stores: bool,
) -> None:
    """A key that is wrong, then right: told by the log and by the runtime, and sent to nobody."""
    store = tmp_path / "traces.db" if stores else None
    caplog.set_level(logging.WARNING)
    with telemetry.init(dsn=ingest.dsn, lifecycle=lifecycle, store=store) as runtime:
        assert runtime.troubles() == ()
        ingest.answer(401, {"X-Sentry-Error": "bad sentry DSN public key"})
        for _ in range(3):
            with telemetry.conversation("host"):
                pass
        runtime.flush(10)
        refuses, dropped = runtime.troubles()
        assert "refused" in refuses
        assert "http_401" in dropped
        ingest.heal()
        with telemetry.conversation("host"):
            pass
        assert runtime.flush(10)
        assert all("refused" not in one for one in runtime.troubles())
        assert "127.0.0.1" not in "".join((refuses, dropped))
    begun, over = [one.getMessage() for one in caplog.records if one.name == refusals.__name__]
    assert "bad sentry DSN public key" in begun
    assert "dropped" in over
    assert ingest.errors == []


def test_a_process_without_sentry_says_so(
    ingest: Ingest, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody answers: what waits is in the runtime's words until somebody does."""
    monkeypatch.setattr(refusals, "LASTING_SECONDS", 0.0)
    ingest.refuse()
    with telemetry.init(dsn=ingest.dsn) as runtime:
        with telemetry.conversation("host"):
            pass
        assert not runtime.flush(0.3)
        [away] = runtime.troubles()
        assert away.endswith("(network_error): 1 envelope waits in memory")
        ingest.heal()
        assert runtime.flush(30)
        assert runtime.troubles() == ()
    begun, over = [one.getMessage() for one in caplog.records if one.name == refusals.__name__]
    assert "Connection aborted" in begun
    assert "nothing was lost" in over
