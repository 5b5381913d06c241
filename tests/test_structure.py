"""The maps are true: packages name their modules, exports exist, tests stand beside their modules.

Modules and functions are short, and docstrings open with what a thing is or does.
"""

from __future__ import annotations

import ast
import importlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
TOPS: Final = ("agent", "config", "telemetry")
MAX_MODULE_LINES: Final = 400
MAX_FUNCTION_LINES: Final = 60
MAX_INDIRECT_SHARE: Final = 0.03
"""Share of docstrings that may open with one of :data:`INDIRECT`."""
INDIRECT: Final = frozenset({"what", "whether", "how", "who"})
"""Openings of a docstring that describes a thing by a question, and leaves its kind open."""
EXAMPLES: Final = "tests/agents"
"""A package of tests that is read as an example: held to what the others are."""
UNMAPPED: Final = ("tests/system", "tests/bench", "tests/telemetry/conformance")
"""Folders of tests that belong to no module: to the whole, to its costs, to the promises."""
BEHAVIOURS: Final = {
    "tests/test_docs.py": "the commands, paths and links of the docs",
    "tests/test_imports.py": "the contracts about imports",
    "tests/test_patches.py": "the list of places where a library's inside is changed or read",
    "tests/test_ingest.py": "holds the double of Sentry's ingestion, which all tests share",
    "tests/test_structure.py": "this file: all packages",
    "tests/agent/test_acceptance.py": "the whole command, with eight callers and Sentry listening",
    "tests/agent/test_said.py": "the whole command, with an agent that quotes its caller",
    "tests/agent/test_screens.py": "the whole command, as Sentry's AI screens show it",
    "tests/agent/test_foreign_text.py": "nothing a stranger sends is printed raw, by any way out",
    "tests/agent/cli/test_distributed.py": "one trace over the processes of caller, agent, service",
    "tests/agent/cli/test_surroundings.py": "bad surroundings of a command, by the dozen",
    "tests/agent/desk/test_scenarios.py": "the shipped scenarios, as written and as heard",
    "tests/agent/desk/test_traced.py": "the service's and the client's sides of a trace",
    "tests/agent/gateway/test_neighbours.py": "bad neighbours of a call: limit, metric, trace",
    "tests/agent/providers/test_traced.py": "requests of every provider in the trace",
    "tests/agent/session/test_conversations.py": "a session's parts together, with real speech",
    "tests/telemetry/test_public_api.py": "only public API of sentry-sdk is used",
    "tests/telemetry/test_readme.py": "the code blocks of telemetry/README.md",
    "tests/telemetry/locks/test_locks.py": "the lock matrix, in processes of its own",
    "tests/telemetry/integrations/livekit/test_agents.py": "several agents in a conversation",
    "tests/telemetry/integrations/livekit/test_agreement.py": "telemetry.testing's oracle",
    "tests/telemetry/integrations/livekit/test_ambient.py": "the span current in an agent's code",
    "tests/telemetry/integrations/livekit/test_asked_from.py": "turns asked for from elsewhere",
    "tests/telemetry/integrations/livekit/test_whose_reply.py": "whose reply it is, whoever asks",
    "tests/telemetry/integrations/livekit/test_at_random.py": "history and trace of drawn sessions",
    "tests/telemetry/integrations/livekit/test_content.py": "content stays out of envelopes",
    "tests/telemetry/integrations/livekit/test_faults.py": "telemetry broken from within",
    "tests/telemetry/integrations/livekit/test_from_outside.py": "asked by older tasks, or typed",
    "tests/telemetry/integrations/livekit/test_interruptions.py": "interruptions in the trace",
    "tests/telemetry/integrations/livekit/test_kinds.py": "kinds of sessions: history and trace",
    "tests/telemetry/integrations/livekit/test_machine.py": "turns, told of a session by hand",
    "tests/telemetry/integrations/livekit/test_names.py": "names of all spans LiveKit makes",
    "tests/telemetry/integrations/livekit/test_processes.py": "a process for each job",
    "tests/telemetry/integrations/livekit/test_provider.py": "a tracer provider set before ours",
    "tests/telemetry/integrations/livekit/test_providers.py": "providers that fail or stand in",
    "tests/telemetry/integrations/livekit/test_realtime.py": "realtime models",
    "tests/telemetry/integrations/livekit/test_sessions.py": "sessions: one, several, many",
    "tests/telemetry/integrations/livekit/test_screens.py": "Sentry's selections of AI spans",
    "tests/telemetry/integrations/livekit/test_stopped.py": "turns that an agent declines",
    "tests/telemetry/integrations/livekit/test_tools.py": "tools that can't be called",
}
"""Tests named for a behaviour of several modules, and not for one module, with the behaviour."""

