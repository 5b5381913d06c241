"""One conversation as one document: all that its page draws.

Times are seconds from the start of the conversation. Texts are as they were said, and as strangers
have sent them: whoever shows them sees to it that they are shown and not obeyed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from .. import attributes as names
from .figures import percentile
from .numbers import number, whole_number
from .turns import GOOD_SECONDS, SLOW_SECONDS, Turn, turns_of
from .waterfall import FINE, Process, Row, problem_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ..records import SpanRecord
    from ..store import Recording, StoredConversation, StoredError, Stores
    from .waterfall import Problem as Error
    from .waveform import Waveform
    from .words import Span

_NEAR_SECONDS: Final = 10.0
"""What is outside of a conversation by less than that is on its axis; a clock that is wrong by more
doesn't make it unreadable."""
_ABORTED: Final = "aborted"
_WHO: Final = {"user": "The caller", "agent": "The agent", "application": "The application"}


@dataclass(frozen=True, slots=True)
class Found:
    """A conversation, and all that the stores have of it."""

    conversation: StoredConversation
    others: Sequence[StoredConversation] = ()
    """The rest of its trace."""
    errors: Sequence[StoredError] = ()
    """Those of the whole trace."""
    recordings: Sequence[Recording] = ()
    runs: bool = False
    """True while it goes on: it has no end, and its process isn't known to be gone."""

    @property
    def records(self) -> list[StoredConversation]:
        """All of the trace, the conversation first."""
        return [self.conversation, *self.others]


def found_in(sources: Stores, trace_id: str, root_span_id: str | None) -> Found | None:
    """A conversation of these stores, by its trace and root, and all that they have of it."""
    shown = sources.find(trace_id, root_span_id)
    if shown is None:
        return None
    conversation, others = shown
    return Found(
        conversation,
        others,
        sources.trace_errors(trace_id),
        sources.recordings(conversation),
        runs=conversation.ended_at is None and sources.runs(conversation),
    )


class Facts(TypedDict):
    """Figures of the whole conversation; None where nobody knows."""

    turns: int
    interruptions: int
    errors: int
    latency_p50: float | None
    latency_p95: float | None
    input_tokens: float | None
    output_tokens: float | None
    cost: float | None
    models: list[str]
    user: dict[str, Any]
    tags: dict[str, Any]


class Problem(TypedDict):
    """A place where something went wrong, or wasn't as one wants it."""

    at: float
    kind: Literal["error", "slow", "interruption", "aborted"]
    text: str
    span: str | None


class Track(TypedDict):
    """A recording: left the caller, right the agent."""

    at: float
    seconds: float | None
    channels: int
    version: str
    """Another one when there is more of it."""


class Document(TypedDict):
    """A conversation, as its page draws it."""

    version: int
    id: str
    name: str
    op: str
    trace_id: str
    root_span_id: str | None
    started_at: float
    """Unix seconds."""
    seconds: float
    """Its length; while it is live, up to the latest thing known of it."""
    live: bool
    now: float
    """When the document was made: all else in it is the same until something is recorded."""
    axis: Span
    status: str
    outcome: str | None
    good_seconds: float
    slow_seconds: float
    facts: Facts
    turns: list[Turn]
    problems: list[Problem]
    errors: list[Error]
    tracks: list[Track]
    processes: list[Process]
    spans: list[Row]


def document(
    found: Found,
    waveform: Callable[[Path], Waveform | None] = lambda _: None,
    *,
    now: float | None = None,
) -> Document:
    """The document of a conversation.

    Args:
        found: what there is of it.
        waveform: finds the waveform of a recording, if there is one already: words are placed by
            what can be heard.
        now: Unix seconds.
    """
    about = found.conversation
    start, end = _extent(about)
    now = time.time() if now is None else now
    root = about.spans[0].attributes if about.spans else {}
    rows, processes = rows_of(found.records, found.errors, start, end)
    tracks = [_track(each, start) for each in found.recordings]
    heard = [
        (track, waveform(each.path)) for track, each in zip(tracks, found.recordings, strict=True)
    ]

    def voiced(side: int, at: float, until: float, earliest: float) -> list[Span] | None:
        for track, wave in heard:
            if wave is not None and track["at"] <= at < track["at"] + wave.seconds:
                shift = track["at"]
                spans = wave.voiced(side, at - shift, until - shift, earliest=earliest - shift)
                return [(one + shift, other + shift) for one, other in spans]
        return None

    turns = turns_of(about.spans, start, end, voiced)
    outcome = root.get(names.CONVERSATION_OUTCOME)
    return {
        "version": 1,
        "id": about.id,
        "name": about.name,
        "op": about.op,
        "trace_id": about.trace_id,
        "root_span_id": about.root_span_id,
        "started_at": start,
        "seconds": round(end - start, 4),
        "live": found.runs,
        "now": round(now - start, 3),
        "axis": _axis(end - start, rows, tracks),
        "status": about.status,
        "outcome": None if outcome is None else str(outcome),
        "good_seconds": GOOD_SECONDS,
        "slow_seconds": SLOW_SECONDS,
        "facts": _facts(found, turns),
        "turns": turns,
        "problems": _problems(found, turns, start, end),
        "errors": [problem_of(error, start) for error in found.errors],
        "tracks": tracks,
        "processes": processes,
        "spans": rows,
    }


