"""The addresses that a viewer prints."""

from __future__ import annotations

import socket
from urllib.parse import parse_qs, urlsplit

from telemetry.viewer.serving import _addresses

TOKEN = "ab+/c&d=#é"


def test_the_printed_address_leads_in_whatever_the_token_is() -> None:
    """It may be somebody's own, of any characters."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        page = _addresses(listener, "127.0.0.1", TOKEN).page
    assert parse_qs(urlsplit(page).query) == {"token": [TOKEN]}
