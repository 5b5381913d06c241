"""Who is calling, as metadata and attributes say it."""

from __future__ import annotations

import json

import pytest

from agent.rooms import request
from agent.session import SessionRequest

TRACE = {"sentry-trace": f"{'a' * 32}-{'b' * 16}-1", "baggage": "sentry-environment=test"}


def test_metadata_is_what_start_is() -> None:
    """A job's metadata says what the gateway's start message does."""
    said = {"id": "c-1", "user": {"id": "u"}, "tags": {"tenant": "acme"}, "headers": TRACE}
    found = request.from_metadata(json.dumps(said))
    assert found == SessionRequest(
        id="c-1", user={"id": "u"}, tags={"tenant": "acme"}, headers=TRACE
    )


def test_trace_headers_alone_continue_a_trace() -> None:
    """Trace headers may be at the top of the metadata, among what is another application's."""
    found = request.from_metadata(json.dumps({**TRACE, "theirs": [1, 2]}))
    assert found is not None
    assert found.headers == TRACE


def test_w3c_trace_headers_continue_a_trace() -> None:
    """``traceparent`` does what ``sentry-trace`` does, in metadata and as an attribute; it's no
    tag."""
    w3c = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    found = request.from_metadata(json.dumps({**w3c, "theirs": [1, 2]}))
    assert found == SessionRequest(headers={"sentry-trace": TRACE["sentry-trace"]})
    found = request.from_participant("u-1", "", w3c)
    assert found == SessionRequest(
        user={"id": "u-1"}, headers={"sentry-trace": TRACE["sentry-trace"]}
    )


@pytest.mark.parametrize("headers", [None, "none"])
def test_headers_that_are_none_cost_nothing_else(headers: object) -> None:
    """Metadata whose headers are null, or no object, still says who calls."""
    found = request.from_metadata(
        json.dumps({"id": "c-1", "user": {"id": "u"}, "headers": headers})
    )
    assert found == SessionRequest(id="c-1", user={"id": "u"})


@pytest.mark.parametrize("text", ["", "plain text", "[1]", "{}", '{"theirs": 1}', '{"id": "a b"}'])
def test_metadata_that_is_not_ours_is_left_alone(text: str) -> None:
    """Metadata of other applications, or beyond our limits, says nothing to us."""
    assert request.from_metadata(text) is None


def test_a_caller_is_described_by_its_attributes() -> None:
    """Identity and name are the user, attributes are tags, and a telephone number is neither."""
    attributes = {
        **TRACE,
        request.CONVERSATION: "c-2",
        "tenant": "acme",
        "sip.phoneNumber": "+15550100",
        "lk.agent.state": "idle",
    }
    found = request.from_participant("u-1", "Ann", attributes)
    assert found == SessionRequest(
        id="c-2", user={"id": "u-1", "username": "Ann"}, tags={"tenant": "acme"}, headers=TRACE
    )


def test_what_breaks_a_limit_is_left_out() -> None:
    """One attribute beyond the limits costs its own part, not the call."""
    found = request.from_participant("u-1", "", {"tenant": "x" * 1000, **TRACE})
    assert found == SessionRequest(user={"id": "u-1"}, headers=TRACE)
