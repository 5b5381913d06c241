"""The lanes: the store and Sentry don't wait for each other, nor delivery for either."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import sentry_sdk

import telemetry
from telemetry import configure
from telemetry.delivery import given, lanes, pulse, send_queue
from telemetry.delivery.sender import Delivered
from telemetry.delivery.thread import Delivery
from telemetry.store import TraceStore
from telemetry.testing import capture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest
    from sentry_sdk.envelope import Envelope

    from tests.telemetry.conformance.whole import Lifecycle


def _talk(name: str) -> None:
    with telemetry.conversation(name) as conversation:
        with telemetry.span("turn"):
            pass
        conversation.capture_exception(ValueError(name))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Somebody else holds the file, as a backup does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


# -- the store -------------------------------------------------------------------------------------


def test_a_locked_store_keeps_nothing_from_sentry(
    lifecycle: Lifecycle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not at the end either; what it couldn't take is counted once, and the log names the file."""
    path = tmp_path / "traces.db"
    with capture(lifecycle=lifecycle, store=path) as captured:
        _talk("before")
        assert captured.runtime.flush(30)
        with _locked(path):
            _talk("last call")
            assert not captured.runtime.close(1.5)
            # what has arrived is read without waiting for more
            sent = [event for _, event in captured._items]
            dropped = captured.runtime.stats().dropped
    text = str(sent)
    assert "last call" in text
    assert dropped == {"store_error": 1 + 1 + 1}  # the turn, the root, the error
    assert captured.runtime.stats().dropped == dropped  # later, too
    assert [line for line in caplog.messages if str(path) in line] != []


def test_a_store_that_is_free_again_gets_what_waited(lifecycle: Lifecycle, tmp_path: Path) -> None:
    """Nothing is dropped meanwhile."""
    path = tmp_path / "traces.db"
    with capture(lifecycle=lifecycle, store=path) as captured:
        with _locked(path):
            _talk("while locked")
        assert captured.runtime.flush(30)
        assert captured.runtime.stats().dropped == {}
        assert [found.name for found in TraceStore(path).conversations()] == ["while locked"]


