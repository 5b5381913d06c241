"""Names of span attributes and span ops, in one place.

Where OpenTelemetry's generative-AI conventions
(https://opentelemetry.io/docs/specs/semconv/gen-ai/) have a name, it is theirs; latency is in
seconds. What a person said or was told is *content*: :func:`is_content` tells, and content
leaves the process only when the operator asks for it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

# -- span ops ----------------------------------------------------------------------------------

OP_CONVERSATION: Final = "conversation"
OP_CONVERSATION_PART: Final = "conversation.part"
OP_ORPHAN: Final = "conversation.orphan"
OP_CALLER: Final = "caller"
"""A call as its caller made it: a transaction, above the conversation's."""
OP_CALLER_TURN: Final = "caller.turn"
"""A turn of the caller's, until its next one."""
OP_TURN: Final = "conversation.turn"
OP_RESPONSE: Final = "conversation.response"
"""Caller's last voiced sample → agent's first audible sample; its children tile it."""
OP_USER_SPEECH: Final = "user.speech"
OP_USER_AWAY: Final = "user.away"
"""The caller has been silent for so long that they are taken to be away."""
OP_ENDPOINTING: Final = "turn.endpointing"
OP_STT: Final = "stt.recognize"
OP_CHAT: Final = "gen_ai.chat"
OP_TOOL: Final = "gen_ai.execute_tool"
OP_INVOKE_AGENT: Final = "gen_ai.invoke_agent"
"""One speech of an agent's, with all that it took."""
OP_HANDOFF: Final = "gen_ai.handoff"
"""From one agent to the next."""
OP_MODEL_CLIENT: Final = "model.client"
"""A request to a model as the provider's own client made it, where the ``gen_ai.chat`` above it is
that request."""
OP_TTS: Final = "tts.synthesize"
OP_AGENT_SPEECH: Final = "agent.speech"
OP_HTTP_CLIENT: Final = "http.client"
OP_HTTP_SERVER: Final = "http.server"
OP_DB_QUERY: Final = "db.query"

# -- OpenTelemetry gen_ai ----------------------------------------------------------------------

GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
"""A list, as JSON text."""
GEN_AI_TIME_TO_FIRST_TOKEN: Final = "gen_ai.response.time_to_first_chunk"  # noqa: S105 - a name
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_USAGE_CACHE_CREATION: Final = "gen_ai.usage.cache_creation.input_tokens"
"""Tokens read from and written to the provider's cache: both are among the input tokens."""
GEN_AI_USAGE_REASONING: Final = "gen_ai.usage.reasoning.output_tokens"
GEN_AI_COST: Final = "gen_ai.cost.total_tokens"
"""US dollars, for all the tokens of a request."""
GEN_AI_RESPONSE_STREAMING: Final = "gen_ai.response.streaming"
GEN_AI_TOOL_NAME: Final = "gen_ai.tool.name"
GEN_AI_TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
GEN_AI_TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
GEN_AI_TOOL_CALL_RESULT: Final = "gen_ai.tool.call.result"
GEN_AI_INPUT_MESSAGES: Final = "gen_ai.input.messages"
GEN_AI_OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
GEN_AI_SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
GEN_AI_TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"

# -- OpenTelemetry HTTP and database -----------------------------------------------------------

HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
HTTP_ROUTE: Final = "http.route"
DB_SYSTEM_NAME: Final = "db.system.name"

# -- a conversation and its turns --------------------------------------------------------------

