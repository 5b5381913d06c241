"""Text as it is said: cut into clauses, of which the first is said before the rest is written.

A caller waits for a reply's first words only. LiveKit waits for a whole sentence and the word after
it, and a model that writes thirty words a second takes half a second for a long one.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Final

from livekit.agents import tokenize

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLAUSE: Final = re.compile(r".{15,}?[,;:](?=\s)", re.DOTALL)
"""A part of a sentence that can be said by itself; one that is too short has no melody."""
_PART: Final = re.compile(rf"{_CLAUSE.pattern}|.+", re.DOTALL)
_LONG_CLAUSE_LETTERS: Final = 45
"""Length of a first clause, three seconds of speech, for which nobody is kept waiting."""
_BREATH: Final = re.compile(
    r".{8,14}?,(?=\s)|.{15,}?(?=\s(?:and|at|because|but|for|from|on|or|until|with)\s)", re.DOTALL
)
"""The beginning of a long clause, up to where a speaker may breathe: "I'm sorry,"."""
_HESITATIONS: Final = ("...", "…")
"""Signs that end a sentence only if another one begins: "Well... maybe." goes on."""
_SENTENCES: Final = tokenize.blingfire.SentenceTokenizer(min_sentence_len=1, retain_format=True)
"""Sentences however short: the voice makes each by itself, and so the first is there first."""
_LIVEKITS: Final = tokenize.blingfire.SentenceTokenizer(retain_format=True)
"""Sentences as LiveKit cuts them: a short one stays with the next."""


class Beginning(str):
    """A beginning whose sentence goes on, told by who cut it. LiveKit's adapter takes the space
    off its ends before it is said, and it is one still."""

    __slots__ = ()

    def strip(self, chars: str | None = None, /) -> Beginning:
        """See :meth:`str.strip`."""
        return Beginning(super().strip(chars))


def clauses(text: str, *, is_awaited: bool = True, goes_on: bool = False) -> Iterator[str]:
    """Clauses to synthesise one after the other.

    Args:
        text: a sentence, several, or the beginning of one.
        is_awaited: whether somebody waits for it, or hears what comes before it.
        goes_on: whether it is a :class:`Beginning`.
    """
    text = text.strip()
    if goes_on and text[-1:].isalnum():
        text += ","  # the voice must not fall
    for part in parts(text, is_awaited=is_awaited):
        for clause in _SENTENCES.tokenize(part):
            if clause := clause.strip():
                yield clause


def parts(text: str, *, is_awaited: bool = True) -> Iterator[str]:
    """Parts of a sentence: clauses, of a long first one that is awaited the beginning first."""
    for index, clause in enumerate(_PART.findall(text)):
        beginning = (
            _BREATH.match(clause)
            if is_awaited and index == 0 and len(clause) > _LONG_CLAUSE_LETTERS
            else None
        )
        if beginning is None:
            yield clause
        else:
            yield f"{beginning[0].removesuffix(',')},"  # likewise
            yield clause[beginning.end() :]


def beginning(written: str, *, is_first: bool) -> tuple[int, bool]:
    """Length of what can be said of a sentence that is being written, whatever comes then, and
    whether that is all of it; 0 for nothing.

    Args:
        written: what there is of it, and maybe of the next one.
        is_first: whether nothing of it is said yet, and a breath has to do where no clause ends.
    """
    clause = _CLAUSE.match(written)
    sentence, *following = _SENTENCES.tokenize(written) or [""]
    is_followed = bool(following) and not (
        sentence.endswith(_HESITATIONS) and "".join(following).isspace()
    )
    ends = [len(sentence)] if is_followed else []
    ends += [clause.end()] if clause else []
    end = min(ends, default=0)
    if is_first and (end or len(written)) > _LONG_CLAUSE_LETTERS:
        breath = _BREATH.match(written)
        if breath and (not end or breath.end() < end):
            return breath.end(), False
    return end, is_followed and end == len(sentence)


class Opening(tokenize.SentenceTokenizer):
    """Cuts a reply that is being written: its first sentence clause by clause, each as soon as it
    is there, and then as LiveKit does. The pieces together are the text."""

    def tokenize(self, text: str, *, language: str | None = None) -> list[str]:
        """The pieces of a reply that is written."""
        first: list[str] = []
        while text:
            length, is_over = beginning(text, is_first=not first)
            if not length:
                break
            first.append(text[:length])
            text = text[length:]
            if is_over:
                break
        return [*first, *_LIVEKITS.tokenize(text)]

    def stream(self, *, language: str | None = None) -> OpeningStream:
        """A reply to be written."""
        return OpeningStream()


class OpeningStream(tokenize.SentenceStream):
    """A reply that is being written: text in, pieces of it out. A flush ends the reply."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces = _LIVEKITS.stream()
        self._unended: list[str] = []
        """Pieces cut where a sentence goes on, until they are out: one of a reply at most."""
        self._begin()

    def _begin(self) -> None:
        self._is_open = False
        """True once the first sentence is over."""
        self._has_begun = False
        """True once the first piece is out."""
        self._written = ""
        """What isn't handed on yet."""

    def push_text(self, text: str) -> None:
        """Take more of it."""
        self._written += text
        while not self._is_open:
            length, self._is_open = beginning(self._written, is_first=not self._has_begun)
            if not length:
                return
            piece = self._written[:length]
            if piece[-1].isalnum():
                self._unended.append(piece)
            self._pieces.push_text(piece)
            self._pieces.flush()
            self._written = self._written[length:]
            self._has_begun = True
        if self._written:
            self._pieces.push_text(self._written)
            self._written = ""

    def flush(self) -> None:
        """Hand on what there is."""
        self._pieces.push_text(self._written)
        self._pieces.flush()
        self._begin()

    def end_input(self) -> None:
        """End the last reply."""
        self.flush()
        self._pieces.end_input()

    async def aclose(self) -> None:
        """Give it up."""
        await self._pieces.aclose()

    @property
    def closed(self) -> bool:
        """True once nothing more may come."""
        return self._pieces.closed

    async def __anext__(self) -> tokenize.TokenData:
        piece = await self._pieces.__anext__()
        if piece.token not in self._unended:
            return piece
        self._unended.remove(piece.token)
        return dataclasses.replace(piece, token=Beginning(piece.token))
