"""Settings that name a collector."""

from __future__ import annotations

import pytest

import config
from config.collecting import endpoint_in, headers_in


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:4318/v1/traces", "https://otlp.example/key-less/v1/traces"]
)
def test_an_endpoint(url: str) -> None:
    """With the path that the collector takes traces at."""
    assert endpoint_in(url) == url


@pytest.mark.parametrize(
    "url",
    ["s3cret:4318", "grpc://s3cret/x", "http://s3cret", "http://u:s3cret@a/x", "http://a/x?s3cret"],
)
def test_what_is_no_endpoint(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is refused in one line of text that doesn't repeat it: it may hold a key."""
    monkeypatch.setenv("PARLEY_OTLP_ENDPOINT", url)
    with pytest.raises(config.SettingsError) as refused:
        config.load()
    [line] = refused.value.problems
    assert line.startswith("PARLEY_OTLP_ENDPOINT: should be the URL")
    assert "s3cret" not in line


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("x-api-key=s3cret", (("x-api-key", "s3cret"),)),
        ("a=1, Authorization = Basic YTpi==", (("a", "1"), ("Authorization", "Basic YTpi=="))),
        ("a=1%2C2,", (("a", "1,2"),)),
        ("", ()),
    ],
)
def test_headers(text: str, headers: tuple[tuple[str, str], ...]) -> None:
    """As OpenTelemetry's own variable has them."""
    assert headers_in(text) == headers


@pytest.mark.parametrize(
    "text", ["s3cret", "a b=s3cret", "a=s3cret%0Ab", "a=s3cret%E2%82%AC", "a="]
)
def test_what_are_no_headers(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is refused without being repeated; nor are those that are right in the settings' repr."""
    monkeypatch.setenv("PARLEY_OTLP_HEADERS", text)
    with pytest.raises(config.SettingsError) as refused:
        config.load()
    assert str(refused.value) == "PARLEY_OTLP_HEADERS: should be a header like x-api-key=KEY"
    monkeypatch.setenv("PARLEY_OTLP_HEADERS", "a=s3cret")
    assert "s3cret" not in repr(config.load())
