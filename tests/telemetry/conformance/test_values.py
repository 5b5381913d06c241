"""What is handed over is a value: it says what was so at the moment.

An application uses its dictionaries again, for the next order, the next frame. The delivery thread
comes to them later.
"""

from __future__ import annotations

import json
import logging
import queue
from logging.handlers import QueueHandler, QueueListener
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk

import telemetry
from telemetry.testing import capture

from .whole import call, reports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telemetry.testing import Captured

    from .whole import Lifecycle

app = logging.getLogger("app")
MOMENTS = range(30)


@pytest.fixture
def with_logs(lifecycle: Lifecycle) -> Iterator[Captured]:
    """Structured logs are sent too."""
    with capture(lifecycle=lifecycle, enable_logs=True, send_content=True) as captured:
        yield captured


def structured(captured: Captured) -> list[dict[str, Any]]:
    """The structured logs that were sent, in order."""
    found: list[dict[str, Any]] = []
    for envelope in captured.envelopes:
        _, header, payload, *_ = envelope.split(b"\n")
        if json.loads(header)["type"] == "log":
            found += json.loads(payload)["items"]
    return found


class Changing:
    """An object whose text is another one later."""

    def __init__(self) -> None:
        self.number = 0

    def __str__(self) -> str:
        return f"number {self.number}"


# -- logs ------------------------------------------------------------------------------------------


def test_a_log_is_of_its_moment(with_logs: Captured) -> None:
    """Message, template, extra (flat, nested, an object), as an error and as a structured log."""
    flat: dict[str, int] = {}
    nested, thing = {"a": [0]}, Changing()
    with call("ada"):
        for number in MOMENTS:
            flat["n"] = nested["a"][0] = thing.number = number
            extra = {"flat": flat, "nested": nested, "thing": thing}
            app.error("%s and %s", flat, thing, extra=extra)

    for number, event in zip(MOMENTS, with_logs.errors, strict=True):
        assert event["logentry"]["formatted"] == f"{{'n': {number}}} and number {number}"
        assert event["extra"]["flat"] == {"n": number}
        assert event["extra"]["nested"] == {"a": [number]}
        assert event["extra"]["thing"] == f"number {number}"
        for before, crumb in enumerate(event["breadcrumbs"]["values"]):
            assert crumb["data"]["flat"] == {"n": before}
    for number, log in zip(MOMENTS, structured(with_logs), strict=True):
        assert log["body"] == f"{{'n': {number}}} and number {number}"
        assert log["attributes"]["thing"]["value"] == f"number {number}"
        assert f"'n': {number}}}" in log["attributes"]["flat"]["value"]


def test_the_message_is_an_object(captured: Captured) -> None:
    """Its text is that of the moment, also as the template that errors are grouped by."""
    thing = Changing()
    for number in MOMENTS:
        thing.number = number
        app.error(thing)

    for number, event in zip(MOMENTS, captured.errors, strict=True):
        assert event["logentry"]["message"] == event["logentry"]["formatted"] == f"number {number}"


def test_an_adapters_extra(captured: Captured) -> None:
    """It is one dictionary for all that is logged with the adapter."""
    about = {"request": {"n": 0}}
    adapter = logging.LoggerAdapter(app, about)
    for number in MOMENTS:
        about["request"]["n"] = number
        adapter.error("failed")

    assert [event["extra"]["request"] for event in captured.errors] == [{"n": n} for n in MOMENTS]


