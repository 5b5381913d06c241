"""What the application logs: errors, structured logs and breadcrumbs, of the right conversation."""

from __future__ import annotations

import json
import logging
import logging.config
import logging.handlers
import queue
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
import structlog
from sentry_sdk.feature_flags import add_feature_flag
from sentry_sdk.integrations.logging import LoggingIntegration

import telemetry
from telemetry.delivery import thread
from telemetry.integrations import harmless
from telemetry.testing import capture
from tests.ingest import Ingest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from telemetry.testing import Captured

app = logging.getLogger("app")


def test_loggers_that_do_not_propagate_are_heard(
    captured: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's logger keeps its records from the root logger, not from us."""
    server = logging.getLogger("server")
    monkeypatch.setattr(server, "propagate", False)
    with telemetry.conversation("host", user={"id": "u"}):
        server.error("broken", extra={"request": 7})

    [event] = captured.errors
    assert (event["logger"], event["user"]) == ("server", {"id": "u"})
    assert event["extra"]["request"] == 7


def test_arguments_that_do_not_fit_are_no_failure_of_ours(
    captured: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error arrives with the message as it was written."""
    monkeypatch.setattr(app, "propagate", False)  # pytest's handler would fail
    app.error("%d of them", "many")

    [event] = captured.errors
    assert event["logentry"]["formatted"] == "%d of them"


def test_what_was_logged_before_is_an_errors_breadcrumb(captured: Captured) -> None:
    """Of its own conversation only, in order, from INFO up."""
    for number in range(2):
        with telemetry.conversation(f"c-{number}"):
            app.warning("before %s", number)
            app.error("failed %s", number)

    assert [
        [crumb["message"] for crumb in event["breadcrumbs"]["values"]] for event in captured.errors
    ] == [["before 0"], ["before 1"]]


def test_an_error_knows_the_feature_flags(captured: Captured) -> None:
    """Copied when it is logged: what is evaluated later isn't the error's."""
    with telemetry.conversation("host"):
        add_feature_flag("early", result=True)
        app.error("failed")
        add_feature_flag("later", result=True)

    [event] = captured.errors
    assert event["contexts"]["flags"]["values"] == [{"flag": "early", "result": True}]


def test_structured_logs_are_the_conversations_and_dated_when_made(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each record once, also those in the last moment before closing; the operator may edit."""
    edited: list[str] = []

    def edit(log: Any, hint: Any) -> Any:
        edited.append(log["body"])
        return log

    with Ingest() as ingest:
        runtime = telemetry.init(dsn=ingest.dsn, enable_logs=True, before_send_log=edit)
        with telemetry.conversation("host") as conversation:
            app.warning("for %s", "you")
        assert runtime.close()

        [log] = [
            log
            for envelope in ingest.envelopes
            for item in envelope
            if item.type == "log"
            for log in json.loads(item.get_bytes())["items"]
        ]
    assert edited == ["for you"]
    assert (log["body"], log["level"]) == ("for you", "warn")
    assert log["trace_id"] == conversation.trace_id
    assert abs(log["timestamp"] - caplog.records[0].created) < 1e-3
    attributes = {name: attribute["value"] for name, attribute in log["attributes"].items()}
    assert attributes["logger.name"] == "app"
    assert not [name for name in attributes if name.startswith("telemetry.")]


@pytest.mark.parametrize("module", [telemetry, thread, harmless], ids=["package", "core", "deep"])
def test_telemetrys_own_logs_are_never_captured(captured: Captured, module: ModuleType) -> None:
    """Delivery would feed itself; whatever the package is called, and wherever it was lifted to."""
    logging.getLogger(module.__name__).error("could not deliver")
    logging.getLogger(f"{telemetry.__name__}_of_mine").error("another's")

    assert [event["logentry"]["formatted"] for event in captured.errors] == ["another's"]


def test_after_closing_logging_is_the_applications_own() -> None:
    """Nothing is captured, and nothing of the conversation is left in its scope."""
    telemetry.init().close()
    app.error("afterwards")
    assert not sentry_sdk.get_client().is_active()


def test_sentrys_own_logging_integration_is_refused() -> None:
    """It captures inside the logging call, where it can deadlock; the line says what to do."""
    with pytest.raises(telemetry.TelemetryError, match="LoggingIntegration") as raised:
        telemetry.init(integrations=[LoggingIntegration(event_level=None)])
    assert "enable_logs" in str(raised.value)
    assert "\n" not in str(raised.value)
    telemetry.init().close()


# -- other ways to the same loggers ----------------------------------------------------------------


@pytest.fixture
def root_as_it_was() -> Iterator[None]:
    """The root logger's handlers and level, whatever a test configures."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@contextmanager
def _handling(handler: logging.Handler) -> Iterator[None]:
    app.addHandler(handler)
    try:
        yield
    finally:
        app.removeHandler(handler)


def _structlog(*processors: Any) -> Any:
    """A logger of structlog's over ``logging``."""
    structlog.configure(
        processors=processors,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    return structlog.get_logger("app")


def _structlog_as_keywords() -> None:
    _structlog(structlog.stdlib.render_to_log_kwargs).error("trouble 1", order=7)


def _structlog_as_keywords_with_exception() -> None:
    try:
        int("no number")
    except ValueError:
        _structlog(structlog.stdlib.render_to_log_kwargs).exception("trouble 1", order=7)


def _structlog_for_its_formatter() -> None:
    handler = logging.NullHandler()
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(structlog.processors.JSONRenderer()))
    with _handling(handler):
        logger = _structlog(
            structlog.stdlib.add_log_level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter
        )
        logger.error("trouble 1", order=7)


def _structlog_for_its_formatter_with_exception() -> None:
    try:
        int("no number")
    except ValueError:
        wrap = structlog.stdlib.ProcessorFormatter.wrap_for_formatter
        _structlog(structlog.stdlib.add_log_level, wrap).exception("trouble 1", order=7)


def _configured_by_a_dict() -> None:
    root: dict[str, Any] = {"level": "WARNING", "handlers": []}
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, "root": root})
    app.error("trouble %d", 1, extra={"order": 7})


