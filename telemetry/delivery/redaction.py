"""Knows what was said in each conversation, and finds it in texts: the second net.

What is sent is known to hold nothing that anybody said (:mod:`.content`). That leaves what an
operator wants sent all the same, and names and tags that are chosen while people speak. Those are
searched: what was said in a conversation is recorded in it, as the attributes that are content, and
what is to be sent belongs to a conversation by its trace. Each two words that follow each other
somewhere in that content are left out, in either order, and each single word that was a whole
answer or argument there (of three letters or more). Words are found joined (``ada_lovelace``,
``AdaLovelace``) and encoded (``Ada%20Lovelace``, ``\\u0041da``, ``QWRhIExvdmVsYWNl``), too.

Of one thread: delivery's.
"""

from __future__ import annotations

import base64
import binascii
import html
import itertools
import json
import re
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote_plus

from ..attributes import GEN_AI_SYSTEM_INSTRUCTIONS, GEN_AI_TOOL_DEFINITIONS, is_content
from ..written import FILTERED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..trace.registry import Registry

KEPT: Final = 64_000
"""Characters of a conversation's content that are remembered, the newest."""
PAST: Final = 64
"""Conversations remembered after their end, for errors that come late."""
SHORTEST: Final = 3
"""Letters of a single word that is left out: less says nothing about anybody."""

_DECODED: Final = 2
"""Times that a text is decoded, of what was encoded twice."""

_WORD: Final = re.compile(r"[^\W_]+")
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|%u([0-9a-fA-F]{4})")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_STRUCTURE: Final = frozenset({"finish_reason", "id", "role", "type"})
"""Keys, inside structured content, of what nobody said."""
_OPERATORS: Final = frozenset({GEN_AI_SYSTEM_INSTRUCTIONS, GEN_AI_TOOL_DEFINITIONS})
"""Content that the operator wrote."""


class Owner(Protocol):
    """The transaction of a span."""

    @property
    def id(self) -> str:
        """Its id, which nobody said."""


class Heard(Protocol):
    """A span that has content."""

    @property
    def conversation(self) -> Owner:
        """Its transaction."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Names to values."""


