"""Sentry's own API inside a conversation: it does what Sentry says, and the trace stays whole."""

from __future__ import annotations

import logging
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
from sentry_sdk import profiler
from sentry_sdk.profiler.continuous_profiler import teardown_continuous_profiler
from sentry_sdk.transport import Transport

import telemetry
from telemetry.testing import capture

from .whole import (
    assert_current,
    assert_faultless,
    assert_nothing_current,
    foreign_transaction,
    plain,
    sentrys_span_id,
    trees,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractContextManager

    from sentry_sdk.envelope import Envelope

    from telemetry.testing import Captured

    from .whole import Lifecycle

app = logging.getLogger("app")
SCOPES = ("isolation_scope", "new_scope", "push_scope")


def said(event: dict[str, Any]) -> str:
    """The words of an error event."""
    values = (event.get("exception") or {}).get("values") or [{}]
    logged = (event.get("logentry") or {}).get("formatted")
    return str(values[-1].get("value") or logged or event.get("message"))


# -- scopes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCOPES)
def test_what_a_scope_is_told_is_on_errors_inside_it(captured: Captured, name: str) -> None:
    """In spans of ours inside it too, and not after it; the conversation never hears of it."""
    with telemetry.conversation("host", user={"id": "ada"}) as conversation:
        with _scope(name) as scope:
            scope.set_tag("inside", "yes")
            sentry_sdk.capture_message("in block", level="error")
            with telemetry.span("ours") as ours:
                sentry_sdk.capture_message("in span", level="error")
                app.error("logged in span")
                conversation.capture_exception(RuntimeError("reported in span"))
                assert_current(ours)
            sentry_sdk.capture_message("after span", level="error")
        with telemetry.span("after"):
            sentry_sdk.capture_message("after block", level="error")
        assert_current(conversation.root)

    assert {said(event): (event.get("tags"), event["user"]) for event in captured.errors} == {
        **dict.fromkeys(
            ("in block", "in span", "logged in span", "reported in span", "after span"),
            ({"inside": "yes"}, {"id": "ada"}),
        ),
        "after block": (None, {"id": "ada"}),
    }
    assert trees(captured) == ["conversation host\n├─ after\n└─ ours"]
    assert not captured.transactions[0].get("tags")
    assert_faultless(captured)


def _scope(name: str) -> AbstractContextManager[sentry_sdk.Scope]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # push_scope is, and is used
        made: AbstractContextManager[sentry_sdk.Scope] = getattr(sentry_sdk, name)()
    return made


# -- spans -----------------------------------------------------------------------------------------


async def _pieces() -> AsyncGenerator[int]:
    with plain("gen", "generator"):
        for number in range(3):
            with plain("gen", f"in {number}"), telemetry.span("ours", f"ours {number}"):
                pass
            yield number


async def test_a_generator_left_by_break_parents_nothing_after_it(captured: Captured) -> None:
    """Sentry's own span that is open in it is none of its consumer's, before and after."""
    with telemetry.conversation("host"):
        generator = _pieces()
        async for _ in generator:
            with telemetry.span("step", "consumer"):
                pass
            with plain("step", "plain consumer"):
                pass
            break
        with telemetry.span("step", "after"):
            pass
        with plain("step", "plain after"):
            pass
        await generator.aclose()
        with plain("step", "plain at the end"):
            pass

    assert trees(captured) == [
        "conversation host\n"
        "├─ gen generator\n"
        "│  └─ gen in 0\n"
        "│     └─ ours ours 0\n"
        "├─ step after\n"
        "├─ step consumer\n"
        "├─ step plain after\n"
        "├─ step plain at the end\n"
        "└─ step plain consumer"
    ]
    assert_faultless(captured)


def test_a_transaction_inside_is_its_own(captured: Captured) -> None:
    """It arrives with its spans and its errors; the conversation is whole and current again."""
    with telemetry.conversation("host", user={"id": "ada"}):
        with telemetry.span("turn") as turn:
            with foreign_transaction("job", "job"):
                with plain("step", "inside"):
                    sentry_sdk.capture_message("in job", level="error")
                job = sentrys_span_id()
            assert_current(turn)
            with plain("step", "after"):
                pass
        assert job != turn.id

    [error] = captured.errors
    assert (said(error), error["user"]) == ("in job", {"id": "ada"})
    [host] = captured.conversations
    assert captured.tree(host) == "conversation host\n└─ turn\n   └─ step after"
    [theirs] = [event for event in captured.transactions if event is not host and event != host]
    assert captured.tree(theirs) == "job\n└─ step inside"


# -- a second init ---------------------------------------------------------------------------------


class _Elsewhere(Transport):
    """Where a library sends what is its own."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.envelopes: list[Envelope] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)


def test_a_library_that_calls_init_again_takes_no_conversation(
    lifecycle: Lifecycle, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that is open and the next arrive whole, errors and all; one line says so."""
    transport = _Elsewhere()

    def init_again() -> None:
        sentry_sdk.init(
            dsn="https://k@sentry.invalid/1",
            transport=transport,
            traces_sample_rate=1.0,
            trace_lifecycle="stream" if lifecycle == "stream" else "static",
        )

    with capture(lifecycle=lifecycle) as captured:
        first = telemetry.conversation("first", user={"id": "ada"})
        first.start_span("turn").finish()
        init_again()
        first.start_span("turn").finish()
        first.close()
        with telemetry.conversation("second", user={"id": "bob"}) as second:
            with telemetry.span("turn"), plain("step", "plain"):
                sentry_sdk.capture_message("plain", level="error")
            app.error("logged")
            second.capture_exception(RuntimeError("ours"))
        assert_nothing_current()

        assert trees(captured) == [
            "conversation first\n├─ turn\n└─ turn",
            "conversation second\n└─ turn\n   └─ step plain",
        ]
        users = {said(event): event["user"] for event in captured.errors}
        assert users == {name: {"id": "bob"} for name in ("plain", "logged", "ours")}
    assert transport.envelopes == []
    assert len([line for line in caplog.messages if "sentry_sdk.init" in line]) == 1
    client = sentry_sdk.get_client()
    assert client.transport is transport  # closing ours left the library its own
    client.close()
    sentry_sdk.get_global_scope().set_client(None)


# -- hooks that raise ------------------------------------------------------------------------------

LOST: dict[str, Callable[[Lifecycle], tuple[int, int, int]]] = {
    # conversations and errors that arrive, and what is counted
    "before_send": lambda lifecycle: (1, 0, 1),
    "before_send_log": lambda lifecycle: (1, 1, 1),
    "before_send_transaction": lambda lifecycle: (
        (0, 1, 2) if lifecycle == "transaction" else (1, 1, 0)
    ),
    "before_breadcrumb": lambda lifecycle: (1, 1, 0),
    "error_sampler": lambda lifecycle: (1, 1, 0),
    "traces_sampler": lambda lifecycle: (0, 1, 1),
}


@pytest.mark.parametrize("name", LOST)
def test_a_hook_that_raises_is_nobody_elses_affair(lifecycle: Lifecycle, name: str) -> None:
    """Nothing raises into the call, and what is lost by it is counted."""

    def raises(*_: Any) -> Any:
        raise RuntimeError("the hook's")

    options: dict[str, Any] = {"enable_logs": True, name: raises}
    with capture(lifecycle=lifecycle, **options) as captured:
        with telemetry.conversation("host", user={"id": "ada"}), telemetry.span("turn"):
            app.error("logged")
        conversations, errors, counted = LOST[name](lifecycle)
        assert (len(captured.conversations), len(captured.errors)) == (conversations, errors)
        dropped = captured.runtime.stats().dropped
        assert dropped == ({"callback_error": counted} if counted else {})


def test_a_span_hook_that_raises_leaves_the_span_as_it_was() -> None:
    """As Sentry has it: streamed spans can be changed, not dropped."""
    with capture(lifecycle="stream", before_send_span=lambda span, hint: 1 / 0) as captured:
        with telemetry.conversation("host"), telemetry.span("turn"):
            pass
        assert trees(captured) == ["conversation host\n└─ turn"]
        assert captured.runtime.stats().dropped == {}


def test_a_hook_that_raises_is_told_once(
    lifecycle: Lifecycle, caplog: pytest.LogCaptureFixture
) -> None:
    """By name, with its traceback, however often it does."""
    with capture(lifecycle=lifecycle, before_send=lambda event, hint: 1 / 0) as captured:
        for _ in range(3):
            app.error("logged")
        assert captured.errors == []
    [told] = [record for record in caplog.records if "before_send raised" in record.message]
    assert told.exc_info is not None
    assert told.exc_info[0] is ZeroDivisionError


# -- locks of the application's --------------------------------------------------------------------


class _Cache:
    """Shows itself under its own lock, as many do."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        with self.lock:
            return "<cache>"


def _by_plain_sentry(error: Exception) -> None:
    sentry_sdk.capture_exception(error)


def _by_the_conversation(error: Exception) -> None:
    conversation = telemetry.current_conversation()
    assert conversation is not None
    conversation.capture_exception(error)


def _by_logging(error: Exception) -> None:
    app.error("failed", exc_info=error)


@pytest.mark.parametrize("report", [_by_plain_sentry, _by_the_conversation, _by_logging])
def test_an_error_reported_under_a_lock_that_a_local_shows_itself_by(
    lifecycle: Lifecycle, report: Callable[[Exception], None]
) -> None:
    """Nobody waits for himself: frames are looked at later, by delivery."""
    arrived: list[Any] = []

    def call() -> None:
        cache = _Cache()
        with telemetry.conversation("host"), cache.lock:
            try:
                int("no number")
            except ValueError as error:
                report(error)

    def work() -> None:
        with capture(lifecycle=lifecycle, send_content=True) as captured:
            call()
            arrived.extend(captured.errors)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20)
    [event] = arrived
    frames = event["exception"]["values"][-1]["stacktrace"]["frames"]
    assert "<cache>" in [frame.get("vars", {}).get("cache") for frame in frames]


# -- the profiler ----------------------------------------------------------------------------------


def test_a_profile_is_taken_where_somebody_asks_for_one(lifecycle: Lifecycle) -> None:
    """The continuous profiler, started and stopped by hand; a chunk of it arrives."""
    with capture(lifecycle=lifecycle, profile_session_sample_rate=1.0) as captured:
        profiler.start_profiler()
        with telemetry.conversation("host"):
            while not any(b"profile_chunk" in envelope for envelope in captured.envelopes):
                sum(range(100_000))  # something to be seen at
                profiler.stop_profiler()  # it hands over what it has
                profiler.start_profiler()
        profiler.stop_profiler()
        teardown_continuous_profiler()
