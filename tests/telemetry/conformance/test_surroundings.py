"""Two conversations in whatever process there may be: Ada's and Bob's, at random, against a model.

How Sentry is set up, which loggers and integrations there are, which boundaries are crossed and
what is called in between is drawn. Whatever it is, each span, error and log arrives once, in its
own conversation's trace, under its own user and tags, or is accounted for. What hypothesis prints
when it fails is a call of :func:`hold`: make that a test of its own, then mend it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import loguru
import pytest
import sentry_sdk
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from sentry_sdk.integrations.asyncio import enable_asyncio_integration
from sentry_sdk.integrations.loguru import LoguruIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.integrations.unraisablehook import UnraisablehookIntegration

from telemetry.testing import capture

from .hosts import Host
from .surroundings import (
    BLOCKS,
    CARRIED,
    LEFT,
    LOGGERS,
    SAYS,
    SETS,
    WITHIN,
    Step,
    Surroundings,
    World,
    hook,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from telemetry.testing import Captured

    from .surroundings import Made

EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "40"))
SEED: Final = os.environ.get("FUZZ_SEED")
"""Set by ``make fuzz``; without it the examples are the same in every run."""
_INTEGRATIONS: Final[dict[str, Any]] = {
    "loguru": LoguruIntegration,
    "threading": ThreadingIntegration,
    "unraisablehook": UnraisablehookIntegration,
}
_HOOKS: Final = ("before_send", "before_send_transaction", "before_send_span", "before_send_log")


# -- what is drawn -------------------------------------------------------------------------------

_hooks = st.sampled_from(("none", "passes", "logs", "reports", "spans", "raises"))
_options = st.fixed_dictionaries(
    {},
    optional={  # what telemetry.init refuses is left out
        "enable_logs": st.booleans(),
        "attach_stacktrace": st.booleans(),
        "max_breadcrumbs": st.sampled_from((0, 1, 100)),
        "send_content": st.booleans(),
        "send_default_pii": st.booleans(),
        "strict": st.booleans(),
        "max_value_length": st.sampled_from((100, 1_000, 100_000)),
        "stream_gen_ai_spans": st.booleans(),
        "server_name": st.just("somewhere"),
        "max_request_body_size": st.sampled_from(("never", "always")),
        "in_app_include": st.just(["tests"]),
    },
)
_surroundings = st.builds(
    Surroundings,
    lifecycle=st.sampled_from(("transaction", "stream")),
    library=st.sampled_from(("transaction", "stream")),
    loops=st.sampled_from((1, 2)),
    opened=st.sampled_from(("here", "before")),
    asyncio=st.booleans(),
    integrations=st.lists(st.sampled_from(sorted(_INTEGRATIONS)), unique=True).map(tuple),
    auto_enabling=st.booleans(),
    default_integrations=st.booleans(),
    before_send=_hooks | st.just("refuses"),
    before_send_transaction=_hooks,
    before_send_span=_hooks,
    before_send_log=_hooks | st.just("refuses"),
    before_breadcrumb=_hooks | st.just("refuses"),
    event_processor=_hooks,
    custom_repr=st.sampled_from(("none", "passes", "raises", "logs")),
    spotlight=st.booleans(),
    options=_options.map(lambda drawn: tuple(sorted(drawn.items()))),
)
_who = st.sampled_from(("ada", "bob"))
_says = st.builds(
    Step,
    who=_who,
    what=st.sampled_from(SAYS),
    across=st.sampled_from((*WITHIN, *CARRIED, *LEFT)),
    by=st.sampled_from(LOGGERS),
    along=st.booleans(),
)
_does = st.builds(
    Step,
    who=_who,
    what=st.sampled_from((*SETS, *BLOCKS, *BLOCKS, "leave", "leave")),
    along=st.booleans(),
)
_rarely = st.builds(Step, who=_who, what=st.sampled_from(("close", "init_again")))
_steps = st.lists(st.one_of(_says, _says, _says, _does, _does, _rarely), min_size=2, max_size=14)


# -- the process ---------------------------------------------------------------------------------


def _init_options(surroundings: Surroundings) -> dict[str, Any]:
    options = dict(surroundings.options)
    hooks = {name: getattr(surroundings, name) for name in (*_HOOKS, "before_breadcrumb")}
    if surroundings.lifecycle != "stream":
        hooks.pop("before_send_span")  # Sentry warns that it is never asked
    options |= {name: hook(kind) for name, kind in hooks.items() if kind != "none"}
    if surroundings.custom_repr != "none":
        asked = hook(surroundings.custom_repr)
        options["custom_repr"] = lambda value: asked(None)
    if surroundings.spotlight:
        options["spotlight"] = "http://127.0.0.1:9/stream"
    options["integrations"] = [_INTEGRATIONS[name]() for name in surroundings.integrations]
    options["auto_enabling_integrations"] = surroundings.auto_enabling
    options["default_integrations"] = surroundings.default_integrations
    return {"strict": True, **options}


@contextmanager
def _loop(surroundings: Surroundings) -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        if surroundings.asyncio:
            asyncio.run_coroutine_threadsafe(_enable(), loop).result(10)
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _enable() -> None:
    enable_asyncio_integration()


@contextmanager
def _process() -> Iterator[None]:
    """Warnings are logged, loggers say nothing on the terminal, Sentry's scopes are fresh."""
    loguru.logger.remove()
    with (
        warnings.catch_warnings(),
        sentry_sdk.isolation_scope() as isolation,
        sentry_sdk.new_scope(),
    ):
        isolation.clear()
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        try:
            yield
        finally:
            logging.captureWarnings(False)
            sentry_sdk.get_global_scope().set_client(None)


