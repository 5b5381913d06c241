"""The parts of a running command: settings, logging, telemetry."""

from __future__ import annotations

import logging
import os
import resource
import signal
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, Unpack

import anyio

import telemetry
from agent import certificates
from agent.errors import InputError
from agent.proxies import is_loopback
from telemetry.printable import indented, printable
from telemetry.store import Limits

from . import terminal
from .ending import SIGNALS, Ending

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from agent.providers import Choice
    from agent.session import Record, TurnTaking
    from config import Settings
    from telemetry.integrations.aiohttp import AioHttpIntegration
    from telemetry.integrations.httpx import HttpxIntegration
    from telemetry.integrations.httpx2 import Httpx2Integration
    from telemetry.integrations.otlp import Collector

_Found = TypeVar("_Found")
_Given = TypeVarTuple("_Given")

_FORMAT = "%(asctime)s {}%(levelname)-7s %(name)s: %(message)s"
LEAST_FILES = 64
"""Files and sockets that a command gets at least, where the machine allows that."""
CLOSING_SECONDS = 2.0
"""Time that closing may take after the last call, until what still runs is left."""
_traced: list[telemetry.Runtime] = []
"""Telemetry of this process, while it is on."""
_CHATTY = ("aiohttp.access", "httpx", "livekit", "websockets", "asyncio")
"""Loggers whose INFO a trace tells better."""


class PrintableFormatter(logging.Formatter):
    """A formatter whose records are each one line of text, whatever was given to it; tracebacks
    follow, a line each, back from the margin: no text can begin what looks like a record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record. What another handler's formatter has made of its traceback isn't used."""
        record.message = record.getMessage()
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        parts = [printable(self.formatMessage(record))]
        if record.exc_info:
            parts.append(_set_back(self.formatException(record.exc_info)))
        elif record.exc_text:  # of another process: it is all there is
            parts.append(_set_back(record.exc_text))
        if record.stack_info:
            parts.append(_set_back(self.formatStack(record.stack_info)))
        return "\n".join(parts)


def _set_back(text: str) -> str:
    return "\n".join(f"    {indented(line)}" for line in text.splitlines())


def begin(level: str, *, warns: bool = True, number: int | None = None) -> None:
    """Log to stderr, libraries a level less; and warn of what can't be used in the surroundings.

    ``number`` is that of a process among several, whose logs come together.

    Raises:
        InputError: nothing could run in them.
    """
    _open_enough()
    for warning in certificates.warnings(os.environ) if warns else ():
        terminal.warn(f"parley: warning: {warning}")
    _log_to_stderr(level, "" if number is None else f"[{number}] ")


def run(function: Callable[[Unpack[_Given]], Awaitable[_Found]], *given: *_Given) -> _Found:
    """Run an async function on an event loop: uvloop's where it is installed (extra ``fast``)."""
    return anyio.run(
        function, *given, backend_options={"use_uvloop": find_spec("uvloop") is not None}
    )