def test_what_waits_for_the_store_is_bounded(
    lifecycle: Lifecycle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what has no room is counted: spans and errors."""
    monkeypatch.setattr(given, "ROWS", 4)
    busy, go_on = threading.Event(), threading.Event()
    write = pulse.Pulse.write

    def slow(self: pulse.Pulse, *arguments: Any) -> None:
        busy.set()
        if not go_on.wait(30):
            raise AssertionError("nobody let it go on")
        write(self, *arguments)

    monkeypatch.setattr(pulse.Pulse, "write", slow)
    outlet, streaming = _Counting(10), lifecycle == "stream"
    store = TraceStore(tmp_path / "traces.db")
    delivery = Delivery(store=store, sender=outlet, streaming=streaming)
    with configure.start(delivery, strict=True, traces_sample_rate=1.0) as runtime:
        with telemetry.conversation("first"), telemetry.span("turn"):
            pass
        assert busy.wait(30)
        for _ in range(10):
            sentry_sdk.capture_message("failed", level="error")
        assert outlet.all_there.wait(30)  # Sentry has them, while the store is busy
        go_on.set()
        assert runtime.flush(30)
        assert runtime.stats().dropped == {"store_error": 10 - 2}


class _Counting:
    """An outlet that says when so many errors have come."""

    def __init__(self, wanted: int) -> None:
        self.all_there = threading.Event()
        self._left = wanted

    def send(self, envelope: Envelope, *, timeout: float | None = None) -> Delivered:
        self._left -= any(item.type == "event" for item in envelope)
        if not self._left:
            self.all_there.set()
        return Delivered()

    def close(self) -> None: ...


# -- Sentry ----------------------------------------------------------------------------------------


class _Stuck:
    """An outlet that doesn't answer until it is told to."""

    def __init__(self) -> None:
        self.entered, self.door = threading.Event(), threading.Event()
        self.most, self._inside = 0, 0
        self._lock = threading.Lock()
        self.all_in = threading.Event()
        self.wanted = 0

    def send(self, envelope: Envelope, *, timeout: float | None = None) -> Delivered:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
            if self._inside == self.wanted:
                self.all_in.set()
        self.entered.set()
        assert self.door.wait(30)
        with self._lock:
            self._inside -= 1
        return Delivered()

    def close(self) -> None: ...


def test_a_sender_that_hangs_keeps_nothing_from_the_store(
    lifecycle: Lifecycle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it is there while the first request is still on its way."""
    outlet, store = _Stuck(), TraceStore(tmp_path / "traces.db")
    stored = threading.Event()
    written, settled = pulse.Pulse.written, []

    def note(self: pulse.Pulse, done: pulse.Done) -> None:
        written(self, done)
        settled.extend(done.settled)
        if len(settled) == 3:
            stored.set()

    monkeypatch.setattr(pulse.Pulse, "written", note)
    streaming = lifecycle == "stream"
    delivery = Delivery(store=store, sender=outlet, streaming=streaming)
    with configure.start(delivery, strict=True, traces_sample_rate=1.0):
        for name in ("one", "two", "three"):
            _talk(name)
        assert outlet.entered.wait(30)
        assert stored.wait(30)
        found = TraceStore(tmp_path / "traces.db").conversations()
        assert {conversation.name for conversation in found} == {"one", "two", "three"}
        outlet.door.set()


def test_so_many_requests_are_under_way_and_no_more(lifecycle: Lifecycle) -> None:
    """Each in a thread of its own."""
    outlet = _Stuck()
    outlet.wanted = 3
    streaming = lifecycle == "stream"
    delivery = Delivery(store=None, sender=outlet, streaming=streaming, at_once=3)
    with configure.start(delivery, strict=True, traces_sample_rate=1.0) as runtime:
        for number in range(10):
            telemetry.conversation(f"c-{number}").close()
        assert outlet.all_in.wait(30)
        outlet.door.set()
        assert runtime.flush(30)
        assert outlet.most == 3
        assert runtime.stats().dropped == {}


def test_a_flush_that_waits_for_sentry_keeps_no_core_busy(
    lifecycle: Lifecycle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the store is done, delivery sleeps until the answer comes."""
    steps = itertools.count()
    step = Delivery._step
    monkeypatch.setattr(Delivery, "_step", lambda self: next(steps) < 0 or step(self))
    outlet, store = _Stuck(), TraceStore(tmp_path / "traces.db")
    delivery = Delivery(store=store, sender=outlet, streaming=lifecycle == "stream")
    with configure.start(delivery, strict=True, traces_sample_rate=1.0) as runtime:
        _talk("one")
        flushing = threading.Thread(target=runtime.flush, args=(30,))
        flushing.start()
        assert outlet.entered.wait(30)
        for _ in range(2_000_000):
            pass  # in which a thread that polls gets its turns, and takes thousands of steps
        outlet.door.set()
        flushing.join()
    assert next(steps) < 100


def test_an_outlet_that_raises_costs_what_it_was_given(
    lifecycle: Lifecycle, caplog: pytest.LogCaptureFixture
) -> None:
    """Counted as an internal error; the lane goes on."""

    class Raising(_Stuck):
        def send(self, envelope: Envelope, *, timeout: float | None = None) -> Delivered:
            if not self.entered.is_set():
                self.entered.set()
                raise RuntimeError("a bug")
            return Delivered()

    delivery = Delivery(store=None, sender=Raising(), streaming=lifecycle == "stream")
    with configure.start(delivery, strict=True, traces_sample_rate=1.0) as runtime:
        for number in range(2):
            telemetry.conversation(f"c-{number}").close()
        assert runtime.flush(30)
        assert runtime.stats().dropped == {"internal_error": 1}
    assert "telemetry could not send" in caplog.messages


class _Slow:
    """An outlet whose first requests take until the door opens; one that is over is an answer."""

    def __init__(self, stuck: int) -> None:
        self.door = threading.Event()
        self.entered = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._stuck = stuck
        self.inside = 0
        self.most = 0

    def send(self, envelope: Envelope, *, timeout: float | None = None) -> Delivered:
        with self._lock:
            self._stuck -= 1
            waits = self._stuck >= 0
            self.inside += waits
            self.most = max(self.most, self.inside)
        if waits:
            self.entered.release()
            assert self.door.wait(30)
            with self._lock:
                self.inside -= 1
        return Delivered()

    def close(self) -> None: ...


def test_a_request_that_takes_too_long_is_tried_again(
    lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it still hangs: in a host's name, or in an answer that comes byte by byte."""
    monkeypatch.setattr(lanes, "REQUEST_SECONDS", 0.05)
    outlet = _Slow(stuck=1)
    delivery = Delivery(store=None, sender=outlet, streaming=lifecycle == "stream")
    with configure.start(delivery, strict=True, traces_sample_rate=1.0) as runtime:
        _talk("one")
        assert runtime.flush(30)
        assert outlet.inside == 1
        assert runtime.stats().dropped == {}
        outlet.door.set()


def test_few_threads_are_left_alone_with_a_request(
    lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that never ends its answers gets no more of them; what waits is sent later."""
    monkeypatch.setattr(lanes, "REQUEST_SECONDS", 0.01)
    monkeypatch.setattr(lanes, "LEFT_ALONE", 3)
    monkeypatch.setattr(send_queue, "BACKOFF_SECONDS", (0.001, 0.002))
    outlet = _Slow(stuck=10**6)
    delivery = Delivery(store=None, sender=outlet, streaming=lifecycle == "stream")
    with configure.start(delivery, strict=True, traces_sample_rate=1.0) as runtime:
        for number in range(5):
            _talk(f"c-{number}")
        for _ in range(3):
            assert outlet.entered.acquire(timeout=30)
        assert not runtime.flush(0.2)
        assert outlet.most == 3
        outlet.door.set()
        assert runtime.flush(30)
        assert runtime.stats().dropped == {}
