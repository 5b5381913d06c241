"""An error of the local store as text: all that it said, of which Sentry gets a part."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any, Final

from telemetry.printable import indented

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from telemetry.store import StoredError

_BESIDES: Final = ("user", "tags", "extra", "contexts", "request", "transaction", "logger", "level")
"""Parts of an event that are shown as they are."""


def text_of(error: StoredError) -> str:
    """Its type, message and place, whose it is, and what was noted beside it."""
    return "\n".join(map(indented, _lines(error)))


def _lines(error: StoredError) -> Iterator[str]:
    at = datetime.datetime.fromtimestamp(error.time).astimezone()
    yield f"{error.type}: {error.message}"
    yield f"  event {error.event_id}, {at:%Y-%m-%d %H:%M:%S}"
    if error.conversation is not None:
        yield f"  conversation {error.conversation}"
    if error.trace_id is not None:
        yield f"  trace {error.trace_id}, span {error.span_id}"
    for exception in reversed(_values(error.event.get("exception"))):
        yield from _exception(exception)
    for thread in _values(error.event.get("threads")):
        yield from _frames(thread)
    crumbs = _values(error.event.get("breadcrumbs"))
    if crumbs:
        yield "  before it"
        yield from (f"    {_crumb(crumb)}" for crumb in crumbs)
    for name in _BESIDES:
        if value := error.event.get(name):
            yield f"  {name} {value if isinstance(value, str) else _json(value)}"


def _exception(exception: Mapping[str, Any]) -> Iterator[str]:
    module = exception.get("module")
    name = f"{module}.{exception.get('type')}" if module else str(exception.get("type"))
    yield f"  {name}: {exception.get('value')}"
    yield from _frames(exception)


def _frames(traced: Mapping[str, Any]) -> Iterator[str]:
    for frame in (traced.get("stacktrace") or {}).get("frames") or ():
        place = f"{frame.get('abs_path') or frame.get('filename')}:{frame.get('lineno')}"
        yield f"    {place} in {frame.get('function')}"
        if frame.get("context_line"):
            yield f"      {frame['context_line'].strip()}"
        for name, value in (frame.get("vars") or {}).items():
            yield f"      {name} = {value}"


def _crumb(crumb: Mapping[str, Any]) -> str:
    said = [crumb.get("timestamp"), crumb.get("level"), crumb.get("category"), crumb.get("message")]
    data = [_json(crumb["data"])] if crumb.get("data") else []
    return " ".join([str(part) for part in said if part] + data)


def _values(listed: Any) -> list[Any]:
    values = listed.get("values") if isinstance(listed, dict) else listed
    return [value for value in values or () if isinstance(value, dict)]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
