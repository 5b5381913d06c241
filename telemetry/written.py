"""Texts that know who wrote them: what of one stands in the code; the rest may have been said.

``raise NoTable(f"no table for {name}")`` raises a text, nobody can tell from it alone what of it is
the program's and what the caller's. The code can: its constants are what a programmer wrote. So a
text that may be sent remembers the code it comes from (:class:`Written`), and delivery, which has
time, finds the parts of it that are constants there.

A call only takes note of the code, by ``sys._getframe``, which CPython and PyPy have. Code says
nothing of a call, and outlives it anyway.
"""

from __future__ import annotations

import ast
import dis
import functools
import linecache
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from types import CodeType, FrameType

FILTERED: Final = "[Filtered]"
"""Stands for what isn't sent."""
_PACKAGE: Final = __name__.rpartition(".")[0]
_INSIDE: Final = tuple(
    f"{name}." for name in (_PACKAGE, "sentry_sdk", "logging", "loguru", "structlog", "contextlib")
)
"""Modules that pass on what others wrote."""
_OUTSIDE: Final = (f"{_PACKAGE}.integrations.",)
"""Modules of ours that write names of their own."""
_FRAMES: Final = 32
"""Frames looked through for an author."""
_SLOT: Final = re.compile(
    r"%(?:\(\w*\))?[-#0 +]*(?:\*|\d+)?(?:\.(?:\*|\d+))?[hlL]?[a-zA-Z%]|\{[^{}\s]*\}"
)
"""Where a template of ``%`` or ``str.format`` has a value."""
_LETTERS: Final = re.compile(r"[^\W_]")


class Author(NamedTuple):
    """A place in code that made a text."""

    code: CodeType
    at: int = -1
    """Offset of the instruction, or -1: any in this code."""


class Written(str):
    """A text, and who wrote it. It is an ordinary text to everybody else.

    Args:
        text: the text.
        authors: places in code that made it.
        code: what of it may be sent, where that is known already.
    """

    __slots__ = ("_authors", "_code")

    _authors: tuple[Author, ...]
    _code: str | None

    def __new__(cls, text: str, *authors: Author, code: str | None = None) -> Written:  # noqa: D102
        self = super().__new__(cls, text)
        self._authors = authors
        self._code = code
        return self

    @classmethod
    def known(cls, text: str) -> Written:
        """A text that is the program's as a whole."""
        return cls(text, code=text)

    @classmethod
    def made_up(cls, text: str) -> Written:
        """A text that is somebody's as a whole, however much it looks like a name."""
        return cls(text, code=FILTERED)

    @property
    def code(self) -> str:
        """The text with what stands in no code replaced; found at the first time, which is slow."""
        if self._code is None:
            self._code = written(str.__str__(self), self._authors)
        return self._code

    def code_around(self, known: Collection[str]) -> str:
        """The same, with values that are known to be nobody's words left where they stand."""
        if self._authors and any(one in self for one in known):
            return written(str.__str__(self), self._authors, known)
        return self.code

    @property
    def is_code(self) -> bool:
        """True if all of it stands in the code."""
        return self.code == self

    def __str__(self) -> str:
        """The text itself, so that it goes on knowing: Sentry asks each log's for its text."""
        return self

    def __deepcopy__(self, memo: Any) -> Written:
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str.__str__(self),)


class Tag(str):
    """A tag's value, where it stands among other attributes."""

    __slots__ = ("tag",)

    tag: Any

    def __new__(cls, value: Any) -> Tag:  # noqa: D102
        self = super().__new__(cls, value)
        self.tag = value
        return self


def author(frame: FrameType | None) -> Author | None:
    """The place outside of telemetry, Sentry and logging that a call comes from."""
    for _ in range(_FRAMES):
        if frame is None:
            return None
        name = frame.f_globals.get("__name__") or ""
        if not f"{name}.".startswith(_INSIDE) or name.startswith(_OUTSIDE):
            return Author(frame.f_code, frame.f_lasti)
        frame = frame.f_back
    return None


def here() -> tuple[Author, ...]:
    """The author of the call that is going on, if one is found."""
    found = author(sys._getframe(1))
    return () if found is None else (found,)


