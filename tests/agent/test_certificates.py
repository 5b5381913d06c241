"""Certificates of the environment that can't be used: one line, and nothing that needs none."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

import anyio
import certifi
import httpx
import pytest

from agent import certificates
from agent.certificates import CertificatesError
from agent.cli import probes
from agent.desk import Reservations, client, serve
from agent.providers.openai import LLM
from tests.ingest import Ingest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNUSABLE = [
    ({"SSL_CERT_FILE": "/nowhere/ca.pem"}, "/nowhere/ca.pem, which isn't there: give the path"),
    ({"SSL_CERT_FILE": __file__}, "which holds no certificate: give the path"),
    ({"SSL_CERT_FILE": "/"}, "names /, which can't be read (is a directory): give the path"),
    ({"SSL_CERT_FILE": "/dev/null"}, "which holds no certificate: give the path"),
    ({"SSL_CERT_FILE": f"{__file__}/ca.pem"}, "which can't be read (not a directory)"),
    ({"SSL_CERT_FILE": "/nowhere", "SSL_CERT_DIR": "/nowhere"}, "SSL_CERT_FILE names"),
    ({"SSL_CERT_FILE": "/nowhere", "SSL_CERT_DIR": "/"}, "SSL_CERT_FILE names"),
    ({"SSL_CERT_DIR": "/nowhere:/nowhere/else"}, "which is no folder: give one"),
    ({"SSL_CERT_DIR": __file__}, "which is no folder: give one"),
]
USABLE = [
    {},
    {"SSL_CERT_FILE": ""},
    {"SSL_CERT_FILE": certifi.where()},
    {"SSL_CERT_FILE": certifi.where(), "SSL_CERT_DIR": "/nowhere"},
    {"SSL_CERT_DIR": "/nowhere:/etc"},
]
each_unusable = pytest.mark.parametrize(("named", "says"), UNUSABLE)


@pytest.fixture(autouse=True)
def none_of_the_machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of the machine's own, and no context of an earlier test."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "SSLKEYLOGFILE"):
        monkeypatch.delenv(name, raising=False)
    client._tls.cache_clear()
    yield
    client._tls.cache_clear()


def _set(monkeypatch: pytest.MonkeyPatch, named: dict[str, str], *, aside: bool) -> None:
    """Put variables into the environment; ``aside`` as a command does it."""
    environ = dict(named)
    if aside:
        certificates.set_aside(environ)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


@each_unusable
@pytest.mark.parametrize("aside", [False, True], ids=["as it is", "set aside"])
async def test_services_on_this_machine_need_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: dict[str, str], says: str, aside: bool
) -> None:
    """Asked without TLS, the reservations service and Sentry are reached all the same."""
    async with anyio.create_task_group() as tasks:

        async def run(*, task_status: anyio.abc.TaskStatus[str]) -> None:
            await serve(tmp_path / "book.db", port=0, task_status=task_status)

        url = await tasks.start(run)
        _set(monkeypatch, named, aside=aside)
        async with Reservations.connect(url) as reservations:
            await reservations.check()
        with Ingest() as ingest:
            assert "takes envelopes" in await probes.sentry(ingest.dsn)
        tasks.cancel_scope.cancel()


@each_unusable
@pytest.mark.parametrize("aside", [False, True], ids=["as it is", "set aside"])
async def test_a_server_that_is_asked_over_tls_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, named: dict[str, str], says: str, aside: bool
) -> None:
    """Which variable, which file, what to do; before anything is sent."""
    _set(monkeypatch, named, aside=aside)
    with pytest.raises(CertificatesError) as refused:
        async with Reservations.connect("https://reservations.example"):
            pass
    assert str(refused.value).startswith("reservations.example is asked over TLS, and SSL_CERT_")
    assert says in str(refused.value)
    with pytest.raises(CertificatesError, match="SSL_CERT_"):
        await probes.sentry("https://key@sentry.example/1")
    with pytest.raises(CertificatesError, match="the server is asked over TLS, and SSL_CERT_"):
        LLM(api_key="k", model="m")
    [warned] = certificates.warnings(os.environ)
    assert says in warned
    assert "\n" not in warned + str(refused.value)


@pytest.mark.parametrize("named", USABLE)
def test_what_can_be_used_stays(named: dict[str, str]) -> None:
    """And nothing is said."""
    environ = dict(named)
    certificates.set_aside(environ)
    assert environ == named
    assert certificates.warnings(environ) == []
    certificates.require("https://host", environ)


@each_unusable
def test_clients_of_others_can_be_made_and_trust_nobody(
    monkeypatch: pytest.MonkeyPatch, named: dict[str, str], says: str
) -> None:
    """LiveKit's makes its context so, for all plugins; no other certificates are put in."""
    _set(monkeypatch, named, aside=True)
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    assert file is None
    for made in (
        httpx.create_ssl_context(),
        ssl.create_default_context(cafile=file, capath=folder),
    ):
        assert made.verify_mode is ssl.CERT_REQUIRED
        assert made.get_ca_certs() == []


def test_keys_that_cannot_be_logged(tmp_path: Path) -> None:
    """SSLKEYLOGFILE: Python's own contexts fail by it, at import of whatever makes one."""
    there, away = {"SSLKEYLOGFILE": str(tmp_path / "keys")}, {"SSLKEYLOGFILE": "/nowhere/keys"}
    for environ in (there, away):
        certificates.set_aside(environ)
    assert certificates.warnings(there) == []
    [warned] = certificates.warnings(away)
    assert warned.startswith("SSLKEYLOGFILE names /nowhere/keys, which can't be written")
    assert "SSLKEYLOGFILE" not in away


async def test_sentrys_own_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """REQUESTS_CA_BUNDLE, which Sentry's SDK and delivery take where there is no SSL_CERT_FILE."""
    dsn = "https://key@sentry.example/1"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(CertificatesError, match="REQUESTS_CA_BUNDLE names /nowhere"):
        await probes.sentry(dsn)
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    assert certificates.bundle(dsn, os.environ) == certifi.where()
