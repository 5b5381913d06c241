"""All that a conversation's scopes say, as plain values, for whoever sends it later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sentry_sdk.scope import use_isolation_scope, use_scope

from ..context.scopes import DeliveringScope
from ..written import Written
from .values import known

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sentry_sdk

_OWN: Final = frozenset({"trace", "runtime"})
"""Contexts that whoever sends the conversation makes."""


def said(isolation: sentry_sdk.Scope, own: sentry_sdk.Scope) -> dict[str, Any]:
    """User, tags and contexts of these scopes, as JSON knows them; ``code_tags`` are the names of
    the tags whose values stand in the code.

    No event processor of theirs is asked: nothing is sent.
    """
    merged = DeliveringScope()
    merged.update_from_scope(isolation)
    merged.update_from_scope(own)
    with use_isolation_scope(DeliveringScope()), use_scope(DeliveringScope()):
        found: Mapping[str, Any] = merged.apply_to_event({"type": "transaction"}, {}) or {}
    tags = dict(found.get("tags") or {})
    return {
        "user": known(dict(found.get("user") or {})),
        "tags": known(tags),
        "code_tags": sorted(
            name for name, value in tags.items() if isinstance(value, Written) and value.is_code
        ),
        "contexts": {
            name: known(context)
            for name, context in (found.get("contexts") or {}).items()
            if name not in _OWN
        },
    }
