"""Templates of the pages. All that they show is escaped, and without what only a terminal or a
text's direction would notice: see :mod:`..printable`.
"""

from __future__ import annotations

import http
import json
import time
from datetime import datetime
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from ..printable import printable
from .access import HEADERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request


_FINE: Final = frozenset({"ok", "cancelled", "open", "unknown"})
NOTHING: Final = "\N{EN DASH}"
"""Stands for a figure that there isn't."""


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """A page made of a template."""
    return HTMLResponse(text(template, path=request.url.path, **values), status)


def text(template: str, **values: Any) -> str:
    """The text that a template makes."""
    return _ENVIRONMENT.get_template(template).render(**values)


def refused(request: Request, error: Exception) -> Response:
    """The page of an error that is the asker's."""
    status = getattr(error, "status_code", 400)
    return page(
        request,
        "error.html",
        status=status,
        heading=http.HTTPStatus(status).phrase,
        text=getattr(error, "detail", ""),
    )


def failed(request: Request, _: Exception) -> Response:
    """The page of an error that is ours; what it was is in the log. It is made outside of the
    application's own door, so it brings the headers along."""
    answer = page(
        request,
        "error.html",
        status=500,
        heading="This page could not be made",
        text="The reason is in the viewer's log.",
    )
    answer.headers.update(HEADERS)
    return answer


# -- values as people read them ---------------------------------------------------------------


def milliseconds(seconds: float | None) -> str:
    """A latency: ``640 ms``, ``1.2 s``."""
    if seconds is None:
        return NOTHING
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def duration(seconds: float | None) -> str:
    """A length of time: ``8.2 s``, ``3:07``, ``1:02:45``."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def moment(unix_seconds: float) -> str:
    """A time of day, of today, or with its date."""
    try:
        when = datetime.fromtimestamp(unix_seconds).astimezone()
    except (OverflowError, ValueError, OSError):
        return NOTHING
    now = datetime.fromtimestamp(time.time()).astimezone()
    return f"{when:%H:%M:%S}" if when.date() == now.date() else f"{when:%Y-%m-%d %H:%M:%S}"


def count(number: float | None) -> str:
    """A number with its thousands apart."""
    return NOTHING if number is None else f"{number:,.0f}"


def cost(dollars: float | None) -> str:
    """US dollars."""
    if dollars is None:
        return NOTHING
    return f"${dollars:.2f}" if dollars >= 1 else f"${dollars:.4f}"


def words(name: str) -> str:
    """A name as words: ``hung_up`` is ``hung up``."""
    return name.replace("_", " ")


def pairs(tags: str) -> list[tuple[str, str]]:
    """Tags, as they are stored."""
    try:
        found = json.loads(tags)
    except ValueError:
        return []
    return [(str(name), str(value)) for name, value in found.items()]


def speed(seconds: float | None) -> Markup:
    """The class of a latency's cell: a person takes a gap of over 0.8 s for a broken line."""
    if seconds is None:
        return Markup("")
    name = "good" if seconds <= 0.8 else "fair" if seconds <= 1.5 else "slow"
    return Markup(' class="{}"').format(name)


def outcome(row: Mapping[str, Any]) -> Markup:
    """The outcome of a conversation, as a chip."""
    status = row["status"]
    if row["runs"]:
        kind, said = "live", "running"
    elif row["ended_at"] is None or status == "aborted":
        kind, said = "bad", "cut off"
    elif row["errors"] or status not in _FINE:
        kind, said = "bad", row["outcome"] or status
    else:
        kind, said = "good", row["outcome"] or status
    return Markup('<span class="chip {}">{}</span>').format(kind, printable(words(said)))


def _finalize(value: Any) -> Any:
    """Each value on its way into a page."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return printable(value)


_ENVIRONMENT: Final = Environment(
    loader=FileSystemLoader(str(resources.files(__package__) / "templates")),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_finalize,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(
    {each.__name__: each for each in (milliseconds, duration, moment, count, cost)}
    | {each.__name__: each for each in (words, pairs, speed, outcome)}
)
