"""Telemetry stands on what sentry-sdk offers, so that the SDK's next release doesn't fell it.

Three ways to depend on what is private are looked for: names with an underscore that are imported
from ``sentry_sdk`` or read from one of its modules, attributes with an underscore that nothing in
telemetry defines (so they can only be another library's), and classes of the SDK whose methods are
overridden under names or parameters that the SDK doesn't have.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(telemetry.__file__).parent
FILES = sorted(FOLDER.rglob("*.py"))
TREES = {path.relative_to(FOLDER).as_posix(): ast.parse(path.read_text()) for path in FILES}
INTERPRETER = {"sys._getframe"}
"""Documented in spite of the underscore."""


def is_private(name: str) -> bool:
    """Whether a name is marked as not for others: one leading underscore."""
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def sentry_names(tree: ast.Module) -> set[str]:
    """What a module has imported from the SDK, under the names it uses."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                names |= {a.asname or "sentry_sdk" for a in node.names if is_sentry(a.name)}
            case ast.ImportFrom(module=str() as module) if is_sentry(module):
                names |= {a.asname or a.name for a in node.names}
    return names


def is_sentry(module: str) -> bool:
    """Whether it is the SDK or in it."""
    return module.partition(".")[0] == "sentry_sdk"


def imported_privately(tree: ast.Module) -> Iterator[str]:
    """Imports of the SDK with a private name anywhere in their path."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                paths = [alias.name for alias in node.names]
            case ast.ImportFrom(module=str() as module):
                paths = [f"{module}.{alias.name}" for alias in node.names]
            case _:
                continue
        for path in paths:
            if is_sentry(path) and any(map(is_private, path.split("."))):
                yield f"line {node.lineno}: {path}"


def defined(tree: ast.Module) -> set[str]:
    """Private names that telemetry itself gives to something: attributes, methods, slots."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.ClassDef(body=body):
                for statement in body:
                    match statement:
                        case ast.AnnAssign(target=ast.Name(id=name)):
                            names.add(name)
                        case ast.Assign(targets=[ast.Name(id=name)]):
                            names.add(name)
            case ast.Assign(targets=targets):
                names |= {t.id for t in targets if isinstance(t, ast.Name)}
                names |= {name for t in targets for name in own_attributes(t)}
            case ast.AnnAssign(target=target):
                names |= {target.id} if isinstance(target, ast.Name) else set()
                names |= set(own_attributes(target))
    return names


def own_attributes(target: ast.expr) -> Iterator[str]:
    """Attributes of ``self`` that an assignment sets."""
    for node in ast.walk(target):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                yield name


OURS = set[str]().union(*map(defined, TREES.values()))


def read_privately(tree: ast.Module) -> Iterator[str]:
    """Private attributes of the SDK's modules and classes, and those nothing here defines."""
    sentry = sentry_names(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=attr) if is_private(attr):
                name = ast.unparse(node)
                if name in INTERPRETER:
                    continue
                if attr not in OURS or name.partition(".")[0] in sentry:
                    yield f"line {node.lineno}: {name}"
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr" | "hasattr" | "delattr"),
                args=[_, ast.Constant(value=str() as attr), *_],
            ) if is_private(attr) and attr not in OURS:
                yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("name", TREES)
def test_only_what_the_sdk_offers_is_used(name: str) -> None:
    """No private module, name or attribute of sentry-sdk."""
    tree = TREES[name]
    assert [*imported_privately(tree), *read_privately(tree)] == []


@pytest.mark.parametrize(
    "code",
    [
        "import sentry_sdk._queue",
        "from sentry_sdk._queue import Queue",
        "from sentry_sdk.scope import _current_scope",
        "import sentry_sdk\nsentry_sdk.scope._current_scope.get()",
        "from sentry_sdk import tracing\ntracing._open",
        "import sentry_sdk as s\ns.get_client()._flush_components()",
        "def f(scope): return scope._flags",
        "def f(scope): return getattr(scope, '_flags', None)",
    ],
)
def test_private_use_is_found(code: str) -> None:
    """What the test above is there for: each of these would fail it."""
    tree = ast.parse(code)
    assert [*imported_privately(tree), *read_privately(tree)]


def sentry_subclasses() -> list[tuple[type, type]]:
    """Classes of the core with a base of the SDK's; a mixed-in class of ours counts with them."""
    others = tuple(f"{telemetry.__name__}.{name}" for name in ("integrations.", "viewer"))
    for info in pkgutil.walk_packages([str(FOLDER)], f"{telemetry.__name__}."):
        if not info.name.startswith(others):
            import_module(info.name)
    found = {}
    for name, module in list(sys.modules.items()):
        if not name.startswith(f"{telemetry.__name__}."):
            continue
        for value in vars(module).values():
            if inspect.isclass(value) and value.__module__ == name:
                for base in value.__mro__:
                    if is_sentry(base.__module__):
                        found[value] = base
                        break
    return sorted(found.items(), key=lambda pair: pair[0].__name__)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    sentry_subclasses(),
    ids=lambda cls: cls.__name__,
)
def test_overridden_methods_fit_the_sdk(ours: type, theirs: type) -> None:
    """What the SDK calls on its own class can be called on ours; nothing private is overridden."""
    for cls in ours.__mro__[: ours.__mro__.index(theirs)]:
        for name, method in vars(cls).items():
            inherited = getattr(theirs, name, None)
            if inherited is None or not callable(inherited) or name in ("__init__", "__doc__"):
                continue
            assert not is_private(name), f"{cls.__name__}.{name} overrides what is private"
            if not inspect.isfunction(method) or not inspect.isfunction(inherited):
                continue
            expected, given = inspect.signature(inherited), inspect.signature(method)
            by_name = not name.startswith("__")
            complaint = f"{cls.__name__}.{name}{given} for {expected}"
            assert fits(given, expected, by_name=by_name), complaint


def fits(given: inspect.Signature, expected: inspect.Signature, *, by_name: bool) -> bool:
    """Whether a method takes the calls that another one allows, with all and with few arguments."""
    own, *parameters = [
        parameter
        for parameter in expected.parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    named = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    placed = [p.name for p in parameters if p.name not in named]
    required = {p.name for p in parameters if p.default is p.empty}
    calls: list[tuple[list[str], set[str]]] = [(placed, named)]
    if by_name:
        calls += [([], {*placed, *named}), ([], required)]
    try:
        for positional, keywords in calls:
            given.bind(own, *positional, **dict.fromkeys(keywords))
    except TypeError:
        return False
    return True
