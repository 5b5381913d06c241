"""How values have to look to be sent, and what of them is."""

from __future__ import annotations

from typing import Any

import pytest

from telemetry.delivery.content import kinds
from telemetry.delivery.content.allowed import Allowed
from telemetry.delivery.content.spans import name_of, op_of, origin_of
from telemetry.written import Written


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://api.example.com/guests/Ada?q=Ada#Ada", "https://api.example.com"),
        ("https://Ada:secret@api.example.com:8443/x", "https://api.example.com:8443"),
        ("ws://[::1]:80/x", "ws://[::1]:80"),
        ("/guests/Ada", None),
        ("https://Ada Lovelace/", None),
        ("https://a.example:port/", None),
        (7, None),
    ],
)
def test_of_a_url_its_host(url: Any, sent: str | None) -> None:
    """Neither user nor path, query or fragment."""
    assert kinds.url(url) == sent


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("SELECT * FROM guest WHERE id = 7", "SELECT * FROM guest WHERE id = ?"),
        ("select x  from t where n = 'Ada''s'", "select x from t where n = ?"),
        ('SELECT * FROM t WHERE n = "Ada"', "SELECT * FROM t WHERE n = ?"),
        ("INSERT INTO t VALUES (%s, %(name)s)", "INSERT INTO t VALUES (%s, %(name)s)"),
        ("SELECT 'Ada", "SELECT"),
        ("SELECT $$Ada$$", "SELECT"),
        ("SELECT 1 -- for Ada", "SELECT"),
        ("SELECT /* Ada */ 1", "SELECT"),
        ("SELECT E'Ada\\'s'", "SELECT"),
        ("SELECT * FROM Gäste", "SELECT"),
        ("SET 'guest:Ada' 1", "SET ? ?"),
        ("HGET guest:Ada", "HGET"),
        ("book a table for Ada", None),
        ("", None),
        (None, None),
    ],
)
def test_of_a_query_no_value(query: Any, sent: str | None) -> None:
    """In doubt its verb only; of what is none, nothing."""
    assert kinds.query(query) == sent


def test_a_query_that_stands_in_the_code_is_whole() -> None:
    """Its values are the program's."""
    text = "SELECT * FROM guest WHERE kind = 'regular'"
    assert kinds.query(Written.known(text)) == text


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("gen_ai.request.model", "openai/gpt-4.1", "openai/gpt-4.1"),
        ("gen_ai.request.model", "a table for Ada", None),
        ("gen_ai.usage.input_tokens", 7, 7),
        ("gen_ai.usage.input_tokens", "seven", None),
        ("gen_ai.response.finish_reasons", ["stop"], ["stop"]),
        ("gen_ai.response.finish_reasons", ["no table"], None),
        ("http.route", "/tables/{id}", "/tables/{id}"),
        ("http.route", "/tables/Ada%20Lovelace", None),
        ("lk.eou.delay", 0.2, 0.2),
        ("lk.pii.age", 36, None),
        ("thread.name", "Thread-3 (work)", "Thread-3 (work)"),
        ("thread.name", "for Ada", None),
        ("card", 4111, None),
    ],
)
def test_attributes_are_sent_by_name_and_look(name: str, value: Any, sent: Any) -> None:
    """What is called otherwise isn't, whatever it holds."""
    kind = Allowed().kind_of(name)
    assert (None if kind is None else kind(value)) == sent


def test_the_operator_adds_names_and_beginnings() -> None:
    """Content by its name is not among them."""
    allowed = Allowed(["card", "app.*", "gen_ai.*"])
    assert allowed.is_operators("card")
    assert allowed.is_operators("app.x.y")
    assert not allowed.is_operators("cards")
    assert not allowed.is_operators("gen_ai.tool.call.arguments")


@pytest.mark.parametrize(
    ("name", "op", "data", "sent"),
    [
        ("gpt-4.1", "gen_ai.chat", {"gen_ai.request.model": "gpt-4.1"}, "gpt-4.1"),
        ("chat gpt-4.1", "gen_ai.chat", {"gen_ai.request.model": "gpt-4.1"}, "chat gpt-4.1"),
        ("chat with Ada", "gen_ai.chat", {"gen_ai.request.model": "gpt-4.1"}, "gen_ai.chat"),
        ("GET https://a.example/Ada", "http.client", {}, "GET https://a.example"),
        ("GET /guests/Ada", "http.server", {}, "http.server"),
        ("GET /guests/{id}", "http.server", {"http.route": "/guests/{id}"}, "GET /guests/{id}"),
        ("SELECT 'Ada'", "db.query", {}, "SELECT ?"),
        ("for Ada", "db.query", {}, "db.query"),
        ("front desk", "gen_ai.invoke_agent", {"gen_ai.agent.name": "front desk"}, "front desk"),
    ],
)
def test_a_name_is_put_together_of_what_is_known(
    name: str, op: str, data: dict[str, Any], sent: str
) -> None:
    """Else the op stands for it."""
    assert name_of(name, op, data) == sent


def test_ops_and_origins_are_those_that_are_known() -> None:
    """Sentry's, ours, and constants of the code."""
    assert op_of("gen_ai.chat") == "gen_ai.chat"
    assert op_of("marmalade") == "default"
    assert op_of(Written.known("app.lookup")) == "app.lookup"
    assert origin_of("auto.http.httpx") == "auto.http.httpx"
    assert origin_of("auto.http.marmalade") == "auto.http"
    assert origin_of("marmalade") == "manual"
