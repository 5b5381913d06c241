"""Several processes on one port: shared, replaced, ended together."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import anyio
import httpx
import pytest

from agent import gateway
from agent.cli import processes
from agent.cli.ending import Ending
from agent.cli.line import DRAIN
from agent.gateway import CloseCode, Disconnected, Ended, Start, Words
from agent.session.line import Outcome
from agent.siblings import ask, socket_of
from tests.system.program import Program

from .fast_agent import SETTINGS
from .test_app import _environ, parley

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

CAP: Final = 8
DRAIN_SECONDS: Final = 3.0
DEADLINE_SECONDS: Final = 30.0
"""Time that must be enough for an end on a busy machine."""
ALL_THERE: Final = "gateway: 2 processes take calls"


class Two(Program):
    """``parley serve --processes 2``; what they share is below ``temporary``."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        environ = {
            **SETTINGS,
            "PARLEY_MAX_SESSIONS": str(CAP),
            "PARLEY_DRAIN_TIMEOUT": f"{DRAIN_SECONDS:g}",
            "PARLEY_METRICS_PORT": "0",
            "TMPDIR": str(temporary),
        }
        self._temporary = temporary
        program = "from agent.cli import main; main()"
        command = [sys.executable, "-c", program, "serve", "--port", "0", "--processes", "2"]
        super().__init__(command, cwd=folder, env={**_environ(), **environ})

    def wait_until_both_listen(self, times: int = 1) -> None:
        self.wait_for_count(ALL_THERE, times)

    @property
    def url(self) -> str:
        """Where they take calls."""
        return str(re.findall(r"listening on (ws://\S+)", self.said)[0])

    def children(self) -> list[int]:
        """The processes that take calls."""
        own = self.process.pid
        return [int(pid) for pid in Path(f"/proc/{own}/task/{own}/children").read_text().split()]

    async def figures(self) -> dict[str, float]:
        """Their metrics, those without labels."""
        url = re.findall(r"http://\S+/metrics", self.said)[0]
        async with httpx.AsyncClient(trust_env=False) as http:
            lines = (await http.get(url)).text.splitlines()
        return {line.split()[0]: float(line.split()[1]) for line in lines if line[0] != "#"}

    async def held(self, child: int) -> int:
        """Calls that one of them holds."""
        said = await ask(socket_of(self.shared()[0], child), "health")
        assert said is not None
        return int(re.findall(r'"sessions": (\d+)', said)[0])

    def shared(self) -> list[Path]:
        """The folder that they share; none once all is over."""
        return list(self._temporary.glob("parley-*"))


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with room for sockets, which pytest's own may be too deep for, side by side."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def two(tmp_path: Path, short: Path) -> Iterator[Two]:
    """Both have begun to listen. At the end nothing of them is left, however it came."""
    program = Two(tmp_path, short)
    children: list[int] = []
    try:
        program.wait_until_both_listen()
        children = program.children()
        assert len(children) == 2
        yield program
    finally:
        for pid in (program.process.pid, *children):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        program.process.wait()


