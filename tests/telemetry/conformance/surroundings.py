"""A stranger's process as it is drawn by :mod:`.test_surroundings`, and what is then done in it.

A :class:`Surroundings` says how the process is set up, a :class:`Step` what one of the two who talk
then does. Their text is Python: what fails can be pasted into a test.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, field, fields, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
from sentry_sdk.transport import Transport

import telemetry

from .whole import plain

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from concurrent.futures import Executor
    from contextlib import AbstractContextManager

    from sentry_sdk.client import BaseClient
    from sentry_sdk.envelope import Envelope

    from .hosts import Host
    from .whole import Lifecycle

WITHIN: Final = ("here", "create_task", "to_thread", "call_soon", "generator", "plain_generator")
"""Boundaries behind which everything is as it was, also what an isolation scope has set."""
CARRIED: Final = ("thread", "executor", "callback", "foreign")
"""Those that a conversation is carried across, by ``bind`` or ``attach``."""
LEFT: Final = ("outlives", "unretrieved")
"""Tasks that are waited for by nobody."""
LOGGERS: Final = ("logging", "structlog", "loguru")
SAYS: Final = (
    "ours",
    "plain",
    "capture",
    "capture_ours",
    "message",
    "error",
    "exception",
    "info",
    "warn",
)
SETS: Final = ("tag", "user", "context")
BLOCKS: Final = ("in_ours", "in_plain", "in_isolation", "in_scope", "in_transaction")

logger = logging.getLogger("surroundings")
logger.setLevel(logging.INFO)


class Brief:
    """Shows only those of its fields that aren't as usual."""

    def __repr__(self) -> str:
        said = (
            f"{one.name}={getattr(self, one.name)!r}"
            for one in fields(self)  # type: ignore[arg-type]  # of dataclasses only
            if getattr(self, one.name) != one.default
        )
        return f"{type(self).__name__}({', '.join(said)})"


@dataclass(frozen=True, repr=False)
class Surroundings(Brief):
    """The process: how Sentry is set up, and where the two conversations are held."""

    lifecycle: Lifecycle = "transaction"
    library: Lifecycle = "transaction"
    """Of the client of a library that calls ``sentry_sdk.init``, too."""
    loops: int = 1
    opened: str = "here"
    asyncio: bool = False
    integrations: tuple[str, ...] = ()
    auto_enabling: bool = True
    default_integrations: bool = True
    before_send: str = "none"
    before_send_transaction: str = "none"
    before_send_span: str = "none"
    before_send_log: str = "none"
    before_breadcrumb: str = "none"
    event_processor: str = "none"
    custom_repr: str = "none"
    spotlight: bool = False
    options: tuple[tuple[str, Any], ...] = ()
    """Further options of ``telemetry.init``."""


@dataclass(frozen=True, repr=False)
class Step(Brief):
    """The next thing that one of the two does; ``along`` with what the other still does."""

    who: str = "ada"
    what: str = "ours"
    across: str = "here"
    by: str = "logging"
    along: bool = False


@dataclass(frozen=True)
class State:
    """The things that were set where something was said."""

    user: str
    tags: tuple[tuple[str, str], ...] = ()
    context: int | None = None

    def tagged(self, key: str, value: str) -> State:
        return replace(self, tags=tuple(sorted({**dict(self.tags), key: value}.items())))


@dataclass(frozen=True)
class Made:
    """Something that must arrive once: a span, an error or a log.

    ``states`` are those that it may show; None: its conversation's user, and nothing of another's.
    ``is_sentrys``: it is a span of a transaction that Sentry's own API began, or in one.
    """

    kind: str
    owner: Host
    states: tuple[State, ...] | None
    is_sentrys: bool = False


@dataclass
class Block:
    """Something that the host has entered: which kind, and what was set outside of it."""

    kind: str
    manager: AbstractContextManager[Any]
    outside: State
    local: tuple[tuple[str, str], ...]
    after_the_end: bool = False


class _Elsewhere(Transport):
    """The transport of a second ``sentry_sdk.init``."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def capture_envelope(self, envelope: Envelope) -> None:
        self._world.others.append(envelope.serialize())


@dataclass
class World:
    """The things that both share."""

    surroundings: Surroundings
    pool: Executor
    made: dict[str, Made] = field(default_factory=dict)
    leftovers: list[Any] = field(default_factory=list)
    """Tasks that failed and that nobody asks: collected where the other one runs."""
    go: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = field(default_factory=list)
    others: list[bytes] = field(default_factory=list)
    """Envelopes that went to another client's transport."""
    libraries: list[BaseClient] = field(default_factory=list)
    """Clients of a library that has called ``sentry_sdk.init``."""

    numbers: count[int] = field(default_factory=count)

    def named(self, host: Host) -> str:
        return f"{host.who}-made-{next(self.numbers)}."

    def init_again(self) -> None:
        """Call ``sentry_sdk.init`` as a library does that has a project of its own."""
        sentry_sdk.init(
            transport=_Elsewhere(self),
            default_integrations=False,
            trace_lifecycle="stream" if self.surroundings.library == "stream" else "static",
        )
        self.libraries.append(sentry_sdk.get_global_scope().client)

    def may_lose(self, made: Made) -> bool:
        """True for what such a client can be given, and drops: it has another lifecycle."""
        differs = self.surroundings.library != self.surroundings.lifecycle
        return made.is_sentrys and bool(self.libraries) and differs

    def close(self) -> None:
        """Have those clients send what they have taken."""
        for client in self.libraries:
            client.close()


def hook(kind: str) -> Callable[..., Any]:
    """A hook of the operator's, of some kind."""

    def called(thing: Any, *_: Any) -> Any:
        match kind:
            case "raises":
                raise RuntimeError("of a hook")
            case "logs":
                logger.error("of a hook")
            case "reports":
                sentry_sdk.capture_exception(RuntimeError("of a hook"))
            case "spans":
                with contextlib.suppress(telemetry.MissingConversation), plain("hook", "of a hook"):
                    pass
            case "refuses":
                return None
        return thing

    return called
