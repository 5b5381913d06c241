"""Kinds of errors: the first of each, and its repeats."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from sentry_sdk.envelope import Envelope

from telemetry.delivery import kinds
from telemetry.delivery.kinds import Kinds

if TYPE_CHECKING:
    from typing import Final

BASE: Final[dict[str, Any]] = {
    "level": "error",
    "logger": "app",
    "logentry": {"message": "no table for %s", "formatted": "no table for 7"},
    "exception": {
        "values": [
            {
                "type": "ValueError",
                "value": "7",
                "stacktrace": {"frames": [{"abs_path": "/app.py", "lineno": 12}]},
            }
        ]
    },
}


def error(**more: Any) -> Envelope:
    """An envelope with an error like the others, but for ``more``."""
    made = Envelope()
    made.add_event({**BASE, **more})  # type: ignore[typeddict-item]  # a plain dict
    return made


def raised(**more: Any) -> dict[str, Any]:
    """Its exception, but for ``more``."""
    [exception] = BASE["exception"]["values"]
    return {"values": [{**exception, **more}]}


@pytest.mark.parametrize(
    "more",
    [
        {"logentry": {"message": "no table for %s", "formatted": "no table for 8"}},
        {"exception": raised(value="8")},
        {"user": {"id": "bob"}, "event_id": "ab" * 16, "tags": {"a": "b"}},
    ],
    ids=["arguments", "value", "whose"],
)
def test_repeats(more: dict[str, Any]) -> None:
    """What differs from case to case makes no kind of its own."""
    seen = Kinds()
    assert seen.is_first(error())
    assert not seen.is_first(error(**more))


@pytest.mark.parametrize(
    "more",
    [
        {"level": "fatal"},
        {"logger": "other"},
        {"logentry": {"message": "no waiter for %s", "formatted": "no waiter for 7"}},
        {"exception": raised(type="KeyError")},
        {"exception": raised(stacktrace={"frames": [{"abs_path": "/app.py", "lineno": 13}]})},
        {"exception": None},
    ],
    ids=["level", "logger", "template", "type", "place", "no exception"],
)
def test_kinds(more: dict[str, Any]) -> None:
    """Types and places, template, logger, level."""
    seen = Kinds()
    assert seen.is_first(error())
    assert seen.is_first(error(**more))
    assert not seen.is_first(error(**more))


def test_a_message_is_its_own_template() -> None:
    """Of plain Sentry's ``capture_message``."""
    seen = Kinds()
    names = ("one", "two", "one")
    bare: dict[str, Any] = {"logentry": None, "exception": None}
    assert [seen.is_first(error(message=name, **bare)) for name in names] == [True, True, False]


def test_one_that_has_not_come_for_long_is_new_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it keeps coming it isn't."""
    now = [0.0]
    monkeypatch.setattr(kinds, "time", SimpleNamespace(monotonic=lambda: now[0]))
    seen = Kinds()
    assert seen.is_first(error())
    for _ in range(3):
        now[0] += kinds.FORGOTTEN_AFTER_SECONDS
        assert not seen.is_first(error())
    now[0] += kinds.FORGOTTEN_AFTER_SECONDS + 1
    assert seen.is_first(error())


def test_the_latest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many: the one that hasn't come for longest is forgotten."""
    monkeypatch.setattr(kinds, "REMEMBERED", 2)
    seen = Kinds()
    for logger in ("a", "b", "a", "c"):
        seen.is_first(error(logger=logger))
    assert [seen.is_first(error(logger=logger)) for logger in ("a", "b")] == [False, True]