class _ToAnother(logging.Handler):
    """Gives each record to a second logger."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger("another").handle(record)


def _given_to_a_second_logger() -> None:
    with _handling(_ToAnother()):
        app.error("trouble 1", extra={"order": 7})


def _queued() -> None:
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(records, logging.NullHandler())
    listener.start()
    with _handling(logging.handlers.QueueHandler(records)):
        app.error("trouble %d", 1, extra={"order": 7})
    listener.stop()


@pytest.mark.usefixtures("root_as_it_was")
@pytest.mark.parametrize("lifecycle", ["transaction", "stream"])
@pytest.mark.parametrize(
    "log",
    [
        _structlog_as_keywords,
        _structlog_as_keywords_with_exception,
        _structlog_for_its_formatter,
        _structlog_for_its_formatter_with_exception,
        _configured_by_a_dict,
        _given_to_a_second_logger,
        _queued,
    ],
)
def test_an_error_arrives_once_and_whole(lifecycle: Any, log: Callable[[], None]) -> None:
    """Message, extra, exception and user, by whichever way it came."""
    with capture(lifecycle=lifecycle, auto_enabling_integrations=False) as captured:
        with telemetry.conversation("host", user={"id": "ada"}):
            log()
        [event] = captured.errors
    assert event["logentry"]["formatted"] == "trouble 1"
    assert event["extra"].keys() - {"sys.argv"} == {"order"}
    assert event["user"] == {"id": "ada"}
    assert ("exception" in event) == log.__name__.endswith("exception")


def test_warnings_are_what_logging_makes_of_them(captured: Captured) -> None:
    """With ``captureWarnings``: breadcrumbs of an error that follows, in its conversation."""
    logging.captureWarnings(True)
    try:
        with telemetry.conversation("host"), warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old ways", DeprecationWarning, stacklevel=1)
            app.error("failed")
    finally:
        logging.captureWarnings(False)
    [event] = captured.errors
    [crumb] = event["breadcrumbs"]["values"]
    assert (crumb["category"], crumb["level"]) == ("py.warnings", "warning")
    assert "old ways" in crumb["message"]
