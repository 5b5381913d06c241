"""Who may ask, and the headers of each answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telemetry.viewer.access import HEADERS, ingest_key

from .stored import conversation, store, viewed

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "a-token-to-view-with"
PATHS = ("/", "/rows", "/health", "/static/style.css", "/nothing-there")


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_forbids_what_a_page_might_load_or_be_loaded_by(
    tmp_path: Path, path: str
) -> None:
    """Nothing from elsewhere, nothing inline, no frame around it."""
    with viewed(store(tmp_path / "a.db", conversation(1))) as client:
        answer = client.get(path)
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<style" not in answer.text
    assert " style=" not in answer.text
    assert " onclick" not in answer.text


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8790", "", "127.0.0.1.evil.example"]
)
def test_a_name_from_elsewhere_is_refused_on_loopback(tmp_path: Path, host: str) -> None:
    """DNS rebinding: a page's own name that was made to resolve to this machine."""
    with viewed(store(tmp_path / "a.db", conversation(1, id="secret"))) as client:
        answer = client.get("/", headers={"Host": host})
    assert answer.status_code == 421
    assert "secret" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "[::1]:8790", "LOCALHOST:8790"])
def test_this_machines_own_names_are_right(tmp_path: Path, host: str) -> None:
    """Ports may differ: they are forwarded."""
    with viewed(store(tmp_path / "a.db", conversation(1))) as client:
        assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", [*PATHS, "/?token=another"])
def test_without_the_token_there_is_nothing_to_see(tmp_path: Path, path: str) -> None:
    """Of any page."""
    seen = store(tmp_path / "a.db", conversation(1, id="secret"))
    with viewed(seen, token=TOKEN, host="0.0.0.0") as client:
        answer = client.get(path)
    assert answer.status_code == 401
    assert "secret" not in answer.text
    assert TOKEN not in answer.text


def test_a_token_that_was_given_once_is_kept_and_leaves_the_address(tmp_path: Path) -> None:
    """What else was asked for stays; the cookie is nobody else's and doesn't tell the token."""
    seen = store(tmp_path / "a.db", conversation(1))
    with viewed(seen, token=TOKEN, host="0.0.0.0") as client:
        answer = client.get(f"/?q=tea&token={TOKEN}&only=errors")
        assert (answer.status_code, answer.headers["location"]) == (303, "/?q=tea&only=errors")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert TOKEN not in cookie
        assert client.get("/").status_code == 200


def test_a_redirect_leads_to_no_other_host(tmp_path: Path) -> None:
    """A path that looks like one."""
    seen = store(tmp_path / "a.db", conversation(1))
    with viewed(seen, token=TOKEN, host="0.0.0.0") as client:
        answer = client.get(f"http://127.0.0.1:8790//evil.example/?token={TOKEN}")
    assert answer.headers["location"].startswith("/evil")


def test_a_program_gives_the_token_as_a_header(tmp_path: Path) -> None:
    """As everywhere."""
    seen = store(tmp_path / "a.db", conversation(1))
    with viewed(seen, token=TOKEN, host="0.0.0.0") as client:
        given = {"Authorization": f"Bearer {TOKEN}"}
        assert client.get("/", headers=given).status_code == 200
        assert client.get("/", headers={"Authorization": "Bearer no"}).status_code == 401


def test_the_key_to_deliver_with_does_not_tell_the_token() -> None:
    """It stands in the environment of other processes."""
    assert TOKEN not in ingest_key(TOKEN)
    assert ingest_key(TOKEN) == ingest_key(TOKEN) != ingest_key(None)
