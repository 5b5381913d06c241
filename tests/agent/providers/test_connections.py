"""HTTP clients that sessions share: made before they are needed, enough for all, closed."""

from __future__ import annotations

import ssl
import sys
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.lowlevel import checkpoint
from livekit.agents import llm

from agent.providers import Connections, connections, load, remote, require

from .openai_server import OpenAIServer, all_openai

if TYPE_CHECKING:
    from agent.providers import Plugins

CALLERS = 130


async def test_a_first_call_waits_for_no_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates are read when the plugin is required, not on the loop where others speak."""
    monkeypatch.delitem(sys.modules, "agent.providers.openai", raising=False)
    make = remote.maker("llm", "openai", all_openai("https://127.0.0.1:9/v1", timeout=30))

    def late(*_: object, **__: object) -> ssl.SSLContext:
        raise AssertionError

    monkeypatch.setattr(ssl, "create_default_context", late)
    async with Connections.open() as clients:
        with clients.lent():
            model = make()
        await model.aclose()


async def test_as_many_ask_at_once_as_were_let_in() -> None:
    """No caller waits for another's connection."""
    server = OpenAIServer(hangs=True)
    async with server.serving() as base_url, Connections.open() as clients:
        choice = all_openai(base_url, timeout=30)
        require(choice)
        models = load(choice)

        async def ask(plugins: Plugins) -> None:
            await plugins.llm.chat(chat_ctx=llm.ChatContext.empty()).collect()

        async with anyio.create_task_group() as asking:
            for _ in range(CALLERS):
                asking.start_soon(ask, models.plugins(connections=clients))
            with anyio.fail_after(30):
                while server.open < CALLERS:
                    await checkpoint()
            asking.cancel_scope.cancel()


class _Client:
    """One whose closing goes wrong, which none of a library's own can be made to do."""

    def __init__(self, *, fails: bool = False, hangs: bool = False) -> None:
        self.fails, self.hangs = fails, hangs
        self.closed = False

    async def close(self) -> None:
        if self.hangs:
            await anyio.sleep_forever()
        if self.fails:
            raise OSError("gone")
        self.closed = True


async def test_each_client_is_closed_whatever_the_others_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One fails and one hangs: the others are closed, and the block's own error is raised."""
    monkeypatch.setattr(connections, "CLOSING_SECONDS", 0.05)
    made = [_Client(), _Client(fails=True), _Client(hangs=True), _Client()]

    async def use() -> None:
        async with Connections.open() as clients:
            for server, client in enumerate(made):
                clients.get(server, partial(next, iter([client])))
            raise LookupError

    with anyio.fail_after(20), pytest.raises(LookupError):
        await use()
    assert [client.closed for client in made] == [True, False, False, True]
    assert "did not close: OSError('gone')" in caplog.text
    assert "not closed within" in caplog.text
