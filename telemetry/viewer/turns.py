"""Turns of a conversation: who said what and when, and how long each answer took, in tiles.

All of it is read from spans as telemetry makes them (see :mod:`..attributes`); what isn't there is
left out. Times are seconds from the start of the conversation.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from .. import attributes as names
from ..store import OPEN
from .numbers import number, whole_number
from .words import Span, Word, placed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ..records import SpanRecord

    Voiced = Callable[[int, float, float, float], list[Span] | None]
    """When a voice is heard, of a side (0 caller, 1 agent), from and until, not before the last
    argument; None if nobody knows."""

GOOD_SECONDS: Final = 0.8
"""People take more for a pause."""
SLOW_SECONDS: Final = 1.5
"""And this for a fault."""
_STAGE: Final = f"{names.OP_RESPONSE}."
_CALLER, _AGENT = 0, 1


class Stage(TypedDict):
    """A tile of a response. Its name is one of :data:`telemetry.attributes.STAGES`."""

    name: str
    at: float
    until: float
    span: str | None


class Response(TypedDict):
    """The gap between the caller's last sound and the agent's first: its stages tile it."""

    at: float
    until: float
    latency: float
    answer_latency: float | None
    """Until the answer itself, where the first words were "One moment, please"."""
    caller_gap: float | None
    """As the caller's own end has measured it."""
    grade: Literal["good", "fair", "slow"]
    stages: list[Stage]
    slowest: str | None
    """The stage that took longest, all its tiles together."""
    slowest_seconds: float
    span: str | None


class Speech(TypedDict):
    """Words that were said, or typed, in one go."""

    who: Literal["caller", "agent"]
    at: float
    until: float
    words: list[Word]
    typed: bool
    interrupted: bool
    heard: bool
    """True if its words are placed by the recording; else they are spread evenly."""
    open: bool
    """True while it is being said."""
    span: str | None


class Turn(TypedDict):
    """A turn: the caller's speeches and the agent's, and the response between them."""

    index: int
    at: float
    until: float
    open: bool
    initiator: str
    agent: str | None
    speeches: list[Speech]
    response: Response | None
    interrupted: bool
    interrupted_by: str | None
    interrupts: int | None
    false_interruptions: int
    span: str


def turns_of(spans: Sequence[SpanRecord], start: float, end: float, voiced: Voiced) -> list[Turn]:
    """The turns among the spans of a conversation, in order.

    Args:
        spans: all of the conversation's own.
        start: its start, in Unix seconds.
        end: its end, or the moment up to which it has come.
        voiced: see :data:`Voiced`.
    """
    members = _members(spans)
    found = [
        _turn(span, members[span.span_id], position, _Times(start, end), voiced)
        for position, span in enumerate(spans_of_op(spans, names.OP_TURN))
    ]
    return sorted(found, key=lambda turn: (turn["at"], turn["index"]))


class _Times:
    """Times of spans, from the start of their conversation."""

    def __init__(self, start: float, end: float) -> None:
        self._start = start
        self._end = end

    def of(self, span: SpanRecord) -> Span:
        ended = self._end if span.status == OPEN else span.ended_at
        return self.moment(span.started_at), self.moment(max(ended, span.started_at))

    def moment(self, unix_seconds: float) -> float:
        return round(unix_seconds - self._start, 4)


def spans_of_op(spans: Iterable[SpanRecord], op: str) -> list[SpanRecord]:
    """Those of an op, by start."""
    return sorted((s for s in spans if s.op == op), key=lambda span: span.started_at)


def _members(spans: Sequence[SpanRecord]) -> Mapping[str, list[SpanRecord]]:
    """By a turn's id, the spans below it."""
    by_id = {span.span_id: span for span in spans}
    turn_of: dict[str, str | None] = {s.span_id: s.span_id for s in spans if s.op == names.OP_TURN}
    found: defaultdict[str, list[SpanRecord]] = defaultdict(list)
    for span in spans:
        path: list[str] = []
        at: SpanRecord | None = span
        while at is not None and at.span_id not in turn_of:
            turn_of[at.span_id] = None  # until known: a circle ends here
            path.append(at.span_id)
            at = by_id.get(at.parent_span_id or "")
        whose = None if at is None else turn_of[at.span_id]
        for each in path:
            turn_of[each] = whose
        if whose is not None and whose != span.span_id:
            found[whose].append(span)
    return found


