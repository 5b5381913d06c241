"""Options of ``sentry_sdk.init``: each works as Sentry says, or is refused by one clear line."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
import sentry_sdk
from sentry_sdk.consts import DEFAULT_OPTIONS
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.logging import (
    ignore_logger,
    ignore_logger_for_sentry_logs,
    unignore_logger,
    unignore_logger_for_sentry_logs,
)
from sentry_sdk.scrubber import EventScrubber
from sentry_sdk.traces import StreamedSpan
from sentry_sdk.tracing import Span
from sentry_sdk.tracing_utils import add_query_source, record_sql_queries

import telemetry
from telemetry.testing import capture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telemetry.testing import Captured
    from tests.telemetry.conformance.whole import Lifecycle

app = logging.getLogger("app")


@contextmanager
def _conversation(lifecycle: Any, **given: Any) -> Iterator[Captured]:
    with (
        capture(lifecycle=lifecycle, **given) as captured,
        telemetry.conversation("host", user={"id": "ada"}),
        telemetry.span("turn"),
    ):
        yield captured


# -- refused ---------------------------------------------------------------------------------------

REFUSED: Final[dict[str, tuple[Any, str]]] = {
    # a value, and what the line names
    "add_full_stack": (True, "stack_info"),
    "auto_session_tracking": (True, "leave it out"),
    "enable_backpressure_handling": (True, "leave it out"),
    "enable_tracing": (True, "sample_rate"),
    "ignore_spans": (["turn"], "leave out the integration"),
    "include_local_variables": (True, "send_content"),
    "instrumenter": ("otel", "leave it out"),
    "profile_lifecycle": ("trace", "start_profiler"),
    "profiles_sample_rate": (1.0, "start_profiler"),
    "profiles_sampler": (lambda context: 1.0, "start_profiler"),
    "propagate_traces": (False, "propagate_to"),
    "send_client_reports": (True, "stats()"),
    "trace_ignore_status_codes": ({404}, "TraceRequests"),
    "trace_lifecycle": ("stream", "lifecycle"),
    "trace_propagation_targets": (["x"], "propagate_to"),
    "traces_sample_rate": (0.5, "sample_rate"),
    "transport": (lambda event: None, "telemetry.testing"),
    "transport_queue_size": (5, "Stats.dropped"),
}
DECIDED: Final = {
    "auto_session_tracking",
    "enable_backpressure_handling",
    "include_local_variables",
    "send_client_reports",
    "trace_propagation_targets",
    "traces_sample_rate",
}
"""Those whose default at Sentry isn't the value that they have here."""
EXPERIMENTS: Final[dict[str, Any]] = {
    "ignore_spans": ["turn"],
    "max_spans": 10,
    "otel_powered_performance": True,
    "trace_lifecycle": "stream",
    "transport_async": True,
    "transport_compression_algo": "br",
    "transport_compression_level": 1,
    "transport_http2": True,
    "transport_num_pools": 5,
    "transport_zlib_compression_level": 1,
}


def _refusal(**given: Any) -> str:
    """The one line with which it is refused, by both ways to begin."""
    with pytest.raises(telemetry.TelemetryError) as of_init:
        telemetry.init(**given)
    with pytest.raises(telemetry.TelemetryError) as of_capture, capture(**given):
        pass
    assert str(of_init.value) == str(of_capture.value)
    assert "\n" not in str(of_init.value)
    return str(of_init.value)


@pytest.mark.parametrize("name", REFUSED)
def test_an_option_that_would_not_hold_is_refused(name: str) -> None:
    """In one line, which names what to use instead."""
    value, instead = REFUSED[name]
    line = _refusal(**{name: value})
    assert line.startswith(f"{name} can't be used: ")
    assert instead in line


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_so_is_an_experiment(name: str) -> None:
    """Sentry's options of former or later times."""
    line = _refusal(_experiments={name: EXPERIMENTS[name]})
    assert line.startswith(f"_experiments['{name}'] can't be used: ")


