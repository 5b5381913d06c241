"""A conversation as one file, to keep, or to hand to somebody without a viewer.

The HTML holds all that the page would ask for: its document, what is known of each span, the
waveforms, the audio itself. It loads nothing, from nowhere, and says so to the browser: its
policy names what is in it by hashes.
"""

from __future__ import annotations

import base64
import json
import re
from contextlib import suppress
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from . import pages
from .document import Found, document, found_in
from .waterfall import details_of
from .waveform import Waveforms

if TYPE_CHECKING:
    from pathlib import Path

    from ..store import StoredConversation, Stores
    from .waveform import Waveform

MOST_AUDIO_BYTES: Final = 100_000_000
"""Audio in one file; a longer recording is left out of it."""
STYLES: Final = ("tokens.css", "style.css", "conversation.css")
MODULES: Final = (
    "printable.js",
    "axis.js",
    "dom.js",
    "player.js",
    "strip.js",
    "waterfall.js",
    "details.js",
    "transcript.js",
    "keys.js",
    "conversation.js",
)
"""The page's program, each module before those that use it."""
_IMPORT: Final = re.compile(r"^import\b[^;]*;\n", re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=class|function|const|async)", re.MULTILINE)


def exported(sources: Stores, conversation: StoredConversation, kind: str) -> str:
    """A conversation of these stores, and the rest of its trace, as ``html`` or ``json``."""
    found = found_in(sources, conversation.trace_id, conversation.root_span_id)
    if found is None:  # forgotten since
        found = Found(conversation)
    return as_html(found, Waveforms()) if kind == "html" else as_json(found)


def as_json(found: Found) -> str:
    """The document, with all that is known of each span."""
    made = {**document(found), "details": _details(found)}
    return json.dumps(made, indent=1, default=str)


def as_html(found: Found, waveforms: Waveforms) -> str:
    """The page, with all that it needs, audio too."""
    waves: dict[Path, Waveform] = {}
    for each in found.recordings:
        with suppress(OSError):
            waves[each.path] = waveforms.of(each.path)
    made = document(found, waves.get)
    start = found.conversation.started_at
    tracks: list[dict[str, Any]] = []
    for each in found.recordings:
        wave = waves.get(each.path)
        audio = None
        with suppress(OSError):
            if each.path.stat().st_size <= MOST_AUDIO_BYTES:
                coded = base64.b64encode(each.path.read_bytes()).decode("ascii")
                audio = f"data:audio/ogg;base64,{coded}"
        tracks.append(
            {"audio": audio, "peaks": wave.peaks(each.started_at - start) if wave else None}
        )
    style, program = _joined(STYLES), bundled()
    policy = (
        f"default-src 'none'; script-src '{_hash(program)}'; style-src '{_hash(style)}'; "
        "media-src data:; img-src data:; base-uri 'none'; form-action 'none'"
    )
    held = {"document": made, "details": _details(found), "tracks": tracks}
    return pages.text(
        "export.html",
        document=made,
        policy=policy,
        style=Markup(style),  # noqa: S704 - a file of ours
        program=Markup(program),  # noqa: S704 - files of ours
        held=Markup(_in_a_page(held)),  # noqa: S704 - nothing in it is a tag
    )


def file_name(conversation: StoredConversation, kind: str) -> str:
    """A name for the file: of letters that every system takes."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", conversation.id).strip("-.")[:80]
    return f"{name or 'conversation'}.{kind}"


def bundled() -> str:
    """The page's modules as one: what they import is already there."""
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", _static(name))) for name in MODULES)


def _details(found: Found) -> dict[str, Any]:
    return {**details_of(found.records, found.errors, found.conversation.started_at)}


def _joined(names: tuple[str, ...]) -> str:
    return "\n".join(map(_static, names))


def _static(name: str) -> str:
    return (resources.files(__package__) / "static" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode('ascii')}"


def _in_a_page(value: object) -> str:
    """JSON that can stand in a page: nothing in it looks like a tag, or the end of one."""
    text = json.dumps(value, default=str, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
