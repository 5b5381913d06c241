"""The page of one conversation: what it shows, and what it asks for.

===================  =====================================================================
``…/``               the page: figures and words, which the page's own program draws anew
``…/document.json``  all that is drawn; asked for twice a second while the call is live
``…/spans/ID.json``  all that is known of one span
``…/peaks.json``     the waveform of a recording
``…/audio``          a recording itself, any part of it
``…/export.html``    the page as one file that needs nothing else; also ``…/export.json``
===================  =====================================================================

Reading is done in threads, as Starlette runs plain functions.
"""

from __future__ import annotations

import json
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from ..store import Stores, TraceStoreError
from . import pages
from .document import document, found_in
from .export import as_html, as_json, file_name
from .waterfall import details_of
from .waveform import Waveforms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request

    from ..store import Recording, TraceStore
    from .document import Document, Found

NO_ROOT: Final = "-"
"""Stands in an address for the root span of a conversation that has none."""
_LIVE: Final = "-live"
"""The end of a live call's tag."""
_WAVEFORMS: Final = Waveforms()


def page(request: Request) -> Response:
    """The page: its program asks for the document by itself; without one the words can be read."""
    found = _found(request)
    return pages.page(
        request,
        "conversation.html",
        document=document(found, _WAVEFORMS.known),
        base=request.url.path.rstrip("/"),
    )


def document_json(request: Request) -> Response:
    """The document; 304 if there is nothing new.

    The tag has two parts: of the stores' files, which costs nothing to ask, and of the document,
    where only the length of a live call has changed for other reasons. That its process was killed
    is in no file, so the document of a live call is made each time.
    """
    sources: Stores = request.app.state.sources
    asked = request.headers.get("if-none-match", "").strip('"').partition("-")
    stores = _state_of(sources.all)
    if asked[0] == stores and asked[2] and not asked[2].endswith(_LIVE):
        return Response(status_code=304, headers={"ETag": f'"{stores}-{asked[2]}"'})
    made = document(_found(request), _WAVEFORMS.known)
    content = _content_tag(made)
    headers = {"ETag": f'"{stores}-{content}"', "Cache-Control": "no-store"}
    if asked[2] == content:
        return Response(status_code=304, headers=headers)
    return _json(made, headers)


def span_json(request: Request) -> Response:
    """All that is known of a span."""
    found = _found(request)
    details = details_of(found.records, found.errors, found.conversation.started_at)
    span = details.get(request.path_params["span_id"])
    if span is None:
        raise HTTPException(404, "There is no such span in this trace.")
    return _json(span)


def peaks_json(request: Request) -> Response:
    """The waveform of a recording, which is decoded when it is asked for first."""
    found, recording = _recording(request)
    try:
        waveform = _WAVEFORMS.of(recording.path)
    except OSError as error:
        raise HTTPException(404, "This recording can't be read, or holds nothing yet.") from error
    return _json(waveform.peaks(recording.started_at - found.conversation.started_at))


def audio(request: Request) -> Response:
    """A recording, or the part of it that is asked for."""
    _, recording = _recording(request)
    return FileResponse(recording.path, media_type="audio/ogg")


def export(request: Request) -> Response:
    """The conversation as one file, to keep or to hand on."""
    found = _found(request)
    kind = request.path_params["kind"]
    if kind == "html":
        text, media = as_html(found, _WAVEFORMS), "text/html"
    elif kind == "json":
        text, media = as_json(found), "application/json"
    else:
        raise HTTPException(404, "A conversation is exported as html or json.")
    name = file_name(found.conversation, kind)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type=media, headers=headers)


_PLACE: Final = "/conversations/{trace_id}/{root_span_id}"
routes: Final = [
    Route(_PLACE, page),
    Route(f"{_PLACE}/document.json", document_json),
    Route(f"{_PLACE}/spans/{{span_id}}.json", span_json),
    Route(f"{_PLACE}/peaks.json", peaks_json),
    Route(f"{_PLACE}/audio", audio),
    Route(f"{_PLACE}/export.{{kind}}", export),
]


def _found(request: Request) -> Found:
    trace_id, root = request.path_params["trace_id"], request.path_params["root_span_id"]
    sources: Stores = request.app.state.sources
    problem: TraceStoreError | None = None
    try:
        found = _found_in(sources, trace_id, root)
    except TraceStoreError as error:
        problem = error  # one that can't be read hides none of the others
        readable = [store for store in sources.all if _is_readable(store, trace_id)]
        try:
            found = _found_in(Stores(readable), trace_id, root)
        except TraceStoreError as again:
            found, problem = None, again
    if found is None and problem is not None:  # it may be in there
        raise HTTPException(503, str(problem))
    if found is None:
        raise HTTPException(404, "There is no such conversation; it may have been forgotten.")
    return found


def _found_in(sources: Stores, trace_id: str, root: str) -> Found | None:
    return found_in(sources, trace_id, None if root == NO_ROOT else root)


def _is_readable(store: TraceStore, trace_id: str) -> bool:
    try:
        store.trace(trace_id)
        store.trace_errors(trace_id)
    except TraceStoreError:
        return False
    return True


def _recording(request: Request) -> tuple[Found, Recording]:
    found = _found(request)
    given = request.query_params.get("track", "0")
    number = int(given) if given.isascii() and given.isdecimal() and len(given) < 4 else -1
    if not 0 <= number < len(found.recordings):
        raise HTTPException(404, "There is no such recording; it may have been deleted.")
    return found, found.recordings[number]


def _state_of(stores: Iterable[TraceStore]) -> str:
    """The state of the stores' files: another one after each write, by whatever process."""
    paths = [path for store in stores for path in (str(store.path), f"{store.path}-wal")]
    seen = [_stat(path) for path in paths]
    return sha256(repr(seen).encode()).hexdigest()[:16]


def _stat(path: str) -> tuple[int, int] | None:
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size


def _content_tag(made: Document) -> str:
    """The tag of a document; a live call that has only gone on has the same."""
    text = json.dumps({**made, "now": None}, default=str)
    return sha256(text.encode()).hexdigest()[:16] + (_LIVE if made["live"] else "")


def _json(value: object, headers: dict[str, str] | None = None) -> Response:
    """JSON in ASCII: halves of surrogate pairs, which callers may send, are escaped."""
    text = json.dumps(value, default=str, separators=(",", ":"))
    return Response(text, media_type="application/json", headers=headers)
