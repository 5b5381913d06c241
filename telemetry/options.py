"""Options of ``sentry_sdk.init``: those that aren't simply passed on.

Most mean what Sentry says. An option that a parameter of :func:`telemetry.init` decides, that can't
be made to hold for conversations, or that would do nothing, is refused, with what to use instead.
"""

from __future__ import annotations

from typing import Any, Final

from sentry_sdk.consts import DEFAULT_OPTIONS

from .errors import TelemetryError

_PROFILES: Final = (
    "Sentry's transaction profiler ends after 30 s and doesn't know conversations: give "
    "profile_session_sample_rate, and call sentry_sdk.profiler.start_profiler() and stop_profiler()"
)
_DELIVERY: Final = "delivery is telemetry's own: leave it out"
_REFUSED: Final = {
    "add_full_stack": "errors are built apart from the call: log with stack_info=True",
    "auto_session_tracking": "release health counts requests, not conversations: leave it out",
    "enable_backpressure_handling": "delivery paces itself: leave it out",
    "enable_tracing": "use sample_rate",
    "ignore_spans": "a conversation's spans are whole: leave out the integration that makes them",
    "include_local_variables": "use send_content",
    "instrumenter": "spans are recorded by Sentry's own API only: leave it out",
    "profile_lifecycle": _PROFILES,
    "profiles_sample_rate": _PROFILES,
    "profiles_sampler": _PROFILES,
    "propagate_traces": "use propagate_to=() for no host at all",
    "send_client_reports": "Runtime.stats() says what was dropped: leave it out",
    "trace_ignore_status_codes": "name the paths in TraceRequests(ignore=…)",
    "trace_lifecycle": "use lifecycle",
    "trace_propagation_targets": "use propagate_to",
    "traces_sample_rate": "use sample_rate; error_sampler is for errors",
    "transport": "delivery is telemetry's own: tests use telemetry.testing.capture()",
    "transport_queue_size": "telemetry's queues are bounded, Stats.dropped says what overflows",
}
_NEVER: Final = object()
_ACCEPTED: Final = {
    "include_local_variables": _NEVER,
    "trace_propagation_targets": _NEVER,
    "traces_sample_rate": _NEVER,
    "auto_session_tracking": False,
    "enable_backpressure_handling": False,
    "send_client_reports": False,
}
"""Values that those options have in any case; the others may be given as Sentry's own default."""
_FIXED: Final = (
    "auto_session_tracking",
    "enable_backpressure_handling",
    "send_client_reports",
    "trace_lifecycle",
    "transport",
)
"""Options that are given to Sentry's client in any case."""
_EXPERIMENTS: Final = {
    "ignore_spans": _REFUSED["ignore_spans"],
    "max_spans": "all spans are delivered, in several transactions if need be: leave it out",
    "otel_powered_performance": _REFUSED["instrumenter"],
    "trace_lifecycle": _REFUSED["trace_lifecycle"],
    "transport_async": _DELIVERY,
    "transport_compression_algo": _DELIVERY,
    "transport_compression_level": _DELIVERY,
    "transport_http2": _DELIVERY,
    "transport_num_pools": _DELIVERY,
    "transport_zlib_compression_level": _DELIVERY,
}


def check(options: dict[str, Any]) -> None:
    """Refuse options that would not do what Sentry's documentation says.

    Raises:
        TelemetryError: there is one.
    """
    for name, value in options.items():
        if name not in DEFAULT_OPTIONS:
            raise TelemetryError(f"{name} is no option of telemetry.init, nor of sentry_sdk.init")
        if name in _REFUSED and value != _ACCEPTED.get(name, DEFAULT_OPTIONS[name]):
            raise TelemetryError(f"{name} can't be used: {_REFUSED[name]}")
    for name in options.get("_experiments") or ():
        if name in _EXPERIMENTS:
            raise TelemetryError(f"_experiments[{name!r}] can't be used: {_EXPERIMENTS[name]}")


def settle(options: dict[str, Any]) -> None:
    """Take out what has been checked and is decided here, and put in what follows from it."""
    for fixed in _FIXED:
        options.pop(fixed, None)
    experiments = options.get("_experiments") or {}
    for name in (
        "before_send_log",
        "before_send_metric",
        "enable_logs",
    ):  # in Sentry's former place
        if options.get(name) is None and experiments.get(name) is not None:
            options[name] = experiments[name]
    if options.get("data_collection") is not None and not options.get("include_local_variables"):
        # It would bring local variables back, and with them what people said.
        options["data_collection"] = {**options["data_collection"], "stack_frame_variables": False}
