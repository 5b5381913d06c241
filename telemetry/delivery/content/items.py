"""Items other than events, made anew of what may be sent: logs, spans, and what else there is.

Formats: https://develop.sentry.dev/sdk/telemetry/ and, for profiles,
https://develop.sentry.dev/sdk/telemetry/profiles/sample-format-v2/.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ...written import FILTERED, Written
from . import kinds, spans
from .events import stacktrace
from .texts import Texts

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEVELS: Final = frozenset({"trace", "debug", "info", "warn", "error", "fatal", "default"})
_CHECK_INS: Final = frozenset({"ok", "error", "in_progress", "timeout", "missed"})
_SCHEDULES: Final = frozenset({"crontab", "interval"})
_SLUG: Final = re.compile(r"[a-z0-9_-]{1,50}")
_METRICS: Final = frozenset({"counter", "gauge", "distribution", "set"})
_UNITS: Final = frozenset(
    [
        "none",
        "ratio",
        "percent",
        "nanosecond",
        "microsecond",
        "millisecond",
        "second",
        "minute",
        "hour",
        "day",
        "week",
        "bit",
        "byte",
        "kilobyte",
        "kibibyte",
        "megabyte",
        "mebibyte",
        "gigabyte",
        "gibibyte",
        "terabyte",
        "tebibyte",
        "petabyte",
        "pebibyte",
        "exabyte",
        "exbibyte",
    ]
)
"""Sentry's units, https://develop.sentry.dev/sdk/foundations/state-management/scopes/attributes/."""
_IDS: Final = ("trace_id", "span_id")
_TYPED: Final = ("value", "type")
"""Fields of an attribute that says its type."""


class Items(Texts):
    """Makes items anew; each method takes one of an item's, and returns None to leave it out."""

    def log(self, log: Mapping[str, Any]) -> dict[str, Any] | None:
        """A structured log: its text as far as code says it, else its logger and its place."""
        made = _with_ids(log)
        made["timestamp"] = log.get("timestamp")
        made["level"] = log["level"] if log.get("level") in _LEVELS else "info"
        made["attributes"] = self._typed(log.get("attributes"))
        body = self.text(log.get("body"))
        made["body"] = place_of(made["attributes"]) if body == FILTERED else body
        return made

    def span(self, span: Mapping[str, Any]) -> dict[str, Any]:
        """A span of the stream lifecycle."""
        given = span.get("attributes") or {}
        attributes = self._typed(given)
        made = _with_ids(span, *_IDS, "parent_span_id")
        for field in ("is_segment", "start_timestamp", "end_timestamp"):
            if isinstance(span.get(field), (bool, int, float)):
                made[field] = span[field]
        made["status"] = "ok" if span.get("status") == "ok" else "error"
        made["attributes"] = attributes
        op = (attributes.get("sentry.op") or {}).get("value") or spans.OTHER
        values = {name: one["value"] for name, one in attributes.items()}
        source = (given.get("sentry.span.source") or given.get("sentry.segment.name.source")) or {}
        name: str | None = None
        if span.get("is_segment"):
            name = spans.transaction_of(span.get("name"), source.get("value"))
        made["name"] = name or spans.name_of(span.get("name"), str(op), values)
        return made

    def metric(self, metric: Mapping[str, Any]) -> dict[str, Any] | None:
        """A number of the application's, under a name that is a constant in its code."""
        name, value = metric.get("name"), metric.get("value")
        if not isinstance(name, Written) or not name.is_code or kinds.number(value) is None:
            return None
        made = _with_ids(metric)
        made |= {"timestamp": metric.get("timestamp"), "name": str.__str__(name), "value": value}
        made["type"] = metric["type"] if metric.get("type") in _METRICS else "counter"
        if metric.get("unit") in _UNITS:
            made["unit"] = metric["unit"]
        made["attributes"] = self._typed(metric.get("attributes"))
        return made

    def check_in(self, check_in: Mapping[str, Any]) -> dict[str, Any] | None:
        """The sign of life of a job, by its monitor's name."""
        slug = check_in.get("monitor_slug")
        if not isinstance(slug, str) or not _SLUG.fullmatch(slug) or self.says(slug):
            return None
        made: dict[str, Any] = {"monitor_slug": slug}
        for name in ("check_in_id", "release", "environment"):
            if kinds.word(check_in.get(name)) is not None:
                made[name] = check_in[name]
        if check_in.get("status") in _CHECK_INS:
            made["status"] = check_in["status"]
        if kinds.number(check_in.get("duration")) is not None:
            made["duration"] = check_in["duration"]
        if config := _monitor(check_in.get("monitor_config")):
            made["monitor_config"] = config
        trace = (check_in.get("contexts") or {}).get("trace") or {}
        if ids := _with_ids(trace):
            made["contexts"] = {"trace": ids}
        return made

    def profile_chunk(self, chunk: Mapping[str, Any]) -> dict[str, Any] | None:
        """A part of a profile: where threads were, and when."""
        profile = chunk.get("profile")
        if not isinstance(profile, dict):
            return None
        made: dict[str, Any] = {
            name: chunk[name]
            for name in (
                "chunk_id",
                "profiler_id",
                "platform",
                "version",
                "client_sdk",
                "release",
                "environment",
                "dist",
            )
            if name in chunk
        }
        threads = profile.get("thread_metadata") or {}
        made["profile"] = {
            "frames": stacktrace(profile)["frames"],
            "stacks": profile.get("stacks") or [],
            "samples": profile.get("samples") or [],
            "thread_metadata": {
                key: {"name": kinds.thread((one or {}).get("name")) or "thread"}
                for key, one in threads.items()
            },
        }
        return made

    def _typed(self, attributes: Any) -> dict[str, Any]:
        """Attributes that say their type, as those of logs and streamed spans do."""
        made: dict[str, Any] = {}
        for name, one in (attributes or {}).items():
            given = one.get("value") if isinstance(one, dict) else None
            if given is None:
                continue
            value = self.attribute(name, given)
            if value is given and len(one) == len(_TYPED):
                made[name] = one
            elif value is not None:
                kind = one.get("type") if type(value) is type(given) else "string"
                made[name] = {"value": value, "type": kinds.word(kind) or "string"}
        return made


def place_of(attributes: Mapping[str, Any]) -> str:
    """A logger, a function and a line, for a log whose words aren't sent."""

    def value(name: str) -> Any:
        return (attributes.get(name) or {}).get("value")

    line = value("code.line.number")
    parts = [
        str(value("logger.name") or "log"),
        *([f"in {value('code.function.name')}"] if value("code.function.name") else []),
        *([f"at line {line}"] if line else []),
    ]
    return " ".join(parts)


def _with_ids(one: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {
        name: one[name]
        for name in names or _IDS
        if name in one and kinds.word(one[name]) is not None
    }


def _monitor(config: Any) -> dict[str, Any]:
    if not isinstance(config, dict):
        return {}
    made = {name: one for name, one in config.items() if kinds.number(one) is not None}
    made = {name: made[name] for name in _MONITOR if name in made}
    schedule = config.get("schedule")
    if isinstance(schedule, dict) and schedule.get("type") in _SCHEDULES:
        made["schedule"] = {
            name: schedule[name] for name in ("type", "value", "unit") if name in schedule
        }
    if kinds.word(config.get("timezone")) is not None:
        made["timezone"] = config["timezone"]
    return made


_MONITOR: Final = (
    "checkin_margin",
    "max_runtime",
    "failure_issue_threshold",
    "recovery_threshold",
)
