"""What people say is in the local store; of what is sent, not a byte holds it unless asked for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import sentry_sdk

import telemetry
from telemetry import configure
from telemetry.attributes import (
    AGENT_WORDS,
    GEN_AI_INPUT_MESSAGES,
    GEN_AI_TOOL_CALL_ARGUMENTS,
    USER_WORDS,
)
from telemetry.delivery.sender import Delivered
from telemetry.delivery.thread import Delivery
from telemetry.encoding.envelope import encode
from telemetry.store import TraceStore

if TYPE_CHECKING:
    from pathlib import Path

    from sentry_sdk.envelope import Envelope

    from .whole import Lifecycle

app = logging.getLogger("app")

SECRET = "the vault is under the fig tree"
UNRECORDED = "marmalade"
"""Said, but in no span: only the name of the field it is logged in tells that it is content."""


class _Wire:
    """An outlet that keeps the bytes."""

    def __init__(self) -> None:
        self.sent = b""

    def send(self, envelope: Envelope, *, timeout: float | None = None) -> Delivered:
        self.sent += encode(envelope)
        return Delivered()

    def close(self) -> None: ...


def _fail(heard: str) -> None:
    raise ValueError(f"no audio frames were pushed for text: {heard!r}")


def _say(conversation: telemetry.Conversation, heard: str) -> None:
    """Words wherever they can be: spans, roots, late spans, plain Sentry, frames, extra of logs,
    and quoted by errors and logs, before and after the end."""
    attributes = {
        USER_WORDS: heard,
        AGENT_WORDS: [heard],
        GEN_AI_INPUT_MESSAGES: [{"role": "user", "content": heard}],
        GEN_AI_TOOL_CALL_ARGUMENTS: {"note": heard},
        "lk.pii.user_transcript": heard,
    }
    conversation.set(attributes)
    with telemetry.span("gen_ai.chat", attributes=attributes) as span:
        span.set(attributes)
        try:
            _fail(heard)
        except ValueError as error:
            conversation.capture_exception(error)
            sentry_sdk.capture_exception(ValueError(f"{heard}!"))
            app.warning("retrying %s", heard, exc_info=error)
            app.exception("failed: %s", heard)
        sentry_sdk.add_breadcrumb(message=f"heard {heard}", data={"note": [heard]})
        app.error("failed", extra={"lk.pii.user_transcript": UNRECORDED, "text": {"of": heard}})
    conversation.close()
    conversation.start_span("late", attributes=attributes).finish()
    conversation.capture_exception(ValueError(f"too late: {heard}"))


@pytest.mark.parametrize("asked_for", [False, True])
def test_words_stay_here(lifecycle: Lifecycle, tmp_path: Path, *, asked_for: bool) -> None:
    """Every envelope is searched."""
    wire, path = _Wire(), tmp_path / "traces.db"
    delivery = Delivery(
        store=TraceStore(path),
        sender=wire,
        send_content=asked_for,
        streaming=lifecycle == "stream",
    )
    options = {
        "traces_sample_rate": 1.0,
        "include_local_variables": asked_for,
        "include_source_context": False,  # of this file
        "enable_logs": True,
    }
    with configure.start(delivery, strict=True, **options) as running:
        with telemetry.conversation("host", id="c-1") as conversation:
            _say(conversation, SECRET)
        assert running.flush(30)

    stored = TraceStore(path).conversation("c-1")
    assert stored is not None
    assert [span.attributes[USER_WORDS] for span in stored.spans] == [SECRET] * 3
    assert stored.error_count == 4  # one was logged as well as captured
    messages = {error.message for error in TraceStore(path).errors(stored)}
    assert any(SECRET in message for message in messages)
    for words in (SECRET, "vault", "fig tree"):
        assert (words.encode() in wire.sent) is asked_for
    assert UNRECORDED.encode() not in wire.sent  # such fields stay in the application's own log
    assert wire.sent.count(b"gen_ai.chat") >= 1
    assert b"no audio frames were pushed for text: " in wire.sent
