"""Keeps what people said out of the errors and logs that quote it.

An exception's message may hold what a caller said: ``no table for Ada Lovelace``. Nobody can tell
from the message alone. But what was said in a conversation is recorded in it, as the attributes
that are content, and an error belongs to a conversation by its trace. So in what its errors and
logs say, each two words that follow each other somewhere in that content are left out, and each
single word that was a whole answer or argument there (of three letters or more).

Of one thread: delivery's.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from ..attributes import GEN_AI_SYSTEM_INSTRUCTIONS, GEN_AI_TOOL_DEFINITIONS, is_content

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sentry_sdk.envelope import Envelope

    from ..trace.registry import Registry
    from ..trace.span import Span

FILTERED: Final = "[Filtered]"
KEPT: Final = 64_000
"""Characters of a conversation's content that are remembered, the newest."""
PAST: Final = 64
"""Conversations remembered after their end, for errors that come late."""
SHORTEST: Final = 3
"""Letters of a single word that is left out: less says nothing about anybody."""

_WORD: Final = re.compile(r"\w+")
_STRUCTURE: Final = frozenset({"finish_reason", "id", "role", "type"})
"""Keys, inside structured content, of what nobody said."""
_OPERATORS: Final = frozenset({GEN_AI_SYSTEM_INSTRUCTIONS, GEN_AI_TOOL_DEFINITIONS})
"""Content that the operator wrote."""
_FACTS: Final = ("code.", "logger.", "process.", "sentry.", "server.", "thread.", "user.")
"""Attributes of a structured log that are no text of the application's."""

# An error's own words, recorded on a span as content, are no reason to filter the error itself.
_is_said = functools.lru_cache(4096)(
    lambda name: is_content(name) and name not in _OPERATORS and not name.startswith("exception.")
)


class Redaction:
    """Knows what was said in each conversation, by trace, and takes it out of envelopes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._said: dict[str, _Said] = {}
        self._past: deque[str] = deque()

    def heard(self, trace_id: str, spans: Iterable[Span]) -> None:
        """Remember the content of spans that have ended."""
        for span in spans:
            for name, value in list(span.attributes.items()):
                if _is_said(str(name)):
                    self._said.setdefault(trace_id, _Said()).add(value)

    def ended(self, trace_id: str) -> None:
        """A conversation is over: forget it, when enough others are."""
        if trace_id not in self._said:
            return
        self._past.append(trace_id)
        if len(self._past) > PAST:
            oldest = self._past.popleft()
            if not any(alive.trace_id == oldest for alive in self._registry.alive()):
                self._said.pop(oldest, None)

    def redact(self, envelope: Envelope) -> None:
        """Take what was said out of an envelope's error event and logs."""
        event: Any = envelope.get_event()
        if event is not None:
            said = self._of(((event.get("contexts") or {}).get("trace") or {}).get("trace_id"))
            if said is not None:
                for name in ("breadcrumbs", "extra", "logentry", "message"):
                    if name in event:
                        event[name] = said.redacted(event[name])
                for exception in (event.get("exception") or {}).get("values") or ():
                    exception["value"] = said.redacted(exception.get("value"))
        for item in envelope.items:
            if item.type == "log" and isinstance(item.payload.json, dict):
                for log in item.payload.json["items"]:
                    self._redact_log(log)

    def _redact_log(self, log: dict[str, Any]) -> None:
        said = self._of(log.get("trace_id"))
        if said is None:
            return
        log["body"] = said.redacted(log["body"])
        for name, attribute in log["attributes"].items():
            if not name.startswith(_FACTS) or name.startswith("sentry.message."):
                attribute["value"] = said.redacted(attribute["value"])

    def _of(self, trace_id: str | None) -> _Said | None:
        """The words said in a trace, up to now."""
        if trace_id is None:
            return None
        for alive in self._registry.alive():
            if alive.trace_id == trace_id:
                self.heard(trace_id, [alive.root, *alive.spans.all()])
        return self._said.get(trace_id)


class _Said:
    """The words of one trace's content."""

    def __init__(self) -> None:
        self._texts: dict[str, None] = {}
        self._size = 0
        self._new: list[str] = []
        """Texts whose words aren't below yet: most conversations have no errors."""
        self._words: set[str] = set()
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

    def _redacted_text(self, text: str) -> str:
        self._learn()
        found = list(_WORD.finditer(text))
        words = [match[0].casefold() for match in found]
        said = [word in self._words for word in words]
        for index, pair in enumerate(itertools.pairwise(words)):
            if pair in self._pairs:
                said[index] = said[index + 1] = True
        if not any(said):
            return text
        pieces: list[str] = []
        end = 0
        for is_said, run in itertools.groupby(zip(found, said, strict=True), lambda one: one[1]):
            if is_said:
                matches = [match for match, _ in run]
                pieces += [text[end : matches[0].start()], FILTERED]
                end = matches[-1].end()
        return "".join([*pieces, text[end:]])

    def _learn(self) -> None:
        for text in self._new:
            words = [word.casefold() for word in _WORD.findall(text)]
            self._pairs.update(itertools.pairwise(words))
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
        self._pairs.clear()


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
                if key not in _STRUCTURE:
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
