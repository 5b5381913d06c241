"""What differs between two runs by more than noise."""

from __future__ import annotations

import itertools
import random

import pytest

from telemetry.comparison import MOST_PAIRS, NOISE_MS, Pair, above, compare, interval


def test_the_chance_of_signs() -> None:
    """As the tables have it: of 32 ways to sign five ranks one is all positive, two are 14."""
    assert above([1, 2, 3, 4, 5]) == 1 / 32
    assert above([-1, 2, 3, 4, 5]) == 2 / 32
    assert above([-1, -2, -3]) == 1.0
    assert above([0.0, 0.0]) == 1.0
    assert above([]) == 1.0


def test_ties_are_counted_out() -> None:
    """Ranks that are shared have an exact chance, too."""
    shifts = [3.0, 3.0, -3.0, 5.0, 7.0, 7.0]
    ranks = [2.0, 2.0, 2.0, 4.0, 5.5, 5.5]
    reached = sum(rank for shift, rank in zip(shifts, ranks, strict=True) if shift > 0)
    ways = [sum(some) for signs in range(7) for some in itertools.combinations(ranks, signs)]
    assert above(shifts) == sum(one >= reached for one in ways) / len(ways)


def test_exact_and_approximate_agree() -> None:
    """Where one ends the other goes on."""
    draw = random.Random(3)
    few = [draw.gauss(0.3, 1) for _ in range(25)]
    many = [*few, 0.001]  # of the lowest rank
    assert above(few) == pytest.approx(above(many), abs=0.02)


def test_an_interval_holds_the_shift() -> None:
    """In 95 of 100, whatever the differences look like; an outlier moves it little."""
    draw = random.Random(5)
    held = 0
    for _ in range(400):
        shifts = [40 + draw.expovariate(0.02) - draw.expovariate(0.02) for _ in range(25)]
        _, low, high = interval(shifts)
        held += low <= 40 <= high
    assert 0.92 <= held / 400 <= 0.98
    calm = [float(each) for each in range(95, 106)]
    assert abs(interval([*calm, 90_000.0])[0] - 100) < 5


def test_many_pairs_are_thinned() -> None:
    """An interval of ten thousand is computed from some of them, evenly chosen."""
    found = interval([float(number) for number in range(10 * MOST_PAIRS)])
    assert found[0] == pytest.approx(5 * MOST_PAIRS, rel=0.01)


def _pairs(draw: random.Random, **more: float) -> list[Pair]:
    """Two runs of ten scenarios, four turns each; ``more`` of a measure in the second."""
    pairs = []
    for number in range(40):
        usual = {name: draw.uniform(100, 600) for name in ("llm", "synthesis", "tools")}
        before = {name: draw.gauss(ms, 30) for name, ms in usual.items()}
        after = {name: draw.gauss(ms, 30) + more.get(name, 0) for name, ms in usual.items()}
        pairs.append(Pair(f"scenario {number // 4}", before, after))
    return pairs


def test_nothing_and_something() -> None:
    """Of two equal runs nothing is news, 19 times in 20; of a slower stage that one is."""
    draw = random.Random(7)
    measures = ("llm", "synthesis", "tools")
    quiet = sum(not any(one.is_news for one in compare(_pairs(draw), measures)) for _ in range(100))
    assert quiet >= 95
    found = compare(_pairs(draw, synthesis=150), measures)
    [news] = [one for one in found if one.is_news and one.group is None]
    assert (news.measure, news.pairs) == ("synthesis", 40)
    assert news.low_ms < 150 < news.high_ms


def test_what_is_a_machines_mood_is_no_news() -> None:
    """Though it is certain: a shift below the noise of any two runs."""
    pairs = [
        Pair("a", {"llm": 300.0 + number}, {"llm": 300.0 + number + NOISE_MS - 5})
        for number in range(50)
    ]
    assert not any(one.is_news for one in compare(pairs, ["llm"]))
    assert any(one.is_news for one in compare(pairs, ["llm"], noise_ms=5))


def test_a_stage_that_was_not_there() -> None:
    """It took no time; a measure that nobody has isn't there at all."""
    pairs = [Pair("a", {}, {"tools": 200.0 + number}) for number in range(10)]
    [whole, group] = compare(pairs, ["llm", "tools"])
    assert (whole.measure, whole.before_ms, whole.group, group.group) == ("tools", 0, None, "a")
    assert whole.is_news
    assert compare([], ["llm"]) == []