def logger_of(path: str, line: int) -> tuple[Author, ...]:
    """The author of a log that is being made, which says that it is made there."""
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_FRAMES):
        if frame is None:
            return ()
        if frame.f_lineno == line and frame.f_code.co_filename == path:
            return (Author(frame.f_code, frame.f_lasti),)
        frame = frame.f_back
    return ()


def starter() -> tuple[Author, ...]:
    """The function that the call is made in, any constant of which may be what it gives."""
    found = author(sys._getframe(1))
    return () if found is None else (Author(found.code),)


def raisers(error: BaseException) -> tuple[Author, ...]:
    """The places that an exception came through, the one that raised it first."""
    found: list[Author] = []
    step = error.__traceback__
    while step is not None:
        found.append(Author(step.tb_frame.f_code, step.tb_lasti))
        step = step.tb_next
    made: list[Author] = []
    for kind in type(error).__mro__:
        for name in ("__init__", "__str__", "__new__"):
            code = getattr(vars(kind).get(name), "__code__", None)
            if code is not None:
                made.append(Author(code))
    return (*reversed(found[-_FRAMES:]), *made)


# -- what stands in the code -----------------------------------------------------------------------


def written(text: str, authors: Sequence[Author], known: Collection[str] = ()) -> str:
    """The text, with what its authors didn't write replaced by :data:`FILTERED`.

    Of several places the first counts, and code that counts as a whole: those that called may have
    a constant of theirs handed on, which to whoever raises is somebody's word.
    """
    if not _LETTERS.search(text):
        return text
    for number, one in enumerate(authors):
        if one.at < 0:
            found = text if is_name(text, one.code) else matched(text, _sentences(one.code), known)
        elif number == 0:
            found = _written_at(text, one, known)
        else:
            continue
        if _LETTERS.search(found.replace(FILTERED, "")):
            return found
    if "\n" in text:  # notes that were added to an exception
        return "\n".join(written(line, authors, known) for line in text.split("\n"))
    return FILTERED


def _written_at(text: str, one: Author, known: Collection[str]) -> str:
    # A word may be compared with what somebody said; a sentence is there to be told.
    if " " in text and text in _constants(one.code):
        return text
    return text if _is_interpreters(text, one.code) else matched(text, _pieces_at(*one), known)


def is_name(text: str, code: CodeType) -> bool:
    """True if a name is a constant of a function, or one that the function names."""
    return text in _constants(code) or text in _named(code)


def matched(text: str, pieces: Iterable[str], known: Collection[str] = ()) -> str:
    """The text, with all but these pieces of it, in their order, replaced."""
    parts: list[str] = []
    end = 0
    for piece in pieces:
        start = text.find(piece, end)
        if start >= 0:
            parts += [_gap(text[end:start], known), piece]
            end = start + len(piece)
    parts.append(_gap(text[end:], known))
    return "".join(parts)


def _gap(text: str, known: Collection[str]) -> str:
    return FILTERED if _LETTERS.search(text) and text.strip(" '\"") not in known else text


@functools.lru_cache(4096)
def _pieces_of(template: str) -> tuple[str, ...]:
    """What a template says between its values."""
    return tuple(piece for piece in _SLOT.split(template) if piece)


def _texts(constant: object) -> Iterator[str]:
    if isinstance(constant, str):
        yield constant
    elif isinstance(constant, (tuple, frozenset)):
        for inner in constant:
            yield from _texts(inner)


class _Codes:
    """What is known of code. As a key of a dict it would be compared by all there is of it."""

    def __init__(self, find: Any) -> None:
        self._find = find
        self._found: dict[Any, tuple[CodeType, Any]] = {}

    def __call__(self, code: CodeType, *key: Any) -> Any:
        known = self._found.get((id(code), *key))
        if known is None or known[0] is not code:
            if len(self._found) >= 4096:
                self._found.clear()
            known = self._found[id(code), *key] = code, self._find(code, *key)
        return known[1]


@_Codes
def by(code: CodeType, text: str) -> Written:
    """A text that a function gave, any constant of which it may be: the same one each time, as what
    of it stands in the code is found out once."""
    return Written(text, Author(code))


@_Codes
def _constants(code: CodeType) -> frozenset[str]:
    return frozenset(text for constant in code.co_consts for text in _texts(constant))


@_Codes
def _sentences(code: CodeType) -> tuple[str, ...]:
    """Pieces of the templates in a function that makes an exception's text."""
    texts = (text for constant in code.co_consts[1:] for text in _texts(constant))
    return tuple(piece for text in texts for piece in _pieces_of(text) if " " in piece)