CONVERSATION_OUTCOME: Final = "conversation.outcome"
CONVERSATION_LIMIT: Final = "conversation.limit"
"""On a conversation that a limit ended: the limit's name."""
CONVERSATION_TURNS: Final = "conversation.turns"
CONVERSATION_INTERRUPTIONS: Final = "conversation.interruptions"
TURN_INDEX: Final = "conversation.turn.index"
"""Position of the turn in its conversation, from 0."""
TURN_INITIATOR: Final = "conversation.turn.initiator"
"""``user`` when the caller spoke or typed, ``agent`` when the agent spoke unasked."""
RESPONSE_LATENCY: Final = "conversation.response.latency"
"""On a turn and on its response: seconds, last voiced sample → first audible sample. On a caller's
turn: the same, as the caller measured it."""
RESPONSE_LATENCY_P50: Final = "conversation.response.latency.p50"
RESPONSE_LATENCY_P95: Final = "conversation.response.latency.p95"
"""On a conversation: percentiles over its responses, in seconds."""
ANSWER_LATENCY: Final = "conversation.response.answer_latency"
"""On a turn and on its response whose first words came while a tool was still at work ("One
moment, please"), which is where its latency ends: seconds until the answer itself."""
CALLER_GAP: Final = "conversation.response.caller_gap"
"""On a turn and on its response: seconds, the caller's last sound → the first of the answer, as the
caller's own end has measured it at the ear. It says so itself: what can't be is left out."""
LATENCY_STAGE: Final = "conversation.response.stage."
"""Prefix, on a turn and on its response: seconds each stage took. The stages sum to the latency."""
STAGES: Final = (
    "endpointing",
    "transcription",
    "turn_decision",
    "llm",
    "tools",
    "first_sentence",
    "synthesis",
    "audio_out",
    "leading_silence",
    "unexplained",
)
"""Stages in the order they occur; ``audio_out`` is first synthesised byte → first frame out,
``leading_silence`` is first frame out → first audible sample."""
USER_WORDS: Final = "conversation.user.words"
"""On a turn: what the caller was heard to say (content)."""
AGENT_WORDS: Final = "conversation.agent.words"
"""On a turn and on its speech: what the agent said, cut to what was played (content)."""
PREVIOUS_AGENT: Final = "conversation.agent.previous"
"""On a handoff: the agent that was spoken to before; ``gen_ai.agent.name`` is the one after."""
INTERRUPTED: Final = "agent.speech.interrupted"
INTERRUPTED_BY: Final = "agent.speech.interrupted_by"
"""On an interrupted turn: ``user`` (they spoke over it, or took the turn), ``agent`` (on a
caller's turn that the agent cut into) or ``application`` (code stopped it)."""
INTERRUPTS: Final = "conversation.turn.interrupts"
"""On a turn that cut another short: the other's index."""
FALSE_INTERRUPTIONS: Final = "agent.speech.false_interruptions"
"""On a turn: how often its speech was paused for a noise that nobody meant."""
PLAYED: Final = "agent.speech.played"
"""Seconds of the agent's speech that were played before it was interrupted."""
TTS_TIME_TO_FIRST_BYTE: Final = "tts.time_to_first_byte"
TTS_CHARACTERS: Final = "tts.characters"
TTS_AUDIO_SECONDS: Final = "tts.audio_duration"
TTS_COST: Final = "tts.cost"
STT_COST: Final = "stt.cost"
"""US dollars, where the model has a price."""
STT_AUDIO_SECONDS: Final = "stt.audio_duration"
"""Seconds of the caller's audio that recognition was charged for."""
USAGE: Final = "conversation.usage."
"""Prefix, on a turn, on a speech (``gen_ai.invoke_agent``) and on a conversation: sums of
``input_tokens``, ``output_tokens``, ``characters`` (given to synthesis), ``synthesized_seconds``,
``recognized_seconds`` and ``cost`` (US dollars, of what has a price). A name of their own: a
backend that adds up ``gen_ai.usage`` over all spans must not count them twice."""
MODELS: Final = "conversation.models"
"""On a turn and on a conversation: the models that served it."""
UNPRICED: Final = "conversation.models.unpriced"
"""On a conversation whose cost is counted: the models whose price nobody knows."""
CALLER_INTERRUPTION: Final = "caller.interruption"
"""On a caller's turn that began while the agent could be heard: ``stops``, ``resumes`` or ``none``,
by what the agent's speech did."""
CALLER_FAILURES: Final = "caller.failures"
"""On a caller's transaction and its turns: what it expected and didn't get (content)."""
ERROR_TYPE: Final = "error.type"
USER_ID: Final = "user.id"
STARTED_AT: Final = "telemetry.started_at"
"""Unix seconds, on a span that Sentry has begin later than it did."""

OUTLIVES_PARENT: Final = "telemetry.outlives_parent"
"""On a span that a framework let go on when the span it is in was over: true."""
CUT: Final = "telemetry.cut"
"""On a span, as Sentry gets it: names of attributes that were too long for it, and were cut. The
local store has them whole."""

# -- what a span without a conversation says about itself ----------------------------------------

ORPHAN_TASK: Final = "telemetry.orphan.task"
ORPHAN_THREAD: Final = "telemetry.orphan.thread"
ORPHAN_WHERE: Final = "telemetry.orphan.where"
ORPHAN_OPEN_CONVERSATIONS: Final = "telemetry.orphan.open_conversations"

_CONTENT: Final = frozenset(
    {
        AGENT_WORDS,
        CALLER_FAILURES,
        GEN_AI_INPUT_MESSAGES,
        GEN_AI_OUTPUT_MESSAGES,
        GEN_AI_SYSTEM_INSTRUCTIONS,
        GEN_AI_TOOL_CALL_ARGUMENTS,
        GEN_AI_TOOL_CALL_RESULT,
        GEN_AI_TOOL_DEFINITIONS,
        USER_WORDS,
        # free text of the conventions, of LiveKit and of Sentry's own integrations
        "exception.message",
        "exception.stacktrace",
        "gen_ai.choice",
        "gen_ai.embeddings.input",
        "gen_ai.evaluation.explanation",
        "gen_ai.memory.query.text",
        "gen_ai.memory.records",
        "gen_ai.request.available_tools",
        "gen_ai.request.messages",
        "gen_ai.response.text",
        "gen_ai.response.tool_calls",
        "gen_ai.retrieval.documents",
        "gen_ai.retrieval.query.text",
        "gen_ai.tool.description",
        "gen_ai.tool.input",
        "gen_ai.tool.output",
        "gen_ai.user.message",
        "lk.amd.reason",
        "http.query",  # a request's path and parameters are often what somebody said
        "url.path",
        "url.query",
    }
)


@lru_cache(4096)
def is_content(name: str) -> bool:
    """Tell content by its name: an attribute that holds what people said, or what follows from it.

    LiveKit marks such attributes of its own with a ``pii`` segment in the name.
    """
    return name in _CONTENT or "pii" in name.split(".") or name.startswith("gen_ai.prompt.variable")
