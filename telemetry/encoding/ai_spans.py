"""What Sentry's AI screens select spans by, as attributes of the spans.

Its Agents page shows what has ``gen_ai.operation.type``, which Relay derives from
``gen_ai.operation.name``, else from an op that begins with ``gen_ai.``; Conversations shows what
has ``gen_ai.conversation.id`` besides. ``docs/sentry.md`` says which page asks for what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .. import attributes as names
from ..written import FILTERED
from .values import data

if TYPE_CHECKING:
    from .given import GivenSpan, GivenTransaction

PREFIX: Final = "gen_ai."
"""The beginning of the ops that make AI spans."""
_FORMERLY: Final = {
    names.GEN_AI_TOOL_CALL_ARGUMENTS: "gen_ai.tool.input",
    names.GEN_AI_TOOL_CALL_RESULT: "gen_ai.tool.output",
}
"""Attributes that a span's page reads under their former names; ingestion renames those."""


_MESSAGES: Final = (names.GEN_AI_INPUT_MESSAGES, names.GEN_AI_OUTPUT_MESSAGES)
"""Conversations lists spans that have both, in some of Sentry's releases."""


def is_ai(span: GivenSpan) -> bool:
    """True if Sentry takes it for an AI span."""
    return span.op.startswith(PREFIX) or names.GEN_AI_OPERATION_NAME in span.attributes


def travels_alone(span: GivenSpan) -> bool:
    """True if it is sent beside its transaction where ``stream_gen_ai_spans`` is on."""
    return span.op.startswith(PREFIX)


def data_of(transaction: GivenTransaction, span: GivenSpan, *, content: bool) -> dict[str, Any]:
    """A span's attributes as JSON knows them; an AI span says which conversation it is in.

    That is the conversation's id, whoever made the span: a framework's idea of it (LiveKit's is
    the room's) would list the same call a second time, under an id that nobody knows.
    """
    found = data(span.attributes, content=content)
    if not is_ai(span):
        return found
    conversation = transaction.root.attributes.get(names.GEN_AI_CONVERSATION_ID)
    if conversation is not None:
        found[names.GEN_AI_CONVERSATION_ID] = str(conversation)
    if not content:  # that there were some says nothing; Sentry shows them as scrubbed ones
        found |= {name: FILTERED for name in _MESSAGES if name in span.attributes}
    if span.op == names.OP_TOOL:
        found |= {former: found[now] for now, former in _FORMERLY.items() if now in found}
    return found
