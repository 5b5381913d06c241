"""Spans that are started where no conversation is current."""

from __future__ import annotations

from typing import TYPE_CHECKING

import telemetry
from telemetry.attributes import ORPHAN_OPEN_CONVERSATIONS, ORPHAN_TASK, ORPHAN_WHERE
from telemetry.testing import Captured, capture

from .foreign_thread import in_foreign_thread

if TYPE_CHECKING:
    import pytest


def test_strict_mode_says_what_lost_the_conversation(captured: Captured) -> None:
    """The error names the place, the open conversations and the call that fixes it."""
    with telemetry.conversation("host", id="c-9"):
        failures: list[telemetry.MissingConversation] = []

        def lost() -> None:
            try:
                telemetry.span("gen_ai.chat")
            except telemetry.MissingConversation as error:
                failures.append(error)

        in_foreign_thread(lost)

    [error] = failures
    assert error.op == "gen_ai.chat"
    assert error.open_conversations == ["c-9"]
    assert __file__ in error.where
    assert "telemetry.bind" in str(error)
    assert captured.runtime.stats().orphan_spans == 0


def test_an_orphan_is_recorded_counted_and_explained_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Outside strict mode nothing raises: the span arrives alone, with what is known of it."""
    with capture(strict=False) as captured:
        for _ in range(2):
            with telemetry.span("gen_ai.chat", "lonely"), telemetry.span("inner"):
                assert telemetry.current_conversation() is None

        assert [captured.tree(event) for event in captured.transactions] == [
            "gen_ai.chat lonely\n└─ inner"
        ] * 2
        data = captured.transactions[0]["contexts"]["trace"]["data"]
        assert __file__ in data[ORPHAN_WHERE]
        assert data[ORPHAN_TASK] == ""
        assert data[ORPHAN_OPEN_CONVERSATIONS] == []
        stats = captured.runtime.stats()
        assert (stats.orphan_spans, stats.conversations, stats.dropped_spans) == (2, 0, 0)
    assert caplog.text.count("has no conversation") == 1
