"""What may be asked of the store, and when. No threads."""

from __future__ import annotations

import math

from telemetry.delivery.asking import Asking
from telemetry.delivery.waiting import Worth


def test_a_question_is_under_way_until_it_is_answered() -> None:
    """It is for all worths that no limit holds back."""
    asking = Asking()
    asking.hold(Worth.ERROR, 60.0)
    assert asking.begin(0.0) == [Worth.CONVERSATION, Worth.OTHER, Worth.REPEAT]
    states = [asking.is_under_way]
    assert asking.answered(found=True)
    assert [*states, asking.is_under_way] == [True, False]
    assert asking.at() == 0.0


def test_what_the_store_has_none_of_is_not_asked_for_again() -> None:
    """Until it may have some; with nothing of any worth it is empty."""
    asking = Asking()
    asking.hold(Worth.ERROR, 60.0)
    asking.begin(0.0)
    assert asking.answered(found=False)
    assert asking.at() == 60.0
    asking.has(Worth.OTHER)
    assert asking.at() == 0.0
    assert asking.begin(0.0) == [Worth.OTHER]
    assert asking.answered(found=False)
    assert asking.begin(60.0) == [Worth.ERROR]
    assert not asking.answered(found=False)
    assert asking.at() == 0.0


def test_an_answer_is_of_the_time_of_its_question() -> None:
    """What came meanwhile may be there; without limits all may be asked for at once."""
    asking = Asking()
    asking.begin(0.0)
    asking.has(Worth.CONVERSATION)
    assert asking.answered(found=False)
    assert asking.begin(0.0) == [Worth.CONVERSATION]
    assert not asking.answered(found=False)
    asking.hold(Worth.CONVERSATION, math.inf)
    asking.release()
    assert asking.begin(0.0) == [*Worth]
