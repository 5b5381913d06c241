"""Recordings that stay by how their conversation went."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

import telemetry
from telemetry import Summary
from telemetry.store import TraceStore
from telemetry.testing import capture

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry import Conversation
    from telemetry.summary import Keep
    from tests.telemetry.conformance.whole import Lifecycle


def _record(conversation: Conversation, keep: Keep | None) -> None:
    file = conversation.record_audio(keep=keep)
    assert file is not None
    file.create()
    file.began(conversation.root.started_at)


def _left(store: Path) -> list[str]:
    """The names of the conversations that have a recording; each has its file."""
    with closing(TraceStore(store)) as traces:
        found = {each.name: traces.recordings(each) for each in traces.conversations()}
        files = {one.path for ones in found.values() for one in ones}
        assert files == set(traces.audio_folder.iterdir())
    return sorted(name for name, recordings in found.items() if recordings)


def test_the_failed_ones_stay(lifecycle: Lifecycle, tmp_path: Path) -> None:
    """An error, a span or the root may have failed: the summary says so of what the store knows."""
    path = tmp_path / "traces.db"
    asked: dict[str, Summary] = {}

    def failed(summary: Summary) -> bool:
        asked[summary.name] = summary
        return summary.failed

    with capture(lifecycle=lifecycle, store=path) as captured:
        for name in ("fine", "error", "span", "root"):
            with telemetry.conversation(name) as conversation:
                _record(conversation, failed)
                with conversation.span("work", attributes={"response.latency": 2.5}) as span:
                    if name == "span":
                        span.fail(ValueError())
                if name == "error":
                    conversation.capture_exception(ValueError("a table"))
                if name == "root":
                    conversation.fail(ValueError())
        assert captured.runtime.flush(30)
        assert _left(path) == ["error", "root", "span"]
    assert (asked["error"].errors, asked["span"].failed_spans) == (1, 1)
    assert asked["fine"].id
    assert not asked["fine"].failed


def test_all_stay_where_nobody_is_asked(lifecycle: Lifecycle, tmp_path: Path) -> None:
    """And where who is asked fails, which is told in the log."""
    path = tmp_path / "traces.db"

    def broken(_: Summary) -> bool:
        raise KeyError("by whoever wrote it")

    with capture(lifecycle=lifecycle, store=path) as captured:
        for name, keep in (("a", None), ("b", broken), ("c", lambda _: False)):
            with telemetry.conversation(name) as conversation:
                _record(conversation, keep)
        assert captured.runtime.flush(30)
        assert _left(path) == ["a", "b"]


def test_while_it_runs_it_is_there(tmp_path: Path) -> None:
    """From the beginning, whatever becomes of it; a second one has a file of its own."""
    path = tmp_path / "traces.db"
    with capture(store=path) as captured:
        with telemetry.conversation("call") as conversation:
            _record(conversation, lambda _: False)
            _record(conversation, None)
            assert captured.runtime.flush(30)
            assert _left(path) == ["call"]
        assert captured.runtime.flush(30)
        with closing(TraceStore(path)) as store:
            [one] = store.recordings(conversation.record())
        assert one.path.name == f"{conversation.trace_id}-{conversation.root.id}-2.ogg"


def test_one_that_can_not_be_deleted_is_no_error_of_who_records(tmp_path: Path) -> None:
    """Who writes it last tries again, and the store does so later."""
    with capture(store=tmp_path / "traces.db") as captured:
        with telemetry.conversation("call") as conversation:
            file = conversation.record_audio(keep=lambda _: False)
            assert file is not None
            file.path.mkdir(parents=True)  # it is no file: deleting it fails, whoever asks
            file.began(conversation.root.started_at)
        assert captured.runtime.flush(30)
        assert file.unwanted
        file.discard()
        assert file.path.exists()


@pytest.mark.parametrize("is_over", [False, True])
def test_where_nothing_can_be_recorded(tmp_path: Path, is_over: bool) -> None:
    """Without a store, and when the conversation is over, there is no place for a recording."""
    with capture(store=tmp_path / "traces.db" if is_over else None):
        conversation = telemetry.conversation("call")
        if is_over:
            conversation.close()
        assert conversation.record_audio() is None
        conversation.close()
