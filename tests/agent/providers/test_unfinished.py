"""Sentences that surely go on are told from those that may be over."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import simulator
from agent.providers.unfinished import Ending, ending
from agent.simulator.loading import load_scenario
from agent.simulator.scenario import SpokenTurn

UNFINISHED = """
I'd like a table for
I would like a table for...
I would like to book a
Can I
Could you
Do you have a table on
My name is
The name's
It's for Mr.
My number is five five
My number is 555
You can reach me at 0 1 7 2
Um
We are coming on Friday, um
On Friday and
On Friday or
Yes, I would like to
At half past
For four people at
I want
I'm calling about
Hello, I
We will be about
I would like to change my booking from
On the
It is on Friday the
Let me think
Let me see.
Well
Is there
Okay, so
No, I mean
If
It should be at
There will be
I need a table with
I would prefer
Are you open on?
And what time do you?
The name is up.
The name is us.
Add them.
And dumb.
I would like some
The waiter was unb.
I would like a table for em.
My lumber is five, five, five
On Friday,
I'd like to book
Hi, I'm calling
I was wondering
Can you tell me
I'd like to know
It's under the name
I'm looking
The problem is that
I'd like the one that
Could you please
I'd rather
I ordered
Yeah so
Um so
Could I please speak to the?
"""

FINISHED = """
I would like to book a table.
There will be four of us
On Friday evening at seven thirty.
My name is Johnson
Yes that is right.
No thank you that is everything
Yes, I am.
Yes, we do
Yes it is.
I think so
That's all I need
That is all I wanted to know thank you
What time do you open on Saturday?
Who am I speaking to?
What is it like?
Who is the table for?
What are you waiting for?
Four
At seven
No
Hold on.
Maybe.
Not really
That's what I want.
Yes please do
Hello
How are you
Hi, I'd like to book an appointment.
My car won't start and I need a tow truck.
Do you have anything on Thursday?
What time do you open?
How late are you open?
I'd like to cancel my reservation.
Can I speak to somebody in billing?
I'd like to speak to a doctor.
I have a toothache.
My internet is down.
I can't log in.
I was charged twice.
I want a refund.
Where is my order?
My order number is 88213.
It's for two adults and a child.
Tomorrow at 9 a.m.
Is there parking?
What do you have?
How much would that be?
What would you recommend?
I think so.
That's fine, thank you.
No, that's all, thanks.
Could you repeat that?
Sorry, what was that?
I don't know what that is.
I'd prefer the morning.
Either is fine.
I'm not sure.
Hold on a second.
I'm allergic to nuts.
My husband and I.
It's for my mom.
Yes, that works for me.
The one on Main Street.
I'm calling about the apartment you have for rent.
When can I move in?
How many bedrooms does it have?
What documents do I need to bring?
Can you put me through?
Does it come with breakfast?
I need to reschedule.
My daughter has a fever.
I've been waiting for an hour.
I just moved in.
It's not what I ordered.
I'd like a window seat.
Do you deliver?
What's the Wi-Fi password?
I lost my card.
I forgot my password.
It was delivered yesterday, I think.
I'm not feeling well.
The light won't turn on.
What is it for?
OK, I will.
Cash only?
My appointment is in May.
Thank you, doctor.
I'd like to talk to her.
About an hour or so.
What sizes do you have?
It's Will.
Where are we?
So am I.
I'd love to.
That's the one I want.
The answer is no.
I broke my arm.
Four people, I guess.
I'm fine, actually.
Adults only.
I'd like to go to the number I called from.
ten AM.
It's order number 88213.
Flight two one three.
My PIN is one two three four.
Call me back at five.
How are you?
Is it open on Sunday?
My number is 555 0199
five five five zero one nine nine two
I do
Both
Go on
Johnson. J O H N S O N.
"""


@pytest.mark.parametrize("text", UNFINISHED.strip().splitlines())
def test_open_end_is_heard(text: str) -> None:
    """Nobody ends like that: the caller is waited for."""
    assert ending(text) is Ending.OPEN


@pytest.mark.parametrize("text", FINISHED.strip().splitlines())
def test_what_may_be_all_is_answered(text: str) -> None:
    """A caller who may have said all isn't kept waiting."""
    assert ending(text) is not Ending.OPEN


@pytest.mark.parametrize(
    "text",
    ["On Saturday at seven.", "At seven", "On Friday", "A table for twenty", "At 7.", "For 4"],
)
def test_number_or_day_may_be_followed_by_more(text: str) -> None:
    """The caller is given a moment, and no more."""
    assert ending(text) is Ending.LOOSE


@pytest.mark.parametrize(
    "text",
    ["Seven", "At seven thirty", "At 7:30.", "Four people", "Are you open on Monday?"],
)
def test_what_is_whole_is_answered_at_once(text: str) -> None:
    """Nothing is to be expected after it."""
    assert ending(text) is Ending.CLOSED


def test_number_that_was_asked_for_has_several_digits() -> None:
    """A lone digit is an answer, except where a telephone number was asked for."""
    assert ending("Five", "For how many people?") is not Ending.OPEN
    assert ending("Five five", "What is your phone number?") is Ending.OPEN
    assert ending("555 123 4567", "What is your phone number?") is not Ending.OPEN
    assert ending("Four.", "What is the number of guests?") is not Ending.OPEN
    assert ending("4471.", "What is your order number?") is not Ending.OPEN


def test_nothing_is_not_unfinished() -> None:
    """Where no words came of it there is nothing to wait for."""
    assert ending("") is not Ending.OPEN
    assert ending("…") is not Ending.OPEN


def test_nobody_waits_for_the_callers_of_our_scenarios() -> None:
    """Each of their turns is over when its words are."""
    files = Path(simulator.__file__).parents[2].glob("config/scenarios/*.yaml")
    turns = [turn for file in files for turn in load_scenario(file).turns]
    said = [turn.words for turn in turns if isinstance(turn, SpokenTurn)]
    assert len(said) > 20
    assert [words for words in said if ending(words) is Ending.OPEN] == []
