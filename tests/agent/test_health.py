"""Health as JSON."""

from __future__ import annotations

from agent.health import report


def test_healthy_and_degraded() -> None:
    """With the reasons, each one line; either way the sessions."""
    assert report((), sessions=1, max_sessions=2) == {
        "status": "healthy",
        "reasons": [],
        "sessions": 1,
        "max_sessions": 2,
    }
    degraded = report(["Sentry isn't reached", "two\nlines"], sessions=0, max_sessions=2)
    assert degraded["status"] == "degraded"
    assert degraded["reasons"] == ["Sentry isn't reached", "two lines"]
