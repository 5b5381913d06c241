"""YAML as a person reads it: values are what is written, and mistakes are named with their line.

YAML 1.1, as PyYAML reads it, takes 19:30 for 1170, 010 for 8 and ``no`` for false, and of two equal
keys the second, without a word. Here a value without quotes is :class:`Written`: its text as it
stands. A field's type says what it means: ``text: 5`` is typed, ``silence: 0900`` lasts 900 ms.
Where a field has no type, :func:`meaning` decides.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_BYTES: Final = 256 * 1024
"""Size of a file at most: thousands of turns, which take seconds to read."""
DEEPEST: Final = 32
"""Levels of values within values at most."""
MOST_VALUES: Final = 100_000
"""Values at most, an alias counted as all that it stands for."""

_TAG: Final = "tag:yaml.org,2002:"
_SCALARS: Final = tuple(
    f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "merge")
)
_TAGS: Final = {
    yaml.ScalarNode: _SCALARS,
    yaml.SequenceNode: (f"{_TAG}seq",),
    yaml.MappingNode: (f"{_TAG}map",),
}
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
"""A number as anybody would write it. 0301 may be a telephone's, +49 too, 1e5 may be an id."""
_HINTS: Final = {
    "mapping values are not allowed": "put text with a colon in it in quotes",
    "character '\\t'": "indent with spaces, not tabs",
    "another document": "a file is one scenario, without ---",
    "that cannot start any token": "put the text in quotes",
}
"""Ways to mend what PyYAML complains of, by words of its complaint."""


class Written(str):
    """A value as it is written, without quotes."""

    __slots__ = ()


class DocumentError(ValueError):
    """A file that can't be read: what is wrong, and how to mend it, in one line of text; ``line``
    is where, counted from 1, or None for the file as a whole."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.line = line


def read(path: Path) -> tuple[Any, yaml.Node | None]:
    """The document in a file, and its node, which knows the lines; (None, None) if it is empty.

    Raises :class:`DocumentError`.
    """
    text = _text(path)
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None, None
        _check(root, {})
        return loader.construct_document(root), root
    except yaml.MarkedYAMLError as error:
        problem = str(error.problem)
        hint = next((f": {mend}" for words, mend in _HINTS.items() if words in problem), "")
        mark = error.problem_mark
        raise DocumentError(
            f"not valid YAML: {problem}{hint}", mark.line + 1 if mark else None
        ) from error
    except (OverflowError, ValueError) as error:
        if loader is None or isinstance(error, DocumentError):
            raise
        raise DocumentError(
            "not valid YAML: a number or a character (\\U…) is larger than any", loader.line + 1
        ) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise DocumentError(
            f"not text: there is a character {ord(text[error.position]):#x} in it: take it out",
            line,
        ) from error


def meaning(value: Any) -> Any:
    """The number, the truth or the text that something written without quotes means, and all that
    is in it; ``yes`` and ``no`` stay as they are, for NO is a country too."""
    match value:
        case dict():
            return {key: meaning(each) for key, each in value.items()}
        case list():
            return [meaning(each) for each in value]
        case Written("true" | "True" | "TRUE"):
            return True
        case Written("false" | "False" | "FALSE"):
            return False
        case Written() if _NUMBER.fullmatch(value):
            return _number(value)
    return value


def _number(text: Written) -> float | Written:
    if "." in text:
        return float(text)
    try:
        return int(text)
    except ValueError:  # thousands of digits
        return text


def _text(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DocumentError("it is a folder or a pipe: give the path of a file")
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise DocumentError(f"cannot read the scenario: {reason}") from error
    if len(content) > LARGEST_BYTES:
        raise DocumentError(f"it is larger than {LARGEST_BYTES // 1024} kB: make it several files")
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DocumentError(
            "it isn't text in UTF-8: save it as UTF-8", None if marked else line
        ) from error


class _Loader(yaml.SafeLoader):
    """PyYAML's loader, for which a plain value is its text, and a document has an end."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node, unless it is too deep within others."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise _deep(self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_written(self, node: yaml.ScalarNode) -> str | None:
        """A scalar's text, as it is written or from within its quotes."""
        text = str(node.value)
        if node.style is None:
            return None if text in _NULLS else Written(text)
        # JSON writes some characters in two halves
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_Loader.yaml_implicit_resolvers = {"<": [(f"{_TAG}merge", re.compile(r"<<"))]}
for _tag in _SCALARS:
    _Loader.add_constructor(_tag, _Loader.construct_written)


@dataclass(frozen=True, slots=True)
class _Size:
    """The size of a node, each alias in it counted as all that it stands for."""

    values: int = 1
    levels: int = 1


def _check(node: yaml.Node, seen: dict[int, _Size], above: tuple[int, ...] = ()) -> _Size:
    """The size of a node, of which nothing has to be mended.

    Raises what a person has to mend: a key that is there twice, something that is in itself, tags
    of other programs, and more values or levels than any scenario has.
    """
    if id(node) in above:
        raise _wrong(node, "this is within itself, by its alias: write it out")
    if id(node) in seen:
        return seen[id(node)]
    if node.tag not in _TAGS[type(node)]:
        name = node.tag.replace(_TAG, "!!")
        raise _wrong(node, f"the tag {name} means nothing here: leave it out")
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        parts = node.value
    elif isinstance(node, yaml.MappingNode):
        _check_keys(node)
        parts = [part for pair in node.value for part in pair]
    sizes = [_check(part, seen, (*above, id(node))) for part in parts]
    size = _Size(
        1 + sum(each.values for each in sizes), 1 + max((each.levels for each in sizes), default=0)
    )
    if size.levels > DEEPEST:
        raise _deep(node.start_mark)
    if size.values > MOST_VALUES:
        raise _wrong(node, f"with its aliases it has over {MOST_VALUES} values: leave some out")
    seen[id(node)] = size
    return size


def _check_keys(node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _wrong(key, "a key is one word, not a list or a mapping")
        if key.value in lines:
            raise _wrong(
                key,
                f"{key.value!r} is there twice, in line {lines[key.value]} too: leave one out",
            )
        lines[key.value] = key.start_mark.line + 1


def _wrong(node: yaml.Node, problem: str) -> DocumentError:
    return DocumentError(problem, node.start_mark.line + 1)


def _deep(mark: yaml.Mark) -> DocumentError:
    return DocumentError(f"this is nested in more than {DEEPEST} levels", mark.line + 1)
