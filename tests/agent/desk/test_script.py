"""The script: a pure function from a conversation to what comes next."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from livekit.agents import llm

from agent.desk import DeskScript, dialogue, understanding
from agent.desk.wire import Availability, Booking, Reservation, Seating
from agent.providers import CallTool, Say
from tests.agent.desk.conftest import TODAY

if TYPE_CHECKING:
    from pydantic import BaseModel

    from agent.desk.understanding import Meaning

SCRIPT = DeskScript(lambda: TODAY)
SEATING = {"date": "2026-11-27", "time": "19:30", "party": 4}
BOOKING = ["a table for four on Friday at seven thirty", "Johnson"]


class Call:
    """A conversation held by typing: what is said, and what the tools answer."""

    def __init__(self, *words: str) -> None:
        self.context = llm.ChatContext.empty()
        for said in words:
            self.says(said)

    def says(self, words: str) -> Say | CallTool:
        self.context.add_message(role="user", content=words)
        return self._reply()

    def answers(self, tool: str, output: BaseModel | str, *, error: bool = False) -> Say | CallTool:
        text = output if isinstance(output, str) else output.model_dump_json()
        self.context.items.append(
            llm.FunctionCallOutput(call_id="call", name=tool, output=text, is_error=error)
        )
        return self._reply()

    def _reply(self) -> Say | CallTool:
        reply = SCRIPT.reply(self.context)
        assert reply == SCRIPT.reply(self.context)
        assert reply == DeskScript(lambda: TODAY).reply(self.context)  # which remembers nothing
        if isinstance(reply, Say):
            self.context.add_message(role="assistant", content=reply.text)
        return reply


def said(reply: Say | CallTool) -> str:
    assert isinstance(reply, Say)
    return reply.text


def test_asks_for_what_is_missing() -> None:
    """One question at a time, and none for what was already said."""
    call = Call()
    assert "how many people" in said(call.says("I'd like to book a table for Friday"))
    assert "What time" in said(call.says("Four of us."))
    assert "What name" in said(call.says("Half past seven"))
    assert said(call.says("Johnson")) == (
        "A table for four on Friday the twenty-seventh of November at seven thirty in the evening, "
        "for Johnson. Is that right?"
    )


def test_books_what_was_agreed() -> None:
    """The tool is called once the caller has agreed, and not before."""
    call = Call(*BOOKING)
    assert call.says("Yes, please.") == CallTool("book", {"name": "Johnson", **SEATING})
    booked = Reservation.model_validate({"id": "1", "name": "Johnson", **SEATING})
    assert "is booked" in said(call.answers("book", booked))


def test_correction_is_confirmed_again() -> None:
    """ "No, eight thirty" changes the time and nothing else."""
    call = Call(*BOOKING)
    assert "eight thirty in the evening, for Johnson. Is" in said(call.says("No, eight thirty."))
    assert "for five on Friday" in said(call.says("Yes, but for five"))
    assert call.says("yes") == CallTool(
        "book", {"name": "Johnson", "date": "2026-11-27", "time": "20:30", "party": 5}
    )


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("No, eight thirty.", "at eight thirty in the evening"),
        ("Make it five people.", "for five on Friday"),
        ("Actually Saturday.", "on Saturday the twenty-eighth"),
        ("Sorry, I meant Sunday.", "on Sunday the twenty-second"),
        ("Not Friday, Saturday.", "on Saturday the twenty-eighth"),
        ("No, not at seven thirty, at eight.", "at eight in the evening"),
        ("It's not for four, it's for six people.", "for six on Friday"),
        (
            "Could we do Saturday at nine instead?",
            "twenty-eighth of November at nine",
        ),
    ],
)
@pytest.mark.parametrize("step", ["question", "read back"])
def test_corrections_at_any_step(words: str, part: str, step: str) -> None:
    """What the caller puts right is read back next, whatever was asked meanwhile."""
    call = Call(BOOKING[0])
    if step == "read back":
        call.says("Johnson")
    reply = said(call.says(words))
    if step == "question":
        assert reply == "What name shall I book it under?"
        reply = said(call.says("Johnson"))
    assert part in reply
    assert reply.endswith("for Johnson. Is that right?")


def test_a_rejected_day_is_asked_for_again() -> None:
    """ "Not on Friday" says what is wrong, and nothing in its place."""
    call = Call(*BOOKING)
    assert said(call.says("Not on Friday.")) == "Which day would you like?"
    assert "on Saturday" in said(call.says("Saturday"))


def test_a_table_is_looked_for_again() -> None:
    """Asking for another table in the middle of a booking looks that up."""
    call = Call("Do you have a table for 4 on Friday at 7:30?")
    free = Availability.model_validate({"seating": SEATING, "available": True})
    call.answers("availability", free)
    assert call.says("And is there one on Saturday at eight?") == CallTool(
        "availability", {**SEATING, "date": "2026-11-28", "time": "20:00"}
    )


@pytest.mark.parametrize(
    "words",
    ["My soup was not hot last night.", "There was no salt in it.", "The waiter was very rude."],
)
def test_the_manager_hears_complaints(words: str) -> None:
    """A complaint with a "no" in it doesn't decline anything."""
    call = Call("Can I speak to the manager?")
    call.answers("speak_to_manager", "")
    assert said(call.says(words)).startswith("I'm very sorry to hear that.")


