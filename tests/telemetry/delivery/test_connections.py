"""Through which proxy, trusting whom: as Sentry's own transport would, or a clear line."""

from __future__ import annotations

import itertools
import os
import ssl
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from sentry_sdk.client import Client
from sentry_sdk.envelope import Envelope, Item, PayloadRef
from sentry_sdk.transport import HttpTransport
from sentry_sdk.utils import Dsn

import telemetry
from telemetry.delivery.connections import connections
from telemetry.delivery.drops import NETWORK_ERROR
from telemetry.delivery.sender import Delivered, Retry, Sender
from tests.ingest import Ingest

from ..proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

CERTIFICATES: Final = Path(__file__).parent / "certificates"
CA: Final = str(CERTIFICATES / "ca.pem")
CLIENT: Final = str(CERTIFICATES / "client.pem")
SERVER: Final = CERTIFICATES / "server.pem"
VARIABLES: Final = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CLIENT_CERT_FILE", "CLIENT_KEY_FILE"),
    "SENTRY_KEEP_ALIVE",
)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@contextmanager
def secured(*, asks_for_client: bool = False) -> Iterator[tuple[Ingest, str]]:
    """An ingest endpoint behind TLS, by an authority of its own, and its DSN."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SERVER)
    if asks_for_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(CA)
    ingest = Ingest()
    server = ingest._server
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with ingest:
        yield ingest, f"https://key@localhost:{server.server_port}/1"


def elsewhere(dsn: str) -> str:
    """The DSN by a name that only the proxy knows: loopback it isn't asked for."""
    return dsn.replace("localhost", "ingest.example").replace("127.0.0.1", "ingest.example")


def an_error() -> Envelope:
    """An envelope with an error event."""
    return Envelope(items=[Item(PayloadRef(json={"message": "oh"}), type="event")])


LOOPBACK: Final = ("127.0.0.1", "127.0.0.2", "localhost", "LOCALHOST.", "a.localhost")


# -- over real proxies and real TLS --------------------------------------------------------------


