"""Rules choose conversations by what is known of them at their end."""

from __future__ import annotations

from dataclasses import replace

import pytest

import telemetry
from telemetry.summary import Summary, rules
from telemetry.testing import capture

FINE = Summary("c-1", "host", "conversation", "ok", duration_seconds=60.0, outcome="completed")


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("errors", {"errors": 1}),
        ("errors", {"failed_spans": 1}),
        ("errors", {"status": "aborted"}),
        ("interrupted", {"interruptions": 1}),
        ("slower:1.5", {"slowest_response_seconds": 1.6}),
        ("longer:60", {"duration_seconds": 60.1}),
        ("outcome:failed", {"outcome": "failed"}),
        (" errors , slower: 2 ,outcome:failed,", {"slowest_response_seconds": 2.5}),
    ],
)
def test_a_rule_chooses_what_it_names(text: str, other: dict[str, object]) -> None:
    """And an ordinary conversation isn't chosen."""
    chooses = rules(text)
    assert not chooses(FINE)
    assert chooses(replace(FINE, **other))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    ["error", "slower", "slower:", "slower:soon", "slower:-1", "slower:inf", "errors:2", "x y"],
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    """In one line that quotes it and says which there are."""
    with pytest.raises(telemetry.TelemetryError) as refusal:
        rules(f"interrupted,{text}")
    assert repr(text) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_is_neither_rules_nor_a_function_is_refused() -> None:
    """Before anything is set up."""
    with pytest.raises(telemetry.TelemetryError, match="keep"), capture(keep=3):  # type: ignore[arg-type]
        pass
