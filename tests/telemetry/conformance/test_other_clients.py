"""A library calls ``sentry_sdk.init`` after us, or brings a client of its own.

Conversations and all that happens in them go where ``telemetry.init`` said; the rest is the other
client's, once, and one line says so.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
from sentry_sdk.transport import Transport

import telemetry

from .whole import assert_current, call, plain, reports, traces, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sentry_sdk.envelope import Envelope

    from telemetry.testing import Captured

app = logging.getLogger("app")


class _Elsewhere(Transport):
    """Takes what the other client sends."""

    sent: list[Any]

    def __init__(self, sent: list[Any]) -> None:
        super().__init__({})
        self.sent = sent

    def capture_envelope(self, envelope: Envelope) -> None:
        self.sent += [item.payload.json for item in envelope.items]


@pytest.fixture
def sent() -> Iterator[list[Any]]:
    """What the other client sends; it is gone afterwards."""
    yield []
    sentry_sdk.get_global_scope().set_client(None)


def _init_again(sent: list[Any], **options: Any) -> None:
    sentry_sdk.init(
        dsn="http://key@localhost/2",
        transport=_Elsewhere(sent),
        traces_sample_rate=1.0,
        auto_enabling_integrations=False,
        release="theirs",  # else it asks git, in a span
        **options,
    )


def _said(sent: list[Any]) -> list[str]:
    return [event.get("message") or event["logentry"]["formatted"] for event in sent]


def test_called_in_a_thread(
    captured: Captured, caplog: pytest.LogCaptureFixture, sent: list[Any]
) -> None:
    """The conversation that is open and the next arrive whole; told in one line."""
    first = telemetry.conversation("ada", user={"id": "ada"})
    first.start_span("turn", "before").finish()
    thread = threading.Thread(target=_init_again, args=(sent,))
    thread.start()
    thread.join()
    first.start_span("turn", "after").finish()
    first.close()
    with call("bob") as second, telemetry.span("turn") as turn:
        assert_current(turn)
        with plain("http.client", "plain"):
            sentry_sdk.capture_message("by Sentry", level="error")
        app.error("logged")
        second.capture_exception(RuntimeError("by us"))
    with call("bob"):
        pass

    assert tree(captured, first) == "conversation ada\n├─ turn after\n└─ turn before"
    assert tree(captured, second) == "conversation bob\n└─ turn\n   └─ http.client plain"
    assert reports(captured) == [(what, "bob", "bob") for what in ("by Sentry", "by us", "logged")]
    assert sent == []
    [told] = [log.getMessage() for log in caplog.records if log.name == telemetry.__name__]
    assert "sentry_sdk.init()" in told
    assert "\n" not in told


def test_begun_inside_a_conversation(captured: Captured, sent: list[Any]) -> None:
    """It goes on."""
    with call("ada") as conversation:
        _init_again(sent)
        with telemetry.span("turn"):
            app.error("logged")

    assert "turn" in tree(captured, conversation)
    assert reports(captured) == [("logged", "ada", "ada")]
    assert sent == []


def test_what_is_no_conversations_is_the_other_clients_once(
    captured: Captured, sent: list[Any]
) -> None:
    """Errors outside of any, logged or captured, and no line of the log as breadcrumb twice."""
    _init_again(sent)
    app.warning("before")
    app.error("logged")
    sentry_sdk.capture_message("by Sentry", level="error")
    captured.runtime.flush()

    assert _said(sent) == ["logged", "by Sentry"]
    crumbs = [crumb["message"] for crumb in sent[0]["breadcrumbs"]["values"]]
    assert crumbs == ["before"]
    assert captured.errors == []


async def test_a_task_that_is_left_over_is_still_its_calls(
    captured: Captured, sent: list[Any]
) -> None:
    """What it logs, captures and times."""
    go = asyncio.Event()

    async def late() -> None:
        await go.wait()
        app.error("logged")
        sentry_sdk.capture_message("by Sentry", level="error")
        with telemetry.span("late"):
            pass

    async with call("ada") as conversation:
        task = asyncio.create_task(late())
        await asyncio.sleep(0)
    _init_again(sent)
    go.set()
    await task

    assert reports(captured) == [("by Sentry", "ada", "ada"), ("logged", "ada", "ada")]
    assert [span.op for span in traces(captured)[conversation.trace_id]] == ["conversation", "late"]
    assert sent == []


def test_without_a_dsn_it_takes_nothing_away(captured: Captured, sent: list[Any]) -> None:
    """A library's ``sentry_sdk.init()`` for tests, or one that is turned off."""
    sentry_sdk.init()
    with call("ada") as conversation, telemetry.span("turn"):
        sentry_sdk.capture_message("by Sentry", level="error")

    assert tree(captured, conversation) == "conversation ada\n└─ turn"
    assert reports(captured) == [("by Sentry", "ada", "ada")]


def test_a_client_that_a_library_keeps_to_itself(captured: Captured, sent: list[Any]) -> None:
    """Under a scope with that client, in the middle of a conversation, all is the library's."""
    client = sentry_sdk.Client(dsn="http://key@localhost/2", transport=_Elsewhere(sent))
    own = sentry_sdk.Scope(client=client)
    with call("ada"):
        with sentry_sdk.scope.use_scope(own):
            sentry_sdk.capture_message("theirs", level="error")
        sentry_sdk.capture_message("ours", level="error")

    assert _said(sent) == ["theirs"]
    assert reports(captured) == [("ours", "ada", "ada")]


def test_closing_leaves_the_other_client_alone(captured: Captured, sent: list[Any]) -> None:
    """It isn't ours to close."""
    _init_again(sent)
    with call("ada"):
        pass
    assert captured.runtime.close()
    sentry_sdk.capture_message("afterwards", level="error")

    assert _said(sent) == ["afterwards"]
