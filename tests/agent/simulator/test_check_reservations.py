"""Reservations are held to what a scenario wants of them, each conversation's own to its own."""

from __future__ import annotations

import json
from dataclasses import replace

from agent.simulator.check_reservations import check_reservations
from telemetry import attributes as names
from tests.agent.simulator.traces import CALLER, span, trace

ROW = {"id": "ab12", "name": "Miller", "party": 4, "time": "19:30", "day": "Friday"}
OTHERS = {**ROW, "id": "cd34", "party": 2}
BOOK = [ROW, OTHERS]
_CALL = trace("c", CALLER, 100, 110, responses=[])
_RESULT = {names.GEN_AI_TOOL_CALL_RESULT: json.dumps(ROW)}
BOOKED = replace(_CALL, spans=(*_CALL.spans, span(names.OP_TOOL, _CALL.spans[0], 1, 2, _RESULT)))


def test_reservation_that_was_wanted_and_made() -> None:
    """Some of its fields are enough; words match in any case."""
    assert (
        list(check_reservations([{"name": "miller", "day": "friday", "party": 4}], BOOK, BOOKED))
        == []
    )
    assert list(check_reservations([], BOOK, _CALL)) == []


def test_another_callers_reservation_is_not_ones_own() -> None:
    """A reservation counts only for the conversation whose tool's result has its id."""
    (wrong,) = check_reservations([{"party": 2}], BOOK, BOOKED)
    assert wrong.startswith("it left no reservation with {'party': 2}: it left {'id': 'ab12'")
    (none,) = check_reservations([{"party": 4}], BOOK, _CALL)
    assert none.endswith("it left none")


def test_reservation_that_was_not_wanted() -> None:
    """A conversation that was to leave none, and left one, is found out."""
    (wrong,) = check_reservations([], BOOK, BOOKED)
    assert wrong.startswith("it was to leave no reservation, and left {'id': 'ab12'")


def test_field_that_reservations_do_not_have() -> None:
    """A field that is in no reservation is a mistake in the scenario, and said so."""
    assert list(check_reservations([{"status": "booked"}], BOOK, BOOKED)) == [
        "reservations have no 'status': they have id, name, party, time, day"
    ]


def test_agent_whose_book_is_not_known() -> None:
    """What can't be checked hasn't held."""
    assert list(check_reservations([], None, _CALL)) == [
        "reservations can't be checked: the agent's book isn't known"
    ]