class Redaction:
    """Knows what was said in each conversation, by trace."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._said: dict[str, Said] = {}
        self._past: deque[str] = deque()

    def heard(self, trace_id: str, spans: Iterable[Heard]) -> None:
        """Remember the content of spans that have ended."""
        for span in spans:
            said = self._said.get(trace_id)
            if said is None:
                said = self._said[trace_id] = Said()
            said.ids.add(span.conversation.id)
            for name, value in list(span.attributes.items()):
                if _is_said(str(name)):
                    said.add(value)

    def ended(self, trace_id: str) -> None:
        """A conversation is over: forget it, when enough others are."""
        if trace_id not in self._said:
            return
        self._past.append(trace_id)
        if len(self._past) > PAST:
            oldest = self._past.popleft()
            if not self._registry.has_trace(oldest):
                self._said.pop(oldest, None)

    def said_in(self, trace_id: str | None) -> Said | None:
        """What was said in a trace, up to now."""
        if trace_id is None:
            return None
        for alive in self._registry.alive():
            if alive.trace_id == trace_id:
                self.heard(trace_id, [alive.root, *alive.spans.all()])
        return self._said.get(trace_id)


class Said:
    """The words of one trace's content, and what is known of the trace besides."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        """The ids of its transactions, which nobody said."""
        self._texts: dict[str, None] = {}
        self._size = 0
        self._new: list[str] = []
        """Texts whose words aren't below yet: most conversations have no errors."""
        self._words: set[str] = set()
        """Whole answers of one word."""
        self._all: set[str] = set()
        self._pairs: set[tuple[str, str]] = set()

    def add(self, value: Any) -> None:
        """Remember a value of content."""
        try:
            texts = list(_texts(value))
        except Exception:  # noqa: BLE001 - a cycle, or a dict that changes: the application's
            return
        for text in texts:
            if text not in self._texts:
                self._texts[text] = None
                self._new.append(text)
                self._size += len(text)
        if self._size > 2 * KEPT:
            self._forget_the_oldest()

    def redacted(self, value: Any) -> Any:
        """The value, a text or a structure of texts, without what was said."""
        match value:
            case str():
                return self._redacted_text(value)
            case dict():
                return {key: self.redacted(inner) for key, inner in value.items()}
            case list():
                return [self.redacted(inner) for inner in value]
            case _:
                return value

    def names(self, text: str) -> bool:
        """True if any word of a text was said, however it is put down there."""
        self._learn()
        return any(
            len(word) >= SHORTEST and word in self._all
            for variant in (text, *_decoded(text))
            for word in _words(variant)
        )

    def _redacted_text(self, text: str) -> str:
        self._learn()
        if any(any(self._said([*_words(variant)])) for variant in _decoded(text)):
            return FILTERED
        found = [*_matches(text)]
        said = self._said([word for _, word in found])
        if not any(said):
            return text
        pieces: list[str] = []
        end = 0
        for is_said, run in itertools.groupby(zip(found, said, strict=True), lambda one: one[1]):
            if is_said:
                places = [place for (place, _), _ in run]
                pieces += [text[end : places[0][0]], FILTERED]
                end = places[-1][1]
        return "".join([*pieces, text[end:]])

    def _said(self, words: list[str]) -> list[bool]:
        """For each of a text's words, whether it is left out."""
        said = [word in self._words for word in words]
        for index, pair in enumerate(itertools.pairwise(words)):
            if pair in self._pairs:
                said[index] = said[index + 1] = True
        return said

    def _learn(self) -> None:
        for text in self._new:
            words = [*_words(text)]
            self._all.update(words)
            for one, other in itertools.pairwise(words):
                self._pairs.add((one, other))
                if min(len(one), len(other)) >= SHORTEST:
                    self._pairs.add((other, one))
            if len(words) == 1 and len(words[0]) >= SHORTEST:
                self._words.add(words[0])
        self._new.clear()

    def _forget_the_oldest(self) -> None:
        while self._size > KEPT and len(self._texts) > 1:
            oldest = next(iter(self._texts))
            del self._texts[oldest]
            self._size -= len(oldest)
        self._new = list(self._texts)
        self._words.clear()
        self._all.clear()
        self._pairs.clear()


def _is_said(name: str) -> bool:
    """True for what people said. An error's own words, recorded on a span as content, are no reason
    to filter the error itself."""
    return is_content(name) and name not in _OPERATORS and not name.startswith("exception.")


def _matches(text: str) -> Iterator[tuple[tuple[int, int], str]]:
    """The words of a text and where they are; one that is joined of several as those."""
    for match in _WORD.finditer(text):
        start = match.start()
        for part in _HUMP.split(match[0]):
            yield (start, start + len(part)), part.casefold()
            start += len(part)


def _words(text: str) -> Iterator[str]:
    return (word for _, word in _matches(text))


def _decoded(text: str) -> Iterator[str]:
    """What a text says once it is decoded, in each way that changes it."""
    known = {text}
    for _ in range(_DECODED):
        for one in [*known]:
            for decode in (unquote_plus, html.unescape, _unescaped, _of_base64):
                if (found := decode(one)) not in known:
                    known.add(found)
                    yield found


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1] or found[2] or found[3], 16)), text)


def _of_base64(text: str) -> str:
    return _BASE64.sub(_plain, text)


def _plain(found: re.Match[str]) -> str:
    """What base64 holds, if that is text."""
    encoded = found[0].rstrip("=").translate(_URL_SAFE)
    try:
        plain = base64.b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return found[0]
    return plain if plain.isprintable() else found[0]


_URL_SAFE: Final = str.maketrans("-_", "+/")


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value of content, which may be structured, or the JSON of a structure."""
    match value:
        case str():
            structure = _parsed(value)
            if structure is None:
                yield value
            else:
                yield from _texts(structure)
        case dict() if value.get("role") not in ("developer", "system"):
            for key, inner in value.items():
                if key not in _STRUCTURE and not (key == "name" and "arguments" in value):
                    yield from _texts(inner)
        case list() | tuple() | set() | frozenset():
            for inner in value:
                yield from _texts(inner)
        case int() | float() if not isinstance(value, bool):
            yield str(value)


def _parsed(text: str) -> Any:
    """The structure that a text is the JSON of, or None."""
    if not text.startswith(("[", "{")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