class Calls(AsyncExitStack):
    """Calls that are open."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.open: list[gateway.Call] = []

    async def call(self, id: str | None = None) -> None:
        """One more."""
        start = Start(sample_rate=16000, id=id)
        self.open.append(await self.enter_async_context(gateway.connect(self._url, start=start)))

    async def until_all_have_some(self, two: Two) -> None:
        """Call until each process holds a call; the kernel deals them by chance."""
        while 0 in [await two.held(child) for child in two.children()]:
            if len(self.open) == CAP:
                await hang_up(self.open.pop(0))
            await self.call()

    async def refused(self, id: str | None = None) -> int:
        """The code with which one more call is refused."""
        with pytest.raises(Disconnected) as refused:
            await self.call(id)
        return refused.value.code


async def hang_up(call: gateway.Call) -> None:
    """End a call, to the last word."""
    await call.end()
    async for _ in call:
        pass


async def answers(call: gateway.Call) -> bool:
    """True when the agent says something to what is typed; False when the call is over."""
    try:
        await call.send_text("still there?")
        async for message in call:
            if message == Words(speaker="agent", text="You said: still there?", final=True):
                return True
    except Disconnected:
        pass
    return False


@pytest.mark.timeout(180)
async def test_one_that_is_killed_costs_its_own_calls(two: Two) -> None:
    """Cap, ids, health and metrics are of both together, whichever of them is asked. When one is
    killed, the other's calls go on; it is replaced, counters don't fall, and what it held is closed
    in the store."""
    async with Calls(two.url) as calls:
        await calls.call("mine")
        assert {await calls.refused("mine") for _ in range(8)} == {CloseCode.ID_TAKEN}
        await calls.until_all_have_some(two)
        while len(calls.open) < CAP:
            await calls.call()
        assert {await calls.refused() for _ in range(8)} == {CloseCode.TRY_AGAIN_LATER}
        async with httpx.AsyncClient(trust_env=False) as http:
            url = two.url.replace("ws", "http", 1) + "/health"
            found = [(await http.get(url)).json() for _ in range(8)]
        assert {(each["sessions"], each["processes"]) for each in found} <= {(CAP, 2)}
        before = await two.figures()
        assert before["parley_sessions"] == before["parley_sessions_max"] == CAP
        assert before["parley_processes"] == 2

        killed = two.children()[0]
        lost = await two.held(killed)
        os.kill(killed, signal.SIGKILL)
        assert [await answers(call) for call in calls.open].count(False) == lost
        await anyio.to_thread.run_sync(two.wait_until_both_listen, 2)
        after = await two.figures()
        assert after["parley_sessions"] == CAP - lost
        assert after["parley_telemetry_recovered_total"] == lost
        assert after["parley_processes_replaced_total"] == 1
        name = "parley_telemetry_conversations_total"
        assert after[name] >= before[name]
        assert killed not in two.children()
        for _ in range(lost):
            await calls.call()
        assert await calls.refused() == CloseCode.TRY_AGAIN_LATER
    two.signal(signal.SIGTERM)
    assert await anyio.to_thread.run_sync(lambda: two.exit_code(timeout=DEADLINE_SECONDS)) == 0


async def at_once(two: Two) -> None:
    """Ask the one that keeps the others."""
    two.signal(signal.SIGTERM)


async def with_all(two: Two) -> None:
    """Ask it and each of the others at the same time, as systemd does; and the others again."""
    children = two.children()
    for pid in (two.process.pid, *children):
        os.kill(pid, signal.SIGTERM)
    await anyio.to_thread.run_sync(two.wait_for_count, "draining", 2)
    for pid in children:
        os.kill(pid, signal.SIGTERM)


async def and_end_the_keeper(two: Two) -> None:
    """Ask it, and kill it while the others drain."""
    two.signal(signal.SIGTERM)
    await anyio.to_thread.run_sync(two.wait_for_count, "draining", 2)
    two.process.kill()


async def by_hanging_up(two: Two) -> None:
    """Close its terminal, which is said twice where a shell says it too."""
    two.signal(signal.SIGHUP)
    await anyio.to_thread.run_sync(two.wait_for_count, "draining", 2)
    two.signal(signal.SIGHUP)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("asked", "code"),
    [(at_once, 0), (with_all, 0), (and_end_the_keeper, -signal.SIGKILL), (by_hanging_up, 0)],
)
async def test_all_drain_together(
    two: Two, asked: Callable[[Two], Awaitable[None]], code: int
) -> None:
    """At the signal nobody takes a call any more, and each call is said goodbye to. Nothing is left
    behind. However many hear of it: it is one wish."""
    async with Calls(two.url) as calls:
        await calls.until_all_have_some(two)
        await asked(two)
        for call in calls.open:
            assert [message async for message in call][-1] == Ended(outcome=Outcome.SHUTDOWN)
            assert call.close_code == CloseCode.GOING_AWAY
        with pytest.raises(gateway.ConnectError):
            await calls.call()
    assert await anyio.to_thread.run_sync(lambda: two.process.wait(DEADLINE_SECONDS)) == code
    await anyio.to_thread.run_sync(two.wait_for_silence)
    assert two.said.count("said goodbye to") == 2
    assert two.shared() == []


@pytest.mark.timeout(120)
async def test_a_second_signal_ends_all_at_once(two: Two) -> None:
    """Their calls are cut off; nobody waits for them."""
    async with Calls(two.url) as calls:
        await calls.until_all_have_some(two)
        two.signal(signal.SIGTERM)
        await anyio.to_thread.run_sync(two.wait_for_count, "draining", 2)
        two.signal(signal.SIGTERM)
        await anyio.to_thread.run_sync(two.wait_for_count, "cut off", 2)
    assert await anyio.to_thread.run_sync(lambda: two.exit_code(timeout=DEADLINE_SECONDS)) == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("signals", "code"), [(1, 1), (3, 128 + signal.SIGTERM)])
def test_those_that_hang_are_killed(two: Two, signals: int, code: int) -> None:
    """Past the deadline that each of them keeps by itself, or at the third signal."""
    for child in two.children():
        os.kill(child, signal.SIGSTOP)
    for _ in range(signals):
        two.signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            two.process.wait(0.5)  # signals that come together are one
    assert two.exit_code(timeout=DEADLINE_SECONDS) == code
    two.wait_for_silence()
    assert two.shared() == []


@pytest.mark.timeout(120)
def test_they_do_not_outlive_who_keeps_them(two: Two) -> None:
    """Killed, it can't tell them: they drain by themselves."""
    two.process.kill()
    two.wait_for_silence()
    assert two.said.count("draining: 0 calls") == 2
    assert two.shared() == []


