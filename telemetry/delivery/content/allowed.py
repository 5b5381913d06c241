"""Attributes that may be sent, by name, and how the value of each has to look.

What is called otherwise stays, whatever its value: a number may be a caller's number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ... import attributes as names
from ...attributes import is_content
from . import kinds, spans

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    Kind = Callable[[Any], Any]

_BY_KIND: Final[tuple[tuple[Kind, str], ...]] = (
    (
        kinds.word,
        "gen_ai.conversation.id gen_ai.operation.name gen_ai.operation.type gen_ai.output.type "
        "gen_ai.provider.name gen_ai.request.model gen_ai.request.reasoning.level "
        "gen_ai.response.id gen_ai.response.model gen_ai.system gen_ai.token.type "
        "gen_ai.tool.call.id gen_ai.tool.type gen_ai.function_id ai.model_id "
        f"{names.CONVERSATION_OUTCOME} {names.CONVERSATION_LIMIT} {names.TURN_INITIATOR} "
        f"{names.INTERRUPTED_BY} "
        f"{names.CALLER_INTERRUPTION} "
        "lk.close_reason lk.connection_state lk.disconnect_reason lk.dispatch_id lk.eou.language "
        "lk.eou.outcome lk.eou.source lk.function_tool.id lk.generation_id "
        "lk.input.base_span_id lk.job.agent_id lk.job.worker_id lk.job_id lk.new_state "
        "lk.old_state lk.parent_generation_id lk.participant_id lk.participant_kind lk.room_sid "
        "lk.rpc.error_code lk.rpc.request_id lk.speech_id lk.track_sid lk.track_source "
        "db.driver.name db.operation db.operation.name db.response.status_code db.system "
        "db.system.name "
        "messaging.operation.name messaging.operation.type messaging.system "
        "network.protocol.name network.protocol.version network.transport network.type "
        "rpc.method rpc.service rpc.system rpc.system.name rpc.response.status_code "
        "mcp.method.name mcp.resource.protocol mcp.transport "
        "process.runtime.name process.runtime.version os.name os.version os.type "
        "service.name service.version host.name "
        "sentry.environment sentry.release sentry.dist sentry.platform sentry.kind "
        "sentry.segment.id sentry.segment.name.source sentry.span.source sentry.trace_lifecycle "
        "sentry.sdk.name sentry.sdk.version sentry.trace.parent_span_id sentry.profiler_id "
        "profiler_id",
    ),
    (kinds.filtered, f"{names.GEN_AI_INPUT_MESSAGES} {names.GEN_AI_OUTPUT_MESSAGES}"),
    (kinds.listed, names.GEN_AI_RESPONSE_FINISH_REASONS),
    (kinds.words, "lk.provider_request_ids sentry.sdk.integrations"),
    (
        kinds.name,
        f"{names.GEN_AI_AGENT_NAME} {names.GEN_AI_TOOL_NAME} {names.PREVIOUS_AGENT} "
        "gen_ai.pipeline.name gen_ai.workflow.name lk.agent_name lk.tts.label "
        "mcp.tool.name mcp.prompt.name "
        "messaging.destination.name middleware.name db.name db.namespace db.collection.name "
        "db.mongodb.collection",
    ),
    (kinds.names, f"{names.MODELS} {names.UNPRICED} lk.function_tools lk.provider_tools"),
    (
        kinds.number,
        "ai.streaming cache.hit cache.item_size http.request.body.size "
        "http.request.resend_count http.response.body.size http.response_content_length "
        "http.response_transfer_size messaging.message.body.size "
        "messaging.message.receive.latency messaging.message.retry.count "
        "network.peer.port net.peer.port server.port server.socket.port process.pid thread.id "
        "code.lineno code.line.number gen_ai.response.streaming "
        "mcp.tool.result.content_count mcp.tool.result.is_error "
        "mcp.prompt.result.message_count sentry.is_localhost sentry.exclusive_time "
        "sentry.client_sample_rate sentry.server_sample_rate sentry.severity_number "
        f"{names.INTERRUPTS} {names.PLAYED} {names.INTERRUPTED} {names.FALSE_INTERRUPTIONS} "
        f"{names.STARTED_AT} {names.TURN_INDEX} {names.CONVERSATION_TURNS} "
        f"{names.CONVERSATION_INTERRUPTIONS}",
    ),
    (kinds.method, "http.method http.request.method method"),
    (kinds.word, "http.response.status_code http.status_code status_code"),
    (kinds.route, "http.route url.template"),
    (kinds.url, "url url.full http.url url.original"),
    (kinds.host, "server.address server.socket.address net.peer.name network.peer.address"),
    (kinds.query, "db.query.text db.statement db.query.summary"),
    (
        kinds.path,
        "code.filepath code.file.path code.function code.function.name code.namespace "
        f"{names.ORPHAN_WHERE}",
    ),
    (kinds.thread, f"thread.name {names.ORPHAN_THREAD} {names.ORPHAN_TASK}"),
    (kinds.kind_of_error, names.ERROR_TYPE),
    (kinds.word, "sentry.severity_text url.scheme"),
    (kinds.logger, "logger.name"),
    (spans.op_of, "sentry.op"),
    (spans.origin_of, "sentry.origin"),
    (spans.status_of, "sentry.status.message"),
    (spans.written_name, "sentry.segment.name sentry.transaction"),
    (spans.written_text, "sentry.message.template"),
    (kinds.anything, names.USER_ID),
)
_KINDS: Final[dict[str, Kind]] = {
    attribute: kind for kind, listed in _BY_KIND for attribute in listed.split()
}
REMEMBERED: Final = 4_096
"""Names of attributes whose rules are remembered."""
_NUMBERS_BELOW: Final = (
    "conversation.response.",
    "conversation.usage.",
    "gen_ai.cost.",
    "gen_ai.request.",
    "gen_ai.response.",
    "gen_ai.usage.",
    "lk.",
    "stt.",
    "tts.",
)
"""Prefixes of names whose numbers may be sent: those who measure made them."""
SEARCHED: Final = frozenset({kinds.anything, kinds.name, kinds.names, kinds.route, kinds.query})
"""Looks that leave room for what somebody said: such values are searched, besides."""


class Allowed:
    """The attributes that may be sent: those known here, and the operator's own.

    Args:
        more: names, or beginnings of names that end with ``*``.
    """

    def __init__(self, more: Collection[str] = ()) -> None:
        self._names = frozenset(one for one in more if not one.endswith("*"))
        self._prefixes = tuple(one[:-1] for one in more if one.endswith("*"))
        self._known: dict[str, Kind | None] = {}

    def is_operators(self, name: str) -> bool:
        """True if the operator wants it sent, whatever it holds."""
        if not self._names and not self._prefixes:
            return False
        return (name in self._names or name.startswith(self._prefixes)) and not is_content(name)

    def kind_of(self, name: str) -> Kind | None:
        """How the value of an attribute has to look; None if it isn't sent."""
        try:
            return self._known[name]
        except KeyError:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            kind = self._known[name] = self._find(name)
            return kind

    def _find(self, name: str) -> Kind | None:
        if self.is_operators(name):
            return kinds.anything
        kind = _KINDS.get(name)
        if kind is None and name.startswith(_NUMBERS_BELOW) and "pii" not in name.split("."):
            return kinds.number
        return kind
