"""Who may come in, by what an HTTP request says."""

from __future__ import annotations

import pytest
from websockets.datastructures import Headers

from agent.gateway import admission
from agent.gateway.protocol import token_subprotocol


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8765",
        "127.0.0.1",
        "127.8.9.1:1",
        "localhost:9000",
        "LOCALHOST",
        "[::1]:8765",
        "desk.internal:80",
    ],
)
def test_loopback_by_its_own_names(host: str) -> None:
    """This machine's names for itself are right, on any port, and so is what is listened on."""
    assert admission.check_host(Headers(Host=host), "desk.internal") is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8765",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example@localhost",
        "localhost@evil.example",
        "localhost:80@evil.example",
        "127.0.0.1:port",
        "[::1",
        "192.168.1.5:8765",
        "",
    ],
)
def test_a_rebound_name_is_sent_away(host: str) -> None:
    """A name from elsewhere that was made to resolve to loopback is not the gateway's."""
    refusal = admission.check_host(Headers(Host=host), "127.0.0.1")
    assert refusal is not None
    assert (refusal.status, repr(host) in refusal.text) == (421, True)


def test_one_host() -> None:
    """A request without a host, or with two, is sent away."""
    two = Headers()
    two["Host"] = "localhost"
    two["Host"] = "evil.example"
    for headers in (Headers(), two):
        assert admission.check_host(headers, "localhost") is not None


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:8765", "127.0.0.1:8765"),
        ("http://localhost:8765", "LOCALHOST:8765"),
        ("http://[::1]:8765", "[::1]:8765"),
        ("https://voice.example", "voice.example"),
        ("https://voice.example", "voice.example:443"),
        ("http://voice.example:80", "voice.example"),
    ],
)
def test_the_own_page(origin: str, host: str) -> None:
    """A page served under the same host may call, where there is a page; else no page may."""
    headers = Headers(Origin=origin, Host=host)
    assert admission.check_origin(headers, own_page=True) is None
    assert admission.check_origin(headers, own_page=False) is not None


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", "127.0.0.1:8765"),
        ("http://127.0.0.1:3000", "127.0.0.1:8765"),
        ("http://localhost:8765", "127.0.0.1:8765"),
        ("http://127.0.0.1:8765.evil.example", "127.0.0.1:8765"),
        ("https://voice.example:80", "voice.example"),
        ("null", "127.0.0.1:8765"),
        ("file://", ""),
        ("chrome-extension://abc", "abc"),
        ("", ""),
        ("http://", ""),
    ],
)
def test_no_other_page(origin: str, host: str) -> None:
    """Another host or port, a file, an extension: no page but the gateway's own."""
    refusal = admission.check_origin(Headers(Origin=origin, Host=host), own_page=True)
    assert refusal is not None
    assert (refusal.status, repr(origin) in refusal.text) == (403, True)


def test_one_origin() -> None:
    """Two origins are none; no origin is a program."""
    headers = Headers(Host="localhost")
    assert admission.check_origin(headers, own_page=True) is None
    headers["Origin"] = "http://localhost"
    headers["Origin"] = "http://evil.example"
    assert admission.check_origin(headers, own_page=True) is not None


@pytest.mark.parametrize(
    ("headers", "let_in"),
    [
        ({"Authorization": "Bearer é s"}, True),
        ({"Sec-WebSocket-Protocol": f"parley.v1, {token_subprotocol('é s')}"}, True),
        ({"Sec-WebSocket-Protocol": token_subprotocol("é s")}, True),
        ({}, False),
        ({"Authorization": "é s"}, False),
        ({"Authorization": "Bearer é"}, False),
        ({"Sec-WebSocket-Protocol": "parley.v1, parley.token."}, False),
        ({"Sec-WebSocket-Protocol": f"parley.v1, {token_subprotocol('é s ')}"}, False),
        ({"Sec-WebSocket-Protocol": "parley.v1, Bearer é s"}, False),
    ],
)
def test_the_token(headers: dict[str, str], let_in: bool) -> None:
    """The token opens as a bearer token or as a subprotocol; nothing else does."""
    refusal = admission.check_token(Headers(headers), "é s")
    assert (refusal is None) is let_in
    assert refusal is None or refusal.status == 401
