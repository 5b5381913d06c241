"""The list of the places where a library's inside is changed or read is whole, and nothing else.

``docs/decisions/0009-inside-of-libraries.md`` has the list. Here the source is searched for such
places by how they look: each file that has one must be in the list, and each file in the list must
have one. So the list can't be forgotten when a patch is added, nor kept when it is gone.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
DECISION: Final = ROOT / "docs" / "decisions" / "0009-inside-of-libraries.md"
OWN: Final = ("agent", "config", "telemetry")
DOCUMENTED: Final = {"sys._getframe", "sys.stdout", "sys.stderr"}
"""Private by name only, or there to be assigned to: Python's documentation says so."""

_SECTION: Final = re.compile(
    r"^## (?P<name>\w+)\n(?P<text>.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE
)
_FILE: Final = re.compile(r"`((?:agent|telemetry)/[\w/]+\.py)`")
_TEST: Final = re.compile(r"`(test_\w+)`")


def is_private(name: str) -> bool:
    """Tell a name with one leading underscore."""
    return name.startswith("_") and not name.endswith("__")


def is_class(name: str) -> bool:
    """Tell a class by its name."""
    return re.fullmatch(r"[A-Z]+[a-z]\w*", name) is not None


class Module:
    """A module's source, and the names in it that matter here."""

    def __init__(self, source: str) -> None:
        self.lines = source.splitlines()
        self.nodes = list(ast.walk(ast.parse(source)))
        self.foreign: set[str] = set()
        """Names imported from libraries, the standard one included."""
        self.functions: set[str] = set()
        self.classes: set[str] = set()
        self.given: set[str] = set()
        """Private names that the module gives to something of its own."""
        self.read: set[str] = set()
        """Attributes that are read in it."""
        for node in self.nodes:
            self._note(node)

    def _note(self, node: ast.AST) -> None:
        match node:
            case ast.Import(names=names):
                self.foreign |= {
                    (name.asname or name.name).partition(".")[0]
                    for name in names
                    if name.name.partition(".")[0] not in OWN
                }
            case ast.ImportFrom(module=str() as module, level=0, names=names):
                if module.partition(".")[0] not in OWN:
                    self.foreign |= {name.asname or name.name for name in names}
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                self.functions.add(name)
                self.given.add(name)
            case ast.ClassDef(name=name):
                self.classes.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                self.given.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                self.given.add(name)
            case ast.Attribute(attr=name, ctx=ast.Load()):
                self.read.add(name)

    def is_foreign(self, node: ast.expr) -> bool:
        """Tell whether an expression is a library's, by the name that it begins with."""
        while isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        return isinstance(node, ast.Name) and node.id in self.foreign

    def line(self, node: ast.stmt | ast.expr) -> str:
        """The line that a node begins on."""
        return self.lines[node.lineno - 1]


def changed(module: Module) -> Iterator[str]:
    """The lines that assign to something of a library's that isn't offered for that."""
    for node in module.nodes:
        match node:
            case ast.Call(func=ast.Name(id="setattr" | "delattr")):
                yield module.line(node)
            case ast.Subscript(
                value=ast.Attribute(attr="__dict__") | ast.Call(func=ast.Name(id="vars")),
                ctx=ast.Store() | ast.Del(),
            ):
                yield module.line(node)
            case ast.Attribute(value=thing, attr=name, ctx=ast.Store() | ast.Del()):
                if ast.unparse(node) in DOCUMENTED:
                    continue
                if _is_inside(module, thing, name) or _is_against_the_types(module, node):
                    yield module.line(node)


def _is_inside(module: Module, thing: ast.expr, name: str) -> bool:
    """An attribute of a module or a class, a private one, or an object's class."""
    if name == "__class__" or (is_private(name) and name not in module.given):
        return True
    if isinstance(thing, ast.Name) and thing.id in {"self", "cls", *module.classes}:
        return False
    match thing:
        case ast.Attribute(attr=attribute):
            is_a_class = is_class(attribute)
        case ast.Call(func=ast.Name(id="type")):
            is_a_class = True
        case _:
            is_a_class = False
    return is_a_class or (isinstance(thing, ast.Name) and module.is_foreign(thing))


def _is_against_the_types(module: Module, node: ast.Attribute) -> bool:
    """The type checker objects, and it isn't a mark on a function that is made here."""
    is_mark = isinstance(node.value, ast.Name) and node.value.id in module.functions
    return "# type: ignore[" in module.line(node) and not is_mark


