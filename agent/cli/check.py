"""``parley check``: reaches all that the settings name, to see that it is there and works."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
from livekit.agents.utils import http_context
from rich.text import Text

from agent import certificates
from telemetry.printable import printable

from . import probes, process, terminal
from .ending import Ending

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from config import Settings

    Probe = Callable[[], Awaitable[str]]

_SECRET: Final = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|DSN|HEADERS", re.IGNORECASE)
_PATH: Final = re.compile(r"FILE(_SET_ASIDE)?$", re.IGNORECASE)
"""A variable that names a file: which one may be shown."""
_STYLES: Final = {"ok": "green", "problem": "bold red", "warning": "yellow", "not set": "dim"}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; a line of text."""

    state: str
    """A key of ``_STYLES``."""
    name: str
    says: str
    ms: int | None = None


def check(settings: Settings, *, limit: float) -> bool:
    """Reach everything at once, a line of text for each as it answers; True if nothing is wrong.

    ``limit`` is the time each has, in seconds.
    """
    console = terminal.console()
    hidden = _secrets(settings)
    found, told = dict(_probes(settings)), list(_at_once(settings))
    width = max(len(name) for name in (*found, *(finding.name for finding in told)))
    problems = 0

    def show(finding: Finding) -> None:
        nonlocal problems
        problems += finding.state == "problem"
        says = finding.says
        for secret in hidden:
            says = says.replace(secret, "***")
        says = printable(says)
        row = Text(f"{finding.state:<8}", _STYLES[finding.state])
        row.append(f" {printable(finding.name):<{width}}  ", "bold")
        row.append(says, "")
        if finding.ms is not None:
            row.append(f"  {finding.ms} ms", "dim")
        console.print(row, soft_wrap=True)

    for finding in told:
        show(finding)
    with Ending(process.CLOSING_SECONDS, deliver=lambda _: None) as ending:
        anyio.run(_probe_all, found, limit, show, ending)
    counted = "1 problem" if problems == 1 else f"{problems} problems"
    console.print("All is well." if not problems else f"{counted}.")
    return not problems


async def _probe_all(
    found: dict[str, Probe], limit: float, show: Callable[[Finding], None], ending: Ending
) -> None:
    waiting = set(found)
    console = terminal.console(stderr=True)
    async with (
        http_context.open(),  # where plugins find their HTTP client
        ending.heard() as stopping,
        anyio.create_task_group() as tasks,
    ):

        async def one(name: str, probe: Probe) -> None:
            finding = await _probe(name, probe, limit)
            waiting.discard(name)
            show(finding)
            status.update(f"waiting for {', '.join(sorted(waiting))}")
            if not waiting:
                stopping.drain.set()

        with console.status(f"waiting for {', '.join(sorted(waiting))}") as status:
            for name, probe in found.items():
                tasks.start_soon(one, name, probe)
            await stopping.drain.wait()
            tasks.cancel_scope.cancel()
    for name in sorted(waiting):
        show(Finding("problem", name, "was not waited for"))


async def _probe(name: str, probe: Probe, limit: float) -> Finding:
    began = time.perf_counter()
    state, says = "problem", f"no answer within {limit:g} s: see --timeout"
    with anyio.move_on_after(limit):
        try:
            state, says = "ok", await probe()
        except probes.Problem as problem:
            says = str(problem)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other checks go on
            says = probes.reason(error)
    return Finding(state, name, says, round(1000 * (time.perf_counter() - began)))


def _at_once(settings: Settings) -> Iterator[Finding]:
    """Findings from the settings alone."""
    yield Finding("ok", "settings", "can be read")
    if (warning := process.open_to_all(settings)) is not None:
        yield Finding("warning", "gateway token", warning)
    for warning in certificates.warnings(os.environ):
        yield Finding("warning", "certificates", warning)
    if settings.trace_store is None:
        yield Finding("not set", "trace store", "PARLEY_TRACE_STORE is off: no local traces")
    if settings.sentry_dsn is None:
        yield Finding("not set", "sentry", "SENTRY_DSN: conversations stay on this machine")
    if not os.environ.get("LIVEKIT_URL"):
        yield Finding("not set", "livekit", "LIVEKIT_URL: needed for rooms only")


def _probes(settings: Settings) -> Iterator[tuple[str, Probe]]:
    choice = process.choice(settings)
    yield "agent", partial(probes.agent, settings.agent)
    for name in choice.stt:
        yield f"recognition {name}", partial(probes.recognition, choice, name)
    for name in choice.llm:
        yield f"language model {name}", partial(probes.language_model, choice, name)
    for name in choice.tts:
        yield f"voice {name}", partial(probes.voice, choice, name)
    if settings.agent.startswith("agent.desk:"):
        yield "reservations", partial(probes.reservations, settings.reservations_url)
    if settings.trace_store is not None:
        yield "trace store", partial(probes.trace_store, settings.trace_store)
    if settings.sentry_dsn is not None:
        yield "sentry", partial(probes.sentry, settings.sentry_dsn.get_secret_value())
    if settings.otlp_endpoint is not None:
        yield "collector", partial(_collector, settings)
    if url := os.environ.get("LIVEKIT_URL"):
        key, secret = (os.environ.get(f"LIVEKIT_API_{name}", "") for name in ("KEY", "SECRET"))
        yield "livekit", partial(probes.livekit, url, key, secret)
    yield "gateway port", partial(probes.gateway_port, settings.gateway_host, settings.gateway_port)


async def _collector(settings: Settings) -> str:
    found = process.collector(settings)
    assert found is not None
    return await probes.collector(found)


def _secrets(settings: Settings) -> list[str]:
    """Values that no finding may show, the longest first; words too short to be secret aren't."""
    options = (settings.stt_options, settings.llm_options, settings.tts_options)
    named = [
        *os.environ.items(),
        *((name, str(value)) for o in options for own in o.values() for name, value in own.items()),
        *((f"{name} HEADERS", value) for name, value in settings.otlp_headers),
    ]
    values = {
        value
        for name, value in named
        if _SECRET.search(name) and not _PATH.search(name) and len(value) > 5
    }
    return sorted(values, key=len, reverse=True)