@pytest.mark.timeout(120)
async def test_nobody_misses_what_was_tidied_up(two: Two) -> None:
    """Who cleans temporary folders may take all that is in theirs: one that ends is replaced, and
    they share the seats as before."""
    for path in two.shared()[0].iterdir():
        path.unlink()
    os.kill(two.children()[0], signal.SIGKILL)
    await anyio.to_thread.run_sync(two.wait_until_both_listen, 2)
    async with Calls(two.url) as calls:
        for _ in range(CAP):
            await calls.call()
        assert {await calls.refused() for _ in range(8)} == {CloseCode.TRY_AGAIN_LATER}


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"PARLEY_AGENT": "agent.desk:Nobody"}, "has no 'Nobody'"),
        ({"PARLEY_GATEWAY_HOST": "256.0.0.1", "PARLEY_GATEWAY_TOKEN": "t"}, "PARLEY_GATEWAY_PORT"),
        ({"PARLEY_PROCESSES": "0"}, "PARLEY_PROCESSES"),
    ],
)
def test_bad_settings_are_said_once(tmp_path: Path, environ: dict[str, str], said: str) -> None:
    """One line and exit code 2, as of one process."""
    settings = {"PARLEY_PROCESSES": "3", "PARLEY_GATEWAY_PORT": "0", **environ}
    code, _, error = parley(tmp_path, "serve", **settings)
    assert said in error
    assert (code, error.count("\n")) == (2, 1), error


# -- with processes that are quick to start --------------------------------------------------------


class Heard(Ending):
    """An end that is asked for here, and not by signals."""

    def __init__(self) -> None:
        super().__init__(60.0, deliver=lambda _: None)


