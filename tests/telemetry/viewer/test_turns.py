"""Turns: who said what and when, and the tiles of each answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from telemetry import attributes as names
from telemetry.viewer.turns import Turn, grade, turns_of

from .spoken import ROOT, START, Spans, conversation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry.records import SpanRecord


def unheard(*_: object) -> None:
    """No recording."""


def of(spans: Sequence[SpanRecord], end: float = 10.0, voiced: Any = unheard) -> list[Turn]:
    return turns_of(spans, START, START + end, voiced)


def said(turn: Turn) -> list[tuple[str, str, float, float]]:
    return [
        (each["who"], " ".join(word["text"] for word in each["words"]), each["at"], each["until"])
        for each in turn["speeches"]
    ]


def test_words_lie_over_the_speech_they_are_of() -> None:
    """The caller's over what detection heard, the agent's over what was played."""
    greeting, question, typed = of(conversation().spans)
    assert said(greeting) == [("agent", "Hi.", 0.2, 1.5)]
    assert said(question) == [
        ("caller", "Are you open? On Sunday.", 2.1, 3.5),
        ("agent", "We are open from noon", 4.25, 6.0),
    ]
    assert said(typed) == [("caller", "Bye", 7.0, 7.0), ("agent", "Goodbye.", 7.5, 9.0)]
    assert typed["speeches"][0]["typed"]
    assert [turn["index"] for turn in (greeting, question, typed)] == [0, 1, 2]


def test_words_lie_where_they_are_heard() -> None:
    """With a recording, its sound is what they are placed by."""
    asked: list[tuple[int, float, float, float]] = []

    def voiced(side: int, at: float, until: float, earliest: float) -> list[tuple[float, float]]:
        asked.append((side, at, until, earliest))
        return [(at - 0.1, until)] if side == 0 else [(at + 0.05, until)]

    question = of(conversation().spans, voiced=voiced)[1]
    caller, agent = question["speeches"]
    assert caller["heard"]
    assert (caller["at"], agent["at"]) == (2.0, 4.3)
    assert caller["words"][3]["at"] == pytest.approx(2.85)
    assert all(earliest <= at for _, at, _, earliest in asked)


def test_the_tiles_fill_the_gap() -> None:
    """From the caller's last sound to the agent's first, without gaps or overlaps; the slowest
    stage is the one whose tiles together are longest."""
    response = of(conversation().spans)[1]["response"]
    assert response is not None
    stages = response["stages"]
    assert (stages[0]["at"], stages[-1]["until"]) == (response["at"], response["until"])
    assert [each["at"] for each in stages[1:]] == [each["until"] for each in stages[:-1]]
    assert (response["slowest"], response["slowest_seconds"]) == ("endpointing", 0.3)
    assert (response["latency"], response["caller_gap"]) == (0.8, 0.81)
    assert response["grade"] == "good"


def test_stages_that_are_only_told() -> None:
    """Spans of stages may be missing: then the turn's attributes say how long each took."""
    spans = Spans()
    turn = spans.add(
        names.OP_TURN,
        0,
        5,
        attributes={
            names.RESPONSE_LATENCY: 2.0,
            names.LATENCY_STAGE + "tools": 1.5,
            names.LATENCY_STAGE + "endpointing": 0.5,
        },
    )
    spans.add(names.OP_USER_SPEECH, 0, 1, turn)
    [found] = of(spans.made)
    response = found["response"]
    assert response is not None
    told = [(each["name"], each["at"], each["until"]) for each in response["stages"]]
    assert told == [("endpointing", 1.0, 1.5), ("tools", 1.5, 3.0)]
    assert response["slowest"] == "tools"
    assert response["grade"] == "slow"


def test_an_interruption_is_marked() -> None:
    """On the turn, with who it was, and on the speech that was cut."""
    question = of(conversation().spans)[1]
    assert (question["interrupted"], question["interrupted_by"]) == (True, "user")
    assert [each["interrupted"] for each in question["speeches"]] == [False, True]


def test_a_turn_that_goes_on() -> None:
    """Reaches to the latest thing that is known; what is being said has no words yet."""
    spans = Spans()
    turn = spans.add(names.OP_TURN, 1, 1, status="open")
    spans.add(names.OP_USER_SPEECH, 2, 2, turn, status="open")
    [found] = of(spans.made, end=4.0)
    assert (found["at"], found["until"], found["open"]) == (1.0, 4.0, True)
    assert said(found) == [("caller", "", 2.0, 4.0)]
    spans.add(names.OP_STT, 3, 3.5, turn, attributes={names.USER_WORDS: "So far"})
    [found] = of(spans.made, end=4.0)
    assert said(found) == [("caller", "So far", 2.0, 4.0)]
    assert found["speeches"][0]["open"]


def test_transcripts_go_to_the_speech_before_them() -> None:
    """Of several in a turn each has its own, and nothing is said twice."""
    spans = Spans()
    turn = spans.add(names.OP_TURN, 0, 9, attributes={names.USER_WORDS: "One Two"})
    spans.add(names.OP_USER_SPEECH, 0, 1, turn)
    spans.add(names.OP_STT, 1, 1.5, turn, attributes={names.USER_WORDS: "One"})
    spans.add(names.OP_USER_SPEECH, 3, 4, turn)
    spans.add(names.OP_STT, 4, 4.5, turn, attributes={names.USER_WORDS: "Two"})
    [found] = of(spans.made)
    assert said(found) == [("caller", "One", 0.0, 1.0), ("caller", "Two", 3.0, 4.0)]


def test_spans_that_are_each_others_parents() -> None:
    """Strangers' spans may form a circle: they are in no turn, and nothing hangs."""
    spans = Spans()
    spans.add(names.OP_TURN, 0, 1)
    spans.add(names.OP_USER_SPEECH, 0, 1, "c" * 16, span_id="b" * 16)
    spans.add(names.OP_USER_SPEECH, 0, 1, "b" * 16, span_id="c" * 16)
    [found] = of(spans.made)
    assert found["speeches"] == []


@pytest.mark.parametrize(
    "value",
    ["0.8", None, True, [1], {"a": 1}, pytest.param(10**400, id="huge"), 2**53, math.nan, math.inf],
)
def test_attributes_are_what_somebody_has_put_there(value: object) -> None:
    """A figure that is no number is no figure."""
    spans = Spans()
    known = {names.RESPONSE_LATENCY: value, names.TURN_INDEX: value, names.USER_WORDS: value}
    turn = spans.add(names.OP_TURN, 0, 5, ROOT, attributes=known)
    spans.add(names.OP_USER_SPEECH, 0, 1, turn)
    [found] = of(spans.made)
    assert found["response"] is None
    assert found["index"] == 0


def test_grades() -> None:
    """As the page to talk from has them."""
    assert [grade(seconds) for seconds in (0.8, 0.81, 1.5, 1.51)] == [
        "good",
        "fair",
        "fair",
        "slow",
    ]