def _extent(about: StoredConversation) -> Span:
    """Start and end, in Unix seconds; while it goes on, the latest thing that is known of it."""
    start, end = about.started_at, about.ended_at
    if end is None:
        end = max((max(s.started_at, s.ended_at) for s in about.spans), default=start)
    return start, max(start, end)


def _axis(seconds: float, rows: Sequence[Row], tracks: Sequence[Track]) -> Span:
    """The stretch that is drawn: the conversation, and what is near to it."""
    ends = [*((row["at"], row["until"]) for row in rows)]
    ends += [(track["at"], track["at"] + (track["seconds"] or 0.0)) for track in tracks]
    low = min((at for at, _ in ends if at > -_NEAR_SECONDS), default=0.0)
    high = max((until for _, until in ends if until < seconds + _NEAR_SECONDS), default=seconds)
    return round(min(low, 0.0), 3), round(max(high, seconds, 0.1), 3)


def _track(recording: Recording, start: float) -> Track:
    try:
        about = recording.path.stat()
        version = f"{about.st_size:x}-{about.st_mtime_ns:x}"
    except OSError:
        version = ""
    return {
        "at": round(recording.started_at - start, 4),
        "seconds": recording.seconds,
        "channels": recording.channels,
        "version": version,
    }


def _facts(found: Found, turns: Sequence[Turn]) -> Facts:
    """Figures as the conversation's root tells them, or as its turns so far do."""
    about = found.conversation
    root = about.spans[0].attributes if about.spans else {}
    waits = sorted(turn["response"]["latency"] for turn in turns if turn["response"])
    models = root.get(names.MODELS)
    p50 = number(root.get(names.RESPONSE_LATENCY_P50))
    p95 = number(root.get(names.RESPONSE_LATENCY_P95))
    return {
        "turns": _known(root.get(names.CONVERSATION_TURNS), len(turns)),
        "interruptions": _known(
            root.get(names.CONVERSATION_INTERRUPTIONS), sum(t["interrupted"] for t in turns)
        ),
        "errors": len(found.errors),
        "latency_p50": percentile(waits, 0.5) if p50 is None else p50,
        "latency_p95": percentile(waits, 0.95) if p95 is None else p95,
        "input_tokens": number(root.get(f"{names.USAGE}input_tokens")),
        "output_tokens": number(root.get(f"{names.USAGE}output_tokens")),
        "cost": number(root.get(f"{names.USAGE}cost")),
        "models": [str(model) for model in models] if isinstance(models, list | tuple) else [],
        "user": dict(about.user),
        "tags": dict(about.tags),
    }


def _known(value: object, otherwise: int) -> int:
    found = whole_number(value)
    return otherwise if found is None else found


# -- problems ---------------------------------------------------------------------------------


def _problems(found: Found, turns: Sequence[Turn], start: float, end: float) -> list[Problem]:
    """Places to look at, by time."""
    problems = [*map(_slow, turns), *map(_interruption, turns)]
    known = {error.span_id for error in found.errors}
    problems += [
        _problem(error.time - start, "error", f"{error.type}: {error.message}", error.span_id)
        for error in found.errors
    ]
    for span in _failed([span for record in found.records for span in record.spans]):
        if span.span_id not in known:
            text = f"{span.op} {span.name}: {_said(span)}"
            problems.append(_problem(span.started_at - start, "error", text, span.span_id))
    ended = found.conversation.ended_at is not None or found.runs
    if found.conversation.status == _ABORTED or not ended:
        root = found.conversation.root_span_id
        problems.append(_problem(end - start, "aborted", "Its process ended in the middle", root))
    return sorted((p for p in problems if p is not None), key=lambda problem: problem["at"])


def _said(span: SpanRecord) -> str:
    """What a span that failed says of it; a caller's, what it expected and didn't get."""
    failures = span.attributes.get(names.CALLER_FAILURES)
    if isinstance(failures, list | tuple):
        failures = "; ".join(map(str, failures))
    return str(failures or span.attributes.get(names.ERROR_TYPE) or span.status)


def _failed(spans: Sequence[SpanRecord]) -> list[SpanRecord]:
    """Spans that failed, and none below them did: those above have it from them."""
    failed = [s for s in spans if s.status not in FINE and s.status != _ABORTED]
    above = {span.parent_span_id for span in failed}
    return [span for span in failed if span.span_id not in above]


def _problem(
    at: float,
    kind: Literal["error", "slow", "interruption", "aborted"],
    text: str,
    span: str | None,
) -> Problem:
    return {"at": round(at, 4), "kind": kind, "text": text, "span": span}


def _slow(turn: Turn) -> Problem | None:
    response = turn["response"]
    if response is None or response["grade"] != "slow":
        return None
    text = f"Turn {turn['index']} was answered after {response['latency']:.2f} s"
    if response["slowest"] is not None:
        stage = response["slowest"].replace("_", " ")
        text += f", {response['slowest_seconds']:.2f} s of it {stage}"
    return _problem(response["at"], "slow", text, response["span"] or turn["span"])


def _interruption(turn: Turn) -> Problem | None:
    if not turn["interrupted"]:
        return None
    cut = [s for s in turn["speeches"] if s["interrupted"]]
    who = _WHO.get(turn["interrupted_by"] or "", "Somebody")
    at = cut[-1]["until"] if cut else turn["until"]
    text = f"{who} interrupted the agent in turn {turn['index']}"
    return _problem(at, "interruption", text, cut[-1]["span"] if cut else turn["span"])
