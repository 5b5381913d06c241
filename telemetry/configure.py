"""Configures Sentry around our own delivery, once per process.

Sentry keeps what it is good at: sampling, scopes, events, integrations. What would build or send
anything in the calling thread is replaced by delivery, whose thread does all of that.
"""

from __future__ import annotations

import atexit
import importlib.util
import re
from typing import TYPE_CHECKING, Any, Final, Literal

import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration

from . import options as sentrys_options
from .delivery.client import Client
from .delivery.connections import OPTIONS
from .delivery.content import Policy
from .delivery.drops import CALLBACK_ERROR
from .delivery.hooks import guarded, harmless
from .delivery.log_events import dated, named
from .delivery.logs import PACKAGE, LogCapture
from .delivery.queue_transport import QueueTransport
from .delivery.sender import AT_ONCE, Sender
from .delivery.thread import Delivery
from .encoding.transactions import rejoining
from .errors import TelemetryError
from .runtime import CLOSE_TIMEOUT, Runtime, activate, deactivate
from .store import TraceStore
from .store.sqlite_file import require_writable
from .summary import rules

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .delivery.collector_lane import Collector
    from .store import Limits
    from .summary import Keep


def init(
    *,
    dsn: str | None = None,
    environment: str | None = None,
    release: str | None = None,
    sample_rate: float = 1.0,
    keep: str | Keep | None = None,
    lifecycle: Literal["transaction", "stream"] = "transaction",
    store: str | Path | None = None,
    store_limits: Limits | None = None,
    propagate_to: Sequence[str] | None = None,
    otlp: Collector | None = None,
    strict: bool = False,
    send_content: bool = False,
    send_attributes: Sequence[str] = (),
    send_errors: Sequence[str] = (),
    **options: Any,
) -> Runtime:
    """Configure Sentry and start delivery; once per process.

    Args:
        dsn, environment, release: Sentry's; a DSN of None sends nothing.
        sample_rate: share of conversations sent to Sentry, 0 to 1. The store records all of them.
        keep: chooses, at their end, those sent in any case: rules (:func:`.summary.rules`), or a
            function of a :class:`Summary`, asked in delivery's thread. All are sent at their end.
        lifecycle: ``"transaction"``, one event at the end, or ``"stream"``, spans as they end.
        store, store_limits: path of the local trace store (SQLite), and what is kept there.
        propagate_to: host names whose requests get trace headers; None means every host.
        otlp: gets the spans that Sentry gets: :class:`telemetry.integrations.otlp.Collector`.
        strict: raise :class:`MissingConversation` instead of recording an orphan; for tests.
        send_content: send Sentry what people said and what follows from it. The store has it.
        send_attributes, send_errors: names of attributes, tags, ``extra``, ``user.FIELD``,
            ``context.NAME.FIELD`` (``NAME*``: all that begin so), and of exceptions, sent besides.
        options: further options of ``sentry_sdk.init``: ``integrations``, ``ca_certs``, …

    Raises:
        TelemetryError: it is initialised already, or the DSN, the store or an option can't be used.
    """
    _check(lifecycle, sample_rate, options)
    return start(
        Delivery(
            store=_writable(store),
            sender=_sender(dsn, options),
            send_content=send_content,
            policy=policy(send_attributes, send_errors),
            streaming=lifecycle == "stream",
            at_once=AT_ONCE,
            limits=store_limits,
            collector=otlp,
            keep=chooses(keep),
        ),
        strict=strict,
        dsn=dsn,
        environment=environment,
        release=release,
        traces_sample_rate=sample_rate,
        trace_propagation_targets=targets(propagate_to),
        include_local_variables=send_content,
        **options,
    )


