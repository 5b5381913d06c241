"""The page of latency: how soon answers came, as a whole and stage by stage, how that is spread,
how it went over time, and where it differs: by scenario, provider, model, tag or release.

A percentile is a nearest-rank one, over answers. One that stands on few of them says so: a p99 of
fewer than a hundred is the slowest of them, no more.
"""

from __future__ import annotations

import functools
import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from starlette.routing import Route

from ..attributes import STAGES
from . import charts, pages
from .figures import percentile
from .tables import STAGE_COLUMNS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from .index import Index

SHARES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_MOST: Final = 20_000
"""Answers that are looked at, the newest."""
_MOST_GROUPS: Final = 50
_LONGEST: Final = 200
SPANS: Final = {"hour": 3_600.0, "day": 86_400.0, "week": 604_800.0, "all": None}
"""Seconds back that are looked at."""
BY: Final = ("scenario", "provider", "model", "release")
_RESPONSES: Final = f"""
SELECT r.at, r.latency, {", ".join(f"r.{name}" for name in STAGE_COLUMNS)}, r.models, r.providers,
    e.tags, e.release, e.scenario
FROM response AS r JOIN entry AS e ON e.number = r.entry
WHERE r.at >= ? AND e.listed ORDER BY r.at DESC LIMIT {_MOST}
"""  # noqa: S608 - names of ours


@dataclass(frozen=True, slots=True)
class Asked:
    """A view of latency that is asked for."""

    of: str = "response"
    """``response``, or one of its stages."""
    by: str = ""
    """One of :data:`BY`, or ``tag:NAME``."""
    only: str = ""
    """One of the groups."""
    since: str = "all"

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> Asked:
        """The view that a query string asks for; what it says besides is passed over."""
        of, by, since = query.get("of", ""), query.get("by", "")[:_LONGEST], query.get("since", "")
        return cls(
            of=of if of in STAGES else "response",
            by=by if by in BY or by.startswith("tag:") else "",
            only=query.get("only", "")[:_LONGEST],
            since=since if since in SPANS else "all",
        )

    def link(self, **changes: Any) -> str:
        """The query string of this view, or of one like it."""
        asked, standard = replace(self, **changes), Asked()
        said = {
            name: value
            for name in ("of", "by", "only", "since")
            if (value := getattr(asked, name)) != getattr(standard, name)
        }
        return f"?{urlencode(said)}"


@dataclass(frozen=True, slots=True)
class Measured:
    """Percentiles of some latencies, in seconds."""

    name: str
    count: int
    percentiles: Mapping[str, float | None]

    def is_few(self, name: str) -> bool:
        """True if a percentile stands on so few that it is about the slowest of them."""
        return self.count * (1 - SHARES[name]) < 1


@dataclass(frozen=True, slots=True)
class View:
    """A view that was found."""

    asked: Asked
    whole: Measured
    stages: list[Measured]
    groups: list[Measured]
    tags: list[str]
    histogram: charts.Histogram
    trend: charts.Trend
    pending: int
    is_cut: bool
    """True if there are more answers than are looked at."""


@dataclass(slots=True)
class _Answers:
    """Answers to measure: of each one the time it came and what it took."""

    at: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)

    def add(self, at: float, took: float) -> None:
        self.at.append(at)
        self.took.append(took)


def measured(name: str, took: Iterable[float]) -> Measured:
    """The percentiles of these latencies."""
    ordered = sorted(took)
    found = {each: percentile(ordered, share) for each, share in SHARES.items()}
    return Measured(name, len(ordered), found)


def view(index: Index, asked: Asked) -> View:
    """The view that is asked for."""
    span = SPANS[asked.since]
    with index.reading() as cursor:
        rows = cursor.execute(_RESPONSES, (0.0 if span is None else time.time() - span,)).fetchall()
    column = "latency" if asked.of == "response" else f"stage_{asked.of}"
    groups: dict[str, _Answers] = {}
    tags: set[str] = set()
    kept: list[sqlite3.Row] = []
    answers = _Answers()
    for row in rows:
        said = _json(row["tags"])
        tags.update(said)
        names = _groups(asked.by, row, said)
        if (took := row[column]) is not None:
            for name in names:
                groups.setdefault(name, _Answers()).add(row["at"], took)
        if asked.by and asked.only and asked.only not in names:
            continue
        kept.append(row)
        if took is not None:
            answers.add(row["at"], took)
    found = [measured(name, one.took) for name, one in groups.items()]
    found.sort(key=lambda each: (-each.count, each.name))
    return View(
        asked=asked,
        whole=measured(asked.of, answers.took),
        stages=_stages(kept),
        groups=found[:_MOST_GROUPS],
        tags=sorted(tags)[:_MOST_GROUPS],
        histogram=charts.histogram(answers.took),
        trend=charts.trend(answers.at, answers.took),
        pending=index.pending,
        is_cut=len(rows) == _MOST,
    )


def _stages(rows: Sequence[sqlite3.Row]) -> list[Measured]:
    """The stages that were there, in the order in which they occur."""
    found = [
        measured(stage, (row[name] for row in rows if row[name] is not None))
        for stage, name in zip(STAGES, STAGE_COLUMNS, strict=True)
    ]
    return [each for each in found if each.count]


def _groups(by: str, row: sqlite3.Row, tags: Mapping[str, Any]) -> list[str]:
    """The groups that an answer is in."""
    match by:
        case "scenario" | "release":
            return [row[by] or "none"]
        case "provider" | "model":
            return _json(row[f"{by}s"]) or ["none"]
        case _ if by:
            return [str(tags.get(by.removeprefix("tag:"), "none"))]
    return []


@functools.lru_cache(1_000)
def _json(text: str) -> Any:
    """The tags or the models of an answer: many have the same."""
    return json.loads(text)


def latency(request: Request) -> Response:
    """``GET /latency``: all of it."""
    request.app.state.index.settle()
    found = view(request.app.state.index, Asked.of_query(request.query_params))
    return pages.page(
        request,
        "latency.html",
        view=found,
        asked=found.asked,
        shares=[*SHARES],
        spans=[*SPANS],
        by=BY,
        all_stages=STAGES,
    )


routes = [Route("/latency", latency)]