def _turn(
    span: SpanRecord, below: Sequence[SpanRecord], position: int, times: _Times, voiced: Voiced
) -> Turn:
    known = span.attributes
    at, until = times.of(span)
    index = whole_number(known.get(names.TURN_INDEX))
    speeches = [
        *_caller_speeches(span, below, times, voiced),
        *_agent_speeches(span, below, times, voiced),
    ]
    return {
        "index": position if index is None else index,
        "at": at,
        "until": until,
        "open": span.status == OPEN,
        "initiator": str(known.get(names.TURN_INITIATOR) or "user"),
        "agent": _text(known.get(names.GEN_AI_AGENT_NAME)),
        "speeches": sorted(speeches, key=lambda speech: speech["at"]),
        "response": _response(span, below, times),
        "interrupted": bool(known.get(names.INTERRUPTED)),
        "interrupted_by": _text(known.get(names.INTERRUPTED_BY)),
        "interrupts": whole_number(known.get(names.INTERRUPTS)),
        "false_interruptions": whole_number(known.get(names.FALSE_INTERRUPTIONS)) or 0,
        "span": span.span_id,
    }


# -- words ------------------------------------------------------------------------------------


def _caller_speeches(
    turn: SpanRecord, below: Sequence[SpanRecord], times: _Times, voiced: Voiced
) -> Iterator[Speech]:
    """The caller's: each transcript lies over the speech that came before it and has none yet."""
    heard = spans_of_op(below, names.OP_USER_SPEECH)
    said = [s for s in spans_of_op(below, names.OP_STT) if s.attributes.get(names.USER_WORDS)]
    whole = str(turn.attributes.get(names.USER_WORDS) or "")
    if not heard:
        if whole:
            at = times.moment(turn.started_at)
            yield _speech("caller", whole, at, at, None, span=turn.span_id, typed=True)
        return
    texts = [(str(s.attributes[names.USER_WORDS]), s.ended_at) for s in said]
    if not texts or len(" ".join(text for text, _ in texts)) < len(whole):
        texts = [(whole, heard[-1].ended_at)]
    for place, (text, known_at) in enumerate(texts):
        last = place == len(texts) - 1
        mine = [s for s in heard if last or s.started_at < known_at]
        heard = [s for s in heard if s not in mine]
        if not mine and text:
            at = times.moment(known_at)
            yield _speech("caller", text, at, at, None, span=turn.span_id)
        elif mine:
            stretches = [times.of(s) for s in mine]
            yield _placed("caller", text, stretches, voiced, mine[-1], mine[0])


def _agent_speeches(
    turn: SpanRecord, below: Sequence[SpanRecord], times: _Times, voiced: Voiced
) -> Iterator[Speech]:
    """The agent's; its words in the turn stand where it spoke, if the speech has none."""
    spoken = spans_of_op(below, names.OP_AGENT_SPEECH)
    whole = str(turn.attributes.get(names.AGENT_WORDS) or "")
    if not spoken:
        if whole:
            at, until = times.of(turn)
            yield _speech("agent", whole, at, until, None, span=turn.span_id)
        return
    silent = not any(s.attributes.get(names.AGENT_WORDS) for s in spoken)
    for place, span in enumerate(spoken):
        text = str(span.attributes.get(names.AGENT_WORDS) or "")
        if silent and place == 0:
            text = whole
        cut = bool(span.attributes.get(names.INTERRUPTED))
        speech = _placed("agent", text, [times.of(span)], voiced, span, span)
        yield {**speech, "interrupted": cut}


