"""Requests that LiveKit makes, seen once: Sentry's integrations of providers' clients see them too.

``OpenAIIntegration``, ``AnthropicIntegration``, ``LangchainIntegration`` and their like are set up
by themselves where the package is installed. What they record of a request of LiveKit's is the
same call of a model a second time, with the same tokens: its span stays where it is, as the
provider's own part of the request, and is no AI span any longer. LiveKit's has what it knew
besides. A call that LiveKit knows nothing of, in a tool or in a node of one's own, stays what it
is. So does everything outside of traced sessions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import attributes as names
from ..harmless import harmless
from .livekit_span import agent_of, listeners, requests
from .vocabulary import ORIGIN, tokens_of

if TYPE_CHECKING:
    from ...trace.span import Span
    from .livekit_span import LiveKitSpan

_AI = "gen_ai."
_NO_CALLS = {names.OP_TOOL, names.OP_HANDOFF}
"""What a framework behind a provider's client does besides asking models."""
_OUTSIDE = (names.OP_TOOL, names.OP_INVOKE_AGENT)
"""LiveKit's spans that a request is in: what is asked in them is none of its requests."""
_SUMS = {names.OP_INVOKE_AGENT, "gen_ai.create_agent"}
"""AI spans whose tokens are those of the calls in them."""
_KEPT = {names.GEN_AI_REQUEST_MODEL, names.GEN_AI_RESPONSE_MODEL, names.GEN_AI_PROVIDER_NAME}


@harmless
def ends(span: Span) -> None:
    """Look at a span of Sentry's that is about to end."""
    if not span.op.startswith(_AI) or span.origin == ORIGIN or not span.origin.startswith("auto."):
        return
    listener = listeners.get(span.conversation)
    if listener is None:
        return
    request = None if span.op in _NO_CALLS else _request(span)
    if request is not None:
        _fold(span, request)
        return
    if names.GEN_AI_AGENT_NAME not in span.attributes and (agent := agent_of(span.parent)):
        span.attributes[names.GEN_AI_AGENT_NAME] = agent
    if span.op not in _NO_CALLS | _SUMS:
        listener.asked(span)


def _request(span: Span) -> LiveKitSpan | None:
    """The request of LiveKit's that a span is part of, if it is."""
    around = span.parent
    while around is not None and not (around.origin == ORIGIN and around.op in _OUTSIDE):
        if (found := requests.get(around.id)) is not None:
            # beside a request that the node makes by itself, this is another one
            return None if found.asks else found
        around = around.parent
    return None


def _fold(span: Span, request: LiveKitSpan) -> None:
    """Make a span part of a request, which takes what it knows besides."""
    about = span.attributes
    if span.op not in _SUMS:
        for name, amount in tokens_of(about).items():
            request.used_by_client(name, amount)
    given = {name: about[name] for name in about if name.startswith(_AI)}
    for name in given:
        if name not in _KEPT:
            del about[name]
    request.told_by_client(given)
    model = given.get(names.GEN_AI_REQUEST_MODEL)
    span.op = names.OP_MODEL_CLIENT
    span.name = str(model or names.OP_MODEL_CLIENT)
