"""The page of conversations: filtered, sorted, searched, and live.

All of that is in the URL. Those that run stand on top; the page asks for its rows again while it
is looked at (``/rows``, the same query), without JavaScript it is as good but for that.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from starlette.routing import Route

from . import health, pages, search

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from .index import Index

ON_A_PAGE: Final = 100
SLOW_SECONDS: Final = 1.5
"""A conversation with a slower answer is one of the slow ones."""
_LAST_PAGE: Final = 1_000
_DIGITS: Final = 9
"""Of its number; Python makes no number of too many."""
_SORTS: Final = {
    "started": "e.started_at",
    "duration": "coalesce(e.ended_at, :now) - e.started_at",
    "turns": "e.turns",
    "p50": "e.p50",
    "p95": "e.p95",
    "interruptions": "e.interruptions",
    "errors": "e.errors",
    "tokens": "e.input_tokens + e.output_tokens",
    "cost": "e.cost",
    "audio": "e.heard_seconds + e.spoken_seconds",
}
ONLY: Final = {
    "running": ("running", "e.runs"),
    "errors": ("with errors", "(e.errors > 0 OR e.status NOT IN ('ok', 'cancelled', 'open'))"),
    "interrupted": ("interrupted", "e.interruptions > 0"),
    "slow": (f"an answer over {SLOW_SECONDS:g} s", f"e.p95 > {SLOW_SECONDS}"),
    "lost": ("cut off", "(e.status = 'aborted' OR (e.ended_at IS NULL AND NOT e.runs))"),
}
"""Names of filters, with what they are called and their condition."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A list that is asked for."""

    q: str = ""
    outcome: str = ""
    only: str = ""
    sort: str = "-started"
    """One of :data:`_SORTS`; with a minus the greatest first."""
    page: int = 1

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Asked:
        """The list that a query string asks for; what it says besides is passed over."""
        sort, number = query.get("sort", ""), query.get("page", "")
        only = query.get("only", "")
        return cls(
            q=query.get("q", "")[: search.LONGEST],
            outcome=query.get("outcome", "")[: search.LONGEST],
            only=only if only in ONLY else "",
            sort=sort if sort.removeprefix("-") in _SORTS else "-started",
            page=min(max(int(number[:_DIGITS]), 1), _LAST_PAGE) if number.isdecimal() else 1,
        )

    def link(self, **changes: Any) -> str:
        """The query string of this list, or of one like it."""
        asked = replace(self, **{"page": 1, **changes})
        standard = Asked()
        said = {
            name: value
            for name in ("q", "outcome", "only", "sort", "page")
            if (value := getattr(asked, name)) != getattr(standard, name)
        }
        return f"?{urlencode(said)}"

    def sorted_by(self, name: str) -> str:
        """The query string of the list sorted by a column, or the other way round by that one."""
        return self.link(sort=name if self.sort == f"-{name}" else f"-{name}")

    def order(self, name: str) -> str:
        """The ``aria-sort`` of a column."""
        if self.sort.removeprefix("-") != name:
            return "none"
        return "descending" if self.sort.startswith("-") else "ascending"


@dataclass(frozen=True, slots=True)
class Listed:
    """A list that was found."""

    asked: Asked
    rows: list[dict[str, Any]]
    count: int
    """Of all its pages."""
    total: int
    """Of conversations there are."""
    running: int
    outcomes: list[str]
    pending: int
    """Conversations that aren't read yet."""
    too_many: bool = False
    """True if the search was given up; it has no rows then."""

    @property
    def pages(self) -> int:
        """The number of its pages."""
        return min(max(-(-self.count // ON_A_PAGE), 1), _LAST_PAGE)


def find(index: Index, asked: Asked) -> Listed:
    """The list that is asked for."""
    conditions = ["e.listed"]
    wanted = search.expression(asked.q)
    found: dict[str, Any] = {"now": time.time()}
    if wanted is not None:
        conditions.append("e.number IN (SELECT rowid FROM words WHERE words MATCH :q)")
        found["q"] = wanted
    elif asked.q.strip():
        conditions.append("0")  # there is nothing in it that could have been said
    if asked.outcome:
        conditions.append("coalesce(e.outcome, e.status) = :outcome")
        found["outcome"] = asked.outcome
    if asked.only:
        conditions.append(ONLY[asked.only][1])
    where = " AND ".join(conditions)
    shown: list[dict[str, Any]] = []
    count, too_many = 0, False
    try:
        with index.reading(None if wanted is None else search.MOST_SECONDS) as cursor:
            shown, count = _rows(cursor, asked, where, found, wanted)
    except TimeoutError:
        too_many = True
    with index.reading() as cursor:
        total, running = cursor.execute(
            "SELECT count(*), coalesce(sum(runs), 0) FROM entry WHERE listed"
        ).fetchone()
        outcomes = [
            outcome
            for (outcome,) in cursor.execute(
                "SELECT DISTINCT coalesce(outcome, status) FROM entry WHERE listed ORDER BY 1"
            )
        ]
    return Listed(asked, shown, count, total, running, outcomes, index.pending, too_many)


def _rows(
    cursor: sqlite3.Cursor, asked: Asked, where: str, found: Mapping[str, Any], wanted: str | None
) -> tuple[list[dict[str, Any]], int]:
    """The rows of a page, and the number of those of all pages."""
    column = _SORTS[asked.sort.removeprefix("-")]
    direction = "DESC" if asked.sort.startswith("-") else "ASC"
    rows = cursor.execute(
        f"SELECT e.*, count(*) OVER () AS count FROM entry AS e WHERE {where} "  # noqa: S608
        f"ORDER BY e.runs DESC, {column} {direction} NULLS LAST, e.number DESC "
        "LIMIT :limit OFFSET :offset",
        {**found, "limit": ON_A_PAGE, "offset": ON_A_PAGE * (asked.page - 1)},
    ).fetchall()
    if rows:
        count = rows[0]["count"]
    else:  # past the last page
        (count,) = cursor.execute(
            f"SELECT count(*) FROM entry AS e WHERE {where}",  # noqa: S608 - ours
            found,
        ).fetchone()
    excerpts = _excerpts(cursor, wanted, rows)
    return [{**dict(row), "excerpt": excerpts.get(row["number"])} for row in rows], count


def _excerpts(
    cursor: sqlite3.Cursor, wanted: str | None, rows: list[sqlite3.Row]
) -> dict[int, Any]:
    if wanted is None or not rows:
        return {}
    return search.excerpts(cursor, wanted, [row["number"] for row in rows])


def conversations(request: Request) -> Response:
    """``GET /``: conversations, those that run first."""
    index: Index = request.app.state.index
    index.settle()
    listed = find(index, Asked.of(request.query_params))
    return pages.page(
        request,
        "conversations.html",
        listed=listed,
        asked=listed.asked,
        only=ONLY,
        health=health.of(request.app),
        now=time.time(),
    )


def rows(request: Request) -> Response:
    """``GET /rows``: what of that page changes."""
    request.app.state.index.settle()
    listed = find(request.app.state.index, Asked.of(request.query_params))
    return pages.page(request, "rows.html", listed=listed, asked=listed.asked, now=time.time())


routes = [Route("/", conversations), Route("/rows", rows)]