def read(module: Module) -> Iterator[str]:
    """The lines that use what a library keeps to itself."""
    for node in module.nodes:
        match node:
            case ast.ImportFrom(module=str() as path, level=0, names=names):
                imported = [path, *(name.name for name in names)]
            case ast.Import(names=names):
                imported = [name.name for name in names]
            case ast.Call(func=ast.Name(id="vars")) | ast.Attribute(attr="__dict__"):
                yield module.line(node)
                continue
            case ast.Attribute(attr=name) if is_private(name) and name not in module.given:
                if ast.unparse(node) not in DOCUMENTED:
                    yield module.line(node)
                continue
            case ast.ClassDef(bases=bases, body=body) if any(map(module.is_foreign, bases)):
                yield from (
                    module.line(method)
                    for method in body
                    if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
                    and is_private(method.name)
                    and method.name not in module.read  # the library calls it
                    and not method.decorator_list
                )
                continue
            case _:
                continue
        if any(map(is_private, ".".join(imported).split("."))):
            yield module.line(node)


SEARCHES: Final = {"Changed": changed, "Read": read}


def found(section: str) -> dict[str, list[str]]:
    """The lines of each file that belong in this section."""
    files: dict[str, list[str]] = {}
    for path in sorted(path for name in OWN for path in (ROOT / name).rglob("*.py")):
        lines = [line.strip() for line in SEARCHES[section](Module(path.read_text("utf-8")))]
        if lines:
            files[path.relative_to(ROOT).as_posix()] = lines
    return files


def sections() -> dict[str, str]:
    """The decision's text by heading."""
    return dict(_SECTION.findall(DECISION.read_text("utf-8")))


@pytest.mark.parametrize("section", SEARCHES)
def test_each_place_is_in_the_list(section: str) -> None:
    """A file that changes or reads a library's inside is named in the decision."""
    named = set(_FILE.findall(sections()[section]))
    missing = {file: lines for file, lines in found(section).items() if file not in named}
    assert not missing, f"to be added to {DECISION.name}, {section}: {missing}"


@pytest.mark.parametrize("section", SEARCHES)
def test_nothing_else_is_in_the_list(section: str) -> None:
    """A file that the decision names still does what is said of it."""
    gone = set(_FILE.findall(sections()[section])) - found(section).keys()
    assert not gone, f"no longer so, to be taken out of {DECISION.name}, {section}: {gone}"


def test_each_file_and_test_that_is_named_is_there() -> None:
    """In all of the decision: files by their paths, tests by their names."""
    text = DECISION.read_text("utf-8")
    assert [file for file in _FILE.findall(text) if not (ROOT / file).is_file()] == []
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in _TEST.findall(text) if f"def {name}(" not in tests] == []


@pytest.mark.parametrize(
    "code",
    [
        "import logging\nlogging.Logger.callHandlers = 1",
        "import aiohttp\naiohttp.ClientSession.__init__ = 1",
        "import logging\nlogging.root = 1",
        "def f(module): module.Client.send = 1",
        "def f(agent): agent.stt_node = 1  # type: ignore[method-assign]",
        "def f(scope): scope.flags.lock = 1  # type: ignore[assignment]",
        "def f(scope): scope.__class__ = 1",
        "def f(logger): type(logger).remove = 1",
        "def f(client): client._queue = 1",
        "def f(error): setattr(error, 'mark', 1)",
        "def f(client): del client._queue",
        "def f(error): error.__dict__['mark'] = 1",
        "def f(error): vars(error)['mark'] = 1",
    ],
)
def test_a_change_is_seen(code: str) -> None:
    """The search finds each kind of patch."""
    assert list(changed(Module(code)))


@pytest.mark.parametrize(
    "code",
    [
        "from _thread import RLock",
        "import livekit.rtc._ffi_client",
        "from livekit.rtc import _proto",
        "def f(session): session.__dict__.pop('start')",
        "def f(tracer): return vars(tracer)['_tracer_provider']",
        "def f(room): return room._ffi_handle",
        "from x import Adapter\nclass A(Adapter):\n def f(self): return self._status",
        "from x import Stream\nclass A(Stream):\n async def _run(self): pass",
    ],
)
def test_a_use_is_seen(code: str) -> None:
    """The search finds each kind of reading."""
    assert list(read(Module(code)))


@pytest.mark.parametrize(
    "code",
    [
        "class A:\n def __init__(self): self._x = 1\n def f(self, other): other._x = self._x",
        "def f(scope): scope.span = 1",
        "def f():\n def own(): pass\n own.mark = 1  # type: ignore[attr-defined]",
        "class A: pass\nA.x = 1",
        "from x import Base\nclass A(Base):\n def _f(self): pass\n def g(self): self._f()",
        "import sys\nsys._getframe(1)",
        "from x import __version__",
    ],
)
def test_what_is_ones_own_is_left_alone(code: str) -> None:
    """Nor is what a library offers, or documents."""
    module = Module(code)
    assert not [*changed(module), *read(module)]
