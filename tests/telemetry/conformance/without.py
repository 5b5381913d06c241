"""Takes each remedy away, one at a time, and checks that the test named for it notices.

``python -m tests.telemetry.conformance.without [NAME…]`` runs the tests as things are, where they
must pass, and then each in a pytest of its own without its remedy, where it must fail. ``--table``
prints :file:`REMEDIES.md`. As a pytest plugin (``-p``) it takes away what ``TELEMETRY_WITHOUT``
names.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import itertools
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk import tracing

from telemetry import api, configure, headers, runtime, tree, written
from telemetry.context import chain, node
from telemetry.context.scopes import OURS
from telemetry.delivery import (
    asking,
    client,
    collector_lane,
    flushes,
    given,
    log_events,
    logs,
    loguru_tap,
    outbox,
    processor,
    pulse,
    queue_transport,
    redaction,
    refusals,
    send_queue,
    store_lane,
    thread,
    waiting,
)
from telemetry.delivery.content import Projection
from telemetry.encoding import envelope, streamed_spans, transactions, values
from telemetry.integrations import asgi, propagation
from telemetry.store import lost, rows
from telemetry.trace import sentry_span, sentry_streamed, span, transaction
from telemetry.trace.conversation_scope import ConversationScope, TaggedScope
from telemetry.trace.span import Span
from telemetry.trace.span_set import SpanSet
from telemetry.trace.transaction import Transaction

from .errors_without import ERRORS_AND_VALUES
from .remedy import Remedy, put, put_in
from .whole import LIFECYCLES

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = "TELEMETRY_WITHOUT"
HERE = Path(__file__).parent


_init = Transaction.__init__


def _share_isolation(self: Any, *args: Any, **kwargs: Any) -> None:
    _init(self, *args, **kwargs)
    self.isolation = sentry_sdk.get_isolation_scope()


def _close_every_time(self: Any, *args: Any, **kwargs: Any) -> None:
    _init(self, *args, **kwargs)
    self._closing = itertools.repeat(0)


def _enter_in_place(self: sentry_span.SpanMarker) -> sentry_span.SpanMarker:
    sentry_sdk.get_current_scope().span = self
    return self


def _activate_in_place(self: sentry_streamed.StreamedMarker) -> sentry_streamed.StreamedMarker:
    self.show_on(sentry_sdk.get_current_scope())
    return self


def _capture_where_it_is(self: Transaction, error: BaseException) -> None:
    scopes = sentry_sdk.get_isolation_scope(), sentry_sdk.get_current_scope()
    self.sink.captured(error, *scopes)


_begin_flush = flushes.Flushes.begin


def _wait_for_what_comes(self: flushes.Flushes, flush: Any) -> None:
    _begin_flush(self, flush)
    flush.number = sys.maxsize


def _show_nothing(self: propagation.Shown) -> None:
    self._link = None


def _believe(headers: Any, *, trusted: bool = False) -> dict[str, str]:
    return _valid(headers, trusted=True)


def _pass_ours(self: client.Client, event: Any, hint: Any = None, scope: Any = None) -> Any:
    return _capture_event(self, event, {**(hint or {}), OURS: True}, scope)


def _use_as_it_is(self: thread.Delivery, client: Any) -> None:
    self._client = self.outbox.client = client


_leave_for_later = send_queue.SendQueue._leave_for_later


def _drop_at_the_end(self: send_queue.SendQueue, waiting: Any, again: Any) -> None:
    if not self._is_closing:
        _leave_for_later(self, waiting, again)
        return
    self._drops.add("shutdown", waiting.events)
    self._count_out(waiting)
    self.gone.append(waiting.key)


_heard = asking.Asking.answered


def _take_it_for_empty(self: asking.Asking, *, found: bool) -> bool:
    return _heard(self, found=found) and found


_answer_loads = store_lane.StoreLane._answer_loads


def _answer_or_forget(self: store_lane.StoreLane) -> None:
    try:
        _answer_loads(self)
    finally:
        self._asked_for.clear()


def _refuse_in_silence(self: store_lane.StoreLane, change: given.Change) -> None:
    if not self._given.add(change, besides=self._rows):
        self._drops.add("store_error", change.rows)
    self.wake()


_look_round = store_lane.StoreLane._look_round


def _know_alone(self: store_lane.StoreLane) -> None:
    _look_round(self)
    self.has_looked = True


def _write_at_once(self: store_lane.StoreLane, change: given.Change) -> None:
    self._pulse.take(change)
    self._pulse.look()
    while (plan := self._pulse.plan()) is not None:
        self._write(plan)


def _send_where_it_is(self: collector_lane.CollectorLane, envelope: Any) -> None:
    self._collector.connect().send([envelope])


def _suppress_nothing() -> None:
    from telemetry.integrations.otlp import collector  # only where OpenTelemetry's exporter is

    put(collector, "SUPPRESSED", "nothing")()


def _take_redirects_for_well() -> None:
    from telemetry.integrations.otlp import collector

    put(collector.Exporting, "_look_at", lambda self, response, **_: None)()


def _ask_as_it_is() -> None:
    from telemetry.integrations.livekit import session  # only where LiveKit is

    put(session, "ASKED", ())()


# LiveKit's parts are imported only where LiveKit is.


def _never_go_on() -> None:
    from telemetry.integrations.livekit import record

    put(record.Record, "go_on", lambda self, agent_turn, speech, turn: None)()


def _take_typing_for_speech() -> None:
    from telemetry.integrations.livekit import spans

    place: Any = spans.SpanListener.place
    put(spans.SpanListener, "place", lambda *where, told: place(*where, told=False))()


def _take_closing_for_a_turn() -> None:
    from telemetry.integrations.livekit import spans

    place: Any = spans.SpanListener.place

    def taken(self: Any, *where: Any, told: bool) -> Any:
        before, self.record.is_closing = self.record.is_closing, False
        try:
            return place(self, *where, told=told)
        finally:
            self.record.is_closing = before

    put(spans.SpanListener, "place", taken)()


def _believe_every_name() -> None:
    from telemetry import written

    put(written.Written, "made_up", written.Written.known)()


def _expect_nothing_late() -> None:
    from telemetry.integrations.livekit import recognition

    put(recognition.Recognition, "late", lambda self: set())()


def _wait_for_every_transcript() -> None:
    from telemetry.integrations.livekit import latency

    put(latency, "_is_late", lambda marks: False)()


def _count_judges_twice() -> None:
    from telemetry.integrations.livekit import livekit_span

    put(livekit_span, "REPEATS", frozenset())()


def _count_clients_too() -> None:
    from telemetry.integrations.livekit import clients

    put(clients, "_request", lambda span: None)()


def _keep_operations() -> None:
    from telemetry.integrations.livekit import livekit_span

    def keep(self: Any, name: str, value: Any) -> None:
        self.span.attributes[name] = value

    put(livekit_span.LiveKitSpan, "_keep", keep)()


def _believe_every_caller() -> None:
    from telemetry.integrations.livekit import gaps

    put(gaps, "bounds", lambda marks, now: (-math.inf, math.inf))()


def _take_reading_for_speaking() -> None:
    from livekit.agents.voice.recorder_io import RecorderIO

    from telemetry.integrations.livekit import recording

    put(recording.Recording, "record_input", RecorderIO.record_input)()


def _say_it_as_livekit_does() -> None:
    from telemetry.integrations.livekit import recording

    put(recording, "_in_one_line", lambda record: True)()


def _end_the_callers_audio() -> None:
    from telemetry.integrations.livekit import recording

    put(recording.Recording, "survived", lambda self: nullcontext())()


def _believe_the_clock() -> None:
    from telemetry.integrations.livekit import recording

    put(recording.Recording, "_clock_is_right", lambda self: True)()


def _leave_the_end_to_a_task() -> None:
    from telemetry.integrations.livekit import recording

    put(recording.Recording, "finish", lambda self: None)()


def _wait_in_the_loops_threads() -> None:
    from telemetry.integrations.livekit import recorder

    put(recorder, "_from_disk", asyncio.to_thread)()


def _deliver_after_the_recording() -> None:
    from telemetry.integrations.livekit import session

    def delivered(record: Any, recorder: Any) -> Callable[[], Any]:
        async def deliver() -> None:
            record.close()
            await recorder.aclose()
            await runtime.active().aflush()

        return deliver

    put(session, "_delivered", delivered)()


def _delete_or_fail() -> None:
    from telemetry.store import recordings

    put(recordings, "_delete", lambda path: path.unlink(missing_ok=True))()


def _ask_in_the_latest_turn_only() -> None:
    from telemetry.integrations.livekit import turns

    def decided_by(self: Any, task: object) -> Any:
        hearing = self.hearing
        return hearing if hearing is not None and hearing.decider is task else None

    put(turns.Turns, "_decided_by", decided_by)()


_capture_event = client.Client.capture_event
_valid = headers.valid
_trace_headers = Span.trace_headers


def _show_nobody() -> None:
    """Either of the two is enough for Sentry's own integration."""
    put(propagation.Shown, "__enter__", _show_nothing)()
    put(ConversationScope, "_parent", lambda self: None)()


