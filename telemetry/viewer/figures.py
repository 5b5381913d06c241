"""A conversation in figures and words: what a list shows of it, and what is searched.

Read from a few of its spans: the root, which has the sums of a conversation that has ended, and
its turns, which have those of one that runs or was cut off. Of a transaction without turns the
requests to models tell.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from .. import attributes as names
from ..printable import printable
from ..store import pieces
from .numbers import MOST, number

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MOST_CHARACTERS: Final = 200_000
"""Of the words of one conversation that are searched."""
_AT_THE_END_SECONDS: Final = 0.005
"""A span that was cancelled so close to its conversation's end was open then."""
_WORKS: Final = (names.OP_CHAT, names.OP_STT, names.OP_TTS)
"""Ops of the spans that name a model and who provides it."""
_NOT_A_REQUEST: Final = (names.OP_INVOKE_AGENT, names.OP_TOOL, names.OP_HANDOFF)
_SAID: Final = (
    names.GEN_AI_INPUT_MESSAGES,
    names.GEN_AI_OUTPUT_MESSAGES,
    "gen_ai.request.messages",
    "gen_ai.response.text",
)
"""Attributes with the words of a request to a model."""

_TURNS: Final = """
SELECT span_id = ?3 AS is_root, started_at, attributes FROM span
WHERE conversation = ?1 AND (op = ?2 OR span_id = ?3) ORDER BY started_at
"""
_FAULTS: Final = """
SELECT coalesce(sum(op = ?3), 0), coalesce(sum(started_at > ?2), 0),
    coalesce(sum(status = 'cancelled' AND ended_at >= ?2 - ?4 AND started_at <= ?2), 0), count(*)
FROM span WHERE conversation = ?1
"""
_MODELS: Final = f"""
SELECT DISTINCT CAST(json_extract(attributes, '$."{names.GEN_AI_REQUEST_MODEL}"') AS BLOB),
    CAST(json_extract(attributes, '$."{names.GEN_AI_PROVIDER_NAME}"') AS BLOB)
FROM span WHERE conversation = ? AND op IN ({", ".join("?" * len(_WORKS))})
"""  # noqa: S608 - names of ours
"""As bytes: of half of a surrogate pair SQLite makes text that it can't give back."""
_REQUESTS: Final = f"""
SELECT attributes FROM span WHERE conversation = ? AND op LIKE 'gen\\_ai.%' ESCAPE '\\'
AND op NOT IN ({", ".join("?" * len(_NOT_A_REQUEST))}) ORDER BY started_at
"""  # noqa: S608 - names of ours


@dataclass(frozen=True, slots=True)
class Response:
    """One answer, from the caller's last sound to the agent's first."""

    at: float
    """Unix seconds: the start of its turn."""
    latency: float
    stages: Mapping[str, float]
    models: tuple[str, ...]
    providers: tuple[str, ...]


