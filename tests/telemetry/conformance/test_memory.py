"""Nothing that was handed over keeps a call's memory alive once it is delivered."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import sentry_sdk

import telemetry
from telemetry.testing import capture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telemetry.testing import Captured

    from .whole import Lifecycle

app = logging.Logger("app")  # pytest doesn't know it, which keeps all that is logged
app.addHandler(logging.NullHandler())
pytestmark = pytest.mark.usefixtures("collector")


@pytest.fixture
def captured(lifecycle: Lifecycle) -> Iterator[Captured]:
    """Structured logs are sent too."""
    with capture(lifecycle=lifecycle, enable_logs=True) as captured:
        yield captured


def _raise(error: BaseException) -> None:
    raise error


@dataclass(eq=False)
class Audio:
    """Something large that a call works with."""

    seconds: float = 1.0


def _argument(audio: Audio) -> None:
    app.error("broken %s", audio)


def _extra(audio: Audio) -> None:
    app.error("broken", extra={"audio": audio, "in": {"list": [audio]}})


def _logged(audio: Audio) -> None:
    try:
        _raise(ValueError(audio.seconds))
    except ValueError:
        app.exception("broken")


def _logged_with_its_cause(audio: Audio) -> None:
    error = LookupError()
    error.__cause__ = ValueError(audio)
    try:
        _raise(error)
    except LookupError:
        app.exception("broken")


def _captured_by_us(audio: Audio) -> None:
    try:
        _raise(ValueError(audio.seconds))
    except ValueError as error:
        conversation = telemetry.current_conversation()
        assert conversation is not None
        conversation.capture_exception(error)


def _captured_by_sentry(audio: Audio) -> None:
    try:
        _raise(ValueError(audio.seconds))
    except ValueError as error:
        sentry_sdk.capture_exception(error)


def _attribute(audio: Audio) -> None:
    with telemetry.span("work", attributes={"audio": audio}):
        pass


def _failed_span(audio: Audio) -> None:
    try:
        with telemetry.span("work"):
            _raise(ValueError(audio))
    except ValueError:
        pass


def _breadcrumb(audio: Audio) -> None:
    app.info("audio %s", audio, extra={"audio": audio})
    sentry_sdk.add_breadcrumb(message="audio", data={"audio": audio})


@pytest.mark.parametrize(
    "use",
    [
        _argument,
        _extra,
        _logged,
        _logged_with_its_cause,
        _captured_by_us,
        _captured_by_sentry,
        _attribute,
        _failed_span,
        _breadcrumb,
    ],
)
def test_nothing_is_kept_alive(captured: Captured, use: Callable[[Audio], None]) -> None:
    """Not what a call's frames held, once it is delivered, while the conversation goes on."""
    alive: list[weakref.ref[Audio]] = []

    def work() -> None:
        audio = Audio()
        alive.append(weakref.ref(audio))
        use(audio)

    with telemetry.conversation("host"):
        for _ in range(5):
            work()
        captured.runtime.flush()
        gc.collect()
        assert [ref() for ref in alive] == [None] * 5


@pytest.mark.parametrize("report", [_logged, _captured_by_sentry])
def test_outside_of_conversations(captured: Captured, report: Callable[[Audio], None]) -> None:
    """Not the last one either, which Sentry remembers so as not to report it twice."""
    alive: list[weakref.ref[Audio]] = []

    def work() -> None:
        audio = Audio()
        alive.append(weakref.ref(audio))
        report(audio)

    for _ in range(5):
        work()
    captured.runtime.flush()
    gc.collect()

    assert [ref() for ref in alive] == [None] * 5


def test_no_conversation_is_kept_alive(captured: Captured) -> None:
    """Not the first, in which the SDK starts threads of its own, nor for what was logged in it."""
    alive: list[weakref.ref[telemetry.Conversation]] = []

    def converse() -> None:
        with telemetry.conversation("host") as conversation:
            alive.append(weakref.ref(conversation))
            app.error("failed")
            app.warning("warned")

    for _ in range(5):
        converse()
    captured.runtime.flush()
    gc.collect()

    assert [ref() for ref in alive] == [None] * 5


def test_an_exception_that_is_kept_keeps_few_conversations(captured: Captured) -> None:
    """It is raised again and again, in a hundred of them."""
    kept = RuntimeError("kept")
    alive: list[weakref.ref[telemetry.Conversation]] = []

    def converse() -> None:
        try:
            with telemetry.conversation("host") as conversation:
                alive.append(weakref.ref(conversation))
                _raise(kept)
        except RuntimeError:
            app.exception("failed")

    for _ in range(100):
        thread = threading.Thread(target=converse)
        thread.start()
        thread.join()
    kept.__traceback__ = None
    captured.runtime.flush()
    gc.collect()

    assert sum(ref() is not None for ref in alive) <= 10
