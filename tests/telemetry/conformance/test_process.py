"""Telemetry never initialised, initialised twice, closed under a conversation, and after a fork."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import sentry_sdk

import telemetry
from telemetry.store import TraceStore
from telemetry.testing import capture

from . import forking
from .whole import assert_current, assert_faultless, assert_nothing_current, tree

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry.testing import Captured

    from .whole import Lifecycle


async def test_without_init_everything_works_and_goes_nowhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Code under telemetry needs no telemetry; the log says once that there is none."""
    caplog.set_level("WARNING")
    async with telemetry.conversation("host", user={"id": "u"}) as conversation:
        with telemetry.span("work") as span:
            assert telemetry.current_span() is span
            await asyncio.to_thread(telemetry.bind(lambda: telemetry.span("there").finish()))
        conversation.start_span("handle").finish()
        conversation.capture_exception(ValueError())
        sentry_sdk.set_tag("plain", "tag")
        assert telemetry.trace_headers()["sentry-trace"].startswith(conversation.trace_id)
    with telemetry.span("no conversation"):
        pass
    assert_nothing_current()
    assert caplog.text.count("telemetry.init() has not been called") <= 1  # once in a process


async def test_a_second_init_changes_nothing(captured: Captured) -> None:
    """It raises where it is called; the conversations that are open go on."""
    async with telemetry.conversation("host") as conversation:
        with pytest.raises(telemetry.TelemetryError, match="already"):
            telemetry.init()
        with telemetry.span("work") as span:
            assert_current(span)

    assert tree(captured, conversation) == "conversation host\n└─ work"
    assert_faultless(captured)


async def test_init_again_after_closing(lifecycle: Lifecycle) -> None:
    """Each runtime counts and delivers its own; a conversation stays with the one it began in."""
    with capture(lifecycle=lifecycle) as first:
        outlived = telemetry.conversation("outlived").__enter__()
        assert_current(outlived.root)
    with capture(lifecycle=lifecycle) as second:
        async with telemetry.conversation("host") as conversation:
            assert_current(conversation.root)
        outlived.__exit__(None, None, None)
        assert tree(second, conversation) == "conversation host"
        assert_faultless(second)
    assert first.runtime.stats().conversations == 1
    assert_nothing_current()


def test_what_comes_after_closing_is_counted(lifecycle: Lifecycle) -> None:
    """Closing ends what is open; what it goes on to record can't arrive, and is known not to."""
    with capture(lifecycle=lifecycle) as captured:
        conversation = telemetry.conversation("host").__enter__()
        conversation.start_span("open")
    conversation.start_span("too late").finish()
    conversation.capture_exception(ValueError())
    conversation.__exit__(None, None, None)

    stats = captured.runtime.stats()
    assert (stats.open_at_finish, stats.late_spans) == (1, 1)
    assert stats.dropped == {"shutdown": 2}


def test_after_a_fork_each_process_delivers_its_own(lifecycle: Lifecycle, tmp_path: Path) -> None:
    """The parent's conversation stays the parent's; what the child adds to it arrives as late."""
    store = tmp_path / "traces.db"
    result = subprocess.run(
        [sys.executable, "-m", forking.__name__, lifecycle, str(store)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    parent, child = seen["parent"], seen["child"]

    assert parent["trees"] == [
        "conversation before",
        "conversation parent's\n└─ around\n   └─ work parent",
    ]
    assert "conversation child's\n└─ work child" in child["trees"]
    assert not any(text.startswith("conversation parent's") for text in child["trees"])
    assert (parent["late"], child["late"]) == (0, 1)
    assert (parent["orphans"], child["orphans"]) == (0, 0)
    assert (parent["dropped"], child["dropped"]) == (0, 0)
    stored = {found.name: len(found.spans) for found in _stored(store)}
    assert stored == {"before": 1, "parent's": 4, "child's": 2}


def _stored(path: Path) -> list[telemetry.records.ConversationRecord]:
    store = TraceStore(path)
    found = [store.conversation(listed.id) for listed in store.conversations()]
    return [each for each in found if each is not None]
