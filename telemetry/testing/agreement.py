"""Do a LiveKit session's own history and its trace say the same?

LiveKit keeps a history of each session; who debugs a call compares it with the trace. This does.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from .. import attributes as names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..records import SpanRecord

__all__ = ["Agreement", "agrees"]

_TOKENS = (names.GEN_AI_USAGE_INPUT_TOKENS, names.GEN_AI_USAGE_OUTPUT_TOKENS)
_WORDS = {"user": names.USER_WORDS, "assistant": names.AGENT_WORDS}
_LIVEKIT = "auto.ai.livekit"
_ASKED = "livekit.on_user_turn_completed"
"""The agent is asked about the caller's words: not where a realtime model takes turns itself."""


class Session(Protocol):
    """The part of LiveKit's ``AgentSession`` that is asked."""

    @property
    def history(self) -> Any:
        """Its ``ChatContext``."""

    @property
    def usage(self) -> Any:
        """Its ``AgentSessionUsage``."""


@dataclass(frozen=True)
class Agreement:
    """True if there is no difference: ``assert agrees(session, spans)`` shows those there are."""

    differences: tuple[str, ...]

    def __bool__(self) -> bool:
        return not self.differences

    def __str__(self) -> str:
        return "\n".join(self.differences) or "history and trace agree"


def agrees(session: Session, trace: Sequence[SpanRecord]) -> Agreement:
    """Compare the history of a session that has closed with its trace.

    Each message and each tool call of the history is in the turn that it is in by the history, with
    the same words, and cut short if it was; the trace has no others. Tokens are those that the
    session has counted for each model, each turn's are those of the requests in it, and the
    conversation's are all of them.

    Args:
        session: an ``AgentSession``, in its own process.
        trace: its conversation's spans, the root first: ``captured.spans(event)``, or those of a
            conversation from the store. Where content was left out (``send_content``), words aren't
            compared.

    The history has no turns. One begins with each message of the caller's, and what follows belongs
    to it, but for these, which LiveKit orders otherwise:

    * what the agent says unasked is a turn of its own, wherever it stands;
    * a realtime model may answer before it has a transcript, or have none: the caller's words then
      stand behind the answer to them, or nowhere. So it is with words that an agent declines to
      answer (``StopResponse``), and says something else instead;
    * a speech that is under way when the caller says more (a tool asks back; a task of its own)
      goes on behind that, and is in the turn in which it began;
    * a message is made when a turn is taken, and a turn begins when the caller does: what is typed
      while they speak stands before what they say;
    * words that code gives in the caller's name within a turn are in that turn;
    * an asynchronous tool is listed again for each of its reports and for its result, with the
      first call's id and a suffix: the trace has the call;
    * a speech that was kept out of the history (``add_to_chat_ctx=False``), or of which no word was
      heard, is in the trace alone;
    * what code asks a model for by itself, in a tool, in a node or for a judge, is in the trace
      alone, unless the model is the session's: then it counts that.
    """
    return Agreement(tuple(_Comparison(session, trace).differences()))


@dataclass
class _Turn:
    """A turn as the trace has it."""

    index: int
    span: SpanRecord
    speeches: list[SpanRecord] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    """Words that no message of the history has been found for, by role."""
    cut: int = 0
    """Messages in it that the history says were cut short."""

    @property
    def is_agents(self) -> bool:
        return bool(self.span.attributes.get(names.TURN_INITIATOR) == "agent")

    def has(self, role: str, text: str) -> bool:
        """True if these are all of the words that are left, or of one speech."""
        said = role == "assistant" and any(
            _plain(_said(speech)) == text for speech in self.speeches
        )
        return said or self.left.get(role) == text

    def take(self, role: str, text: str) -> bool:
        """Take a message's words off those that are left; False if they don't begin with them."""
        words = text.strip()
        if not self.left.get(role, "").startswith(words):
            return False
        self.left[role] = self.left[role][len(words) :].strip()
        return True