VOICES: Final = ("tests.agent.session.phone", "tests.agent.simulator.fake_agent")
"""Tests' own speakers, who keep the times of what they say and hear."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package of ours, read from its files."""

    folder: Path

    @property
    def name(self) -> str:
        return ".".join(self.folder.relative_to(ROOT).parts)

    @property
    def files(self) -> list[Path]:
        """Its modules, and scripts in folders of it that are no packages."""
        return [
            path
            for path in sorted(self.folder.rglob("*.py"))
            if next(each for each in path.parents if _is_package(each)) == self.folder
        ]

    @property
    def members(self) -> list[str]:
        """The names of its modules and sub-packages."""
        modules = [path.stem for path in self.folder.glob("*.py") if path.stem != "__init__"]
        packages = [each.name for each in self.folder.iterdir() if _is_package(each)]
        return sorted(modules + packages)

    def path_of(self, member: str) -> Path:
        folder = self.folder / member
        return folder / "__init__.py" if _is_package(folder) else folder.with_suffix(".py")


def _is_package(folder: Path) -> bool:
    return (folder / "__init__.py").is_file()


def _packages() -> list[Package]:
    return [
        Package(path.parent)
        for top in (*TOPS, EXAMPLES)
        for path in sorted((ROOT / top).rglob("__init__.py"))
    ]


each_package: Final = pytest.mark.parametrize("package", _packages(), ids=lambda each: each.name)
each_top: Final = pytest.mark.parametrize("top", [*TOPS, EXAMPLES])


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _exported(path: Path) -> list[str] | None:
    """The names in a module's ``__all__``; None without one."""
    for statement in _parsed(path).body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in statement.targets
        ):
            return list(ast.literal_eval(statement.value))
    return None


