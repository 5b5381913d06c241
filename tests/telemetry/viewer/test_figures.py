"""A conversation in figures: of its root, its turns, or its requests to models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from telemetry import attributes as names
from telemetry.records import SpanRecord
from telemetry.viewer.figures import Figures, figures_of, percentile

from .stored import ROOT, START, Turn, conversation, store

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry.records import ConversationRecord


def figures(folder: Path, record: ConversationRecord) -> Figures:
    """The figures of a conversation that is stored."""
    with store(folder / "a.db", record).reading() as cursor:
        assert cursor is not None
        return figures_of(cursor, 1, ROOT, record.ended_at)


def request(number: int, **attributes: Any) -> SpanRecord:
    """A request to a model, as any SDK records it."""
    at = START + 60 + number
    return SpanRecord(
        f"{number:016x}", ROOT, names.OP_CHAT, "chat", at, at + 1, "ok", "x", attributes
    )


def test_sums_are_the_roots_or_else_those_of_the_turns(tmp_path: Path) -> None:
    """A conversation that was cut off has no sums of its own."""
    turns = [
        Turn(latency=0.5, attributes={names.USAGE + "cost": 0.25, names.INTERRUPTED: True}),
        Turn(latency=0.7, attributes={names.USAGE + "cost": 0.5, names.USAGE + "input_tokens": 9}),
    ]
    cut = figures(tmp_path, conversation(1, turns, attributes={}))
    assert (cut.cost, cut.input_tokens, cut.turns, cut.interruptions) == (0.75, 9, 2, 1)
    (tmp_path / "b").mkdir()
    whole = {names.USAGE + "cost": 1.0, names.CONVERSATION_TURNS: 7}
    ended = figures(tmp_path / "b", conversation(1, turns, attributes=whole))
    assert (ended.cost, ended.turns) == (1.0, 7)


def test_without_turns_the_requests_to_models_tell(tmp_path: Path) -> None:
    """Tokens and words, in whatever form an SDK has them; none counts twice."""
    messages = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "a table"}]}])
    plain = json.dumps([{"role": "user", "content": "for four"}])
    above = SpanRecord(
        "a" * 16, ROOT, names.OP_INVOKE_AGENT, "agent", START, START + 1, "ok", "x",
        {names.GEN_AI_USAGE_INPUT_TOKENS: 100},
    )  # fmt: skip
    requests = [
        request(1, **{names.GEN_AI_USAGE_INPUT_TOKENS: 3, names.GEN_AI_INPUT_MESSAGES: messages}),
        request(2, **{names.GEN_AI_USAGE_INPUT_TOKENS: 4, "gen_ai.request.messages": plain}),
        request(3, **{"gen_ai.response.text": "[not JSON"}),
    ]
    found = figures(tmp_path, conversation(1, spans=[above, *requests]))
    assert found.input_tokens == 7
    assert found.words.splitlines() == ["a table", "for four", "[not JSON"]


def test_long_words_are_put_together_again(tmp_path: Path) -> None:
    """The store divides them where structures end."""
    long = ", ".join([json.dumps({"said": f"word{number}" * 20}) for number in range(50)])
    found = figures(tmp_path, conversation(1, [Turn(long)]))
    assert found.words == long


@pytest.mark.parametrize("odd", [None, "x", [1], {"a": 1}, 2**70, 1e400, -1.5, True])
def test_an_attribute_of_another_kind_is_none(tmp_path: Path, odd: Any) -> None:
    """Anybody may have written it."""
    wanted = (
        names.CONVERSATION_OUTCOME, names.CONVERSATION_TURNS, names.USAGE + "input_tokens",
        names.MODELS, names.RESPONSE_LATENCY, names.USER_WORDS, names.LATENCY_STAGE + "llm",
    )  # fmt: skip
    given = dict.fromkeys(wanted, odd)
    found = figures(tmp_path, conversation(1, [Turn(attributes=given)], attributes=given))
    assert isinstance(found.turns, int)
    assert abs(found.input_tokens) < 2**53


@pytest.mark.parametrize("tokens", [2**53 - 1, 1 - 2**53])
def test_a_sum_is_no_greater_than_its_column(tmp_path: Path, tokens: int) -> None:
    """However much somebody says was used."""
    used = {names.GEN_AI_USAGE_INPUT_TOKENS: tokens, names.GEN_AI_USAGE_OUTPUT_TOKENS: tokens}
    requests = [request(number, **used) for number in range(1, 1100)]
    (tmp_path / "b").mkdir()
    said = {names.USAGE + "input_tokens": tokens, names.USAGE + "output_tokens": tokens}
    for found in (
        figures(tmp_path, conversation(1, spans=requests)),
        figures(tmp_path / "b", conversation(1, [Turn(attributes=said)] * 1100, attributes={})),
    ):
        assert abs(found.input_tokens) == abs(found.output_tokens) == 2**53


def test_percentiles_are_of_the_nearest_rank() -> None:
    """As the conversation's own are."""
    assert percentile([], 0.5) is None
    assert percentile([1.0], 0.99) == 1.0
    assert [percentile([1.0, 2.0, 3.0], share) for share in (0.0, 0.5, 0.95)] == [1.0, 2.0, 3.0]
