"""The envelopes that wait for Sentry: order of worth, room, limits, pauses, the end. No threads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from sentry_sdk.envelope import Envelope, Item, PayloadRef

from telemetry.delivery import send_queue
from telemetry.delivery.drops import NETWORK_ERROR, RATE_LIMITED, TOO_LARGE, Drops
from telemetry.delivery.kinds import Kinds
from telemetry.delivery.send_queue import SendQueue
from telemetry.delivery.sender import Delivered, Dropped, Retry
from telemetry.delivery.waiting import Worth
from telemetry.encoding.envelope import in_bytes
from telemetry.store import InStore, Unsent

if TYPE_CHECKING:
    from telemetry.delivery.waiting import Waiting


class Clock:
    """Time, which passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The queue's time."""
    made = Clock()
    monkeypatch.setattr(send_queue, "time", made)
    return made


def envelope(name: str, kind: str, **event: Any) -> Envelope:
    """An envelope of one item; ``name`` tells it from the others."""
    payload: dict[str, Any] = {"transaction": name, **event}
    headers = {"item_count": event["count"]} if "count" in event else {}
    item = Item(PayloadRef(json=payload), type=kind, headers=headers)
    return Envelope(headers={"name": name}, items=[item])


def conversation(name: str, spans: int = 0) -> Envelope:
    return envelope(name, "transaction", spans=[{}] * spans)


def error(name: str, message: str) -> Envelope:
    return envelope(name, "event", logentry={"message": message})


def log(name: str, count: int = 1) -> Envelope:
    return envelope(name, "log", count=count)


def name_of(waiting: Waiting | None) -> str | None:
    return None if waiting is None else waiting.envelope.headers["name"]


def taken(queue: SendQueue) -> Waiting:
    """The next, which there is."""
    waiting = queue.take()
    assert waiting is not None
    return waiting


def order(queue: SendQueue) -> list[str]:
    """The names of all that may go now, in the order in which they go; each arrives."""
    names: list[str] = []
    while queue.due() <= 0 and (waiting := queue.take()) is not None:
        names.append(waiting.envelope.headers["name"])
        queue.answered(waiting, Delivered())
    return names


@pytest.fixture
def drops() -> Drops:
    """The counts."""
    return Drops()


@pytest.fixture
def queue(drops: Drops, clock: Clock) -> SendQueue:
    """A queue for one request at a time."""
    return SendQueue(drops, Kinds())


# -- order -----------------------------------------------------------------------------------------


def test_what_is_worth_most_goes_first(queue: SendQueue) -> None:
    """Conversations, first errors of a kind, all else, repeats; in their order among themselves."""
    for number in range(2):
        queue.add(log(f"log {number}"))
        queue.add(error(f"error {number}", "no table"))
        queue.add(conversation(f"conversation {number}"))
        queue.add(envelope(f"streamed {number}", "span", count=3))
        queue.add(error(f"other {number}", "no waiter"))
    assert order(queue) == [
        "conversation 0",
        "streamed 0",
        "conversation 1",
        "streamed 1",
        "error 0",
        "other 0",
        "log 0",
        "log 1",
        "error 1",
        "other 1",
    ]
    assert queue.is_empty


def test_several_are_under_way_together(drops: Drops, clock: Clock) -> None:
    """As many as there are lanes, and not one more."""
    queue = SendQueue(drops, Kinds(), at_once=2)
    for number in range(3):
        queue.add(log(str(number)))
    first, _ = taken(queue), taken(queue)
    assert queue.due() == math.inf
    assert queue.is_sending
    queue.answered(first, Delivered())
    assert queue.due() == 0
    assert name_of(queue.take()) == "2"


def test_the_oldest_is_what_a_flush_waits_for(drops: Drops, clock: Clock) -> None:
    """Whether it waits or is on its way; numbers are in the order of coming, not of going."""
    queue = SendQueue(drops, Kinds(), at_once=2)
    assert queue.oldest == math.inf
    queue.add(log("one"))
    queue.add(conversation("two"))
    two, one = taken(queue), taken(queue)
    assert (name_of(two), name_of(one), queue.oldest) == ("two", "one", 1)
    queue.answered(one, Delivered())
    assert queue.oldest == 2
    queue.answered(two, Delivered())
    assert queue.oldest == math.inf


# -- room ------------------------------------------------------------------------------------------