def test_an_option_that_is_none_is_refused() -> None:
    """A word that is written wrong is found at once."""
    assert "sampel_rate" in _refusal(sampel_rate=0.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auto_session_tracking", False),
        ("enable_backpressure_handling", False),
        ("send_client_reports", False),
        *((name, DEFAULT_OPTIONS[name]) for name in sorted(REFUSED.keys() - DECIDED)),
    ],
)
def test_the_value_that_holds_in_any_case_may_be_given(
    lifecycle: Lifecycle, name: str, value: Any
) -> None:
    """A configuration that says so isn't wrong."""
    with _conversation(lifecycle, **{name: value}) as captured:
        app.error("failed")
    assert len(captured.errors) == 1


def test_each_name_that_is_refused_is_an_option_of_sentrys() -> None:
    """Else it is refused as unknown, and its row is of no use."""
    assert REFUSED.keys() <= DEFAULT_OPTIONS.keys()


# -- content ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("send_attributes", "app.seats"),
        ("send_attributes", ["app seats"]),
        ("send_attributes", ["*.seats"]),
        ("send_attributes", [""]),
        ("send_errors", "NoTable"),
        ("send_errors", [ValueError]),
        ("send_errors", ["No*"]),
    ],
)
def test_what_is_allowed_is_named(option: str, value: Any) -> None:
    """Else one line says how."""
    given: dict[str, Any] = {option: value}
    with pytest.raises(telemetry.TelemetryError, match=option) as raised:
        telemetry.init(**given)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("send_content", [False, True])
def test_data_collection_brings_no_local_variables_back(
    lifecycle: Lifecycle, send_content: bool
) -> None:
    """They are send_content's affair: what people say is in them."""
    given: dict[str, Any] = {"data_collection": {}, "send_content": send_content}
    with _conversation(lifecycle, **given) as captured:
        words = "violet tulip"
        try:
            int("no number")
        except ValueError as error:
            app.exception("failed")
            sentry_sdk.capture_exception(error)
            assert words
    frames = [
        frame
        for event in captured.errors
        for error in event["exception"]["values"]
        for frame in error.get("stacktrace", {}).get("frames", [])
    ]
    assert frames
    assert any("vars" in frame for frame in frames) == send_content


# -- stacks ----------------------------------------------------------------------------------------


def _functions(event: dict[str, Any]) -> list[str]:
    [thread] = event["threads"]["values"]
    return [frame["function"] for frame in thread["stacktrace"]["frames"]]


def _caller(report: Callable[[], object]) -> None:
    report()


@pytest.mark.parametrize(
    ("report", "given"),
    [
        (lambda: app.error("failed"), {"attach_stacktrace": True}),
        (lambda: sentry_sdk.capture_message("failed"), {"attach_stacktrace": True}),
        (lambda: app.error("failed", stack_info=True), {}),
    ],
    ids=["logged", "message", "stack_info"],
)
def test_a_stack_that_is_asked_for_is_the_calls(
    lifecycle: Lifecycle,
    report: Callable[[], object],
    given: dict[str, Any],
) -> None:
    """Not that of the thread which builds the event."""
    with _conversation(lifecycle, **given) as captured:
        _caller(report)
    [event] = captured.errors
    assert "_caller" in _functions(event)


def test_no_stack_where_none_is_asked_for(lifecycle: Lifecycle) -> None:
    """A log is its message and where it was made."""
    with _conversation(lifecycle) as captured:
        app.error("failed")
    assert "threads" not in captured.errors[0]


# -- values ----------------------------------------------------------------------------------------


def test_texts_are_cut_where_the_operator_says(
    lifecycle: Lifecycle,
) -> None:
    """max_value_length holds for spans as it does for errors."""
    with capture(lifecycle=lifecycle, max_value_length=100) as captured:
        with telemetry.conversation("host"), telemetry.span("turn", attributes={"long": "y" * 999}):
            app.error("z" * 999)
        [event] = captured.conversations
        [_, turn] = captured.spans(event)
        assert len(str(turn.attributes["long"])) <= 103
        assert len(captured.errors[0]["logentry"]["formatted"]) <= 103


def test_a_scrubber_of_the_operators_is_asked_about_spans(
    lifecycle: Lifecycle,
) -> None:
    """Instead of Sentry's list of names."""
    scrubber = EventScrubber(denylist=["shoe_size"])
    with capture(lifecycle=lifecycle, event_scrubber=scrubber) as captured:
        with (
            telemetry.conversation("host"),
            telemetry.span("turn", attributes={"shoe_size": 43, "password": "x"}),
        ):
            pass
        [_, turn] = captured.spans(captured.conversations[0])
        assert turn.attributes["shoe_size"] == "[Filtered]"
        assert turn.attributes["password"] == "x"


