"""Remedies for errors that surface late or elsewhere, and for values that change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sentry_sdk

from telemetry import api
from telemetry.context import chain, origin, surfacing
from telemetry.delivery import client, log_events, logs, outbox
from telemetry.encoding import envelope
from telemetry.trace import span_set, transaction
from telemetry.trace.sentry_streamed import SegmentMarker, StreamedMarker

from .remedy import Remedy, put, put_in

if TYPE_CHECKING:
    from collections.abc import Callable


class _NoContext:
    """Runs things in the context that is current."""

    @staticmethod
    def copy_context() -> type[_NoContext]:
        """The current one."""
        return _NoContext

    @staticmethod
    def run(function: Callable[..., Any], *arguments: Any) -> Any:
        """Call it."""
        return function(*arguments)


def _same(value: Any, **_: Any) -> Any:
    return value


ERRORS_AND_VALUES: Final = (
    Remedy(
        "loops-context",
        "A loop's exception handler runs in the context of the task that it is told of",
        "context.surfacing.watch_running_loop",
        "test_surfacing.py::test_found_by_the_collector_in_bobs_call"
        "[{lifecycle}-forget_a_task_that_fails]",
        put(surfacing, "_context_of", lambda error: None),
    ),
    Remedy(
        "noted",
        "A block that an exception leaves is noted on it",
        "context.origin.left_by",
        "test_origins.py::test_reported_by_whoever_called[{lifecycle}-fail-log_it]",
        put(origin, "left_by", lambda error, link: None),
    ),
    Remedy(
        "noted-on-members",
        "And on the exceptions of a group",
        "context.origin.left_by",
        "test_origins.py::test_a_task_group_fails[{lifecycle}]",
        put(origin, "_members", lambda error: [error]),
    ),
    Remedy(
        "noted-when-reported",
        "An exception that has left no block comes from where it was reported first",
        "context.origin.reported_under",
        "test_reported_once.py::test_a_task_reports_it_and_whoever_waits_too[{lifecycle}]",
        put(origin, "reported_under", lambda error, scope: None),
    ),
    Remedy(
        "hooks",
        "A hook of the interpreter's reports errors where they come from, and not where it runs",
        "delivery.client.Client.capture_event",
        "test_finalisers.py::test_a_generator_that_bob_lets_go_of[{lifecycle}]",
        put(client, "_is_by_hook", lambda event: False),
    ),
    Remedy(
        "finalisers",
        "What finalisers say while garbage is collected isn't laid to the call that it is done in",
        "context.place.is_collecting",
        "test_finalisers.py::test_what_says_nothing_of_its_call_is_nobodys[{lifecycle}-logs]",
        put_in([chain, surfacing, client, logs], "is_collecting", lambda: False),
    ),
    Remedy(
        "given-up-generators",
        "Nor is what ends an async generator that was given up",
        "context.surfacing.watch_running_loop",
        "test_finalisers.py::test_what_says_nothing_of_its_call_is_nobodys"
        "[{lifecycle}-async generator]",
        put(surfacing, "_watch_generators", lambda: None),
    ),
    Remedy(
        "surfaces-in-delivery",
        "What surfaces in delivery's thread isn't taken for its own",
        "delivery.logs.LogCapture.take",
        "test_finalisers.py::test_collected_by_the_delivery_thread[{lifecycle}]",
        put_in([client, logs], "is_acting", lambda: False),
    ),
    Remedy(
        "left-over-errors",
        "Errors of a task that outlives its conversation are the conversation's",
        "context.chain.scopes_elsewhere",
        "test_leftovers.py::test_its_errors_are_the_calls[{lifecycle}-_capture]",
        put(chain, "scopes_elsewhere", lambda error, by_hook=False: None),
    ),
    Remedy(
        "left-over-scopes",
        "What it tells Sentry isn't told to the whole process",
        "context.chain._go_on_alone",
        "test_leftovers.py::test_what_it_says_is_said_by_no_other[{lifecycle}]",
        put(chain, "_go_on_alone", lambda conversation: None),
    ),
    Remedy(
        "processors",
        "Event processors that are asked are those of the conversation that an error comes from",
        "delivery.client.Client.capture_event",
        "test_origins.py::test_an_event_processor_of_bobs_is_not_asked[{lifecycle}]",
        put(sentry_sdk.Scope, "set_isolation_scope", lambda scope: None),
    ),
    Remedy(
        "once",
        "An exception is reported once in each trace, whoever reports it",
        "context.origin.Trail.begin_report",
        "test_reported_once.py::test_reported_in_every_way_it_is_one_error[{lifecycle}-0]",
        put(origin.Trail, "begin_report", lambda self, trace_id: True),
    ),
    Remedy(
        "once-in-a-call",
        "A call's error that is reported in a transaction begun inside it is one error",
        "delivery.client._note_call",
        "test_reported_once.py::test_in_a_transaction_that_somebody_began_in_the_call[transaction]",
        put(client, "_note_call", lambda error, scope: None),
    ),
    Remedy(
        "never-sent",
        "A span of Sentry's that is in no transaction, and so is never sent, hides no call",
        "context.scopes.others_span",
        "test_leftovers.py::test_spans_that_sentry_makes_of_tasks_hide_nothing[transaction-_log]",
        put_in([api, chain], "others_span", lambda scope: scope.span or scope.streamed_span),
    ),
    Remedy(
        "cut-to-fit",
        "An event that is larger than Sentry takes is cut at its longest values",
        "encoding.fitting.fit_event",
        "../encoding/test_fitting.py::test_megabytes_cost_no_conversation_and_no_error"
        "[{lifecycle}-_extra]",
        put(envelope, "fit_event", lambda event, most_bytes: None),
    ),
    Remedy(
        "forgets-the-last",
        "Sentry's memory of the last exception isn't kept, as it keeps that alive",
        "delivery.client.Client.capture_event",
        "test_memory.py::test_outside_of_conversations[{lifecycle}-_captured_by_sentry]",
        put(client, "contextvars", _NoContext),
    ),
    Remedy(
        "sdks-threads",
        "Threads that the SDK starts in delivery's have the scopes of no conversation",
        "delivery.client.Client.get_integration",
        "test_memory.py::test_no_conversation_is_kept_alive[{lifecycle}]",
        put(client.Client, "get_integration", sentry_sdk.Client.get_integration),
    ),
    Remedy(
        "log-values",
        "A log's extra is a copy, of the moment of the call",
        "delivery.log_events.extra_of",
        "test_values.py::test_a_log_is_of_its_moment[{lifecycle}]",
        put(log_events, "frozen", _same),
    ),
    Remedy(
        "scope-values",
        "So are contexts, extra and user of the scopes that are handed over",
        "context.scopes.as_values",
        "test_values.py::test_what_scopes_say[{lifecycle}-_log]",
        put_in([client, logs, transaction], "as_values", lambda *scopes: None),
    ),
    Remedy(
        "breadcrumb-values",
        "So is what a breadcrumb says",
        "delivery.client._as_value",
        "test_values.py::test_what_scopes_say[{lifecycle}-_log]",
        put(client, "_as_value", _same),
    ),
    Remedy(
        "exception-values",
        "An exception's text is that of the moment that it was handed over",
        "context.wording.reword",
        "test_values.py::test_what_an_exception_says[{lifecycle}-_log]",
        put_in([client, log_events], "reword", lambda event, error, texts: None),
    ),
    Remedy(
        "attribute-values",
        "Attributes are what they were when the span ended",
        "trace.span_set.SpanSet.end",
        "test_values.py::test_what_an_attribute_says[{lifecycle}]",
        put(span_set, "freeze", lambda attributes: None),
    ),
    Remedy(
        "passed-on-elsewhere",
        "A log that a listener's thread passes on isn't of that thread's conversation",
        "delivery.logs._is_from_elsewhere",
        "test_values.py::test_a_listeners_thread_passes_logs_on[{lifecycle}]",
        put(logs, "_is_from_elsewhere", lambda record: False),
    ),
    Remedy(
        "late-name",
        "An error that surfaces late has the name that its request has got by now",
        "trace.sentry_streamed.SegmentMarker.show_on",
        "../integrations/test_asgi.py::test_what_the_server_logs_is_its_requests[stream]",
        put(SegmentMarker, "show_on", StreamedMarker.show_on),
    ),
    Remedy(
        "other-clients",
        "What isn't captured by our client isn't logged to another's a second time",
        "delivery.logs.LogCapture.take",
        "test_other_clients.py::test_what_is_no_conversations_is_the_other_clients_once"
        "[{lifecycle}]",
        put(logs, "_client_of", lambda isolation, scope: logs._installed[0]._client),
    ),
    Remedy(
        "not-structured",
        "A logger that Sentry is told to make no structured logs of makes none",
        "delivery.ignored_loggers.makes_structured_logs",
        "../test_options.py::test_a_logger_that_is_ignored_for_structured_logs"
        "[{lifecycle}-quiet.*]",
        put(logs, "makes_structured_logs", lambda name: True),
    ),
    Remedy(
        "frames-unasked",
        "Delivery asks no frame that may still run for its variables",
        "delivery.frames.ask_for_no_locals",
        "../delivery/test_frames.py::test_a_frame_that_runs_is_not_asked_for_its_variables[logged]",
        put(client, "ask_for_no_locals", lambda: None),
    ),
    Remedy(
        "frames-asked-here",
        "Variables that are to be sent are asked for in the thread of their frame",
        "delivery.frames.have_locals",
        "../delivery/test_frames.py"
        "::test_variables_that_are_sent_are_asked_for_in_their_thread[captured]",
        put(outbox, "have_locals", lambda error: None),
    ),
)