def _placed(
    who: Literal["caller", "agent"],
    text: str,
    stretches: Sequence[Span],
    voiced: Voiced,
    last: SpanRecord,
    first: SpanRecord,
) -> Speech:
    """A speech whose words lie where a voice is heard, if that is known."""
    side = _CALLER if who == "caller" else _AGENT
    early = 0.0 if side == _AGENT else _EARLIER
    sound: list[Span] = []
    for at, until in stretches:
        since = max(sound[-1][1] if sound else at - early, at - early)
        found = voiced(side, at, until, since)
        if found is None:
            sound = []
            break
        sound += found
    at, until = (sound[0][0], sound[-1][1]) if sound else (stretches[0][0], stretches[-1][1])
    speech = _speech(who, text, at, until, sound or stretches, span=first.span_id)
    return {**speech, "heard": bool(sound), "open": last.status == OPEN}


_EARLIER: Final = 0.6
"""Seconds by which detection of a caller's speech may be late."""


def _speech(
    who: Literal["caller", "agent"],
    text: str,
    at: float,
    until: float,
    sound: Sequence[Span] | None,
    *,
    span: str,
    typed: bool = False,
) -> Speech:
    return {
        "who": who,
        "at": round(at, 3),
        "until": round(until, 3),
        "words": placed(text, sound or [(at, until)]),
        "typed": typed,
        "interrupted": False,
        "heard": False,
        "open": False,
        "span": span,
    }


# -- responses --------------------------------------------------------------------------------


def _response(turn: SpanRecord, below: Sequence[SpanRecord], times: _Times) -> Response | None:
    """The response of a turn: its span's, or else what the turn's attributes say of it."""
    spans = spans_of_op(below, names.OP_RESPONSE)
    known = spans[0].attributes if spans else turn.attributes
    latency = number(known.get(names.RESPONSE_LATENCY))
    if spans:
        at, until = times.of(spans[0])
    else:
        spoken = spans_of_op(below, names.OP_USER_SPEECH)
        if latency is None or not spoken:
            return None
        at = times.moment(spoken[-1].ended_at)
        until = round(at + latency, 4)
    latency = until - at if latency is None else latency
    stages = _stages(below, times) or _told(known, at)
    took: defaultdict[str, float] = defaultdict(float)
    for stage in stages:
        took[stage["name"]] += stage["until"] - stage["at"]
    slowest = max(took, key=lambda name: took[name], default=None)
    return {
        "at": at,
        "until": until,
        "latency": latency,
        "answer_latency": number(known.get(names.ANSWER_LATENCY)),
        "caller_gap": number(known.get(names.CALLER_GAP)),
        "grade": grade(latency),
        "stages": stages,
        "slowest": slowest,
        "slowest_seconds": round(took[slowest], 4) if slowest is not None else 0.0,
        "span": spans[0].span_id if spans else None,
    }


def grade(seconds: float) -> Literal["good", "fair", "slow"]:
    """A latency as people take it."""
    if seconds <= GOOD_SECONDS:
        return "good"
    return "fair" if seconds <= SLOW_SECONDS else "slow"


def _stages(below: Sequence[SpanRecord], times: _Times) -> list[Stage]:
    found: list[Stage] = []
    for span in sorted(below, key=lambda span: (span.started_at, span.ended_at)):
        if span.op.startswith(_STAGE):
            at, until = times.of(span)
            name = span.op.removeprefix(_STAGE)
            found.append({"name": name, "at": at, "until": until, "span": span.span_id})
    return found


def _told(known: Mapping[str, Any], at: float) -> list[Stage]:
    """Stages out of attributes, one after the other: in their order, though not where they were
    if one came twice."""
    found: list[Stage] = []
    for name in names.STAGES:
        seconds = number(known.get(names.LATENCY_STAGE + name))
        if seconds:
            until = round(at + seconds, 4)
            found.append({"name": name, "at": at, "until": until, "span": None})
            at = until
    return found


def _text(value: object) -> str | None:
    return None if value is None else str(value)