@pytest.mark.parametrize(
    "words",
    [
        "No thank you.",
        "No, I do not think so.",
        "No, I don't think so, thanks.",
        "No, we're fine.",
        "No problem.",
        "No, can't you?",
    ],
)
def test_a_no_to_the_manager_is_no_complaint(words: str) -> None:
    """Whoever needs nothing more goes back to the desk, however the no is put, or recognised."""
    call = Call("Can I speak to the manager?")
    call.answers("speak_to_manager", "")
    call.says("The waiter was very rude.")
    assert call.says(words) == CallTool("back_to_desk", {})


@pytest.mark.parametrize("words", ["No hot water.", "No refund.", "No parking.", "No one came."])
def test_a_short_complaint_is_one(words: str) -> None:
    """After "anything else?" a "no" may say what there wasn't, in two words."""
    call = Call("Can I speak to the manager?")
    call.answers("speak_to_manager", "")
    call.says("The waiter was very rude.")
    assert said(call.says(words)).startswith("I'm very sorry to hear that.")


@pytest.mark.parametrize(
    "words", ["No, wait.", "No, one moment.", "No, another thing.", "No, hold on, please."]
)
@pytest.mark.parametrize("manager", [True, False])
def test_who_asks_to_wait_has_more_to_say(words: str, manager: bool) -> None:
    """It is no complaint, and nobody takes leave; the caller is asked what it is."""
    call = Call("Can I speak to the manager?")
    call.answers("speak_to_manager", "")
    call.says("The waiter was very rude.")
    if not manager:
        assert call.says("No, thanks.") == CallTool("back_to_desk", {})
        call.answers("back_to_desk", "")
    assert said(call.says(words)) == "How can I help you?"


def test_plain_no_asks_what_is_wrong() -> None:
    """A part that is only named as wrong is asked for again."""
    call = Call(*BOOKING)
    assert "What would you like to change" in said(call.says("No."))
    assert "What name" in said(call.says("The name is wrong."))
    assert "for Miller. Is that right" in said(call.says("Miller"))


def test_question_about_hours_in_the_middle_of_a_booking() -> None:
    """A question in between is answered, and the booking goes on where it was."""
    call = Call("A table for four please")
    assert call.says("Are you open on Monday?") == CallTool("opening_hours", {"day": "monday"})
    assert said(call.answers("opening_hours", '{"monday": null}')) == (
        "We are closed on Mondays. Which day would you like?"
    )


def test_hours_of_one_day_then_another() -> None:
    """After a question about hours, a lone day asks again; no day asks for the week."""
    call = Call()
    assert call.says("When do you open on Saturday?") == CallTool(
        "opening_hours", {"day": "saturday"}
    )
    hours = '{"opens": "12:00", "closes": "21:00"}'
    assert said(call.answers("opening_hours", f'{{"saturday": {hours}}}')) == (
        "On Saturdays we are open from noon until nine in the evening."
    )
    assert call.says("And on Sunday?") == CallTool("opening_hours", {"day": "sunday"})
    call.answers("opening_hours", f'{{"sunday": {hours}}}')
    assert call.says("What are your opening hours?") == CallTool("opening_hours", {"day": None})
    week = f'{{"monday": null, "friday": {hours}, "saturday": {hours}}}'
    assert said(call.answers("opening_hours", week)) == (
        "We are open Friday and Saturday from noon until nine in the evening. "
        "We are closed on Mondays."
    )


def test_free_table_becomes_a_booking() -> None:
    """A caller who asks whether there is a table is offered it, or another time."""
    call = Call()
    assert call.says("Do you have a table for 4 on Friday at 7:30?") == CallTool(
        "availability", SEATING
    )
    seating = Seating.model_validate(SEATING)
    full = Availability.model_validate(
        {"seating": seating, "available": False, "alternatives": ["19:00", "20:00"]}
    )
    assert "I could offer you seven or eight." in said(call.answers("availability", full))
    assert call.says("Eight then.") == CallTool("availability", {**SEATING, "time": "20:00"})
    free = Availability(seating=seating, available=True)
    assert said(call.answers("availability", free)).endswith("What name shall I book it under?")


