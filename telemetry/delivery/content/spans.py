"""The name and op of a span: those that come from code, or are put together from what does."""

from __future__ import annotations

import pkgutil
import re
from typing import TYPE_CHECKING, Any, Final

from sentry_sdk import integrations
from sentry_sdk.consts import OP, SPANSTATUS

from ... import attributes
from ...written import Written
from . import kinds

if TYPE_CHECKING:
    from collections.abc import Mapping

OTHER: Final = "default"
"""The op of a span whose own may be anything."""
STATUSES: Final = frozenset(
    getattr(SPANSTATUS, name) for name in dir(SPANSTATUS) if not name.startswith("_")
) | {"ok", "error"}

_OPS: Final = (
    frozenset(getattr(OP, name) for name in dir(OP) if not name.startswith("_"))
    | frozenset(getattr(attributes, name) for name in dir(attributes) if name.startswith("OP_"))
    | frozenset(f"{attributes.OP_RESPONSE}.{stage}" for stage in attributes.STAGES)
    | {OTHER, "websocket.client", "db.query", "task", "mark"}
)
_ORIGINS: Final = frozenset(
    {
        *(module.name for module in pkgutil.iter_modules(integrations.__path__)),
        *("ai", "aws", "cache", "db", "faas", "file", "function", "gcp", "gen_ai", "gql", "grpc"),
        *("http", "livekit", "llm", "log", "mcp", "middleware", "otel", "queue", "rpc", "socket"),
        *("stdlib", "subprocess", "template", "view", "websocket", "websockets"),
    }
)
"""The words of an origin: integrations of Sentry's, and what they are for."""
_SOURCES: Final = frozenset({"component", "custom", "route", "task", "url", "view"})
_NAMED_BY_FRAMEWORKS: Final = frozenset({"component", "route", "task", "view"})
"""Sources of a transaction's name that are the application's code, as an integration found it."""
_TRANSACTION: Final = re.compile(r"(?:[A-Z]{3,10} )?[/\w.:{}<>*()\[\]^$?+~@-]+")


def op_of(op: Any) -> str:
    """An op, if it comes from code."""
    if op in _OPS or (isinstance(op, Written) and op.is_code):
        return str.__str__(op)
    return OTHER


def status_of(status: Any) -> str:
    """A status, if it is one of Sentry's."""
    return status if isinstance(status, str) and status in STATUSES else "unknown_error"


def origin_of(origin: Any) -> str:
    """The name of who recorded a span, if it is one of Sentry's kind."""
    if not isinstance(origin, str) or not origin.startswith("auto."):
        return "manual"
    return ".".join(["auto", *(part for part in origin.split(".")[1:] if part in _ORIGINS)])


def source_of(source: Any) -> str:
    """The kind of a transaction's name."""
    return source if isinstance(source, str) and source in _SOURCES else "custom"


def name_of(name: Any, op: str, data: Mapping[str, Any]) -> str:
    """The name of a span: as it is in code, or as its op and attributes make it; else the op.

    Args:
        name: its name.
        op: its op, as it is sent.
        data: its attributes, as they are sent.
    """
    if isinstance(name, Written) and name.is_code:
        return str.__str__(name)
    if not isinstance(name, str) or name == op:
        return op
    if op.startswith("db"):
        return kinds.query(name) or op
    return _composed(name, op, data) or op


def transaction_of(name: Any, source: Any) -> str | None:
    """The name of a transaction, if it comes from code or is a route that a framework knows."""
    if isinstance(name, Written):
        return str.__str__(name) if name.is_code else None
    if source in _NAMED_BY_FRAMEWORKS and isinstance(name, str) and _TRANSACTION.fullmatch(name):
        return name
    return None


def written_name(name: Any) -> str | None:
    """A transaction's name, if it comes from code."""
    return transaction_of(name, None)


def written_text(text: Any) -> str | None:
    """What of a text stands in the code."""
    return text.code if isinstance(text, Written) else None


def _composed(name: str, op: str, data: Mapping[str, Any]) -> str | None:
    """A name whose every part is known: a method, a URL, the op, a model, a tool, an agent."""
    known = sorted({*_parts(op, data)}, key=len, reverse=True)
    if name in known:
        return name
    shown: list[str] = []
    rest = name.strip()
    while rest:
        part = next((one for one in known if rest == one or rest.startswith(f"{one} ")), None)
        if part is None:
            part = rest.partition(" ")[0]
            part_shown = kinds.method(part) or kinds.url(part)
            if part_shown is None:
                return None
            shown.append(part_shown)
        else:
            shown.append(part)
        rest = rest[len(part) :].lstrip()
    return " ".join(shown) or None


def _parts(op: str, data: Mapping[str, Any]) -> list[str]:
    parts = [op, op.rpartition(".")[2]]
    for name in _NAMES:
        value = data.get(name)
        if isinstance(value, str) and value:
            parts.append(value)
    if isinstance(index := data.get(attributes.TURN_INDEX), int):
        parts.append(f"turn {index}")
    before, after = data.get(attributes.PREVIOUS_AGENT), data.get(attributes.GEN_AI_AGENT_NAME)
    if op == attributes.OP_HANDOFF and before and after:
        parts.append(f"from {before} to {after}")
    return parts


_NAMES: Final = (
    attributes.GEN_AI_AGENT_NAME,
    attributes.GEN_AI_OPERATION_NAME,
    attributes.GEN_AI_PROVIDER_NAME,
    attributes.GEN_AI_REQUEST_MODEL,
    attributes.GEN_AI_RESPONSE_MODEL,
    attributes.GEN_AI_TOOL_NAME,
    attributes.HTTP_ROUTE,
    "mcp.tool.name",
    "mcp.method.name",
    "messaging.destination.name",
    "rpc.method",
    "rpc.service",
)