REMEDIES = (
    Remedy(
        "bind",
        "A bound function runs inside the conversation and span it was bound in",
        "trace.binding.bound",
        "test_boundaries.py::test_carried_across[{lifecycle}-bind-_foreign_thread]",
        put_in([transaction, api], "bound", lambda function, span: function),
    ),
    Remedy(
        "current-span",
        "What is current is asked of our own chain, not only of Sentry's scope",
        "context.chain.current",
        "test_generators.py::test_it_parents_nothing_of_its_consumers[{lifecycle}]",
        put(chain, "_live", lambda: None),
    ),
    Remedy(
        "isolation",
        "Each conversation has an isolation scope of its own",
        "trace.transaction.Transaction.__init__",
        "test_neighbours.py::test_plain_sentry_in_twenty_conversations_never_mixes[{lifecycle}]",
        put(Transaction, "__init__", _share_isolation),
    ),
    Remedy(
        "block-scope",
        "A plain Sentry span runs under a scope of its own",
        "trace.sentry_span.SpanMarker.__enter__",
        "test_tasks.py::test_siblings_of_plain_sentry_are_siblings[transaction]",
        put(sentry_span.SpanMarker, "__enter__", _enter_in_place),
    ),
    Remedy(
        "block-scope-streamed",
        "The same for streamed spans",
        "trace.sentry_streamed.StreamedMarker.activate",
        "test_tasks.py::test_siblings_of_plain_sentry_are_siblings[stream]",
        put(sentry_streamed.StreamedMarker, "activate", _activate_in_place),
    ),
    Remedy(
        "plain-spans",
        "A child that plain Sentry starts is recorded in the conversation",
        "trace.sentry_span.SpanMarker.start_child",
        "test_tasks.py::test_sibling_tasks_are_siblings[transaction]",
        put(sentry_span.SpanMarker, "start_child", tracing.Span.start_child),
    ),
    Remedy(
        "plain-spans-streamed",
        "The same for streamed spans",
        "trace.conversation_scope.ConversationScope.start_streamed_span",
        "test_tasks.py::test_sibling_tasks_are_siblings[stream]",
        put(
            ConversationScope,
            "start_streamed_span",
            sentry_sdk.Scope.start_streamed_span,
        ),
    ),
    Remedy(
        "headers",
        "Trace headers are those of the span that is current at the call",
        "api.trace_headers",
        "test_neighbours.py::test_a_callers_trace_is_continued[{lifecycle}]",
        put(Span, "trace_headers", lambda span: _trace_headers(span.conversation.root)),
    ),
    Remedy(
        "error-scopes",
        "An error travels with the scopes of its own conversation",
        "trace.transaction.Transaction.capture_exception",
        "test_neighbours.py::test_errors_captured_by_our_api_carry_their_conversation[{lifecycle}]",
        put(Transaction, "capture_exception", _capture_where_it_is),
    ),
    Remedy(
        "log-capture",
        "What is logged is built by the delivery thread, not under the caller's locks",
        "delivery.logs.LogCapture.take",
        "test_neighbours.py::test_what_is_reported_or_logged_is_built_off_the_calling_thread"
        "[{lifecycle}]",
        put(logs.LogCapture, "take", lambda self, log: log_events.send(log)),
    ),
    Remedy(
        "base-scopes",
        "A conversation's scopes are forked from what is outside of any other",
        "context.chain.outermost",
        "test_neighbours.py::test_what_is_set_outside_is_everybodys[{lifecycle}]",
        put(
            chain,
            "outermost",
            lambda: (sentry_sdk.get_isolation_scope(), sentry_sdk.get_current_scope()),
        ),
    ),
    Remedy(
        "generator-frames",
        "A block in an async generator counts while the generator's frame executes",
        "context.generators.generator_frame",
        "test_generators.py::test_two_generators_pulled_in_turns[{lifecycle}]",
        put(span, "generator_frame", lambda frame: None),
    ),
    Remedy(
        "ended-skipped",
        "A conversation that has ended is passed over where it was current",
        "context.node.Link.has_outlived",
        "test_closing.py::test_closed_by_another_task_than_its_opener[{lifecycle}]",
        put(node.Link, "has_outlived", property(lambda link: link.over)),
    ),
    Remedy(
        "any-order",
        "A block may be left while later ones are still entered",
        "context.chain._take_out",
        "test_closing.py::test_blocks_are_left_in_any_order[{lifecycle}]",
        put(chain, "_take_out", lambda link, top: None),
    ),
    Remedy(
        "outlived",
        "A task that outlives its conversation is still known to be that conversation's",
        "context.chain.nearest",
        "test_closing.py::test_a_task_that_outlives_its_conversation[{lifecycle}]",
        put(chain, "nearest", chain.current),
    ),
    Remedy(
        "late-spans",
        "A span of a conversation that was delivered is delivered on its own",
        "delivery.outbox.Outbox.late",
        "test_closing.py::test_handles_attach_and_bind_after_the_end[{lifecycle}]",
        put(outbox.Outbox, "late", lambda self, transaction, span: None),
    ),
    Remedy(
        "seal",
        "A span that finishes while delivery takes the last ones is taken exactly once",
        "trace.span_set.SpanSet.seal",
        "test_closing.py::test_a_span_that_finishes_in_the_moment_of_delivery[{lifecycle}]",
        put(SpanSet, "seal", SpanSet.take),
    ),
    Remedy(
        "closed-once",
        "A conversation that is closed by several threads ends once",
        "trace.transaction.Transaction.close",
        "test_closing.py::test_closed_from_many_threads_at_once[{lifecycle}]",
        put(Transaction, "__init__", _close_every_time),
    ),
    Remedy(
        "parts",
        "Past a transaction's size a conversation goes on in parts",
        "encoding.envelope.batches",
        "test_length.py::test_five_thousand_spans_in_one_conversation[transaction]",
        put_in([envelope, processor], "MAX_SPANS", 1_000_000),
    ),
    Remedy(
        "handed-over",
        "A running conversation hands its finished spans over",
        "trace.span_set.HAND_OVER",
        "test_length.py::test_a_running_conversation_keeps_a_bounded_number_of_spans[{lifecycle}]",
        put(outbox.Outbox, "hand_over", lambda self, transaction: None),
    ),
    Remedy(
        "burst",
        "A burst waits in the outbox while half of what may wait for Sentry is waiting",
        "delivery.thread.Delivery._may_work",
        "test_length.py::test_a_burst_waits_its_turn[{lifecycle}]",
        put(thread.Delivery, "_may_work", lambda self: bool(self.outbox.taken)),
    ),
    Remedy(
        "refused-counted",
        "What is recorded after closing is counted as dropped",
        "delivery.outbox.Outbox.shut",
        "test_process.py::test_what_comes_after_closing_is_counted[{lifecycle}]",
        put(outbox.Outbox, "shut", property(lambda self: False, lambda self, to: None)),
    ),
    Remedy(
        "fork",
        "After a fork the parent's conversations are the parent's alone",
        "trace.transaction.Transaction.left_to_parent",
        "test_process.py::test_after_a_fork_each_process_delivers_its_own[{lifecycle}]",
        put(Transaction, "left_to_parent", lambda self, sink: None),
    ),
    Remedy(
        "explained-once",
        "Each place that lost its conversation is logged once",
        "runtime.Runtime.orphan",
        "test_explained.py::test_each_place_is_logged_once[{lifecycle}]",
        put(runtime.Runtime, "_explained", property(lambda self: set(), lambda self, to: None)),
    ),
    Remedy(
        "content",
        "What people say stays out of what is sent: envelopes are made anew of what is known",
        "delivery.content.Projection.of",
        "test_content.py::test_words_stay_here[{lifecycle}-False]",
        put(Projection, "of", lambda self, envelope: envelope),
    ),
    Remedy(
        "content-in-hooks",
        "It is not given to the operator's hooks either",
        "encoding.values.is_content",
        "test_quoting.py::test_an_operators_hook_is_given_no_words[{lifecycle}]",
        put(values, "is_content", lambda name: False),
    ),
    Remedy(
        "content-in-logs",
        "Extra fields of logs that are content stay in the application's own log",
        "delivery.log_events.is_content",
        "test_content.py::test_words_stay_here[{lifecycle}-True]",
        put(log_events, "is_content", lambda name: False),
    ),
    Remedy(
        "content-named",
        "Tags and names are searched for single words that were said",
        "delivery.redaction.Said.names",
        "test_quoting.py::test_not_a_word_is_sent[{lifecycle}-sets_tags-True]",
        put(redaction.Said, "names", lambda self, text: False),
    ),
    Remedy(
        "content-allowed",
        "What the operator allows is searched for what was said",
        "delivery.redaction.Said.redacted",
        "test_quoting.py::test_what_the_operator_allows_is_sent_and_searched[{lifecycle}]",
        put(redaction.Said, "redacted", lambda self, value: value),
    ),
    Remedy(
        "code-is-known",
        "What stands in the code is sent: a text knows who wrote it",
        "written.written",
        "test_quoting.py::test_what_code_says_is_sent[{lifecycle}]",
        put(written, "written", lambda text, authors: "[Filtered]"),
    ),
    Remedy(
        "breadcrumbs-of-one",
        "A conversation has no breadcrumbs but its own",
        "trace.transaction.Transaction.__init__",
        "test_quoting.py::test_one_callers_breadcrumbs_are_on_nobody_elses_error[{lifecycle}]",
        put(TaggedScope, "clear_breadcrumbs", lambda self: None),
    ),
    Remedy(
        "closing-cancels",
        "Closing ends orphans and late spans as well as conversations",
        "trace.transaction.Transaction.cancel_open_spans",
        "test_process.py::test_closing_ends_orphans_and_late_spans_too[{lifecycle}]",
        put(Transaction, "cancel_open_spans", lambda self: None),
    ),
    Remedy(
        "flush-numbers",
        "A flush waits for the envelopes before it only",
        "delivery.flushes.Flushes.begin",
        "test_process.py::test_a_flush_waits_for_nothing_that_comes_after_it[{lifecycle}]",
        put(flushes.Flushes, "begin", _wait_for_what_comes),
    ),
    Remedy(
        "fork-anew",
        "A forked child uses nothing that another thread was busy with",
        "delivery.thread.Delivery.begin_anew",
        "test_process.py::test_a_fork_at_a_bad_moment[{lifecycle}-capturing]",
        put(thread.Delivery, "begin_anew", lambda self: None),
    ),
    Remedy(
        "request-time",
        "A request's headers are of the span it is sent in, not where its client was made",
        "api.trace_headers",
        "../integrations/test_websockets.py::test_a_reconnect_is_a_child_of_where_it_happens"
        "[{lifecycle}]",
        put(propagation, "trace_headers", functools.cache(api.trace_headers)),
    ),
    Remedy(
        "request-parent",
        "What is current for us is so for Sentry's HTTP clients, also in a generator",
        "integrations.propagation.Shown, trace.conversation_scope.ConversationScope._parent",
        "../integrations/test_propagation.py::test_in_an_async_generator[{lifecycle}-httpx]",
        _show_nobody,
    ),
    Remedy(
        "redirects",
        "A redirect takes trace headers only where they may go",
        "integrations.propagation.goes_to",
        "../integrations/test_propagation.py::test_a_redirect_takes_headers_only_where_they_may_go"
        "[{lifecycle}-httpx]",
        put(propagation, "goes_to", lambda url: True),
    ),
    Remedy(
        "strangers",
        "A stranger's headers name a trace, and decide nothing",
        "headers.valid",
        "../test_headers.py::test_a_strangers_sampling_is_not_obeyed",
        put(headers, "valid", _believe),
    ),
    Remedy(
        "strangers-baggage",
        "Of a stranger's baggage nothing goes any further",
        "headers.valid",
        "../test_headers.py::test_nothing_of_a_stranger_goes_on[{lifecycle}]",
        put(headers, "_baggage", lambda header, trace_id, trusted: header or ""),
    ),
    Remedy(
        "isolation-kept",
        "What somebody's isolation_scope() holds is there in spans of ours inside it",
        "context.chain.push",
        "test_sentrys_own.py::test_what_a_scope_is_told_is_on_errors_inside_it"
        "[{lifecycle}-isolation_scope]",
        put(chain, "_is_within", lambda outer, owner, scope: False),
    ),
    Remedy(
        "generator-frames-plain",
        "Sentry's own span in an async generator is none of its consumer's",
        "trace.conversation_scope.ConversationScope._parent",
        "test_sentrys_own.py::test_a_generator_left_by_break_parents_nothing_after_it[{lifecycle}]",
        put(ConversationScope, "_parent", lambda self: None),
    ),
    Remedy(
        "pinned-client",
        "A conversation keeps its client, whoever calls Sentry's init again",
        "trace.transaction.Transaction.__init__",
        "test_sentrys_own.py::test_a_library_that_calls_init_again_takes_no_conversation"
        "[{lifecycle}]",
        put(outbox.Outbox, "client", property(lambda self: None, lambda self, to: None)),
    ),
    Remedy(
        "guarded-hooks",
        "A hook that raises is told of, and makes nothing of its own",
        "delivery.hooks.guarded",
        "test_sentrys_own.py::test_a_hook_that_raises_is_told_once[{lifecycle}]",
        put(configure, "guarded", lambda name, hook, failed=None: hook),
    ),
    Remedy(
        "hooks-lost-spans",
        "Spans that a hook loses by raising are all counted",
        "encoding.transactions.rejoining",
        "test_sentrys_own.py::test_a_hook_that_raises_is_nobody_elses_affair"
        "[transaction-before_send_transaction]",
        put(configure, "rejoining", lambda then, lost: transactions.rejoining(then)),
    ),
    Remedy(
        "delivering-scope",
        "What an event processor asks of others is recorded nowhere",
        "context.scopes.DeliveringScope",
        "test_feeding.py::test_a_hook_that_asks_and_reports_is_asked_once"
        "[{lifecycle}-event processor]",
        put(processor, "DeliveringScope", sentry_sdk.Scope),
    ),
    Remedy(
        "ours-only",
        "Delivery's thread captures what delivery itself has captured, and nothing else",
        "delivery.client.Client.capture_event",
        "test_feeding.py::test_a_hook_that_asks_and_reports_is_asked_once"
        "[{lifecycle}-event processor]",
        put(client.Client, "capture_event", _pass_ours),
    ),
    Remedy(
        "side-car",
        "Spotlight's side-car gets its copy from delivery, without what was said",
        "delivery.thread.Delivery.use",
        "test_feeding.py::test_words_leave_with_neither[{lifecycle}-dsn]",
        put(thread.Delivery, "use", _use_as_it_is),
    ),
    Remedy(
        "loguru",
        "What loguru logs is taken by a filter, outside of its locks",
        "delivery.loguru_tap.tap",
        "../delivery/test_loguru_tap.py::test_an_error_arrives_once_and_whole[{lifecycle}-_bound-]",
        put(loguru_tap, "tap", lambda take: None),
    ),
    Remedy(
        "passed-on-once",
        "What one logger passes on to another is taken once",
        "delivery.logs._is_passed_on",
        "../delivery/test_loguru_tap.py::test_an_error_arrives_once_and_whole"
        "[{lifecycle}-_propagated-]",
        put(logs, "_is_passed_on", lambda: False),
    ),
    Remedy(
        "asked",
        "What a session is asked for is in its conversation, whoever asks",
        "integrations.livekit.session.ASKED",
        "../integrations/livekit/test_whose_reply.py::test_a_reply_is_its_sessions"
        "[{lifecycle}-after-a timer]",
        _ask_as_it_is,
    ),
    Remedy(
        "frameworks-first",
        "A framework's span goes before that of another conversation",
        "context.chain.current",
        "../integrations/livekit/test_whose_reply.py::test_a_reply_is_its_sessions"
        "[{lifecycle}-before-another conversation]",
        put(chain, "_is_entered_in", lambda link, theirs: True),
    ),
    Remedy(
        "another-process",
        "What a process logs is reported there, not where its record is passed on",
        "delivery.logs._is_of_another_process",
        "../integrations/livekit/test_processes.py"
        "::test_what_a_job_logs_is_reported_in_its_own_process[{lifecycle}]",
        put(logs, "_is_of_another_process", lambda record: False),
    ),
    Remedy(
        "goes-on",
        "A reply that LiveKit goes on with in another turn is that turn's",
        "integrations.livekit.record.Record.go_on",
        "../integrations/livekit/test_stopped.py::test_what_is_asked_after_a_declined_turn"
        "[{lifecycle}-Ignore me]",
        _never_go_on,
    ),
    Remedy(
        "typed",
        "Text that is typed in a room is nobody's speech",
        "integrations.livekit.spans.SpanListener.place",
        "../integrations/livekit/test_from_outside.py::test_text_typed_in_a_room"
        "[{lifecycle}-inside]",
        _take_typing_for_speech,
    ),
    Remedy(
        "last-words",
        "A session that closes asks for last words, which is nobody's turn",
        "integrations.livekit.spans.SpanListener.place",
        "../integrations/livekit/test_kinds.py::test_a_session_whose_turns_are_told"
        "[{lifecycle}-None]",
        _take_closing_for_a_turn,
    ),
    Remedy(
        "made-up",
        "The name of a tool that a model made up is somebody's words",
        "written.Written.made_up",
        "../integrations/livekit/test_content.py"
        "::test_a_tools_name_that_the_model_made_up_stays_here[{lifecycle}]",
        _believe_every_name,
    ),
    Remedy(
        "late-words",
        "A turn waits for a realtime model's transcript of it",
        "integrations.livekit.recognition.Recognition.late",
        "../integrations/livekit/test_realtime.py::test_a_transcript_that_comes_when_it_comes"
        "[{lifecycle}-after the answer]",
        _expect_nothing_late,
    ),
    Remedy(
        "no-wait",
        "Nobody waits for a transcript once the model has begun to answer",
        "integrations.livekit.latency._is_late",
        "../integrations/livekit/test_realtime.py::test_a_transcript_that_comes_when_it_comes"
        "[{lifecycle}-with the answer]",
        _wait_for_every_transcript,
    ),
    Remedy(
        "judged-once",
        "A judge's tokens are counted once",
        "integrations.livekit.vocabulary.REPEATS",
        "../integrations/livekit/test_kinds.py::test_a_judge_has_tokens_of_its_own[{lifecycle}]",
        _count_judges_twice,
    ),
    Remedy(
        "requested-once",
        "A request that a provider's own client times as well is one AI span, with its tokens",
        "integrations.livekit.clients.ends",
        "../integrations/livekit/test_clients.py::test_a_request_is_counted_once[{lifecycle}]",
        _count_clients_too,
    ),
    Remedy(
        "one-operation",
        "What LiveKit does around a request is no call of a model, to Sentry",
        "integrations.livekit.livekit_span.LiveKitSpan._keep",
        "../integrations/livekit/test_screens.py::test_a_call_is_counted_as_livekit_counts_it"
        "[{lifecycle}]",
        _keep_operations,
    ),
    Remedy(
        "one-id",
        "AI spans name the conversation's id, whoever made them",
        "encoding.ai_spans.data_of",
        "../encoding/test_ai_spans.py::test_ai_spans_name_their_conversation[{lifecycle}]",
        put_in(
            (transactions, streamed_spans),
            "data_of",
            lambda transaction, span, *, content: values.data(span.attributes, content=content),
        ),
    ),
    Remedy(
        "callers-gap",
        "What a caller says it waited is left out where it can't be",
        "integrations.livekit.gaps.bounds",
        "../integrations/livekit/test_gaps.py::test_what_can_not_be_costs_nothing[{lifecycle}]",
        _believe_every_caller,
    ),
    Remedy(
        "spoken-at",
        "A recording has the caller's audio where it was spoken, not where it was read",
        "integrations.livekit.recording.Recording.record_input",
        "../integrations/livekit/test_recorder.py::test_a_line_that_stands_still_moves_nothing",
        _take_reading_for_speaking,
    ),
    Remedy(
        "recording-in-trouble",
        "A recording that can't go on is one line, and no error of the call's",
        "integrations.livekit.recording.prepare",
        "../integrations/livekit/test_recorder.py::test_a_disk_that_is_full",
        _say_it_as_livekit_does,
    ),
    Remedy(
        "recording-survived",
        "What placing the caller's audio raises ends the recording, and not the session's hearing",
        "integrations.livekit.recording.Recording.survived",
        "../integrations/livekit/test_recording.py::test_a_transport_that_raises",
        _end_the_callers_audio,
    ),
    Remedy(
        "recording-clock",
        "A recording ends where the machine's clock is set",
        "integrations.livekit.recording.Recording._clock_is_right",
        "../integrations/livekit/test_recording.py::test_a_clock_that_is_set[-60.0]",
        _believe_the_clock,
    ),
    Remedy(
        "recording-end",
        "A recording's end is queued as its conversation closes, not by a task",
        "integrations.livekit.recording.Recording.finish",
        "../integrations/livekit/test_recorder.py::test_a_program_that_ends_with_its_call",
        _leave_the_end_to_a_task,
    ),
    Remedy(
        "recording-disk",
        "A call waits a second for the disk, in threads that are nobody else's",
        "integrations.livekit.recorder._from_disk",
        "../integrations/livekit/test_recorder.py::test_a_disk_that_does_not_answer",
        _wait_in_the_loops_threads,
    ),
    Remedy(
        "recording-stuck",
        "A job's conversation is delivered though its recording can't be completed",
        "integrations.livekit.session._delivered",
        "../integrations/livekit/test_sessions.py"
        "::test_a_job_whose_recording_does_not_end[{lifecycle}-_Broken]",
        _deliver_after_the_recording,
    ),
    Remedy(
        "undeletable",
        "A recording that can't be deleted keeps nothing else from the store",
        "store.recordings._delete",
        "../delivery/test_store_lane.py::test_a_recording_that_can_not_be_deleted_stops_nothing"
        "[{lifecycle}]",
        _delete_or_fail,
    ),
    Remedy(
        "decided-by",
        "A reply is the turn's whose taker asked for it, though the next one has begun",
        "integrations.livekit.turns.Turns._decided_by",
        "../integrations/livekit/test_machine.py"
        "::test_the_next_turn_begins_while_the_agent_is_asked_about_this_one",
        _ask_in_the_latest_turn_only,
    ),
    Remedy(
        "worth",
        "Conversations and first errors go before logs and repeats",
        "delivery.send_queue.SendQueue._worth",
        "../delivery/test_send_queue.py::test_what_is_worth_most_goes_first",
        put(send_queue.SendQueue, "_worth", lambda self, envelope: waiting.Worth.OTHER),
    ),
    Remedy(
        "refusals-told",
        "Sentry that refuses or isn't reached is one line of the log, and one when that is over",
        "delivery.refusals._Trouble.met",
        "../delivery/test_refusals.py::test_an_hour_is_two_lines",
        put(refusals._Trouble, "met", lambda *_, **__: False),
    ),
    Remedy(
        "refusals-calm",
        "What fails every other time isn't told of again and again",
        "delivery.refusals.CALM_SECONDS",
        "../delivery/test_refusals.py::test_what_fails_every_other_time_is_told_of_once",
        put(refusals, "CALM_SECONDS", 0.0),
    ),
    Remedy(
        "limit-at-the-end",
        "What a rate limit holds back when a process ends stays in the store",
        "delivery.send_queue.SendQueue.answered",
        "../delivery/test_store_lane.py"
        "::test_a_rate_limit_at_the_end_costs_nothing_that_waits[{lifecycle}]",
        put(send_queue.SendQueue, "_leave_for_later", _drop_at_the_end),
    ),
    Remedy(
        "empty-of-all",
        "A store that has nothing that may go now isn't taken for empty",
        "delivery.asking.Asking",
        "../delivery/test_send_queue.py::test_what_a_limit_holds_is_asked_for_when_it_is_over",
        put(asking.Asking, "answered", _take_it_for_empty),
    ),
    Remedy(
        "read-again",
        "What the store was asked for and couldn't read, it reads when it can",
        "delivery.store_lane.StoreLane._answer_loads",
        "../delivery/test_outage.py"
        "::test_a_store_that_could_not_be_read_is_read_again[{lifecycle}]",
        put(store_lane.StoreLane, "_answer_loads", _answer_or_forget),
    ),
    Remedy(
        "refused-is-told",
        "Delivery is told of envelopes that the store has no room for",
        "delivery.store_lane.StoreLane.give",
        "../delivery/test_store_lane.py"
        "::test_what_the_store_refuses_is_counted_where_memory_has_no_room_for_it[{lifecycle}]",
        put(store_lane.StoreLane, "give", _refuse_in_silence),
    ),
    Remedy(
        "recovery-told",
        "Recovery isn't over before delivery knows what others left in the store",
        "delivery.store_lane.StoreLane._look_round",
        "../delivery/test_recovered.py::test_recovery_is_over_when_it_is_known_what_waits",
        put(store_lane.StoreLane, "_look_round", _know_alone),
    ),
    Remedy(
        "store-lane",
        "The store is written to by a thread of its own",
        "delivery.store_lane.StoreLane",
        "../delivery/test_lanes.py::test_a_locked_store_keeps_nothing_from_sentry[{lifecycle}]",
        put(store_lane.StoreLane, "give", _write_at_once),
    ),
    Remedy(
        "pulled",
        "The store's thread takes the spans of running transactions for itself",
        "delivery.pulse.Pulse.look",
        "../delivery/test_store_lane.py"
        "::test_a_running_conversation_is_there_with_its_open_spans[{lifecycle}]",
        put(pulse.Pulse, "look", lambda self: None),
    ),
    Remedy(
        "taken-over",
        "Whoever begins takes over what killed processes left in the store",
        "delivery.store_lane.StoreLane",
        "../delivery/test_recovered.py"
        "::test_a_name_that_stands_in_the_code_is_still_known[{lifecycle}]",
        put(store_lane.StoreLane, "_look_round", lambda self: None),
    ),
    Remedy(
        "taken-for-dead",
        "A process that another took for dead goes on recording what is its own",
        "store.rows.is_stored",
        "../delivery/test_store_lane.py::test_who_was_taken_for_dead_goes_on",
        put(rows, "is_stored", lambda *given, **named: True),
    ),
    Remedy(
        "key-of-one-file",
        "What is taken over is noted as sent in the file it was found in, and in no other",
        "store.lost.sent",
        "../store/test_lost.py::test_a_key_is_of_one_file",
        put(lost, "sent", lambda cursor, left: rows.settle(cursor, left.key)),
    ),
    Remedy(
        "one-id",
        "The id of a transaction's event follows from its trace and its root",
        "encoding.transactions.event_id",
        "../encoding/test_transactions.py::test_an_event_has_the_same_id_whoever_makes_it",
        put(transactions, "event_id", lambda trace_id, span_id: span.new_id() * 2),
    ),
    Remedy(
        "held",
        "Where it is decided at its end, nothing of a conversation is sent before",
        "delivery.processor.Processor._held",
        "../delivery/test_tail.py::test_a_long_conversation_is_held_whole_until_its_end"
        "[False-{lifecycle}]",
        put(processor.Processor, "_held", lambda self, transaction, spans: nullcontext()),
    ),
    Remedy(
        "sdks-losses",
        "What the SDK's batches lose is counted, under Sentry's own reason",
        "delivery.queue_transport.QueueTransport.record_lost_event",
        "../delivery/test_queue_transport.py::test_a_batch_of_the_sdks_that_overflows"
        "[{lifecycle}-log-_log-2000]",
        put(queue_transport.QueueTransport, "record_lost_event", lambda *_, **__: None),
    ),
    Remedy(
        "batch-emptied",
        "In a burst of logs delivery empties the SDK's batch of them",
        "delivery.processor.LOGS_AT_ONCE",
        "../delivery/test_queue_transport.py::test_what_is_logged_overflows_no_batch[{lifecycle}]",
        put(processor, "LOGS_AT_ONCE", float("inf")),
    ),
    Remedy(
        "ended-at",
        "Sentry's view of a span knows that it has ended, and which line it was asked from",
        "trace.sentry_span.SpanMarker.finish",
        "../test_options.py::test_the_line_that_asked_a_database[transaction-options0-True]",
        put(
            sentry_span.SpanMarker, "timestamp", property(lambda self: None, lambda self, at: None)
        ),
    ),
    Remedy(
        "not-the-application",
        "Telemetry's own frames aren't the application's",
        "configure.start",
        "../integrations/test_propagation.py::test_the_line_that_asked_a_service[{lifecycle}-True]",
        put(configure, "PACKAGE", "no.package.of.ours"),
    ),
    Remedy(
        "set-after-its-end",
        "What is set on a span after its end changes nothing that delivery has",
        "trace.span.Span.set",
        "../test_options.py::test_what_comes_after_a_spans_end_changes_nothing_that_is_on_its_way"
        "[{lifecycle}]",
        put(Span, "set", lambda self, attributes: self.attributes.update(attributes)),
    ),
    Remedy(
        "foreign-text",
        "Text of other people's is shown in one line, without what a terminal obeys",
        "printable.printable",
        "../test_tree.py::test_a_conversation_as_a_timed_tree",
        put(tree, "printable", lambda value, limit=0: str(value)),
    ),
    Remedy(
        "unmatched",
        "A request that no route answers isn't named by what was asked for",
        "integrations.asgi.route_of",
        "../integrations/test_asgi.py"
        "::test_what_fails_is_marked_and_what_asks_for_health_is_left_out",
        put(asgi, "route_of", lambda scope: scope["path"]),
    ),
    Remedy(
        "collector-lane",
        "A collector of OpenTelemetry's has a lane of its own: it keeps nobody waiting",
        "delivery.collector_lane.CollectorLane",
        "../delivery/test_collector_lane.py"
        "::test_one_that_hangs_keeps_neither_sentry_nor_the_store_waiting[{lifecycle}]",
        put(collector_lane.CollectorLane, "copy", _send_where_it_is),
    ),
    Remedy(
        "collector-unrecorded",
        "Requests to it aren't recorded by OpenTelemetry's instrumentations",
        "integrations.otlp.collector.SUPPRESSED",
        "../integrations/otlp/test_collector.py"
        "::test_its_requests_are_recorded_by_nobody[{lifecycle}]",
        _suppress_nothing,
    ),
    Remedy(
        "collector-redirects",
        "A collector that redirects hasn't taken anything",
        "integrations.otlp.collector.Exporting._look_at",
        "../integrations/otlp/test_collector.py"
        "::test_what_it_refuses_is_counted[{lifecycle}-308-headers2]",
        _take_redirects_for_well,
    ),
    *ERRORS_AND_VALUES,
)


