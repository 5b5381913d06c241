"""What a killed process left is sent by the stricter of two rules, and says whose it was."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Literal

import pytest

import telemetry
from telemetry.delivery.send_queue import SendQueue
from telemetry.store import TraceStore
from tests.ingest import Ingest

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "the fig tree behind the vault"
KILLED = """
import os, signal, sys
import telemetry
from telemetry.attributes import USER_WORDS
dsn, store, lifecycle, content, secret = sys.argv[1:]
runtime = telemetry.init(
    dsn=dsn, store=store, lifecycle=lifecycle, send_content=content == "yes",
    environment="staging", release="1.2",
)
def say(name):
    conversation = telemetry.conversation(name, user={"id": "u1"}, tags={"tenant": "acme"})
    conversation.set_context("order", {"note": secret})
    span = conversation.start_span("gen_ai.chat", "reply", attributes={USER_WORDS: secret})
    span.set({"gen_ai.request.model": "small-1"})
    span.finish()
    conversation.start_span("agent.speech", f"says {secret}")
    return conversation
ended = say("ended")
try:
    raise ValueError(f"heard {secret}")
except ValueError as error:
    ended.capture_exception(error)
ended.close()
running = say("running")
runtime.flush(3)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _left(
    ingest: Ingest, store: Path, lifecycle: str, *, recorder: bool, sender: bool
) -> tuple[str, telemetry.Stats]:
    """All that the next process sends, as text."""
    ingest.answer(500)
    said = "yes" if recorder else "no"
    command = [sys.executable, "-c", KILLED, ingest.dsn, str(store), lifecycle, said, SECRET]
    subprocess.run(command, check=False)
    ingest.heal()
    with telemetry.init(dsn=ingest.dsn, store=store, send_content=sender) as runtime:
        assert runtime.recover(30)
        ingest.wait_for(lambda: ingest.errors and len(_roots(ingest)) == 2, 30)
        assert runtime.flush(30)
    sent = b"".join(envelope.serialize() for envelope in ingest.envelopes).decode()
    return sent, runtime.stats()


def _roots(ingest: Ingest) -> set[str]:
    roots = {event["contexts"]["trace"]["span_id"] for event in ingest.transactions}
    return roots | {span["span_id"] for span in ingest.spans if span["is_segment"]}


@pytest.mark.parametrize("lifecycle", ["transaction", "stream"])
@pytest.mark.parametrize(
    ("recorder", "sender"), [(False, False), (True, False), (False, True), (True, True)]
)
def test_words_leave_only_if_both_say_so(
    tmp_path: Path, lifecycle: Literal["transaction", "stream"], recorder: bool, sender: bool
) -> None:
    """Of what waited as an envelope, and of what was only rows; the store has them in any case."""
    with Ingest() as ingest:
        sent, stats = _left(ingest, tmp_path / "t.db", lifecycle, recorder=recorder, sender=sender)
        assert (SECRET in sent) is (recorder and sender)
        assert ("fig tree" in sent) is (recorder and sender)
        assert len(ingest.errors) == 1
    assert (stats.recovered, stats.dropped_spans, stats.waiting) == (1, 0, 0)
    stored = TraceStore(tmp_path / "t.db").conversations()
    assert {found.name: found.status for found in stored} == {"ended": "ok", "running": "aborted"}
    for part in ("u1", "acme", "staging", "1.2", "small-1", "gen_ai.chat"):
        assert part in sent


@pytest.mark.parametrize("lifecycle", ["transaction", "stream"])
def test_a_name_that_stands_in_the_code_is_still_known(
    tmp_path: Path, lifecycle: Literal["transaction", "stream"]
) -> None:
    """It was noted with the span; a name that somebody's words are in is its op."""
    with Ingest() as ingest:
        _left(ingest, tmp_path / "t.db", lifecycle, recorder=False, sender=False)
        spans: list[dict[str, Any]] = ingest.spans
        for event in ingest.transactions:
            spans += event["spans"]
        names = {span.get("name") or span["description"] for span in spans}
    assert names - {"conversation"} == {"reply", "agent.speech"}


def test_recovery_is_over_when_it_is_known_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when the store alone knows: whoever then asks if something waits is told the truth."""
    store, heard, hear = tmp_path / "traces.db", threading.Event(), SendQueue.kept

    def kept(self: SendQueue, *given: Any) -> None:
        assert heard.wait(30)
        hear(self, *given)

    with Ingest() as ingest:
        ingest.answer(503)
        with telemetry.init(dsn=ingest.dsn, store=store) as runtime:
            telemetry.conversation("host").close()
            runtime.close(1.0)
        monkeypatch.setattr(SendQueue, "kept", kept)
        with telemetry.init(dsn=ingest.dsn, store=store) as runtime:
            assert not runtime.recover(0.5)
            heard.set()
            assert runtime.recover(30)
            assert runtime.stats().waiting == 1
            ingest.heal()