def hold(surroundings: Surroundings, steps: Sequence[Step]) -> None:
    """Hold the two conversations in these surroundings, and check what arrives of them."""
    with ExitStack() as stack:
        stack.enter_context(_process())
        world = World(surroundings, stack.enter_context(ThreadPoolExecutor(2)))
        captured = stack.enter_context(
            capture(lifecycle=surroundings.lifecycle, **_init_options(surroundings))
        )
        loops = [stack.enter_context(_loop(surroundings)) for _ in range(surroundings.loops)]
        ada, bob = Host(world, "ada", loops[0]), Host(world, "bob", loops[-1])
        ada.other, bob.other = bob, ada
        _play({"ada": ada, "bob": bob}, steps)
        world.leftovers.clear()
        gc.collect()
        world.close()
        _check(world, captured, (ada, bob))


def _play(hosts: dict[str, Host], steps: Sequence[Step]) -> None:
    serving = [asyncio.run_coroutine_threadsafe(h.serve(), h.loop) for h in hosts.values()]
    running: list[tuple[str, Future[Any]]] = []
    for step in steps:
        if not step.along or any(who == step.who for who, _ in running):
            for _, done in running:
                done.result(10)
            running.clear()
        host = hosts[step.who]
        running.append((step.who, host.ask(partial(host.do, step))))
    for _, done in running:
        done.result(10)
    for host in hosts.values():
        host.ask(host.end).result(10)
    for host in hosts.values():
        host.ask(host.after).result(10)
        host.stop()
    for served in serving:
        served.result(10)


# -- what must be so -----------------------------------------------------------------------------


def _check(world: World, captured: Captured, hosts: tuple[Host, Host]) -> None:
    arrived = _arrived(captured, world)
    stats = captured.runtime.stats()
    for name, made in world.made.items():
        for trace_id, shown in arrived[made.kind, name]:
            _assert_its_own(name, made, trace_id, shown)
    surroundings, options = world.surroundings, dict(world.surroundings.options)
    lost: list[str] = []
    elsewhere = b"".join(world.others).decode()
    for name, made in world.made.items():
        if (
            name in elsewhere
        ):  # what a library's sentry_sdk.init takes once the conversation is over
            assert made.states is None, f"{name} went to another client"
            continue
        if made.kind == "log" and not options.get("enable_logs"):
            continue
        times = len(arrived[made.kind, name])
        most = 1 if surroundings.default_integrations or made.kind != "error" else 2
        assert times <= most, f"{name} arrived {times} times"
        if not times and not _is_refused(surroundings, made.kind) and not world.may_lose(made):
            lost.append(name)
    for host in hosts:
        _assert_summary(host, captured)
    raising = any(getattr(surroundings, name) == "raises" for name in _HOOKS)
    assert stats.orphan_spans == stats.faults == 0, stats
    if raising:
        assert len(lost) <= stats.dropped.get("callback_error", 0), (lost, stats)
        assert set(stats.dropped) <= {"callback_error"}, stats
    else:
        assert (lost, stats.dropped_spans) == ([], 0), (lost, stats)
    assert stats.conversations == 2


