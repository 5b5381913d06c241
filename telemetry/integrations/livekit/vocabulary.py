"""LiveKit's names for things, and ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import attributes as names

if TYPE_CHECKING:
    from collections.abc import Mapping

ORIGIN = "auto.ai.livekit"
"""Sentry's name for who recorded a span."""

SESSION = "agent_session"
"""The span that a session's other spans are in."""

SPEECH = "lk.speech_id"
"""On an ``agent_turn``: the speech that it is."""

AGENT_TURN = "agent_turn"
"""The span that a speech of an agent's is."""

TOOL_CALL = "lk.function_tool.id"
"""On a ``function_tool``: the call that it answers."""

EOU_OUTCOME = "lk.eou.outcome"
"""On an ``eou_wait``: how it has ended."""

OPS = {
    "user_speaking": names.OP_USER_SPEECH,
    "eou_wait": names.OP_ENDPOINTING,
    "llm_node": names.OP_CHAT,
    "realtime_inference": names.OP_CHAT,
    "function_tool": names.OP_TOOL,
    "agent_turn": names.OP_INVOKE_AGENT,
    "update_agent": names.OP_HANDOFF,
    "tts_node": names.OP_TTS,
    "agent_speaking": names.OP_AGENT_SPEECH,
}
"""LiveKit's span names that have an op of their own; the others are ``livekit.<name>``."""

REQUESTS = {"llm_request": "llm_node", "tts_request": "tts_node"}
"""Requests to a provider, and the node they serve. What a request learns (tokens, models, sizes)
belongs to the node's span; a request outside a node is that span itself."""

ADAPTERS = frozenset({"llm_fallback_adapter", "tts_fallback_adapter", "tts_stream_adapter"})
"""Stand between a node and its requests: they know which of several models answered."""

REPEATS = frozenset({"judge_evaluation"})
"""Say again how many tokens the request in them has used."""

RENAMED = {
    "lk.pii.function_tool.arguments": names.GEN_AI_TOOL_CALL_ARGUMENTS,
    "lk.pii.function_tool.output": names.GEN_AI_TOOL_CALL_RESULT,
    "lk.function_tool.name": names.GEN_AI_TOOL_NAME,
    "lk.agent_label": names.GEN_AI_AGENT_NAME,
    "lk.previous_agent_label": names.PREVIOUS_AGENT,
    "lk.response.ttft": names.GEN_AI_TIME_TO_FIRST_TOKEN,
    "lk.response.ttfb": names.TTS_TIME_TO_FIRST_BYTE,
    "lk.interrupted": names.INTERRUPTED,
    "lk.playout.position": names.PLAYED,
    "gen_ai.request.stream": names.GEN_AI_RESPONSE_STREAMING,
    "gen_ai.usage.cache_write.input_tokens": names.GEN_AI_USAGE_CACHE_CREATION,
}
"""LiveKit's attributes that have a common name."""

LEFT_OUT = frozenset(
    {
        "lk.pii.chat_ctx",  # the whole history again in every request: it grows with the square
        "lk.llm_metrics",  # repeats the gen_ai attributes
        "lk.realtime_model_metrics",
        "gen_ai.conversation.id",  # the room's id: the conversation has one of its own
        # what was said, which is in the request's messages and in the turn
        "lk.pii.response.text",
        "lk.pii.response.function_calls",
        # other spellings of the conventions' names
        "gen_ai.usage.input_audio_tokens",
        "gen_ai.usage.input_cached_tokens",
        "gen_ai.usage.input_text_tokens",
        "gen_ai.usage.output_audio_tokens",
        "gen_ai.usage.output_text_tokens",
        "gen_ai.usage.reasoning_tokens",
        "langfuse.observation.completion_start_time",
        "exception.stacktrace",
    }
)

_TOKENS = {
    names.GEN_AI_USAGE_INPUT_TOKENS: names.GEN_AI_USAGE_INPUT_TOKENS,
    names.GEN_AI_USAGE_OUTPUT_TOKENS: names.GEN_AI_USAGE_OUTPUT_TOKENS,
    "gen_ai.usage.input_tokens.cached": names.GEN_AI_USAGE_CACHE_READ,
    names.GEN_AI_USAGE_CACHE_READ: names.GEN_AI_USAGE_CACHE_READ,
    "gen_ai.usage.input_tokens.cache_write": names.GEN_AI_USAGE_CACHE_CREATION,
    names.GEN_AI_USAGE_CACHE_CREATION: names.GEN_AI_USAGE_CACHE_CREATION,
    "gen_ai.usage.output_tokens.reasoning": names.GEN_AI_USAGE_REASONING,
    names.GEN_AI_USAGE_REASONING: names.GEN_AI_USAGE_REASONING,
}
"""Tokens that integrations count, and their names here."""


def tokens_of(attributes: Mapping[str, Any]) -> dict[str, float]:
    """The tokens that an integration of Sentry's has counted, by their names here."""
    counted = ((here, attributes.get(name)) for name, here in _TOKENS.items())
    return {here: n for here, n in counted if isinstance(n, (int, float)) and n}