def start(delivery: Delivery, *, strict: bool, **options: Any) -> Runtime:
    """Configure Sentry around a delivery; :func:`init` and ``testing.capture`` differ in that."""
    sentrys_options.settle(options)
    given = options.pop("integrations", None) or []
    if any(isinstance(integration, LoggingIntegration) for integration in given):
        raise TelemetryError(
            "LoggingIntegration can't be among the integrations: it builds events under the locks "
            "that a logging call holds, and can deadlock. Leave it out: telemetry reports what is "
            "logged, with enable_logs=True as structured logs too"
        )
    seconds = options.pop("shutdown_timeout", None)
    runtime = Runtime(
        delivery, strict=strict, close_timeout=CLOSE_TIMEOUT if seconds is None else float(seconds)
    )
    activate(runtime)
    try:
        client = Client(
            delivery,
            transport=QueueTransport(
                delivery, dsn=options.get("dsn"), org_id=options.get("org_id")
            ),
            trace_lifecycle="stream" if delivery.streaming else "static",
            # What is logged comes through LogCapture, on the delivery thread: an event built under
            # a lock that logs would need that lock.
            integrations=[*_silent_loggers(given), *given],
            before_send_log=dated(guarded("before_send_log", options.pop("before_send_log", None))),
            before_send_metric=named(
                guarded("before_send_metric", options.pop("before_send_metric", None))
            ),
            before_send_span=guarded("before_send_span", options.pop("before_send_span", None)),
            before_send=guarded("before_send", options.pop("before_send", None)),
            before_breadcrumb=harmless("before_breadcrumb", options.pop("before_breadcrumb", None)),
            traces_sampler=guarded(
                "traces_sampler",
                options.pop("traces_sampler", None),
                lambda: delivery.drop(CALLBACK_ERROR, 1),
            ),
            in_app_exclude=[*(options.pop("in_app_exclude", None) or ()), PACKAGE],
            auto_session_tracking=False,
            send_client_reports=False,
            enable_backpressure_handling=False,
            shutdown_timeout=0,
            before_send_transaction=rejoining(
                guarded("before_send_transaction", options.pop("before_send_transaction", None)),
                lambda count: delivery.drop(CALLBACK_ERROR, count),
            ),
            **options,
        )
        sentry_sdk.get_global_scope().set_client(client)
        delivery.use(client)
        delivery.start()
    except BaseException:
        deactivate()
        raise
    runtime.logs = LogCapture.install(delivery)
    atexit.register(runtime.close)
    return runtime


def chooses(keep: str | Keep | None) -> Keep | None:
    """The function that chooses conversations; None if there is nothing to choose by.

    Raises:
        TelemetryError: a rule is none, or it is neither rules nor a function.
    """
    if isinstance(keep, str):
        return rules(keep) if keep.strip() else None
    if keep is not None and not callable(keep):
        raise TelemetryError(f"keep must be rules or a function of a Summary, not {keep!r}")
    return keep


def policy(
    attributes: Sequence[str], errors: Sequence[str], *, keeps_whole: bool = False
) -> Policy:
    """What an operator wants sent.

    Raises:
        TelemetryError: a name is none.
    """
    for option, given, pattern, like in (
        ("send_attributes", attributes, _ATTRIBUTE, "'app.party_size' or 'app.*'"),
        ("send_errors", errors, _ERROR, "'NoTable' or 'restaurant.errors.NoTable'"),
    ):
        if isinstance(given, str):
            raise TelemetryError(f"{option} must be a list of names, not the text {given!r}")
        for name in given:
            if not isinstance(name, str) or not pattern.fullmatch(name):
                raise TelemetryError(f"{option} must be names like {like}, not {name!r}")
    return Policy(tuple(attributes), tuple(errors), keeps_whole)


_ATTRIBUTE: Final = re.compile(r"[\w:/-]+(?:\.[\w:/-]+)*(?:\.?\*)?")
_ERROR: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


def _silent_loggers(given: Sequence[Any]) -> list[Any]:
    """Sentry's integrations of loggers, set up to do nothing; those given are left alone."""
    silent: dict[str, Any] = {"level": None, "event_level": None, "sentry_logs_level": None}
    found: list[Any] = [LoggingIntegration(**silent)]
    if importlib.util.find_spec("loguru") is not None:
        from sentry_sdk.integrations.loguru import LoguruIntegration

        if not any(isinstance(integration, LoguruIntegration) for integration in given):
            found.append(LoguruIntegration(**silent))
    return found


def _check(lifecycle: str, sample_rate: float, options: dict[str, Any]) -> None:
    if lifecycle not in ("transaction", "stream"):
        raise TelemetryError(f"lifecycle must be 'transaction' or 'stream', not {lifecycle!r}")
    if not 0 <= sample_rate <= 1:
        raise TelemetryError(f"sample_rate must be between 0 and 1, not {sample_rate}")
    sentrys_options.check(options)


def _sender(dsn: str | None, options: dict[str, Any]) -> Sender | None:
    """What sends to a DSN, over the network that the options say; None without one."""
    network = {name: options[name] for name in OPTIONS if name in options}
    return Sender(dsn, **network) if dsn else None


def _writable(path: str | Path | None) -> TraceStore | None:
    """The local trace store at a path, which can be written to; None without a path."""
    if path is None:
        return None
    store = TraceStore(path)
    require_writable(store.path)
    return store


def targets(hosts: Sequence[str] | None) -> list[str]:
    """Sentry's patterns for requests to these hosts; it searches for them in the whole URL."""
    if hosts is None:
        return [".*"]
    return [rf"^\w+://([^@/]*@)?{re.escape(host)}(:\d+)?([/?#]|$)" for host in hosts]