def take_away() -> None:
    """Take away the remedy that the environment names, if any."""
    name = os.environ.get(VARIABLE)
    for remedy in REMEDIES:
        if remedy.name == name:
            remedy.remove()


def pytest_configure() -> None:
    """As a plugin."""
    take_away()


def table() -> str:
    """The remedies and their tests, as :file:`REMEDIES.md` has them."""
    rows = [
        f"| {remedy.does} | `{remedy.where}` | `{remedy.test.partition('[')[0]}` |"
        for remedy in REMEDIES
    ]
    return "\n".join(
        [
            "# What ends each failure, and the test that fails without it",
            "",
            "`python -m tests.telemetry.conformance.without` takes each away and checks that its",
            "test fails.",
            "",
            "| remedy | in telemetry | test, from this folder |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _tests(remedy: Remedy) -> list[str]:
    lifecycles = LIFECYCLES if "{lifecycle}" in remedy.test else [""]
    return [str(HERE / remedy.test.format(lifecycle=lifecycle)) for lifecycle in lifecycles]


def _pytest(*tests: str, without: str = "") -> bool:
    """Whether they pass."""
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", __spec__.name, *tests],
        env={**os.environ, VARIABLE: without},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if result.returncode not in (0, 1):  # 0: passed, 1: failed; anything else proves nothing
        raise RuntimeError(result.stdout + result.stderr)
    return result.returncode == 0


def _noticed(remedy: Remedy) -> bool:
    return not any(_pytest(test, without=remedy.name) for test in _tests(remedy))


def main() -> int:
    """Check the remedies; 0 when the test of each fails without it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="remedies; all by default")
    parser.add_argument("--table", action="store_true", help="print REMEDIES.md")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    chosen = parser.parse_args()
    if chosen.table:
        sys.stdout.write(table())
        return 0
    remedies = [remedy for remedy in REMEDIES if not chosen.names or remedy.name in chosen.names]
    if not _pytest(*sorted({test for remedy in remedies for test in _tests(remedy)})):
        sys.stdout.write("a test fails as things are\n")
        return 1
    good = True
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for remedy, noticed in zip(remedies, pool.map(_noticed, remedies), strict=True):
            verdict = "fails without it" if noticed else "PASSES without it"
            sys.stdout.write(f"{remedy.name:<22} {remedy.test.partition('[')[0]} {verdict}\n")
            sys.stdout.flush()
            good = good and noticed
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