def _open_enough() -> None:
    """Raise the limit of open files, where it is so low that native code would end the process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= LEAST_FILES or soft == resource.RLIM_INFINITY:
        return
    if LEAST_FILES > hard != resource.RLIM_INFINITY:
        raise InputError(
            f"only {hard} files may be open at once: raise the limit, as by `ulimit -n 1024`"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (LEAST_FILES, hard))


def _log_to_stderr(level: str, whose: str) -> None:
    """Log to stderr; libraries a level less."""
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter(_FORMAT.format(whose)))
    logging.basicConfig(level=level, handlers=[handler])
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    logging.captureWarnings(True)


@contextmanager
def traced(settings: Settings, *, store: str | None = None) -> Iterator[telemetry.Runtime]:
    """Telemetry as the settings say, delivered at the end; ``store`` overrides its local file."""
    dsn = None if settings.sentry_dsn is None else settings.sentry_dsn.get_secret_value()
    if dsn is not None:
        certificates.require(dsn, os.environ, "Sentry")
    runtime = telemetry.init(
        dsn=dsn,
        environment=settings.sentry_environment,
        release=settings.sentry_release,
        sample_rate=settings.sample_rate,
        keep=",".join(settings.keep),
        lifecycle=settings.trace_lifecycle,
        stream_gen_ai_spans=settings.stream_gen_ai_spans,
        store=store or settings.trace_store,
        store_limits=limits(settings),
        propagate_to=settings.propagate_to,
        send_content=settings.send_content,
        send_attributes=settings.send_attributes,
        send_errors=settings.send_errors,
        strict_trace_continuation=settings.strict_trace_continuation,
        otlp=collector(settings),
        # A model's client is timed by LiveKit's spans; Sentry's own would count its tokens twice.
        auto_enabling_integrations=False,
        integrations=_clients(),
    )
    _traced.append(runtime)
    try:
        with runtime:
            yield runtime
    finally:
        _traced.remove(runtime)


def collector(settings: Settings) -> Collector | None:
    """The collector that the settings name, which gets conversations besides Sentry.

    Raises:
        InputError: what it takes isn't installed.
    """
    if settings.otlp_endpoint is None:
        return None
    try:
        from telemetry.integrations.otlp import Collector
    except ImportError:
        raise InputError(
            "PARLEY_OTLP_ENDPOINT: OpenTelemetry's exporter is not installed: uv sync --extra otlp"
        ) from None
    return Collector(
        settings.otlp_endpoint,
        headers=dict(settings.otlp_headers),
        service="parley",
        ca_certs=certificates.bundle(settings.otlp_endpoint, os.environ, "the collector"),
    )


def ending(settings: Settings, *, kept: bool = False) -> Ending:
    """The end of a command that holds calls, as the settings say.

    One that is ``kept`` by another process hears from that one, and by signals no more than the
    wish to drain: they may have come to both.
    """
    return Ending(
        settings.drain_timeout + CLOSING_SECONDS,
        deliver=_deliver,
        tells=not kept,
        drains=(*SIGNALS, signal.SIGHUP) if kept else (),
    )


def _deliver(seconds: float) -> None:
    for runtime in _traced:
        runtime.close(seconds)


def limits(settings: Settings) -> Limits:
    """The limits of the trace store."""
    return Limits(
        seconds=settings.trace_keep.seconds,
        bytes=settings.trace_keep.bytes,
        unsent_seconds=settings.trace_keep_unsent.seconds,
        unsent_bytes=settings.trace_keep_unsent.bytes,
        recording_seconds=settings.record_keep.seconds,
        recording_bytes=settings.record_keep.bytes,
    )


def record(settings: Settings) -> Record:
    """The calls that are recorded."""
    from agent.session import Record

    return Record(settings.record)


def turns(settings: Settings) -> TurnTaking:
    """The way in which the end of a caller's turn is found."""
    from agent.session import TurnTaking

    return TurnTaking(
        settings.turn_detection,
        settings.endpointing,
        settings.endpointing_min_delay,
        settings.endpointing_max_delay,
    )


def _clients() -> list[HttpxIntegration | AioHttpIntegration | Httpx2Integration]:
    """Integrations of the traced clients: our services', LiveKit's, and openai's if it is here."""
    # the clients come with them, which what only reads a store does without
    from telemetry.integrations.aiohttp import AioHttpIntegration
    from telemetry.integrations.httpx import HttpxIntegration

    if find_spec("httpx2") is None:
        return [HttpxIntegration(), AioHttpIntegration()]
    from telemetry.integrations.httpx2 import Httpx2Integration

    return [HttpxIntegration(), AioHttpIntegration(), Httpx2Integration()]


def choice(settings: Settings) -> Choice:
    """The providers that the settings choose."""
    from agent.providers import Choice  # LiveKit comes with it: 90 MB

    key = settings.openai_api_key
    return Choice(
        stt=settings.stt,
        llm=settings.llm,
        tts=settings.tts,
        options={
            "stt": settings.stt_options,
            "llm": settings.llm_options,
            "tts": settings.tts_options,
        },
        llm_model=settings.llm_model,
        base_url=settings.openai_base_url,
        api_key=None if key is None else key.get_secret_value(),
        timeout=settings.provider_timeout,
        inference_threads=settings.inference_threads,
        speech_prices=settings.speech_prices,
    )


def open_to_all(settings: Settings) -> str | None:
    """A warning when others than this machine can call without a token."""
    host = settings.gateway_host
    if settings.gateway_token is not None or is_loopback(host):
        return None
    return (
        f"whoever reaches {host}:{settings.gateway_port} can call without a token: set "
        "PARLEY_GATEWAY_TOKEN"
    )


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Say on a terminal that something takes its time."""
    with terminal.console(stderr=True).status(f"{what} …"):
        yield


def environ(settings: Settings, **changes: str) -> dict[str, str]:
    """The values an agent's class may read: the environment (``.env`` is in it), with the settings
    that we know better."""
    return {**os.environ, "PARLEY_RESERVATIONS_URL": settings.reservations_url, **changes}