@pytest.mark.parametrize("given_as", ["option", "environment"])
def test_through_a_forwarding_proxy(given_as: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DSN of scheme http goes through ``http_proxy``, all of ``init`` included."""
    with Ingest() as ingest, Proxy() as proxy:
        dsn = elsewhere(ingest.dsn)
        options: dict[str, Any] = {}
        if given_as == "option":
            options = {"http_proxy": proxy.url, "proxy_headers": {"Proxy-Authorization": "me"}}
        else:
            monkeypatch.setenv("http_proxy", proxy.url)
        with telemetry.init(dsn=dsn, **options) as runtime:
            telemetry.conversation("host").close()
            assert runtime.flush(30)
        [event] = ingest.transactions
        [(method, target, headers)] = proxy.requests
    assert event["transaction"] == "host"
    assert (method, target) == ("POST", dsn.replace("key@", "")[:-1] + "api/1/envelope/")
    assert headers.get("proxy-authorization") == ("me" if given_as == "option" else None)


@pytest.mark.parametrize("given_as", ["option", "environment"])
def test_through_a_tunnel_to_a_server_with_its_own_authority(
    given_as: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A DSN of scheme https is reached by CONNECT, and trusted for the bundle that was given."""
    with secured() as (ingest, here), Proxy() as proxy:
        dsn = elsewhere(here)
        options: dict[str, Any] = {}
        if given_as == "option":
            options = {
                "https_proxy": proxy.url,
                "ca_certs": CA,
                "proxy_headers": {"Proxy-Authorization": "me"},
            }
        else:
            monkeypatch.setenv("https_proxy", proxy.url)
            monkeypatch.setenv("SSL_CERT_FILE", CA)
        with telemetry.init(dsn=dsn, **options) as runtime:
            telemetry.conversation("host").close()
            assert runtime.flush(30)
        assert len(ingest.transactions) == 1
        [(method, target, headers)] = proxy.requests
    assert (method, target) == ("CONNECT", dsn.split("@")[1].split("/")[0])
    assert headers.get("proxy-authorization") == ("me" if given_as == "option" else None)


def test_a_server_that_nobody_vouches_for_gets_nothing() -> None:
    """Without its authority there is no connection."""
    with secured() as (ingest, dsn):
        assert Sender(dsn).send(an_error()) == Retry(None, NETWORK_ERROR)
        assert ingest.requests == []
        assert Sender(dsn, ca_certs=CA).send(an_error()) == Delivered()


def test_a_client_says_who_it_is() -> None:
    """With ``cert_file`` and ``key_file``, where the server asks."""
    with secured(asks_for_client=True) as (ingest, dsn):
        stranger = Sender(dsn, ca_certs=CA)
        assert stranger.send(an_error()) == Retry(None, NETWORK_ERROR)
        known = Sender(dsn, ca_certs=CA, cert_file=CLIENT, key_file=CLIENT)
        assert known.send(an_error()) == Delivered()
        assert len(ingest.errors) == 1


def test_hosts_of_no_proxy_are_reached_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment isn't for them."""
    with Ingest() as ingest, Proxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "example.com, 127.0.0.1")
        assert Sender(ingest.dsn).send(an_error()) == Delivered()
        assert proxy.requests == []


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"])
def test_loopback_is_never_asked_through_a_proxy_of_the_environment(
    host: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would look for it on its own machine; other hosts in NO_PROXY change nothing."""
    monkeypatch.setenv("NO_PROXY", "example.com")
    with Ingest() as ingest, Proxy() as proxy:
        monkeypatch.setenv(variable, proxy.url)
        dsn = Dsn(ingest.dsn.replace("127.0.0.1", host))
        assert connections(dsn).proxy is None
        assert connections(dsn, http_proxy=proxy.url).proxy is not None  # what is given is wanted
        if host == "127.0.0.1":  # where it listens
            assert Sender(str(dsn)).send(an_error()) == Delivered()
            assert len(ingest.errors) == 1
        assert proxy.requests == []


@pytest.mark.parametrize("host", ["[::1]", "[::ffff:127.0.0.1]", "128.0.0.1", "localhost.example"])
def test_loopback_is_told_from_other_hosts(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 6 of the protocol has loopback too; not all that begins like it is it."""
    monkeypatch.setenv("http_proxy", "http://proxy.example:1")
    pool = connections(Dsn(f"http://key@{host}/1"))
    assert (pool.proxy is None) == host.startswith("[")


# -- what Sentry's own transport would do --------------------------------------------------------

PROXIES: Final[tuple[dict[str, str], ...]] = (
    {},
    {"http_proxy": "http://h:1"},
    {"https_proxy": "http://s:2"},
    {"http_proxy": "http://h:1", "https_proxy": "http://s:2"},
    {"http_proxy": "", "https_proxy": ""},
    {"https_proxy": "http://s:2", "http_proxy": ""},
)
ENVIRONMENTS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"http_proxy": "http://eh:3", "https_proxy": "http://es:4"},
    {"http_proxy": "http://eh:3", "no_proxy": "other.org, sentry.example"},
    {"https_proxy": "http://es:4", "no_proxy": "other.org"},
    {"SSL_CERT_FILE": CA, "REQUESTS_CA_BUNDLE": CLIENT},
    {"REQUESTS_CA_BUNDLE": CA, "CLIENT_CERT_FILE": CLIENT, "CLIENT_KEY_FILE": CLIENT},
)
OTHERS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"ca_certs": CA, "cert_file": CLIENT, "key_file": CLIENT},
    {"keep_alive": True, "socket_options": [(6, 1, 0)]},
    {"proxy_headers": {"Proxy-Authorization": "me"}},
)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_as_sentrys_own_transport(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same options and environment come to the same proxy, certificates and sockets."""
    dsn = f"{scheme}://key@sentry.example/1"
    defaults = {**Client().options, "dsn": dsn}
    others = itertools.cycle(OTHERS)  # each of them meets each environment
    for environment in ENVIRONMENTS:
        for name in VARIABLES:
            monkeypatch.delenv(name.lower(), raising=False)
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        for proxies in PROXIES:
            given = {**proxies, **next(others)}
            ours = connections(Dsn(dsn), **given)
            theirs = HttpTransport(defaults | _copied(given))._pool
            assert type(ours) is type(theirs), (environment, given)
            assert ours.proxy == theirs.proxy, (environment, given)
            assert _said(ours) == _said(theirs), (environment, given)


def _copied(given: dict[str, Any]) -> dict[str, Any]:
    """Sentry adds to the list of socket options it is given."""
    return {key: list(value) if type(value) is list else value for key, value in given.items()}


def _said(pool: Any) -> dict[str, Any]:
    said = {
        name: value
        for name, value in pool.connection_pool_kw.items()
        if name not in ("timeout", "_proxy", "_proxy_config") and value is not None
    }
    return {**said, "proxy_headers": getattr(pool, "proxy_headers", None)}


# -- what can't be used ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"http_proxy": "ftp://proxy"}, "ftp://proxy"),
        ({"ca_certs": "/nowhere.pem"}, "/nowhere.pem"),
        ({"ca_certs": __file__}, os.path.basename(__file__)),
        ({"cert_file": CA}, "key"),
        ({"cert_file": CLIENT, "key_file": "/nowhere.key"}, "/nowhere.key"),
    ],
    ids=["proxy", "bundle", "no bundle", "no key", "key"],
)
def test_what_cannot_be_used_is_one_clear_line(options: dict[str, str], problem: str) -> None:
    """Said when telemetry starts, which then hasn't."""
    with pytest.raises(telemetry.TelemetryError, match=problem) as raised:
        telemetry.init(dsn="https://key@sentry.example/1", **options)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
    telemetry.init().close()


@pytest.mark.parametrize(
    "name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CLIENT_CERT_FILE", "CLIENT_KEY_FILE"]
)
def test_a_certificate_of_the_environment_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Where Sentry is asked over TLS; where it isn't, as on loopback, none is looked at."""
    monkeypatch.setenv("CLIENT_CERT_FILE", CLIENT)
    monkeypatch.setenv(name, "/nowhere.pem")
    with pytest.raises(
        telemetry.TelemetryError, match=rf"/nowhere\.pem \({name}\): give"
    ) as raised:
        telemetry.init(dsn="https://key@sentry.example/1")
    assert "\n" not in str(raised.value)
    with Ingest() as ingest:
        assert Sender(ingest.dsn).send(an_error()) == Delivered()