def test_what_is_worth_least_makes_room(
    queue: SendQueue, drops: Drops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest of it first, for what is worth more; and each is counted by what is in it."""
    monkeypatch.setattr(send_queue, "LIMIT", 5)
    queue.add(error("first", "no table"))
    queue.add(log("log 0", count=10))
    queue.add(log("log 1", count=100))
    queue.add(error("repeat 0", "no table"))
    queue.add(error("repeat 1", "no table"))
    counts = []
    for number in range(5):
        queue.add(conversation(f"conversation {number}", spans=3))
        counts.append(sum(drops.read().values()))
    assert counts == [1, 2, 12, 112, 113]
    queue.add(conversation("conversation 5", spans=3))
    assert drops.read() == {"queue_overflow": 113 + 4}  # nothing is worth less: it goes itself
    assert order(queue) == [f"conversation {number}" for number in range(5)]


def test_equals_dont_make_room_for_each_other(
    queue: SendQueue, drops: Drops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newcomer is refused, and counted."""
    monkeypatch.setattr(send_queue, "LIMIT", 2)
    for number in range(4):
        queue.add(log(str(number)))
    assert order(queue) == ["0", "1"]
    assert drops.read() == {"queue_overflow": 2}


def test_room_is_counted_in_spans_too(
    queue: SendQueue, drops: Drops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is larger than all the room is sent if it is alone."""
    monkeypatch.setattr(send_queue, "EVENTS", 10)
    queue.add(conversation("large", spans=99))
    queue.add(conversation("one more"))
    assert drops.read() == {"queue_overflow": 1}
    assert order(queue) == ["large"]
    queue.add(log("logs", count=8))
    queue.add(conversation("small", spans=5))
    assert drops.read() == {"queue_overflow": 1 + 8}
    assert order(queue) == ["small"]


def test_room_is_counted_in_bytes_too(
    queue: SendQueue, drops: Drops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that are small have room where two that are large have none; what goes makes room."""
    monkeypatch.setattr(send_queue, "BYTES", 1_000)

    def add(name: str, size: int) -> None:
        whole = conversation(name, spans=1)
        whole.items[0].payload.json["transaction"] = "x" * size  # type: ignore[index]
        queue.add(whole, packed=in_bytes(whole))

    for name, size in (("large", 800), ("small", 50), ("large too", 800)):
        add(name, size)
    assert drops.read() == {"queue_overflow": 2}
    assert order(queue) == ["large", "small"]
    add("large again", 800)
    assert order(queue) == ["large again"]


def test_it_is_crowded_past_half(queue: SendQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delivery then leaves a burst in the outbox."""
    monkeypatch.setattr(send_queue, "LIMIT", 4)
    queue.add(log("0"))
    queue.add(log("1"))
    assert not queue.is_crowded
    queue.add(log("2"))
    assert queue.is_crowded


# -- answers ---------------------------------------------------------------------------------------


def test_a_limit_holds_back_what_it_is_about(queue: SendQueue, drops: Drops, clock: Clock) -> None:
    """The others go on; it goes when the limit is over, and isn't counted."""
    queue.add(conversation("limited"))
    queue.add(log("log"))
    limited = taken(queue)
    queue.answered(limited, Retry(60.0, RATE_LIMITED))
    assert order(queue) == ["log"]
    clock.now += 59
    assert queue.due() == 1
    assert queue.take() is None
    clock.now += 1
    assert order(queue) == ["limited"]
    assert drops.read() == {}


def test_items_that_a_limit_left_out_are_counted(queue: SendQueue, drops: Drops) -> None:
    """Those that went are not."""
    queue.add(log("logs", count=7))
    waiting = taken(queue)
    queue.answered(waiting, Delivered(left_out=tuple(waiting.envelope.items)))
    assert drops.read() == {RATE_LIMITED: 7}
    assert queue.is_empty


@pytest.mark.parametrize(("after", "pauses"), [(7.0, [7, 7, 7]), (None, [0.5, 1, 2])])
def test_after_a_failure_it_waits(
    queue: SendQueue, clock: Clock, after: float | None, pauses: list[float]
) -> None:
    """As long as the server says, else twice as long each time; and goes first then."""
    queue.add(conversation("failing"))
    queue.add(conversation("next"))
    waited = []
    for _ in pauses:
        waiting = taken(queue)
        assert name_of(waiting) == "failing"
        queue.answered(waiting, Retry(after, NETWORK_ERROR))
        waited.append(queue.due())
        clock.now += queue.due()
    assert waited == pauses
    assert order(queue) == ["failing", "next"]


def test_the_longest_pause(queue: SendQueue, clock: Clock) -> None:
    """Of a server that says nothing."""
    queue.add(log("failing"))
    for _ in range(20):
        waiting = taken(queue)
        queue.answered(waiting, Retry(None, NETWORK_ERROR))
        clock.now += queue.due()
    queue.answered(taken(queue), Retry(None, NETWORK_ERROR))
    assert queue.due() == send_queue.BACKOFF_SECONDS[1]


def test_one_request_finds_out_whether_it_is_well_again(drops: Drops, clock: Clock) -> None:
    """Eight that time out together would keep what waits eight times as long."""
    queue = SendQueue(drops, Kinds(), at_once=3)
    for number in range(4):
        queue.add(log(str(number)))
    failed = taken(queue)
    queue.answered(failed, Retry(None, NETWORK_ERROR))
    clock.now += 30
    first = taken(queue)
    assert queue.due() == math.inf
    queue.answered(first, Delivered())
    assert queue.take() is not None
    assert queue.due() == 0


def test_what_never_arrives_is_counted_by_its_reason(queue: SendQueue, drops: Drops) -> None:
    """With all that is in it."""
    queue.add(conversation("too large", spans=4))
    queue.answered(taken(queue), Dropped(TOO_LARGE))
    assert drops.read() == {TOO_LARGE: 5}
    assert queue.is_empty


# -- the end ---------------------------------------------------------------------------------------


def test_closing_forgets_pauses(queue: SendQueue, drops: Drops, clock: Clock) -> None:
    """There is no time for them; a limit that comes then outlasts the process."""
    for number in range(2):
        queue.add(conversation(str(number)))
    queue.answered(taken(queue), Retry(3_600.0, NETWORK_ERROR))
    assert queue.due() == 3_600
    queue.begin_closing()
    assert queue.due() == 0
    queue.answered(taken(queue), Retry(60.0, RATE_LIMITED))
    assert drops.read() == {"shutdown": 1}
    assert order(queue) == ["1"]


def test_what_is_given_up_is_counted_once(queue: SendQueue, drops: Drops) -> None:
    """What waits and what is on its way; an answer that comes after that changes nothing."""
    queue.add(conversation("on its way", spans=2))
    queue.add(log("waits", count=5))
    waiting = taken(queue)
    queue.drop_all()
    queue.drop_all()
    queue.answered(waiting, Delivered())
    queue.add(log("too late"))  # whoever made it counts it
    assert drops.read() == {"shutdown": 3 + 5}
    assert queue.is_empty


# -- what the store has ----------------------------------------------------------------------------


def _unsent(key: str, worth: int = 0) -> Unsent:
    return Unsent(key, worth, 1, "{}", b"", 0.0)


def _kept(queue: SendQueue, *names: str, kind: str = "transaction") -> None:
    """Envelopes that the store has, too."""
    for name in names:
        queue.add(envelope(name, kind), key=name)
    queue.kept(names, InStore(len(names), 0.0))


def test_while_nothing_goes_the_store_alone_has_them(clock: Clock) -> None:
    """One attempt at a time, of the first in the store; then all of them, none twice."""
    queue = SendQueue(Drops(), Kinds(), at_once=2)
    _kept(queue, *(f"c-{number}" for number in range(30)))
    first = queue.take()
    assert first is not None
    queue.answered(first, Retry(None, NETWORK_ERROR))
    assert queue.wants() is None
    assert queue.waiting == 30
    clock.now += queue.due()
    while (waiting := queue.take()) is not None:  # the one that was left here to try with
        queue.answered(waiting, Retry(None, NETWORK_ERROR))
        clock.now += queue.due()
    wanted = queue.wants()
    assert wanted is not None
    assert (wanted[0], wanted[1]) == (1, set())
    queue.loaded([(_unsent("c-0"), envelope("c-0", "transaction"))])
    again = queue.take()
    assert again is not None
    assert queue.oldest == 1
    queue.answered(again, Delivered())
    assert queue.gone == ["c-0"]
    wanted = queue.wants()
    assert wanted is not None
    assert (wanted[0], wanted[1]) == (send_queue.IN_HAND, {"c-0"})
    assert queue.oldest == 2


def test_what_came_or_went_meanwhile_is_not_sent_twice(clock: Clock) -> None:
    """The store's answer may be older than what is known here."""
    queue = SendQueue(Drops(), Kinds())
    queue.kept((), InStore(1, 0.0))
    assert queue.wants() is not None
    _kept(queue, "here", "gone")
    for _ in range(2):
        taken = queue.take()
        assert taken is not None
        if taken.key == "gone":
            queue.answered(taken, Delivered())
        else:
            queue.answered(taken, Retry(1.0, RATE_LIMITED))
            _kept(queue, "here")
    queue.loaded([(_unsent(key), envelope(key, "transaction")) for key in ("here", "gone", "new")])
    names = []
    while (taken := queue.take()) is not None:
        names.append(taken.key)
        queue.answered(taken, Delivered())
    assert sorted(map(str, names)) == ["here", "new"]


def test_what_the_store_has_is_not_dropped(clock: Clock) -> None:
    """Not at the end, nor for want of room; what it says it hasn't is counted."""
    drops = Drops()
    queue = SendQueue(drops, Kinds())
    _kept(queue, *(f"c-{number}" for number in range(send_queue.LIMIT + 50)))
    assert drops.read() == {}
    queue.not_kept({"c-400": 1, "c-0": 1}, "overflow")  # the first is here, too
    assert drops.read() == {"overflow": 1}
    queue.add(envelope("alone", "log"), key="alone")
    queue.drop_all()
    assert drops.read() == {"overflow": 1, "shutdown": 2}  # the log, and the one it had no more


def test_a_limit_on_one_kind_holds_it_in_the_store(clock: Clock) -> None:
    """The others are asked for."""
    queue = SendQueue(Drops(), Kinds())
    _kept(queue, "limited")
    taken = queue.take()
    assert taken is not None
    queue.answered(taken, Retry(60.0, RATE_LIMITED))
    wanted = queue.wants()
    assert wanted is not None
    assert Worth.CONVERSATION not in wanted[2]
    assert Worth.ERROR in wanted[2]


def test_what_a_limit_holds_is_asked_for_when_it_is_over(clock: Clock) -> None:
    """That the store has nothing else, which may go now, doesn't make it empty."""
    queue = SendQueue(Drops(), Kinds())
    _kept(queue, "limited")
    queue.answered(taken(queue), Retry(60.0, RATE_LIMITED))
    assert queue.wants() is not None
    queue.loaded([])
    assert queue.waiting == 1
    assert queue.due() == 60
    assert queue.wants() is None
    clock.now += 60
    assert queue.due() == 0
    wanted = queue.wants()
    assert wanted is not None
    assert Worth.CONVERSATION in wanted[2]


def test_what_is_left_to_the_store_is_asked_for_again(clock: Clock) -> None:
    """Also where the store had nothing besides, while it was on its way."""
    queue = SendQueue(Drops(), Kinds())
    _kept(queue, "on its way")
    queue.kept((), InStore(2, 0.0))  # the other one is gone by the time it is asked for
    waiting = taken(queue)
    assert queue.wants() is not None
    queue.loaded([])
    queue.answered(waiting, Retry(None, NETWORK_ERROR))
    assert queue.waiting == 1
    clock.now += queue.due()
    assert queue.wants() is not None


def test_a_limit_at_the_end_leaves_it_to_the_store(clock: Clock) -> None:
    """It is neither dropped nor forgotten there: the next process sends it. Nobody waits for it
    now, or for what the store hasn't said yet that it has."""
    drops = Drops()
    queue = SendQueue(drops, Kinds())
    _kept(queue, "kept")
    queue.begin_closing()
    queue.answered(taken(queue), Retry(60.0, RATE_LIMITED))
    queue.add(conversation("not kept yet"), key="not kept yet")
    queue.answered(taken(queue), Retry(60.0, RATE_LIMITED))
    assert queue.take() is None
    assert (queue.gone, queue.waiting) == ([], 2)
    if queue.wants() is not None:  # what else there is
        queue.loaded([])
    assert queue.rests_for == 60
    queue.kept(["not kept yet"], InStore(2, 0.0))
    queue.drop_all()
    assert drops.read() == {}