def test_failure_is_spoken_and_another_time_tried() -> None:
    """What a tool could not do is said in its own words; the caller's next words go on from it."""
    call = Call(*BOOKING, "yes")
    sorry = "I'm sorry, we are fully booked at that time. I could offer you nine."
    assert said(call.answers("book", sorry, error=True)) == sorry
    assert "at nine in the evening, for Johnson. Is that right" in said(call.says("Nine is fine."))


def test_change_and_cancel() -> None:
    """A reservation is changed or cancelled under its name, after the caller has agreed."""
    call = Call("I'd like to change the time of my reservation")
    assert "What time" in said(call.says("The name is Johnson"))
    assert "at eight in the evening. Is that right" in said(call.says("To eight o'clock please"))
    assert call.says("Yes") == CallTool("change", {"name": "Johnson", "time": "20:00"})
    changed = Booking.model_validate({"name": "Johnson", **SEATING, "time": "20:00"})
    reservation = Reservation(id="1", **dict(changed))
    assert "at eight in the evening" in said(call.answers("change", reservation))
    assert "under Johnson" in said(call.says("Oh, then please cancel it"))
    assert call.says("Yes") == CallTool("cancel", {"name": "Johnson", "on": None})
    assert "cancelled" in said(call.answers("cancel", reservation))


def test_repeats_itself_when_asked() -> None:
    """The last words are said again, whatever they were."""
    call = Call("a table for four on Friday")
    assert said(call.says("Pardon?")) == "What time would you like?"


def test_not_understood() -> None:
    """What makes no sense is said so, with the question that is open."""
    call = Call("I would like a table")
    assert said(call.says("Purple elephants")).startswith("I'm sorry, I did not catch that. For")


def test_a_no_among_other_words_is_no_goodbye() -> None:
    """ "Are you open on Monday", misheard, isn't the end of the call: only a plain no is."""
    heard = said(Call().says("Are you old? Not Monday?"))
    assert heard == "I'm sorry, I did not catch that. How can I help you?"


@pytest.mark.parametrize("words", ["Goodbye.", "No, thank you.", "That is all, thanks."])
def test_goodbye_ends_the_call(words: str) -> None:
    """A caller who is done is let go with a goodbye; more words don't undo it."""
    call = Call()
    assert call.says(words) == CallTool("end_call", {})
    assert "Goodbye" in said(call.answers("end_call", "Say goodbye."))
    assert "Goodbye" in said(call.says("Bye bye"))


def test_a_reply_costs_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each utterance is understood once, however long the conversation has become, and one taken
    back costs no more."""
    read: list[str] = []

    def understand(text: str, **known: Any) -> Meaning:
        read.append(text)
        return understanding.understand(text, **known)

    monkeypatch.setattr(dialogue, "understand", understand)
    context, script = llm.ChatContext.empty(), DeskScript(lambda: TODAY)
    for number in range(100):
        context.add_message(role="user", content=f"purple elephants {number}")
        script.reply(context)
        context.add_message(role="assistant", content="I'm sorry?")
    assert len(read) == 100
    del context.items[-2:]
    context.add_message(role="user", content="a table for two")
    script.reply(context)
    assert len(read) == 101


def test_conversations_that_share_a_script_are_their_own() -> None:
    """The same words after others are another conversation; a day later they mean another day."""
    today = [TODAY]
    script = DeskScript(lambda: today[0])
    call, other = llm.ChatContext.empty(), llm.ChatContext.empty()
    call.add_message(role="user", content="a table for two")
    other.add_message(role="user", content="a table for three")
    asked = [script.reply(context) for context in (call, other)]
    for context in (call, other):
        context.add_message(role="user", content="tomorrow at eight, my name is Johnson")
    replies = [script.reply(context) for context in (call, other)]
    assert asked[0] == asked[1]
    assert "two" in said(replies[0])
    assert "three" in said(replies[1])
    today[0] += dt.timedelta(days=1)
    assert script.reply(call) != replies[0]


_WORDS = st.sampled_from(
    (
        *(
            "0",
            "7",
            "75",
            "30",
            "half",
            "quarter",
            "past",
            "to",
            ":",
            "at",
            "for",
            "of",
            "us",
            "the",
        ),
        *("th", "first", "friday", "may", "november", "am", "pm", "name", "is", "Johnson", "under"),
        *("yes", "no", "change", "cancel", "book", "open", "time", "goodbye", "repeat", "thanks"),
    )
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(_WORDS, max_size=8).map(" ".join) | st.text(max_size=20), max_size=6))
def test_any_words_get_a_reply(turns: list[str]) -> None:
    """Whatever is heard, the desk has something to say or to do."""
    call = Call()
    for words in turns:
        match call.says(words):
            case Say(text):
                assert text
            case CallTool(name):
                call.answers(name, "I'm sorry, that did not work.", error=name != "end_call")