def test_logs_of_a_factory_of_ones_own(captured: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """They format their messages in another way, and say more than they were given."""
    state = {"n": 0}

    class Braced(logging.LogRecord):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.state = state

        def getMessage(self) -> str:  # noqa: N802 - logging's name
            return str(self.msg).format(*(self.args or ()))

    monkeypatch.setattr(logging, "_logRecordFactory", logging.LogRecord)  # what is set is undone
    logging.setLogRecordFactory(Braced)
    for number in MOMENTS:
        state["n"] = number
        app.error("{} of {}", number, 30)

    for number, event in zip(MOMENTS, captured.errors, strict=True):
        assert event["logentry"]["formatted"] == f"{number} of 30"
        assert event["extra"]["state"] == {"n": number}


def test_what_makes_no_sense_costs_itself_only(
    captured: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that are no texts, a log that claims an exception: the rest of the log arrives."""
    monkeypatch.setattr(app, "propagate", False)  # pytest's handler would fail
    app.error("named", extra={1: "one"})  # type: ignore[dict-item]  # it works with logging
    odd_one = {"name": "app", "levelno": logging.ERROR, "msg": "odd", "exc_info": True}
    app.handle(logging.makeLogRecord(odd_one))

    named, odd = captured.errors
    assert named["extra"]["1"] == "one"
    assert odd["logentry"]["formatted"] == "odd"


def test_a_listeners_thread_passes_logs_on(captured: Captured) -> None:
    """Began in Bob's call, it gives Ada's log to another logger: it is hers, once."""
    central = logging.getLogger("central")

    class Forward(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            central.handle(record)

    queued: queue.SimpleQueue[Any] = queue.SimpleQueue()
    handler = QueueHandler(queued)
    app.addHandler(handler)
    try:
        with call("bob"):
            listener = QueueListener(queued, Forward())
            listener.start()
            with call("ada"):
                app.error("ada's")
            # of another process, which reports it itself
            theirs = {"name": "app", "levelno": logging.ERROR, "msg": "theirs", "process": -1}
            queued.put(logging.makeLogRecord(theirs))
            listener.stop()
    finally:
        app.removeHandler(handler)

    assert reports(captured) == [("ada's", "ada", "ada")]


# -- errors ----------------------------------------------------------------------------------------


def _log(error: BaseException) -> None:
    app.error("failed", exc_info=error)


def _by_our_api(error: BaseException) -> None:
    conversation = telemetry.current_conversation()
    assert conversation is not None
    conversation.capture_exception(error)


def _ask_sentry(error: BaseException) -> None:
    sentry_sdk.capture_exception(error)


WAYS = [_log, _by_our_api, _ask_sentry]


@pytest.mark.parametrize("report", WAYS)
def test_what_an_exception_says(
    captured: Captured, report: Callable[[BaseException], None]
) -> None:
    """Its arguments are used again; a note and a cause come later."""
    about = {"n": 0}
    with call("ada"):
        for number in MOMENTS:
            about["n"] = number
            error = ValueError(about)
            report(error)
            error.add_note("later")
            error.__cause__ = KeyError("later")

    for number, event in zip(MOMENTS, captured.errors, strict=True):
        assert [value["value"] for value in event["exception"]["values"]] == [f"{{'n': {number}}}"]


def test_what_the_exceptions_of_a_group_say(captured: Captured) -> None:
    """Each of them, and what they were raised from."""
    about = {"n": 0}
    with call("ada"):
        for number in MOMENTS:
            about["n"] = number
            inner = ValueError(about)
            inner.__cause__ = KeyError(about)
            _log(ExceptionGroup("both", [inner, LookupError(about)]))

    for number, event in zip(MOMENTS, captured.errors, strict=True):
        said = [str(value["value"]) for value in event["exception"]["values"]]
        assert said == [f"{{'n': {number}}}"] * 3 + [said[-1]]


@pytest.mark.parametrize("report", WAYS)
def test_what_scopes_say(captured: Captured, report: Callable[[BaseException], None]) -> None:
    """Contexts, extra, user and breadcrumbs of an error are of its moment."""
    context, extra, user = {"n": 0, "deep": {"n": 0}}, {"n": 0}, {"id": "ada", "n": 0}
    crumb = {"n": 0}
    with call("ada"):
        sentry_sdk.set_context("order", context)
        sentry_sdk.set_extra("order", extra)
        sentry_sdk.set_user(user)
        for number in MOMENTS:
            context["n"] = extra["n"] = user["n"] = crumb["n"] = number
            context["deep"] = {"n": number}
            sentry_sdk.add_breadcrumb(message="order", data=crumb)
            report(RuntimeError())

    for number, event in zip(MOMENTS, captured.errors, strict=True):
        assert event["contexts"]["order"] == {"n": number, "deep": {"n": number}}
        assert event["extra"]["order"] == {"n": number}
        assert event["user"] == {"id": "ada", "n": number}
        crumbs = [c for c in event["breadcrumbs"]["values"] if c.get("message") == "order"]
        assert [crumb["data"]["n"] for crumb in crumbs] == list(range(number + 1))


@pytest.mark.filterwarnings("ignore:The send_default_pii option:DeprecationWarning")
def test_who_a_structured_log_is_of(lifecycle: Lifecycle) -> None:
    """A warning has the user of its moment."""
    user = {"id": "0"}
    with capture(lifecycle=lifecycle, enable_logs=True, send_default_pii=True) as captured:
        with call("ada"):
            sentry_sdk.set_user(user)
            for number in MOMENTS:
                user["id"] = str(number)
                app.warning("warned")
        logs = structured(captured)

    users = [log["attributes"]["user.id"]["value"] for log in logs]
    assert users == [str(number) for number in MOMENTS]


def test_the_operators_own_hook_for_breadcrumbs(lifecycle: Lifecycle) -> None:
    """It is asked first, and may leave one out."""

    def edit(crumb: Any, _: Any) -> Any:
        return None if crumb["message"] == "secret" else {**crumb, "message": "edited"}

    with capture(lifecycle=lifecycle, before_breadcrumb=edit) as captured:
        with call("ada"):
            sentry_sdk.add_breadcrumb(message="secret")
            sentry_sdk.add_breadcrumb(message="open", data={"n": 1})
            app.error("failed")
        [event] = captured.errors
    [crumb] = event["breadcrumbs"]["values"]
    assert (crumb["message"], crumb["data"]) == ("edited", {"n": 1})


# -- conversations and spans -----------------------------------------------------------------------


def test_what_an_attribute_says(captured: Captured) -> None:
    """That of a span at its end, that of a conversation at its end."""
    items: list[int] = []
    thing = Changing()
    with telemetry.conversation("host") as conversation:
        for number in MOMENTS:
            with telemetry.span("work", str(number), attributes={"items": items}) as span:
                items.append(number)
                thing.number = number
                span.set({"thing": thing})
        conversation.set({"thing": thing})
        thing.number = 100
    thing.number = 200

    root, *spans = captured.spans(captured.conversations[0])
    assert root.attributes["thing"] == "number 100"
    for number, record in zip(MOMENTS, spans, strict=True):
        assert len(record.attributes["items"]) == number + 1
        assert record.attributes["thing"] == f"number {number}"


def test_what_a_conversation_says_of_itself(captured: Captured) -> None:
    """User and contexts are those of its end."""
    context, user = {"n": 0}, {"id": "ada", "n": 0}
    for number in MOMENTS:
        context["n"] = user["n"] = number
        with telemetry.conversation(str(number), user=user):
            sentry_sdk.set_context("order", context)
            if number % 2:
                sentry_sdk.set_user(user)

    for event in captured.conversations:
        number = int(event["transaction"])
        assert event["user"] == {"id": "ada", "n": number}
        assert event["contexts"]["order"] == {"n": number}