@_Codes
def _named(code: CodeType) -> frozenset[str]:
    """The constants that a function names: texts that its file gives names in capitals to."""
    wanted = {name for name in code.co_names if name.strip("_").isupper()}
    found: set[str] = set()
    for line in linecache.getlines(code.co_filename) if wanted else ():
        given = _GIVEN.match(line)
        if given is not None and given[1] in wanted:
            with suppress(ValueError, SyntaxError):
                found.update(_texts(ast.literal_eval(given[2])))
    for module in [*sys.modules.values()] if wanted else ():  # ops, which it may have imported
        if getattr(module, "__file__", None) == code.co_filename:
            values = [getattr(module, name, None) for name in wanted]
            found.update(one for one in values if isinstance(one, str) and _OP.fullmatch(one))
    return frozenset(found)


_GIVEN: Final = re.compile(
    r"""\s*([A-Z_][A-Z0-9_]*)\s*(?::[^=]*)?=\s*(["'][^\n]*?)\s*(?:#[^"']*)?$"""
)
"""A line that gives a text a name."""
_OP: Final = re.compile(r"[a-z]{2,20}(?:[._][a-z]{2,20})*\.[a-z_]{2,20}")


@_Codes
def _pieces_at(code: CodeType, at: int) -> tuple[str, ...]:
    """What the constants of the statement or call at an instruction say, in their order."""
    positions = list(code.co_positions())
    if not 0 <= at // 2 < len(positions):
        return ()
    around = positions[at // 2]
    return tuple(
        piece
        for offset, constant in _loaded(code)
        if _is_inside(positions[offset // 2], around)
        for text in _texts(constant)
        for piece in _pieces_of(text)
    )


def _is_inside(inner: tuple[int | None, ...], outer: tuple[int | None, ...]) -> bool:
    """True if a range in the source, of first and last line and column, is in another."""
    if None in inner or None in outer:
        return False
    (first, last, left, right), (start, end, begin, stop) = inner, outer
    return (start, begin) <= (first, left) and (last, right) <= (end, stop)


def _loaded(code: CodeType) -> Iterator[tuple[int, object]]:
    """The constants that code loads, each with its instruction's offset."""
    raw, extended = code.co_code, 0
    for offset in range(0, len(raw), 2):
        argument = raw[offset + 1] | extended
        extended = argument << 8 if raw[offset] == _EXTENDED else 0
        if raw[offset] in _LOADS and argument < len(code.co_consts):
            yield offset, code.co_consts[argument]


_EXTENDED: Final = dis.opmap["EXTENDED_ARG"]
_LOADS: Final = frozenset(
    number for name, number in dis.opmap.items() if name in ("LOAD_CONST", "RETURN_CONST")
)


# -- what the interpreter says ---------------------------------------------------------------------

_INTERPRETERS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?:integer |float )?(?:division|modulo)(?: or modulo)? by zero",
        r"(?:\w+ )?(?:assignment )?index out of range",
        r"pop from (?:an )?empty \w+",
        r"'[\w.]+' object has no attribute '(?P<name>\w+)'",
        r"(?:type object|module) '[\w.]+' has no attribute '(?P<name>\w+)'",
        r"name '(?P<name>\w+)' is not defined",
        r"cannot access (?:local|free) variable '(?P<name>\w+)' where .* with a value",
        r"'[\w.]+' object is not (?:callable|iterable|subscriptable|reversible|an iterator)",
        r"'[\w.]+' object does not support [\w ]+",
        r"unsupported operand type\(s\) for [^\s:]+: '[\w.]+' and '[\w.]+'",
        r"object of type '[\w.]+' has no len\(\)",
        r"object [\w.]+ can't be used in 'await' expression",
        r"(?:generator|coroutine) (?:already executing|raised StopIteration|ignored GeneratorExit)",
        r"maximum recursion depth exceeded.*",
        r"Event loop is closed",
    )
)
"""Its own messages; what they quote has to be a name in the code."""


def _is_interpreters(text: str, code: CodeType) -> bool:
    for pattern in _INTERPRETERS:
        if found := pattern.fullmatch(text):
            name = found.groupdict().get("name")
            return name is None or name in (*code.co_names, *code.co_varnames, *code.co_freevars)
    return False
