"""What the application logs with loguru, alone and passed on to or from ``logging``."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import loguru
import pytest
import sentry_sdk
from sentry_sdk.integrations.loguru import LoguruIntegration

import telemetry
from telemetry.testing import capture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.telemetry.conformance.whole import Lifecycle

logger = loguru.logger
app = logging.getLogger("app")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """No handler of loguru's but ours: as most applications begin."""
    logger.remove()
    yield
    logger.remove()


# -- the ways to log an error ----------------------------------------------------------------------


def _bound() -> None:
    logger.bind(order=7).error("trouble {}", 1)


def _with_exception() -> None:
    try:
        int("no number")
    except ValueError:
        logger.bind(order=7).exception("trouble 1")


def _configured() -> None:
    logger.configure(handlers=[{"sink": lambda message: None}])
    logger.bind(order=7).error("trouble 1")


def _with_a_sink() -> None:
    logger.add(lambda message: None)
    logger.bind(order=7).error("trouble 1")


def _each_handler_removed() -> None:
    added = logger.add(lambda message: None)
    logger.remove(added)
    logger.bind(order=7).error("trouble 1")


class _Intercept(logging.Handler):
    """The recipe of loguru's documentation: ``logging`` passes on to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        logger.opt(depth=6, exception=record.exc_info).log(record.levelname, record.getMessage())


class _Propagate(logging.Handler):
    """Its other recipe: loguru passes on to ``logging``."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger(record.name).handle(record)


@contextmanager
def _handling(handler: logging.Handler) -> Iterator[None]:
    app.addHandler(handler)
    try:
        yield
    finally:
        app.removeHandler(handler)


def _intercepted() -> None:
    with _handling(_Intercept()):
        app.error("trouble %d", 1, extra={"order": 7})


def _propagated() -> None:
    logger.add(_Propagate(), format="{message}")
    logger.bind(order=7).error("trouble 1")


@pytest.mark.parametrize("options", [{}, {"auto_enabling_integrations": False}], ids=["", "alone"])
@pytest.mark.parametrize(
    "log",
    [
        _bound,
        _with_exception,
        _configured,
        _with_a_sink,
        _each_handler_removed,
        _intercepted,
        _propagated,
    ],
)
def test_an_error_arrives_once_and_whole(
    lifecycle: Lifecycle,
    options: dict[str, Any],
    log: Callable[[], None],
) -> None:
    """Message without loguru's decoration, extra, exception, user; built by the delivery thread."""
    builders: set[str] = set()

    def before_send(event: Any, hint: Any) -> Any:
        builders.add(threading.current_thread().name)
        return event

    with capture(lifecycle=lifecycle, before_send=before_send, **options) as captured:
        with telemetry.conversation("host", user={"id": "ada"}) as conversation:
            log()
        [event] = captured.errors

    assert event["logentry"]["formatted"] == "trouble 1"
    assert event["extra"]["order"] == 7
    assert event["user"] == {"id": "ada"}
    assert event["contexts"]["trace"]["trace_id"] == conversation.trace_id
    exceptions = event.get("exception", {}).get("values", [])
    assert [error["type"] for error in exceptions] == ["ValueError"] * (log is _with_exception)
    assert builders == {"telemetry-delivery"}


def test_what_was_logged_before_is_a_breadcrumb(
    lifecycle: Lifecycle,
) -> None:
    """From INFO up."""
    with capture(lifecycle=lifecycle) as captured:
        with telemetry.conversation("host"):
            logger.debug("too quiet")
            logger.info("before")
            logger.error("failed")
        [event] = captured.errors
        crumbs = event["breadcrumbs"]["values"]
        assert [(crumb["message"], crumb["level"]) for crumb in crumbs] == [("before", "info")]


def test_structured_logs(lifecycle: Lifecycle) -> None:
    """Each once, under the conversation's trace."""
    with capture(lifecycle=lifecycle, enable_logs=True) as captured:
        with telemetry.conversation("host") as conversation:
            logger.bind(order=7).warning("for {}", "you")
        logs = [envelope for envelope in captured.envelopes if b'"type":"log"' in envelope]
        assert len(logs) == 1
        assert logs[0].count(b'"for you"') >= 1
        assert conversation.trace_id.encode() in logs[0]


def test_sentrys_own_integration_may_stay(
    lifecycle: Lifecycle,
) -> None:
    """Given by the operator, for its breadcrumbs say: errors still arrive once."""
    integration = LoguruIntegration()
    try:
        with capture(lifecycle=lifecycle, integrations=[integration]) as captured:
            with telemetry.conversation("host"):
                logger.error("trouble")
            assert [event["logentry"]["formatted"] for event in captured.errors] == ["trouble"]
    finally:
        # it sets loguru up by class attributes, for the whole process
        LoguruIntegration(level=None, event_level=None, sentry_logs_level=None)
        logger.remove()


@pytest.mark.parametrize("inside", [True, False], ids=["in a conversation", "outside"])
@pytest.mark.parametrize("log", [app.error, logger.error], ids=["logging", "loguru"])
def test_a_hook_that_waits_for_a_lock_under_which_another_thread_logs(
    lifecycle: Lifecycle, log: Callable[[str], None], inside: bool
) -> None:
    """No logging call waits for delivery, nor holds what delivery waits for: both finish."""
    lock = threading.Lock()
    in_hook, holding = threading.Event(), threading.Event()
    arrived: list[str] = []

    def hook(event: Any, hint: Any) -> Any:
        in_hook.set()
        assert holding.wait(30)
        with lock:
            return event

    def other() -> None:
        assert in_hook.wait(30)
        with lock:
            holding.set()
            log("under the lock")

    def work() -> None:
        with capture(lifecycle=lifecycle, before_send=hook) as captured:
            thread = threading.Thread(target=other, daemon=True)
            thread.start()
            if inside:
                with telemetry.conversation("host"):
                    log("an error")
            else:
                log("an error")
            thread.join()
            arrived.extend(event["logentry"]["formatted"] for event in captured.errors)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(20)
    assert sorted(arrived) == ["an error", "under the lock"]


def test_after_closing_loguru_is_the_applications_own() -> None:
    """Nothing is captured."""
    telemetry.init().close()
    logger.error("afterwards")
    assert not sentry_sdk.get_client().is_active()
