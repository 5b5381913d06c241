"""Trace headers that somebody sent: what of them is sound, and what of that is believed.

Whoever can reach a service can put anything in its headers. What is malformed or oversized is
passed over and counted, never an error. What is well-formed names a trace to continue; whether
that is recorded is decided here, not by a stranger, unless the sender is trusted: a ``0`` in
everybody's ``sentry-trace`` would switch telemetry off, a ``1`` make it cost what they like.

A stranger may still name any trace. ``sentry-sdk``'s ``strict_trace_continuation`` refuses those
of other organisations; what it goes by is left in. Nothing else of a stranger's baggage is: what
our envelopes and requests say of the trace is our own (:func:`is_trusted`).

Formats: https://develop.sentry.dev/sdk/telemetry/traces/ and
https://www.w3.org/TR/trace-context/#traceparent-header.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from .stats import refused_headers

MAX_BAGGAGE: Final = 8_192
"""Characters of a ``baggage`` header that are read; W3C asks nobody to carry more."""

_SENTRY_TRACE: Final = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})(?:-([01]))?", re.IGNORECASE)
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", re.IGNORECASE
)
_LONGEST: Final = 64
"""Longer than any trace header that is well-formed."""
_ITEM: Final = re.compile(r"sentry-([a-z_]{1,32})=([!#-+\--:<-\[\]-~]{0,512})")
"""A baggage item of Sentry's: a name of lower-case letters, a value of RFC 6265's characters."""
_OF_STRANGERS: Final = frozenset({"trace_id", "org_id"})
"""Items of a stranger's baggage that are read: whose trace it is. None of them goes any further."""


def valid(headers: object, *, trusted: bool = False) -> dict[str, str]:
    """The headers that continue a trace, of whatever a peer sent; empty if there is none.

    Args:
        headers: names in any case to values, with whatever else there is. ``traceparent`` is
            taken where there is no ``sentry-trace``.
        trusted: also believe what they say about sampling.
    """
    given = _named(headers)
    trace = _trace(given)
    if trace is None:
        return {}
    trace_id, span_id, sampled = trace
    found = {"sentry-trace": f"{trace_id}-{span_id}"}
    if trusted and sampled is not None:
        found["sentry-trace"] += "-1" if sampled else "-0"
    baggage = _baggage(given.get("baggage"), trace_id, trusted=trusted)
    if baggage:
        found["baggage"] = baggage
    return found


def is_trusted(items: Mapping[str, str]) -> bool:
    """True if baggage is of somebody trusted: then it goes on in our envelopes and requests."""
    return not items.keys() <= _OF_STRANGERS | {"sample_rand"}  # Sentry adds that one itself


def traceparent(sentry_trace: str) -> str | None:
    """A ``sentry-trace`` header as W3C's ``traceparent``; None if it is none."""
    match = _SENTRY_TRACE.fullmatch(sentry_trace)
    if match is None:
        return None
    trace_id, span_id, sampled = match.groups()
    return f"00-{trace_id}-{span_id}-{'00' if sampled == '0' else '01'}"


def _named(headers: object) -> dict[str, str]:
    """The three that matter, as text."""
    given: dict[str, str] = {}
    if headers is None:
        return given
    if not isinstance(headers, Mapping):
        refused_headers.add()
        return given
    try:
        for name in headers:
            known = str(name).lower()
            if known in ("sentry-trace", "traceparent", "baggage"):
                value = headers[name]
                if isinstance(value, bytes):
                    value = value.decode("latin-1")
                if isinstance(value, str):
                    given[known] = value.strip()
                else:
                    refused_headers.add()
    except Exception:  # noqa: BLE001 - a mapping with a name twice, or none at all
        refused_headers.add()
    return given


def _trace(given: Mapping[str, str]) -> tuple[str, str, bool | None] | None:
    """Trace id, span id and sampling decision."""
    for name, pattern in (("sentry-trace", _SENTRY_TRACE), ("traceparent", _TRACEPARENT)):
        value = given.get(name)
        if value is None:
            continue
        match = pattern.fullmatch(value) if len(value) <= _LONGEST else None
        if match is None or not int(match[1], 16) or not int(match[2], 16):
            refused_headers.add()
            continue
        sampled = None if match[3] is None else bool(int(match[3], 16) & 1)
        return match[1].lower(), match[2].lower(), sampled
    return None


def _baggage(header: str | None, trace_id: str, *, trusted: bool) -> str:
    """Sentry's items, if they are of this trace; nobody else's go any further."""
    if header is None:
        return ""
    if len(header) > MAX_BAGGAGE:
        refused_headers.add()
        return ""
    kept: dict[str, str] = {}
    for item in header.split(","):
        match = _ITEM.fullmatch(item.strip())
        if match is not None and (trusted or match[1] in _OF_STRANGERS):
            kept.setdefault(match[1], match[2])
    if kept.get("trace_id", trace_id).lower() != trace_id:
        refused_headers.add()
        return ""
    return ",".join(f"sentry-{name}={value}" for name, value in kept.items())
