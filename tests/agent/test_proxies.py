"""This machine is reached without a proxy, by all clients of ours; a useless proxy is one line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest
from livekit.agents import llm

from agent.cli import probes
from agent.desk import Reservations, serve
from agent.errors import InputError
from agent.providers import ProviderError, load, require
from agent.proxies import ProxyError, hide_from_livekit, is_loopback, spare_loopback
from tests.agent.providers.openai_server import OpenAIServer, all_openai
from tests.ingest import Ingest

if TYPE_CHECKING:
    from pathlib import Path

NOWHERE = "http://127.0.0.1:9"
"""A proxy that isn't there: whoever asks it gets no answer."""
SURROUNDINGS = [
    {"HTTP_PROXY": NOWHERE},
    {"http_proxy": NOWHERE, "NO_PROXY": "example.com,10.0.0.0/8"},
    {"HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE, "no_proxy": "example.com"},
    {"ALL_PROXY": "socks5://127.0.0.1:9"},
    {"all_proxy": "socks5h://127.0.0.1:9", "NO_PROXY": "[::1]"},
    {"ALL_PROXY": "ftp://127.0.0.1:9"},
    {"HTTPS_PROXY": "socks4://127.0.0.1:9"},
    {"HTTP_PROXY": "http://["},
    {"HTTP_PROXY": "http://proxy:port"},
]

each_surrounding = pytest.mark.parametrize(
    "surrounding",
    SURROUNDINGS,
    ids=lambda each: " ".join(f"{name}={value}" for name, value in each.items()),
)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def _set(monkeypatch: pytest.MonkeyPatch, surrounding: dict[str, str]) -> None:
    for name, value in surrounding.items():
        monkeypatch.setenv(name, value)


# -- this machine ----------------------------------------------------------------------------------


@each_surrounding
async def test_services_on_this_machine_are_asked_directly(
    surrounding: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The reservations service by address and by name, and Sentry's ingestion by `parley check`."""
    async with anyio.create_task_group() as tasks:

        async def run(*, task_status: anyio.abc.TaskStatus[str]) -> None:
            await serve(tmp_path / "book.db", port=0, task_status=task_status)

        url = await tasks.start(run)
        _set(monkeypatch, surrounding)
        for host in ("127.0.0.1", "localhost", "127.1", "0.0.0.0"):
            here = url.replace("127.0.0.1", host)
            async with Reservations.connect(here) as reservations:
                await reservations.check()
        with Ingest() as ingest:
            assert "takes envelopes" in await probes.sentry(ingest.dsn)
        tasks.cancel_scope.cancel()


@each_surrounding
async def test_a_model_server_on_this_machine_is_asked_directly(
    surrounding: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recognition, model and voice, with clients of their own as in rooms."""
    async with OpenAIServer().serving() as base_url:
        _set(monkeypatch, surrounding)
        choice = all_openai(base_url)
        require(choice)
        plugins = load(choice).plugins()
        async with plugins.tts.synthesize("Hello.") as speech:
            frame = await speech.collect()
        assert (await plugins.stt.recognize(frame)).alternatives
        assert (await plugins.llm.chat(chat_ctx=llm.ChatContext.empty()).collect()).text
        await plugins.aclose()


async def test_clients_that_others_make_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent's own httpx reaches a service beside it, as a command of ours has it."""
    async with OpenAIServer().serving() as base_url:
        _set(monkeypatch, {"HTTP_PROXY": NOWHERE, "NO_PROXY": "example.com, [::1]"})
        environ = dict(os.environ)
        spare_loopback(environ)
        _set(monkeypatch, environ)
        async with httpx.AsyncClient() as http:
            assert (await http.get(base_url)).status_code == 404
    assert os.environ["NO_PROXY"] == "example.com,::1,localhost,127.0.0.1"
    untouched: dict[str, str] = {}
    spare_loopback(untouched)
    assert untouched == {}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LocalHost.", True),
        ("app.localhost", True),
        ("127.0.0.1", True),
        ("127.255.0.1", True),
        ("127.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("128.0.0.1", False),
        ("::2", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_other_hosts(host: str, expected: bool) -> None:
    """127.0.0.0/8, ::1 and localhost, however they are written."""
    assert is_loopback(host) is expected


# -- other machines --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "proxy", ["ftp://proxy:9", "socks4://proxy:9", "http://[", "http://h:port", "no proxy"]
)
async def test_a_proxy_that_cannot_be_used_is_one_line(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it would be asked: the variable, what is wrong with it, what to give."""
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ProxyError, match=r"^ALL_PROXY, .* book\.example .* like http:") as said:
        async with Reservations.connect("http://book.example"):
            pass
    assert "\n" not in str(said.value)
    assert isinstance(said.value, InputError)
    assert proxy not in str(said.value)  # a password may be in it
    with pytest.raises(ProviderError, match=r"PARLEY_LLM=openai can't be used: .*ALL_PROXY"):
        require(all_openai("https://models.example/v1"))


async def test_a_socks_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """SOCKS needs nothing that isn't installed: the proxy is told the host's name (RFC 1928)."""
    asked = bytearray()

    async def connect(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"\x05\x00")
            asked.extend(await stream.receive())
            await stream.send(b"\x05\x00\x00\x01" + bytes(6))  # connected
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.extra_attributes[anyio.abc.SocketAttribute.local_port]()
    monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{port}")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, connect)
        async with Reservations.connect("http://book.example") as reservations:
            await reservations.check()
        tasks.cancel_scope.cancel()
    assert b"book.example" in asked


# -- LiveKit's client, which isn't in Python -------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "environ", "left"),
    [
        ("ws://127.0.0.1:7880", {"HTTP_PROXY": "p", "HTTPS_PROXY": "s"}, {"HTTPS_PROXY": "s"}),
        ("ws://localhost", {"http_proxy": "p", "HTTP_PROXY": "other"}, {}),
        ("wss://[::1]:7880", {"HTTP_PROXY": "p", "https_proxy": "p"}, {"HTTP_PROXY": "p"}),
        ("wss://voice.example", {"HTTPS_PROXY": "p"}, {"HTTPS_PROXY": "p"}),
    ],
)
def test_livekits_client_finds_no_proxy_for_this_machine(
    url: str, environ: dict[str, str], left: dict[str, str]
) -> None:
    """It reads the two usual names of the scheme's proxy; clients in Python still find it."""
    environ, is_kept = dict(environ), environ == left
    hide_from_livekit(url, environ)
    hidden = {environ.pop(name) for name in ("Http_Proxy", "Https_Proxy") if name in environ}
    assert environ == left
    assert hidden == (set() if is_kept else {"p"})


def test_livekits_client_minds_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that NO_PROXY names is one to be reached directly, too."""
    monkeypatch.setenv("NO_PROXY", "voice.example")
    environ = {"HTTPS_PROXY": "p"}
    hide_from_livekit("wss://voice.example", environ)
    assert environ == {"Https_Proxy": "p"}