class _Odd:
    """Something that has no text worth reading."""


def test_values_are_shown_as_the_operator_says(
    lifecycle: Lifecycle,
) -> None:
    """custom_repr is asked about what is logged as extra."""

    def custom(value: Any) -> str | None:
        return "ODD" if isinstance(value, _Odd) else None

    with _conversation(lifecycle, custom_repr=custom) as captured:
        app.error("failed", extra={"odd": _Odd(), "even": 2})
    extra = captured.errors[0]["extra"]
    assert (extra["odd"], extra["even"]) == ("ODD", 2)


# -- what is sent ----------------------------------------------------------------------------------


def test_a_logger_that_is_ignored(lifecycle: Lifecycle) -> None:
    """By Sentry's ignore_logger, which its own integrations call: no error and no breadcrumb."""
    ignore_logger("ignored.here")
    try:
        with _conversation(lifecycle, enable_logs=True) as captured:
            logging.getLogger("ignored.here").error("unheard")
            app.error("heard")
        [event] = captured.errors
        assert event["logentry"]["formatted"] == "heard"
        assert "breadcrumbs" not in event or event["breadcrumbs"]["values"] == []
        assert any(b"unheard" in sent for sent in captured.envelopes)  # as a structured log
    finally:
        unignore_logger("ignored.here")


@pytest.mark.parametrize("pattern", ["quiet.here", "quiet.*"])
def test_a_logger_that_is_ignored_for_structured_logs(lifecycle: Lifecycle, pattern: str) -> None:
    """By Sentry's ignore_logger_for_sentry_logs: it makes errors and breadcrumbs as before."""
    ignore_logger_for_sentry_logs(pattern)
    try:
        with _conversation(lifecycle, enable_logs=True) as captured:
            logging.getLogger("quiet.here").warning("a step")
            logging.getLogger("quiet.here").error("unheard")
            app.warning("heard")
        [event] = captured.errors
        assert event["logentry"]["formatted"] == "unheard"
        assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]] == ["a step"]
        assert _logged(captured) == ["heard"]
    finally:
        unignore_logger_for_sentry_logs(pattern)


def _logged(captured: Captured) -> list[str]:
    """The texts of the structured logs that were sent."""
    items = [item for each in captured.envelopes for item in Envelope.deserialize(each).items]
    logs = [json.loads(item.get_bytes()) for item in items if item.type == "log"]
    return [log["body"] for each in logs for log in each["items"]]


@pytest.mark.parametrize("streams", [False, True])
def test_spans_of_models_are_streamed_where_the_operator_says(streams: bool) -> None:
    """In the transaction lifecycle too; then they are in no transaction."""
    with capture(stream_gen_ai_spans=streams) as captured:
        with telemetry.conversation("host"), telemetry.span("gen_ai.chat"), telemetry.span("step"):
            pass
        [event, *_] = captured.transactions
        ops = {span["op"] for span in event["spans"]}
        assert ops == ({"step"} if streams else {"gen_ai.chat", "step"})
        assert [span["name"] for span in captured.streamed] == ["gen_ai.chat"] * streams
        assert captured.runtime.stats().dropped == {}


@pytest.mark.parametrize("experiments", [False, True], ids=["option", "experiment"])
@pytest.mark.parametrize("drops", [False, True])
def test_structured_logs_by_either_name(
    lifecycle: Lifecycle, experiments: bool, drops: bool
) -> None:
    """Of today and of before: enable_logs and before_send_log."""
    given: dict[str, Any] = {"enable_logs": True}
    if drops:
        given["before_send_log"] = lambda log, hint: None
    with _conversation(lifecycle, **({"_experiments": given} if experiments else given)) as other:
        app.warning("for you")
    assert any(b"items.log+json" in envelope for envelope in other.envelopes) != drops