def fleet(folder: Path, *lives: str, number: int = 1) -> processes.Fleet:
    """Processes of which the first one lives the first life, and so on; those after, the last."""
    program = f"""
import os, socket, sys
lives, line = {lives!r}, socket.socket(fileno=int(sys.argv[2]))
number = len(os.listdir({str(folder / "lives")!r}))
open(os.path.join({str(folder / "lives")!r}, str(os.getpid())), "w").close()
exec(lives[min(number, len(lives) - 1)])
"""
    (folder / "lives").mkdir()
    parley = folder / "parley"
    parley.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    parley.chmod(0o700)
    return processes.Fleet([str(parley), "-c", program], [], number=number, folder=folder, seats=2)


def started(folder: Path) -> int:
    """How many have been started."""
    return len(list((folder / "lives").iterdir()))


@pytest.mark.parametrize(("code", "told"), [(2, 2), (1, 1), (7, 1)])
async def test_one_that_can_not_begin_is_not_tried_again(
    tmp_path: Path, code: int, told: int
) -> None:
    """The first one has said why: bad settings are 2, as of one process."""
    assert await fleet(tmp_path, f"sys.exit({code})").keep(Heard(), None) == told
    assert started(tmp_path) == 1


async def test_those_that_end_again_and_again_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, exit code 1."""
    monkeypatch.setattr(processes, "_LONGEST_WAIT_SECONDS", 0.0)
    assert (
        await fleet(tmp_path, "line.send(b'!'); os.kill(os.getpid(), 9)").keep(Heard(), None) == 1
    )
    assert started(tmp_path) == processes.MOST_FAILURES
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("parley: process 0 has ended 6 times soon after its start, with signal ")


@pytest.mark.parametrize(
    ("life", "ended"), [("os.kill(os.getpid(), 9)", "ended by SIGKILL"), ("sys.exit(0)", "ended")]
)
async def test_one_that_is_ended_at_its_start_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], life: str, ended: str
) -> None:
    """By this process: killed, it can't tell itself; asked to stop, it has nothing to tell."""
    assert await fleet(tmp_path, life).keep(Heard(), None) == 1
    assert capsys.readouterr().err == f"parley: process 0 was {ended} while it started\n"


async def test_a_first_one_that_can_not_be_started_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, exit code 1."""
    kept = fleet(tmp_path, "")
    (tmp_path / "parley").unlink()
    assert await kept.keep(Heard(), None) == 1
    said = "parley: process 0 can't be started: No such file or directory\n"
    assert capsys.readouterr().err == said


async def test_one_that_can_not_be_replaced_leaves_no_orphans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A start that the system refuses is one that failed. At the last one the others drain, and
    what the operator asks for then for the first time is no more than that."""
    monkeypatch.setattr(processes, "_LONGEST_WAIT_SECONDS", 0.0)
    heard = tmp_path / "heard"
    steady = f"""
line.send(b"!")
with open({str(heard)!r}, "ab", buffering=0) as heard:
    heard.write(line.recv(1))
    heard.write(line.recv(1))
"""
    last = f"os.unlink({str(tmp_path / 'parley')!r}); line.send(b'!')"
    kept, ending = fleet(tmp_path, steady, last, number=2), Heard()
    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            while not heard.exists() or not heard.read_bytes():  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(0.02)
            ending.ask(now=False)

        tasks.start_soon(ask)
        assert await kept.keep(ending, None) == 1
    assert heard.read_bytes() == 2 * DRAIN
    said = "parley: process 1 can't be started: No such file or directory; all are stopped\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(("its", "code"), [(0, 0), (3, 1)])
async def test_the_exit_code_is_of_all(tmp_path: Path, its: int, code: int) -> None:
    """0 only if each of them ended well; and one that has ended before is replaced."""
    ending = Heard()
    life = f"line.send(b'!'); line.recv(1); sys.exit({its})"
    kept = fleet(tmp_path, "line.send(b'!'); sys.exit(0)", life)
    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            while started(tmp_path) < 2 or not kept.answering:  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(0.02)
            ending.ask(now=False)

        tasks.start_soon(ask)
        assert await kept.keep(ending, None) == code
