"""Where text is cut that is to be said, and how soon when it is being written."""

from __future__ import annotations

import re
from itertools import accumulate

import pytest

from agent.providers.clauses import Beginning, Opening, beginning, clauses, parts

REPLIES = {
    "How can I help you?": ["How can I help you?"],
    "Certainly. For how many people?": ["Certainly.", " For how many people?"],
    "Thank you, Mr. Smith. We look forward to seeing you.": [
        "Thank you, Mr. Smith.",
        " We look forward to seeing you.",
    ],
    "A table for four on Friday the first of May at seven, for Ada. Is that right?": [
        "A table for four",
        " on Friday the first of May at seven,",
        " for Ada.",
        " Is that right?",
    ],
    "It costs 10,000 dollars, which is a lot. You see, I pay more, and you pay less.": [
        "It costs 10,000 dollars,",
        " which is a lot.",
        " You see, I pay more, and you pay less.",
    ],
    "Yes.\n\nI don't know what to say to that. Nor does anybody else.": [
        "Yes.",
        "\n\nI don't know what to say to that.",
        " Nor does anybody else.",
    ],
    "I'm sorry, our reservations book is being looked after right now.": [
        "I'm sorry,",
        " our reservations book is being looked after right now.",
    ],
    "...": ["..."],
}
"""Replies, and the pieces in which they are said: of the first sentence each clause."""


async def pieces(*written: str) -> list[str]:
    """The pieces of a reply written so."""
    stream = Opening().stream()
    for text in written:
        stream.push_text(text)
    stream.end_input()
    return [piece.token async for piece in stream]


@pytest.mark.parametrize("reply", REPLIES)
@pytest.mark.parametrize("token", [r"\s*\S+\s*", r"\s*\S+", "(?s).", "(?s).+"])
async def test_pieces_of_a_reply(reply: str, token: str) -> None:
    """However it is written (words with the space after them or before, letters, all at once), the
    pieces are the same, and together they are the reply."""
    said = await pieces(*re.findall(token, reply))
    assert said == REPLIES[reply]
    assert "".join(said) == reply


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("Certainly. For how many people?", 1),
        ("For Friday at seven, I have a table that is free.", 4),
        ("Yes, we have a table for four on Friday the first of May at seven in the evening.", 11),
    ],
)
def test_words_that_are_waited_for(reply: str, words: int) -> None:
    """The first piece is out with the word that ends it; of a clause without an end, as soon as it
    is a long one."""
    written = ["", *accumulate(re.findall(r"\S+\s*", reply))]
    assert [bool(beginning(text, is_first=True)[0]) for text in written[: words + 1]] == [
        False
    ] * words + [True]


async def test_each_reply_has_a_beginning() -> None:
    """A flush ends one, and the next is cut as the first was."""
    stream = Opening().stream()
    for _ in range(2):
        stream.push_text("Certainly. That is a table for two. It is free")
        stream.flush()
    stream.end_input()
    said = [piece.token async for piece in stream]
    assert said == ["Certainly.", " That is a table for two.", " It is free"] * 2


@pytest.mark.parametrize("reply", REPLIES)
def test_a_reply_that_is_written(reply: str) -> None:
    """The pieces of one that is all there together are the reply, too."""
    said = Opening().tokenize(reply)
    assert said == REPLIES[reply]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("How can I help you?", ["How can I help you?"]),
        ("Yes, we are. Every day, from ten.", ["Yes, we are. Every day,", " from ten."]),
        (
            "On Saturdays we are open from noon until eleven in the evening.",
            ["On Saturdays we are open,", " from noon until eleven in the evening."],
        ),
        ("a" * 60, ["a" * 60]),
    ],
)
def test_parts_of_a_sentence(text: str, said: list[str]) -> None:
    """A sentence is cut where a speaker would pause, a long clause where one would breathe."""
    assert list(parts(text)) == said


@pytest.mark.parametrize(
    ("text", "is_awaited", "said"),
    [
        ("Certainly. For when?", True, ["Certainly.", "For when?"]),
        ("On Saturdays we are open", True, ["On Saturdays we are open"]),
        ("On Saturdays we are open", False, ["On Saturdays we are open"]),
        ("That is what it is. Yes", True, ["That is what it is.", "Yes"]),
        ("Yes", True, ["Yes"]),
        (
            "On Saturdays we are open from noon until eleven in the evening.",
            False,
            ["On Saturdays we are open from noon until eleven in the evening."],
        ),
        (" ", True, []),
    ],
)
def test_clauses_of_a_text(text: str, is_awaited: bool, said: list[str]) -> None:
    """Each sentence is said by itself; what is cut for who waits goes on, and else isn't cut."""
    assert list(clauses(text, is_awaited=is_awaited)) == said


def test_a_beginning_has_a_comma() -> None:
    """The voice must not fall where a sentence goes on; one that has a sign already keeps it."""
    assert list(clauses(" On Saturdays we are open", goes_on=True)) == ["On Saturdays we are open,"]
    assert list(clauses("Yes, we are,", goes_on=True)) == ["Yes, we are,"]


async def test_who_cuts_a_beginning_says_so() -> None:
    """Only what was cut goes on: not a sentence, nor a reply that ends without a full stop."""
    stream = Opening().stream()
    long = "On Saturdays we are open from noon until eleven in the evening"
    for reply in ("On Sundays we are closed", long, "Certainly. On Mondays we are closed"):
        stream.push_text(reply)
        stream.flush()
    stream.end_input()
    said = [piece.token async for piece in stream]
    assert [piece for piece in said if isinstance(piece, Beginning)] == ["On Saturdays we are open"]
    assert said[1:3] == ["On Saturdays we are open", " from noon until eleven in the evening"]
    assert isinstance(said[1].strip(), Beginning)


@pytest.mark.parametrize("dots", ["...", "…"])
def test_dots_end_nothing_by_themselves(dots: str) -> None:
    """Somebody hesitates: the sentence may go on after them."""
    assert beginning(f"Well{dots} ", is_first=True) == (0, False)
    assert beginning(f"Well{dots} maybe", is_first=True) == (0, False)
    assert beginning(f"Well{dots} I", is_first=True)[0]
