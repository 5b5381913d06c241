"""The event of an error or a transaction, made anew of what may be sent.

Formats: https://develop.sentry.dev/sdk/data-model/event-payloads/.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ...encoding.values import paced
from ...written import FILTERED, Written
from . import kinds, spans
from .texts import Texts

if TYPE_CHECKING:
    from collections.abc import Mapping

_AS_THEY_ARE: Final = (
    "event_id",
    "timestamp",
    "start_timestamp",
    "type",
    "platform",
    "release",
    "dist",
    "environment",
    "server_name",
    "sdk",
    "modules",
)
"""What the operator, the SDK and the clock say."""
_LEVELS: Final = frozenset({"debug", "info", "warning", "error", "fatal"})
_CRUMBS: Final = frozenset(
    {"debug", "default", "error", "http", "info", "log", "navigation", "query", "subprocess"}
)
_MECHANISM: Final = ("exception_id", "parent_id", "handled", "is_exception_group", "synthetic")
_SOURCE: Final = re.compile(r"__\w+__|exceptions\[\d+\]")
_FRAME: Final = ("lineno", "colno", "in_app")
_LINES: Final = ("pre_context", "context_line", "post_context")
_ADDRESS: Final = re.compile(r"(?:0x)?[0-9a-fA-F]+")
_TRACE: Final = ("trace_id", "span_id", "parent_span_id", "client_sample_rate", "sampled")
_SPAN: Final = ("trace_id", "span_id", "parent_span_id", "exclusive_time", "is_segment")
_CONTEXTS: Final = {
    "runtime": ("name", "version", "build"),
    "os": ("name", "version", "build", "kernel_version"),
    "device": ("arch", "model", "family"),
    "app": ("app_version", "app_name", "app_start_time"),
    "response": ("status_code",),
    "profile": ("profiler_id", "profile_id"),
}
"""Contexts that the SDK and its integrations make, and what of them is sent."""
_ID: Final = re.compile(r"[0-9a-fA-F-]{8,36}")


class Events(Texts):
    """Makes events anew; see :class:`.texts.Texts` for how it searches them."""

    def event(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """An event without what people said."""
        made = {name: event[name] for name in _AS_THEY_ARE if event.get(name) is not None}
        if event.get("level") in _LEVELS:
            made["level"] = event["level"]
        if (logger := self.logger(event.get("logger"))) is not None:
            made["logger"] = logger
        source = (event.get("transaction_info") or {}).get("source")
        if event.get("transaction") is not None:
            self._transaction(made, event, source)
        made["contexts"] = self.contexts(event.get("contexts") or {})
        if user := self.user(event.get("user") or {}):
            made["user"] = user
        if tags := self.tags(event.get("tags") or {}):
            made["tags"] = tags
        if extra := self.operators(event.get("extra") or {}):
            made["extra"] = extra
        if request := self._request(event.get("request") or {}):
            made["request"] = request
        if "exception" in event:
            made["exception"] = {"values": self._exceptions(event["exception"])}
        if "threads" in event:
            made["threads"] = {"values": [self._thread(one) for one in _values(event["threads"])]}
        self._message(made, event)
        crumbs = [self._crumb(one) for one in _values(event.get("breadcrumbs"))]
        if crumbs := [one for one in crumbs if one]:
            made["breadcrumbs"] = {"values": crumbs}
        if "spans" in event:
            made["spans"] = [self.span(span) for span in paced(event["spans"] or ())]
        return made

    def _transaction(self, made: dict[str, Any], event: Mapping[str, Any], source: Any) -> None:
        """Its name; of a transaction's own event, else that of what it is."""
        name = spans.transaction_of(event["transaction"], source)
        if name is None and event.get("type") == "transaction":
            trace = (event.get("contexts") or {}).get("trace") or {}
            op = spans.op_of(trace.get("op"))
            data = self.attributes(trace.get("data") or {})
            name = spans.name_of(event["transaction"], op, data)
        if name is not None:
            made["transaction"] = name
            made["transaction_info"] = {"source": spans.source_of(source)}

    # -- whose it is -------------------------------------------------------------------------------

    def contexts(self, contexts: Mapping[str, Any]) -> dict[str, Any]:
        """What is known of the surroundings, and what the operator wants sent."""
        made: dict[str, Any] = {}
        for name, context in contexts.items():
            if not isinstance(context, dict):
                continue
            if name == "trace":
                made[name] = self._trace(context)
                continue
            known = {
                field: value
                for field in _CONTEXTS.get(name, ())
                if (value := self.shaped(context.get(field), kinds.path, kinds.number)) is not None
            }
            prefix = f"context.{name}."
            known |= {
                field: self.searched(value)
                for field, value in context.items()
                if self.allowed.is_operators(prefix + str(field))
            }
            if known:
                made[name] = known
        return made

    def _trace(self, trace: Mapping[str, Any]) -> dict[str, Any]:
        made = {name: trace[name] for name in _TRACE if _is_fact(trace.get(name))}
        if "op" in trace:
            made["op"] = spans.op_of(trace["op"])
        if "origin" in trace:
            made["origin"] = spans.origin_of(trace["origin"])
        if trace.get("status") is not None:
            made["status"] = spans.status_of(trace["status"])
        if isinstance(trace.get("dynamic_sampling_context"), dict):
            made["dynamic_sampling_context"] = self.sampling(trace["dynamic_sampling_context"])
        if data := self.attributes(trace.get("data") or {}):
            made["data"] = data
        return made

    # -- what happened -----------------------------------------------------------------------------

    def _exceptions(self, exception: Any) -> list[dict[str, Any]]:
        return [self._exception(one) for one in _values(exception)]

    def _exception(self, one: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {
            "type": kinds.kind_of_error(one.get("type")) or "Error",
            "value": self.text(one.get("value")),
        }
        if (module := kinds.kind_of_error(one.get("module"))) is not None:
            made["module"] = module
        if isinstance(one.get("thread_id"), int):
            made["thread_id"] = one["thread_id"]
        if isinstance(one.get("mechanism"), dict):
            made["mechanism"] = _mechanism(one["mechanism"])
        if isinstance(one.get("stacktrace"), dict):
            made["stacktrace"] = stacktrace(one["stacktrace"])
        return made

    def _thread(self, one: Mapping[str, Any]) -> dict[str, Any]:
        made = {name: one[name] for name in ("id", "crashed", "current") if _is_fact(one.get(name))}
        if (name := kinds.thread(one.get("name"))) is not None:
            made["name"] = name
        if isinstance(one.get("stacktrace"), dict):
            made["stacktrace"] = stacktrace(one["stacktrace"])
        return made

    def _message(self, made: dict[str, Any], event: Mapping[str, Any]) -> None:
        entry = event.get("logentry")
        if isinstance(entry, dict):
            template, formatted = entry.get("message"), entry.get("formatted")
            made["logentry"] = {"message": self.text(template)}
            if formatted is not None:
                made["logentry"]["formatted"] = self.text(formatted)
        elif event.get("message") is not None:
            made["message"] = self.text(event["message"])

    def _request(self, request: Mapping[str, Any]) -> dict[str, Any]:
        found = {
            "url": kinds.url(request.get("url")),
            "method": kinds.method(request.get("method")),
        }
        return {name: value for name, value in found.items() if value is not None}

    def _crumb(self, crumb: Any) -> dict[str, Any]:
        if not isinstance(crumb, dict):
            return {}
        made: dict[str, Any] = {}
        if crumb.get("timestamp") is not None:
            made["timestamp"] = crumb["timestamp"]
        if crumb.get("type") in _CRUMBS:
            made["type"] = crumb["type"]
        if crumb.get("level") in _LEVELS:
            made["level"] = crumb["level"]
        if (category := self.logger(crumb.get("category"))) is not None:
            made["category"] = category
        message = crumb.get("message")
        if made.get("category") == "query":
            told = kinds.query(message)
        else:
            told = self.text(message) if isinstance(message, Written) else None
        if told is not None and told != FILTERED:
            made["message"] = told
        if data := self.attributes(crumb.get("data") or {}):
            made["data"] = data
        return made

    # -- spans -------------------------------------------------------------------------------------

    def span(self, span: Mapping[str, Any]) -> dict[str, Any]:
        """A transaction's span."""
        op, data = spans.op_of(span.get("op")), self.attributes(span.get("data") or {})
        made = {name: span[name] for name in _SPAN if name in span and _is_fact(span[name])}
        made |= {
            "start_timestamp": span.get("start_timestamp"),
            "timestamp": span.get("timestamp"),
            "op": op,
            "description": spans.name_of(span.get("description"), op, data),
            "origin": spans.origin_of(span.get("origin")),
            "data": data,
        }
        if span.get("status") is not None:
            made["status"] = spans.status_of(span["status"])
        return made


def stacktrace(trace: Mapping[str, Any]) -> dict[str, Any]:
    """Where it was: functions, files and lines, with what stands there; no variables."""
    return {"frames": [_frame(one) for one in trace.get("frames") or () if isinstance(one, dict)]}


def _frame(frame: Mapping[str, Any]) -> dict[str, Any]:
    made = {name: frame[name] for name in _FRAME if isinstance(frame.get(name), (bool, int))}
    for name in ("filename", "abs_path", "function", "module"):
        if (value := kinds.path(frame.get(name))) is not None:
            made[name] = value
    made |= {name: frame[name] for name in _LINES if frame.get(name) is not None}
    return made


def _mechanism(mechanism: Mapping[str, Any]) -> dict[str, Any]:
    made = {name: mechanism[name] for name in _MECHANISM if _is_fact(mechanism.get(name))}
    made["type"] = kinds.word(mechanism.get("type")) or "generic"
    source = mechanism.get("source")
    if isinstance(source, str) and _SOURCE.fullmatch(source):
        made["source"] = source
    return made


def _values(listed: Any) -> list[Any]:
    if isinstance(listed, dict):
        listed = listed.get("values")
    return [one for one in listed or () if isinstance(one, dict)]


def _is_fact(value: Any) -> bool:
    """True for a number, and for an id."""
    if isinstance(value, (bool, int, float)):
        return True
    return isinstance(value, str) and bool(_ID.fullmatch(value))
