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
At half-past.
I will dumb
Could I please speak to that?
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
What do you?
How do I get
How do I get to
What would you like to
What do I have to
What time are you open on?
When can I come for
Could I please speak to the?
It's for Doctor
I'd like to see Doctor
Yes, I think
And I think
I would really
I'm actually
Can I maybe
I really
It's only
Yes, I want to
It's Friday. And
For four people. At
I need to
The name is on.
My number is am.
Which is the
On the phone I
Where do I
How much do you
It's at dumb.
I know what I want and I would like to
What's available on
I think that
My address is
My order is
The number is
My wife and
Would you like
Could you give me
I'd like to speak to
Is it for
I've had
Hello, I'm looking
What time does the
That's because
I'd like to make
Can you get me
It's for two adults and
I'd like a room with
What is the
Do you
Where can I
I'm looking for
Please tell me if
Do you know if
My appointment was
Is there a
I live in
I'm in
We were at
I would like to change the
On Saturday in
My phone number is five
There's a
I need it by
We'll be there at
I want to talk about
It's about my
I got a letter from
Can you help me with
Do you have anything for
How long do I
When is the
Why do you
So I
Yes and
No but
I thought I could
Because we
She said she would
Could I
Could we maybe
I'd like it with
The reservation is for
Are you open in
Is it possible to
I was hoping to
You know
It's my
The one with
We want the table on
Which one is
That will be
How do I make
Where do I get
Is parking in
My name is un
I came on
Can I come on
If we could
If I need
I think that we want
In the morning we want
On the fifth we need
At the moment I have
What I would like to
The thing is we are
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
That is all good by.
How are you
How are you?
Is it open on Sunday?
My number is 555 0199
five five five zero one nine nine two
I do
Both
Go on
Johnson. J O H N S O N.
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
ten AM.
It's Will.
My name is Will.
Where are we?
How are we?
Is the doctor in?
What's going on?
That's the number I called from.
That's what I'm calling about.
It's the number I called from.
I broke my arm.
I broke my thumb.
I told my mum.
The answer is no.
Four people, I guess.
I'm fine, actually.
Adults only.
I think it is.
My wife is.
So am I.
I'd love to.
I don't want to.
That's all I have.
That's the one I want.
No, I don't.
No, I can't.
I can't.
If you like.
What would you like?
As many as you like.
An hour and a half.
In a while.
I don't have any.
They're ten dollars each.
I'd like both.
Could you turn it on?
What time do you close?
How late are you open till?
What time are you open until?
When will that be?
How long does it take?
What should I do?
What do I need to do?
Who's it for?
What's it about?
Where are you from?
It's on the fifth of May.
At half past seven.
At 7 p.m.
On Friday, maybe.
Four, I think.
How can I book?
How do I sign up?
It's not the one I ordered.
Nobody told me.
I know that.
What is that?
How much is that?
Is that all?
I'm just looking.
Just looking.
How old is he?
Who is she?
Where is he?
I already did.
It might be.
What does it do?
That's him.
It's ours, I believe.
Please hold on.
I'd like to order.
Can I pay by card?
Hi, is the manager in?
That's why we are here.
Which one do you prefer?
What else do I need?
What number should I call?
I want to come in.
I need help to log on.
OK, that will do.
Thank you very much.
Which floor are you on?
What's that like?
How was it?
No, not really.
What's next?
What do you think?
What is the weather like?
Which table are you talking about?
How many people is it for?
What are my options?
How do I log in?
How much do you want?
How long will it be?
What does it come with?
Who should I talk to?
What's the number you have?
Is it raining?
It's the flat I live in.
We have a lot of friends.
I have a reservation.
There's nothing I can do.
Where do I sign?
I'd like to go.
She has my number.
I don't need one.
OK. I will.
That's right, we are.
No, it isn't.
Yes, I'd like that.
I'd like the blue one.
I'd like that.
Yes, please.
Thanks. That's all I wanted.
I was told to come in.
Can I come by?
It's under my name.
It's under the name Miller.
We ordered pizza.
It's for my husband.
You can call me Will.
She is a doctor.
It was on the fourth of July.
That's what I ordered.
I hope so.
I hope not.
Not today.
I'd rather not.
My flight is at 6 am.
It starts at noon.
Nothing else, really.
I'm here for a while.
I can't hear you.
Who are you?
Where are you?
How are you doing?
What are you doing?
What have you got?
Is that what you need?
Whatever you have.
Anything you like.
Can I bring my dog?
It hurts when I walk.
What's that for?
What is this about?
Which bus do I take?
You too.
Never mind.
I'll do that.
I'll take it.
I'll think about it.
Not that I know of.
Not that I'm aware of.
That's what it's for.
It's all I can think of.
Is that it?
Here you are.
There you go.
There it is.
Here it is.
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
    [
        "On Saturday at seven.",
        "At seven",
        "On Friday",
        "A table for twenty",
        "At 7.",
        "For 4",
        "My address is twenty two",
        "My appointment is in May.",
    ],
)
def test_number_or_day_may_be_followed_by_more(text: str) -> None:
    """The caller is given a moment, and no more."""
    assert ending(text) is Ending.LOOSE


@pytest.mark.parametrize("text", ["What?", "How", "So what time", "How many?"])
def test_question_may_be_its_own_beginning(text: str) -> None:
    """A line that loses what comes after "what" makes it "What?": the caller is given a moment."""
    assert ending(text) is Ending.LOOSE


@pytest.mark.parametrize(
    "text",
    ["It is", "My wife is", "I'd love to", "I don't want to", "I can't", "My husband and I"],
)
def test_short_answer_may_be_the_first_half_of_a_statement(text: str) -> None:
    """Grammar can't tell: the caller is given a moment, and no more."""
    assert ending(text) is Ending.LOOSE


@pytest.mark.parametrize(
    "text",
    [
        "Seven",
        "At seven thirty",
        "At 7:30.",
        "Four people",
        "Are you open on Monday?",
        "Tomorrow at 9 a.m.",
        "What do you have?",
        "OK, I will.",
        "My order number is 88213.",
    ],
)
def test_what_is_whole_is_answered_at_once(text: str) -> None:
    """Nothing is to be expected after it."""
    assert ending(text) is Ending.CLOSED


def test_number_that_was_asked_for_has_several_digits() -> None:
    """A lone digit is an answer, except where a telephone number was asked for."""
    assert ending("Five", "For how many people?") is not Ending.OPEN
    assert ending("Five five", "What is your phone number?") is Ending.OPEN
    assert ending("555 123 4567", "What is your phone number?") is not Ending.OPEN


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Five", "For how many people?"),
        ("Two", "I have your phone number. For how many people?"),
        ("Two", "What is the number of guests?"),
        ("Five five five", "What is your order number?"),
        ("9 4 1", "And your zip code?"),
        ("My order number is five five five", ""),
        ("My PIN is 4 4 1 2", ""),
        ("Room one oh two", ""),
        ("Call me back at five.", ""),
    ],
)
def test_other_numbers_are_whole_with_few_digits(text: str, asked: str) -> None:
    """More digits are expected of a telephone number only, if the last sentence asks for it."""
    assert ending(text, asked) is not Ending.OPEN


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("555-12", "Fine. What's your mobile number?"),
        ("Five", "Could I have a contact number?"),
        ("My phone number is five", ""),
        ("Call me back on 555", ""),
        ("five five five", ""),
    ],
)
def test_begun_telephone_number_is_open(text: str, asked: str) -> None:
    """It was asked for or named, or three digits were read out with no other name."""
    assert ending(text, asked) is Ending.OPEN


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