@dataclass(slots=True)
class Figures:
    """All that is known of a conversation beside its row."""

    outcome: str | None = None
    turns: int = 0
    interruptions: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    """US dollars; None where nothing has a price."""
    heard_seconds: float = 0.0
    spoken_seconds: float = 0.0
    spans: int = 0
    orphans: int = 0
    late: int = 0
    open_at_finish: int = 0
    words: str = ""
    responses: list[Response] = field(default_factory=list)
    providers: dict[str, str] = field(default_factory=dict)
    """By model."""

    def percentile(self, share: float) -> float | None:
        """The latency that this share of the responses don't exceed."""
        return percentile(sorted(each.latency for each in self.responses), share)


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile of values in order; None of none."""
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1] if ordered else None


def figures_of(
    cursor: sqlite3.Cursor, key: int, root: str | None, ended_at: float | None
) -> Figures:
    """The figures of a conversation that is stored under this key."""
    found = Figures()
    known: dict[str, Any] = {}
    turns: list[tuple[float, dict[str, Any]]] = []
    parts: dict[int, str] | None = None
    for is_root, started_at, text in cursor.execute(_TURNS, (key, names.OP_TURN, root)):
        attributes = json.loads(text)
        if is_root:
            known = attributes
        else:
            turns.append((started_at, attributes))
    # a long text stands in pieces, which are looked up only then
    if any(type(value) is dict for _, turn in turns for value in turn.values()):
        parts = pieces.of_conversation(cursor, key)
        turns = [(at, pieces.whole(turn, parts)) for at, turn in turns]
    models = cursor.execute(_MODELS, (key, *_WORKS))
    found.providers = {
        model.decode(errors="replace"): provider.decode(errors="replace")
        for model, provider in models
        if model and provider
    }
    found.outcome = _text(known.get(names.CONVERSATION_OUTCOME))
    found.turns = _whole(known.get(names.CONVERSATION_TURNS)) or len(turns)
    found.interruptions = _whole(known.get(names.CONVERSATION_INTERRUPTIONS)) or sum(
        turn.get(names.INTERRUPTED) is True for _, turn in turns
    )
    _count_usage(found, known, [turn for _, turn in turns])
    found.responses = [*_responses(turns, found.providers)]
    said = [_words(turn) for _, turn in turns]
    if not turns:
        said = _count_requests(found, cursor, key)
    found.words = "\n".join(filter(None, said))[:MOST_CHARACTERS]
    end = math.inf if ended_at is None else ended_at
    found.orphans, found.late, found.open_at_finish, found.spans = cursor.execute(
        _FAULTS, (key, end, names.OP_ORPHAN, _AT_THE_END_SECONDS)
    ).fetchone()
    return found


def _responses(
    turns: Iterable[tuple[float, Mapping[str, Any]]], providers: Mapping[str, str]
) -> Iterator[Response]:
    for at, turn in turns:
        latency = number(turn.get(names.RESPONSE_LATENCY))
        if latency is None:
            continue
        models = turn.get(names.MODELS)
        named = tuple(one for one in models if type(one) is str) if type(models) is list else ()
        yield Response(
            at=at,
            latency=latency,
            stages={
                stage: seconds
                for stage in names.STAGES
                if (seconds := number(turn.get(names.LATENCY_STAGE + stage))) is not None
            },
            models=named,
            providers=tuple(dict.fromkeys(providers[one] for one in named if one in providers)),
        )


def _words(turn: Mapping[str, Any]) -> str:
    said = (turn.get(name) for name in (names.USER_WORDS, names.AGENT_WORDS))
    return "\n".join(one for one in said if type(one) is str and one)


def _count_usage(
    found: Figures, known: Mapping[str, Any], turns: Sequence[Mapping[str, Any]]
) -> None:
    """The sums that the root has, or else those of the turns."""

    def total(name: str) -> float | None:
        name = names.USAGE + name
        given = [known[name]] if name in known else [turn.get(name) for turn in turns]
        numbers = [found for one in given if (found := number(one)) is not None]
        return sum(numbers) if numbers else None

    found.input_tokens = _countable(total("input_tokens") or 0)
    found.output_tokens = _countable(total("output_tokens") or 0)
    found.heard_seconds = total("recognized_seconds") or 0.0
    found.spoken_seconds = total("synthesized_seconds") or 0.0
    found.cost = total("cost")


def _count_requests(found: Figures, cursor: sqlite3.Cursor, key: int) -> list[str]:
    """Count the requests to models of a transaction that has no turns; their words."""
    said: dict[str, None] = {}
    parts: dict[int, str] | None = None
    for (text,) in cursor.execute(_REQUESTS, (key, *_NOT_A_REQUEST)).fetchall():
        request = json.loads(text)
        if any(type(value) is dict for value in request.values()):
            parts = pieces.of_conversation(cursor, key) if parts is None else parts
            request = pieces.whole(request, parts)
        used = found.input_tokens + _whole(request.get(names.GEN_AI_USAGE_INPUT_TOKENS))
        made = found.output_tokens + _whole(request.get(names.GEN_AI_USAGE_OUTPUT_TOKENS))
        found.input_tokens, found.output_tokens = _countable(used), _countable(made)
        price = number(request.get(names.GEN_AI_COST))
        if price is not None:
            found.cost = (found.cost or 0.0) + price
        for name in _SAID:
            said.update(dict.fromkeys(_texts(request.get(name))))
    return [*said]


def _texts(value: Any, deep: int = 8) -> Iterator[str]:
    """The texts of messages, in whatever form a library gives them."""
    if type(value) is str:
        try:
            inner = json.loads(value) if value[:1] in ("[", "{") else None
        except (ValueError, RecursionError):
            inner = None
        if inner is None:
            yield value
        else:
            yield from _texts(inner, deep)
    elif deep and type(value) is list:
        for one in value:
            yield from _texts(one, deep - 1)
    elif deep and type(value) is dict:
        for name in ("content", "text", "parts"):
            yield from _texts(value.get(name), deep - 1)


def _whole(value: Any) -> int:
    return int(number(value) or 0)


def _countable(total: float) -> int:
    """A sum that SQLite has room for, whatever it is of."""
    return int(max(min(total, MOST), -MOST))


def _text(value: Any) -> str | None:
    return printable(value, 100) if type(value) is str else None