class _Comparison:
    def __init__(self, session: Session, trace: Sequence[SpanRecord]) -> None:
        self._items = session.history.items
        self._usage = session.usage.model_usage
        self._spans = trace
        self._by_id = {span.span_id: span for span in trace}
        self._turns = self._read_turns()
        self._has_words = any(name in span.attributes for span in trace for name in _WORDS.values())

    def differences(self) -> Iterator[str]:
        """Each difference in a sentence."""
        if self._has_words:
            yield from self._words()
        yield from self._interruptions()
        yield from self._tools()
        yield from self._tokens()

    # -- the trace -------------------------------------------------------------------------------

    def _read_turns(self) -> dict[str, _Turn]:
        turns = {
            span.span_id: _Turn(
                span.attributes[names.TURN_INDEX],
                span,
                left={role: _plain(span.attributes.get(name, "")) for role, name in _WORDS.items()},
            )
            for span in self._spans
            if span.op == names.OP_TURN
        }
        for span in self._spans:
            if span.op == names.OP_AGENT_SPEECH and (above := self._above(span, names.OP_TURN)):
                turns[above.span_id].speeches.append(span)
        return dict(sorted(turns.items(), key=lambda entry: entry[1].index))

    def _above(self, span: SpanRecord, *ops: str) -> SpanRecord | None:
        above = self._by_id.get(span.parent_span_id or "")
        while above is not None and above.op not in ops:
            above = self._by_id.get(above.parent_span_id or "")
        return above

    # -- words -----------------------------------------------------------------------------------

    def _words(self) -> Iterator[str]:
        """Find the turn of each message, and see whether it may be there."""
        asked: _Turn | None = None
        for item in self._items:
            if item.type != "message" or item.role not in _WORDS or not item.text_content:
                continue
            text = _plain(item.text_content)
            turn = self._take(item.role, text, asked)
            if turn is None:
                yield f"no turn has what the {item.role} said: {text!r}"
            elif item.role == "user":
                if asked is not None and turn.span.ended_at < asked.span.started_at:
                    yield f"{text!r} stands behind turn {asked.index}, and is in {turn.index}"
                asked = turn
            else:
                turn.cut += item.interrupted
                if not self._may_stand_behind(turn, asked, item.role, text):
                    behind = "nothing" if asked is None else f"turn {asked.index}"
                    yield f"{text!r} answers {behind}, and is in turn {turn.index}"
        for turn in self._turns.values():
            for role, words in turn.left.items():
                if words:
                    yield f"the history lacks what the {role} said in turn {turn.index}: {words!r}"

    def _take(self, role: str, text: str, asked: _Turn | None) -> _Turn | None:
        """The turn that these words are in: as one piece if there is one, that of what was asked
        rather than another, the first of them."""
        turns = sorted(
            self._turns.values(),
            key=lambda turn: (
                not turn.has(role, text),
                role == "user" or turn is not asked,
                turn.index,
            ),
        )
        return next((turn for turn in turns if turn.take(role, text)), None)

    def _may_stand_behind(self, turn: _Turn, asked: _Turn | None, role: str, text: str) -> bool:
        if turn is asked or turn.is_agents:
            return True
        if asked is None or turn.index > asked.index:
            return self._answers_unread(turn)
        speech = next((s for s in turn.speeches if text in _plain(_said(s))), None)
        made = None if speech is None else self._above(speech, names.OP_INVOKE_AGENT)
        return made is not None and made.started_at <= asked.span.ended_at

    def _answers_unread(self, turn: _Turn) -> bool:
        """True if what the caller said needn't be in the history before its answer is."""
        return names.USER_WORDS not in turn.span.attributes or not any(
            span.op == _ASKED and self._above(span, names.OP_TURN) is turn.span
            for span in self._spans
        )

    # -- interruptions ---------------------------------------------------------------------------

    def _interruptions(self) -> Iterator[str]:
        cut = sum(item.interrupted for item in self._items if item.type == "message")
        counted = self._spans[0].attributes.get(names.CONVERSATION_INTERRUPTIONS, 0)
        if cut != counted:
            yield f"the history has {cut} messages cut short, the trace {counted}"
        if not self._has_words:
            return
        for turn in self._turns.values():
            told = [speech.attributes.get(names.INTERRUPTED, False) for speech in turn.speeches]
            said = [_said(speech) for speech in turn.speeches]
            shown = sum(bool(how and words) for how, words in zip(told, said, strict=True))
            if shown != turn.cut:
                yield (
                    f"in turn {turn.index}, {turn.cut} messages of the history were cut short, "
                    f"and {shown} speeches of the trace"
                )

    # -- tools -----------------------------------------------------------------------------------

    def _tools(self) -> Iterator[str]:
        calls = [item for item in self._items if item.type == "function_call"]
        ids = {call.call_id for call in calls}
        reports = {one for one in ids for other in ids if one.startswith(f"{other}_")}
        listed = Counter((c.name, c.call_id) for c in calls if c.call_id not in reports)
        spans = [span for span in self._spans if span.op == names.OP_TOOL]
        traced = Counter(
            (s.attributes[names.GEN_AI_TOOL_NAME], s.attributes.get(names.GEN_AI_TOOL_CALL_ID))
            for s in spans
        )
        for name, call in (listed - traced).elements():
            yield f"the trace lacks a call of {name} ({call})"
        for name, call in (traced - listed).elements():
            yield f"the history lacks a call of {name} ({call})"
        failed = Counter(
            item.call_id
            for item in self._items
            if item.type == "function_call_output" and item.is_error and item.call_id not in reports
        )
        told = Counter(
            s.attributes.get(names.GEN_AI_TOOL_CALL_ID) for s in spans if s.status != "ok"
        )
        for call in failed - told:
            yield f"call {call} has failed, and its span has not"

    # -- tokens ----------------------------------------------------------------------------------

    def _tokens(self) -> Iterator[str]:
        counted = self._counted()
        within: dict[tuple[str, str], float] = defaultdict(float)
        in_all: dict[tuple[str, str], float] = defaultdict(float)
        by_turn: dict[str, Counter[str]] = defaultdict(Counter)
        total: Counter[str] = Counter()
        for span in self._spans:
            for name in _TOKENS:
                amount = span.attributes.get(name, 0)
                about = span.attributes
                asked = about.get(names.GEN_AI_REQUEST_MODEL)
                model = str(about.get(names.GEN_AI_RESPONSE_MODEL, asked))  # another stood in
                in_all[model, name] += amount
                total[name] += amount
                if self._is_the_sessions(span):
                    within[model, name] += amount
                if (turn := self._above(span, names.OP_TURN)) is not None:
                    by_turn[turn.span_id][name] += amount
        for model, name in counted.keys() | within.keys():
            low, high = within[model, name], in_all[model, name]
            told = counted[model, name]
            if not low <= told <= high:
                yield f"{model}: {name} is {told:g} by the session, {low:g} in the trace"
        for span, sums in (
            (self._spans[0], total),
            *((turn.span, by_turn[turn.span.span_id]) for turn in self._turns.values()),
        ):
            for name in _TOKENS:
                told = span.attributes.get(names.USAGE + name.rsplit(".", 1)[-1], 0)
                if told != sums[name]:
                    yield f"{span.name}: {told} {name}, and {sums[name]} in its requests"

    def _counted(self) -> dict[tuple[str, str], float]:
        """Tokens as the session has counted them, by model."""
        counted: dict[tuple[str, str], float] = defaultdict(float)
        for usage in self._usage:
            if usage.type == "llm_usage":
                counted[usage.model, _TOKENS[0]] += usage.input_tokens
                counted[usage.model, _TOKENS[1]] += usage.output_tokens
        return counted

    def _is_the_sessions(self, span: SpanRecord) -> bool:
        """True for what LiveKit asks a model for, to make a reply."""
        above = self._above(span, names.OP_INVOKE_AGENT, names.OP_TOOL)
        is_livekits = span.origin == _LIVEKIT
        return is_livekits and above is not None and above.op == names.OP_INVOKE_AGENT


def _plain(text: str) -> str:
    return " ".join(text.split())


def _said(speech: SpanRecord) -> str:
    return str(speech.attributes.get(names.AGENT_WORDS, ""))
