"""A frame that is looked at by delivery while it runs, and what hides one."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Final

import pytest
import sentry_sdk
from sentry_sdk import utils

import telemetry
from telemetry.testing import Captured, capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry import Conversation

REPORTED: Final[dict[str, Callable[[Conversation, BaseException], object]]] = {
    "logged": lambda _, error: logging.getLogger("app").error("failed", exc_info=error),
    "captured": lambda conversation, error: conversation.capture_exception(error),
    "sentry": lambda _, error: sentry_sdk.capture_exception(error),
}


def held(*, after_delivery: bool, captured: Captured, way: str) -> int:
    """The references to a local variable that reporting an error of its frame adds to it.

    Python below 3.13 keeps a frame's variables in a dict once somebody has asked for them.
    """
    variable = object()
    with telemetry.conversation("call") as conversation:
        try:
            int("no number")
        except ValueError as error:
            before = sys.getrefcount(variable)
            REPORTED[way](conversation, error)
            if after_delivery:
                assert captured.runtime.flush(10)
            added = sys.getrefcount(variable) - before
    return added


@pytest.mark.parametrize("way", REPORTED)
def test_a_frame_that_runs_is_not_asked_for_its_variables(captured: Captured, way: str) -> None:
    """Delivery looks at an error whose frame still runs, and leaves its variables alone."""
    assert held(after_delivery=True, captured=captured, way=way) == 0
    assert len(captured.errors) == 1


@pytest.mark.parametrize("way", REPORTED)
def test_variables_that_are_sent_are_asked_for_in_their_thread(way: str) -> None:
    """Where the operator wants them, a frame's dict is made before delivery looks at it."""
    with capture(send_content=True) as captured:
        asked = held(after_delivery=False, captured=captured, way=way)
        (event,) = captured.errors
    assert asked == (1 if sys.version_info < (3, 13) else 0)
    (frame,) = event["exception"]["values"][0]["stacktrace"]["frames"]
    assert "variable" in frame["vars"]


def shown() -> None:
    """A function that doesn't hide, and fails."""
    raise ValueError("no such table")


def hidden() -> None:
    """One that hides itself, as a test's helper does."""
    __tracebackhide__ = True
    shown()


def test_frames_hide_as_they_did(captured: Captured) -> None:
    """A function whose variable hides it is left out, and others are there."""
    with telemetry.conversation("call") as conversation:
        try:
            hidden()
        except ValueError as error:
            conversation.capture_exception(error)
    (event,) = captured.errors
    frames = event["exception"]["values"][0]["stacktrace"]["frames"]
    assert [frame["function"] for frame in frames] == ["test_frames_hide_as_they_did", "shown"]


def test_a_frame_of_sentrys_hides_itself() -> None:
    """Frames of sentry-sdk are none of the application's."""
    with capture():
        frame = sys._getframe()
        assert not utils.should_hide_frame(frame)
        names = {"__name__": "sentry_sdk.somewhere", "sys": sys}
        exec("frame = (lambda: sys._getframe())()", names)  # noqa: S102 - a frame of that module
        assert utils.should_hide_frame(names["frame"])  # type: ignore[arg-type]