def test_errors_that_are_ignored_or_not_sampled(
    lifecycle: Lifecycle,
) -> None:
    """By Sentry's options, however they are reported."""
    given: dict[str, Any] = {
        "ignore_errors": [ValueError, "KeyError"],
        "error_sampler": lambda event, hint: "exc_info" in hint,
    }
    with _conversation(lifecycle, **given) as captured:
        for error in (ValueError("a"), KeyError("b"), TypeError("c")):
            sentry_sdk.capture_exception(error)
            app.error("failed", exc_info=error)
        app.error("no exception")
    found = [event["exception"]["values"][-1]["type"] for event in captured.errors]
    assert found == ["TypeError"]  # once: it is one error


def test_hooks_may_drop_and_change(lifecycle: Lifecycle) -> None:
    """before_send knows the log it is asked about; what it drops is no loss to be counted."""

    def before_send(event: Any, hint: Any) -> Any:
        if hint["log_record"].getMessage() == "unwanted":
            return None
        return {**event, "extra": {"by": hint["log_record"].name}}

    with _conversation(lifecycle, before_send=before_send) as captured:
        app.error("unwanted")
        app.error("wanted")
    [event] = captured.errors
    assert event["extra"] == {"by": "app"}
    assert captured.runtime.stats().dropped == {}


def test_a_sampler_of_the_operators(lifecycle: Lifecycle) -> None:
    """Is asked about each conversation."""

    def sampler(context: Any) -> float:
        return float(context["transaction_context"]["name"] == "wanted")

    with capture(lifecycle=lifecycle, traces_sampler=sampler) as captured:
        for name in ("wanted", "unwanted"):
            telemetry.conversation(name).close()
        assert [event["transaction"] for event in captured.conversations] == ["wanted"]


def test_metrics(lifecycle: Lifecycle) -> None:
    """They pass, in the conversation's trace."""
    with _conversation(lifecycle) as captured:
        sentry_sdk.metrics.count("asked", 1)
    assert any(b"trace_metric" in envelope for envelope in captured.envelopes)


# -- ending ----------------------------------------------------------------------------------------


def test_the_time_to_close() -> None:
    """shutdown_timeout is the time that close() has when it isn't given one."""
    runtime = telemetry.init(shutdown_timeout=37)
    assert runtime.close_timeout == 37.0
    assert runtime.close()
    with telemetry.init() as other:
        assert other.close_timeout != 37.0


# -- where it was asked ----------------------------------------------------------------------------


def _ask_a_database() -> None:
    """As Sentry's integrations of databases do it, in either lifecycle."""
    with record_sql_queries(None, "SELECT 1", [], None, False) as span:
        if isinstance(span, StreamedSpan):
            add_query_source(span)
    if isinstance(span, Span):
        add_query_source(span)


@pytest.mark.parametrize(
    ("options", "is_there"),
    [
        ({"db_query_source_threshold_ms": 0}, True),
        ({"db_query_source_threshold_ms": 60_000}, False),
        ({"db_query_source_threshold_ms": 0, "enable_db_query_source": False}, False),
        ({"db_query_source_threshold_ms": 0, "in_app_exclude": ["tests"]}, False),
    ],
)
def test_the_line_that_asked_a_database(
    lifecycle: Lifecycle, options: dict[str, Any], is_there: bool
) -> None:
    """enable_db_query_source: on the query's span, if it was slow, whatever took it there."""
    with capture(lifecycle=lifecycle, **options) as captured:
        with telemetry.conversation("host"), telemetry.span("turn"):
            _ask_a_database()
        [query] = [span for span in captured.spans(captured.conversations[0]) if span.op == "db"]
    assert (query.attributes.get("code.function") == "_ask_a_database") is is_there


def test_what_comes_after_a_spans_end_changes_nothing_that_is_on_its_way(
    lifecycle: Lifecycle,
) -> None:
    """The attributes that delivery may have taken by then stay as they are."""
    with capture(lifecycle=lifecycle), telemetry.conversation("host") as conversation:
        handle = conversation.start_span("db", attributes={"rows": 1})
        marker = handle.marker()
        assert isinstance(marker, Span | StreamedSpan)
        handle.finish()
        taken = handle.attributes
        if isinstance(marker, StreamedSpan):
            marker.set_attribute("code.function", "late")
        else:
            marker.set_data("code.function", "late")
        assert taken == {"rows": 1}
        assert handle.attributes == {"rows": 1, "code.function": "late"}
