"""Looks for what somebody said in what was sent."""

from __future__ import annotations

import html
import re
import urllib.parse
from typing import TYPE_CHECKING, Any

from telemetry.attributes import USER_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from telemetry.records import SpanRecord
    from tests.ingest import Ingest

RUN = 3
"""Words in a row that nobody else says by chance; source that is sent has two."""


def words_of(spans: Iterable[SpanRecord]) -> list[str]:
    """What a caller was heard to say, turn by turn."""
    said = [span.attributes.get(USER_WORDS) for span in spans]
    return [words for words in said if isinstance(words, str)]


def found_in(ingest: Ingest, sentences: Iterable[str]) -> set[str]:
    """Of these sentences, each few words in a row that are in what was received.

    Decoded in each way that words are encoded in.
    """
    sent = "\n".join(
        item.get_bytes().decode("utf-8", "replace")
        for envelope in ingest.envelopes
        for item in envelope.items
    )
    views = [sent]
    for decode in (_unescaped, urllib.parse.unquote_plus, html.unescape):
        views.append(decode(views[-1]))
    text = _plain(" ".join(views))
    return {run for sentence in sentences for run in _runs(sentence) if f" {run} " in text}


def _runs(sentence: str) -> list[str]:
    words = _plain(sentence).split()
    starts = range(max(1, len(words) - RUN + 1))
    return [" ".join(words[start : start + RUN]) for start in starts]


def _plain(text: str) -> str:
    """The words of a text, joined ones apart, one space between them."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return f" {' '.join(_WORD.findall(apart)).casefold()} "


_WORD = re.compile(r"[^\W_]+")


def _unescaped(text: str) -> str:
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)


def facts_of(error: dict[str, Any]) -> tuple[str, str | None]:
    """The type of an error, or its message's, and the trace that it is in."""
    values = (error.get("exception") or {}).get("values") or [{}]
    return str(values[-1].get("type")), error["contexts"]["trace"].get("trace_id")