def _docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Each docstring and its row: of modules, classes, functions, and of what is assigned."""
    for node in ast.walk(_parsed(path)):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for before, statement in zip([None, *body], body, strict=False):
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))) if before is None or isinstance(
                    before, ast.Assign | ast.AnnAssign
                ):
                    yield statement.lineno, text


@each_package
def test_a_package_names_its_modules(package: Package) -> None:
    """The docstring of a package is its map: all its modules and sub-packages are marked in it."""
    told = ast.get_docstring(_parsed(package.folder / "__init__.py")) or ""
    named = {name.rpartition(".")[2] for name in re.findall(r"(?:``|:mod:`)([\w.]+)`", told)}
    assert sorted(set(package.members) - named) == []


@each_package
def test_exports_exist_and_agree(package: Package) -> None:
    """A name in an ``__all__`` is there; the module it comes from exports it too, if it says."""
    for path in (package.folder / "__init__.py", *map(package.path_of, package.members)):
        names = _exported(path) or []
        if names:
            parts = path.relative_to(ROOT).with_suffix("").parts
            module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
            assert [name for name in names if not hasattr(module, name)] == [], module
    exported = set(_exported(package.folder / "__init__.py") or [])
    for statement in _parsed(package.folder / "__init__.py").body:
        if not isinstance(statement, ast.ImportFrom) or statement.module is None:
            continue
        source = statement.module
        if statement.level == 0:
            source = source.removeprefix(f"{package.name}.")
        member, _, deeper = source.partition(".")
        if deeper or member not in package.members:
            continue
        own = _exported(package.path_of(member))
        imported = {alias.asname or alias.name for alias in statement.names}
        if own is not None:
            assert sorted((imported & exported) - set(own)) == [], member


@each_package
def test_a_module_has_one_concept(package: Package) -> None:
    """No module is longer than 400 lines of text."""
    sizes = {
        path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in package.files
    }
    assert {name: size for name, size in sizes.items() if size > MAX_MODULE_LINES} == {}


@each_package
def test_a_function_can_be_read_at_once(package: Package) -> None:
    """No function is longer than 60 lines of text."""
    sizes = {
        f"{path.name}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in package.files
        for node in ast.walk(_parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: size for name, size in sizes.items() if size > MAX_FUNCTION_LINES} == {}


@each_top
def test_docstrings_say_what_a_thing_is(top: str) -> None:
    """Under 3 % of docstrings open with what, whether, how or who."""
    openings = {
        f"{path.relative_to(ROOT)}:{row}": re.split(r"\W+", text.strip(" \n\"'`*(").lower())[0]
        for path in sorted((ROOT / top).rglob("*.py"))
        for row, text in _docstrings(path)
    }
    indirect = [where for where, opening in openings.items() if opening in INDIRECT]
    assert len(indirect) < MAX_INDIRECT_SHARE * len(openings), indirect


@pytest.mark.parametrize("top", [*TOPS, "tests"])
def test_tests_stand_beside_their_modules(top: str) -> None:
    """A test module is named for a module or package, or for a behaviour that is listed."""
    tests = ROOT / "tests"
    found = (tests / top).rglob("test_*.py") if top != "tests" else tests.glob("test_*.py")
    paths = {path.relative_to(ROOT).as_posix() for path in found}
    paths = {path for path in paths if not path.startswith(UNMAPPED)}
    lost = {path for path in paths if not _module_of(path)} - BEHAVIOURS.keys()
    assert sorted(lost) == []
    listed = {path for path in BEHAVIOURS if path.startswith(f"tests/{top}/")}
    if top == "tests":
        listed = {path for path in BEHAVIOURS if path.count("/") == 1}
    assert sorted(listed - paths) == [], "listed, and not there any more"


@pytest.mark.parametrize("voice", VOICES)
def test_timed_speech_has_the_machine_to_itself(voice: str) -> None:
    """A test module with one of :data:`VOICES` is marked ``realtime``, as ``make test`` asks."""
    users = [path for path in (ROOT / "tests").rglob("test_*.py") if voice in _imported(path)]
    assert users
    assert [path.name for path in users if not _is_realtime(path)] == []


def _imported(path: Path) -> set[str]:
    """The modules that a test module names in its imports, relative ones whole."""
    here = path.parent.relative_to(ROOT).parts
    found = set()
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) + 1 - node.level] if node.level else ()
            module = ".".join((*above, *filter(None, [node.module])))
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def _is_realtime(path: Path) -> bool:
    """True when the marks of all tests in a module have ``realtime`` among them."""
    return any(
        isinstance(statement, ast.Assign)
        and ast.unparse(statement.targets[0]) == "pytestmark"
        and "pytest.mark.realtime" in ast.unparse(statement.value)
        for statement in _parsed(path).body
    )


def _module_of(test: str) -> bool:
    """True when ``tests/X/test_Y.py`` has a module or package ``X/Y``."""
    folder, _, name = test.removeprefix("tests/").rpartition("/")
    if not folder:
        return False
    module = ROOT / folder / name.removeprefix("test_").removesuffix(".py")
    return module.with_suffix(".py").is_file() or _is_package(module)