def _is_refused(surroundings: Surroundings, kind: str) -> bool:
    hooks = {"error": surroundings.before_send, "log": surroundings.before_send_log}
    return hooks.get(kind) == "refuses"


def _assert_its_own(name: str, made: Made, trace_id: str, shown: dict[str, Any]) -> None:
    owner = made.owner
    assert trace_id in owner.traces, f"{name} is in another trace"
    user = shown.get("user")
    if made.kind == "span":
        return
    if user is not None or made.kind == "error":
        assert str(user).startswith(owner.who), f"{name} is under user {user}"
    mine = {key: value for key, value in shown["tags"].items() if value in ("ada", "bob")}
    assert set(mine.values()) <= {owner.who}, f"{name} has tags {mine}"
    if made.states is not None and made.kind == "error":
        got = user, mine, shown["context"]
        states = [(state.user, dict(state.tags), state.context) for state in made.states]
        assert got in states, f"{name} is under {got}, not one of {states}"


def _assert_summary(host: Host, captured: Captured) -> None:
    """Its transaction has the user and the tags that it had when it ended."""
    for event in captured.conversations:
        if event["transaction"] == host.who:
            assert host.final is not None
            assert event["contexts"]["trace"]["trace_id"] == host.conversation.trace_id
            assert event["user"]["id"] == host.final.user
            assert event.get("tags", {}) == dict(host.final.tags)


def _arrived(captured: Captured, world: World) -> _Arrived:
    found = _Arrived()
    for event in captured.transactions if world.surroundings.lifecycle == "transaction" else ():
        trace_id = event["contexts"]["trace"]["trace_id"]
        found.add("span", event["transaction"], trace_id, {})
        for span in event["spans"]:
            found.add("span", span.get("description"), span["trace_id"], {})
    for span in captured.streamed:
        found.add("span", span["name"], span["trace_id"], {})
    for event in captured.errors:
        shown = {
            "user": event.get("user", {}).get("id"),
            "tags": event.get("tags") or {},
            "context": event["contexts"].get("call", {}).get("number"),
        }
        values = (event.get("exception") or {}).get("values") or ()
        texts = {str(value.get("value")) for value in values}
        texts |= {str((event.get("logentry") or {}).get("formatted")), str(event.get("message"))}
        for text in texts:
            found.add("error", text, event["contexts"]["trace"]["trace_id"], shown)
    for log in _logs(captured):
        user = log["attributes"].get("user.id", {}).get("value")
        found.add("log", log["body"], log["trace_id"], {"user": user, "tags": {}})
    return found


class _Arrived(dict[tuple[str, str], list[tuple[str, dict[str, Any]]]]):
    """Trace id and surroundings of what arrived, by kind and name."""

    def __missing__(self, key: tuple[str, str]) -> list[tuple[str, dict[str, Any]]]:
        return []

    def add(self, kind: str, text: object, trace_id: str, shown: dict[str, Any]) -> None:
        """Add something, if its text has a name that was given in one of the conversations."""
        for word in str(text).split():
            if "-made-" in word:
                name = word[: word.rindex(".") + 1] if "." in word else word
                self.setdefault((kind, name), []).append((trace_id, shown))


def _logs(captured: Captured) -> Iterator[dict[str, Any]]:
    for envelope in captured.envelopes:
        lines = envelope.split(b"\n")
        for header, body in zip(lines[1::2], lines[2::2], strict=False):
            if json.loads(header).get("type") == "log":
                yield from json.loads(body)["items"]


# -- the tests -----------------------------------------------------------------------------------


@given(_surroundings, _steps)
def _fuzz(surroundings: Surroundings, steps: list[Step]) -> None:
    hold(surroundings, steps)


@pytest.mark.usefixtures("settled")
@pytest.mark.timeout(900)
def test_no_surroundings_orphan_mix_or_lose_anything() -> None:
    """Random processes and what two conversations do in them."""
    test = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=SEED is None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )(_fuzz)
    if SEED is not None:
        test = seed(int(SEED))(test)
    test()
