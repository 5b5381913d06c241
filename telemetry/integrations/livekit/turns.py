"""Turns: a state machine that is told what happens in a session, and says what each turn was.

A turn (``conversation.turn``) begins when the caller starts to speak, or the agent does unasked,
and ends when the agent's reply has played or was cut. LiveKit has no such thing: its ``user_turn``
and ``agent_turn`` stand side by side.

Pure: it knows neither spans nor clocks nor LiveKit. Times are told (Unix seconds), speeches are
known by their ids, tasks by being the same object. What it is told comes from LiveKit's spans
(:mod:`.spans`), its session's events (:mod:`.events`) and the line's audio; :mod:`.record` puts
down what it says.

Which turn a speech of the agent's belongs to is decided when the speech is made, by what made it:

* the task that has just heard the caller or taken their turn (LiveKit's own answer, also one it
  generates ahead of time): the caller's turn;
* code that runs in a turn (a tool, a node, ``on_user_turn_completed``): that turn;
* a realtime model, unprompted: the caller's turn;
* the ``on_enter`` of an agent that the call was handed to before anything was answered: likewise;
* anything, while the caller waits for an answer that is being made ("One moment, please"):
  likewise;
* anything else spoke unasked: a turn of the agent's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import attributes as names
from ..harmless import harmless
from .turn import Caller, Late, Totals, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .latency import Stage
    from .turn import Usage


class Turns:
    """The turns of one conversation.

    Attributes:
        hearing: the caller's latest turn, until it is over.
    """

    def __init__(self, over: Callable[[Turn, float, list[Stage]], object]) -> None:
        """``over`` is given each turn as it ends, when that was, and its response's stages."""
        self.hearing: Turn | None = None
        self._over = over
        self._open: dict[int, Turn] = {}
        self._asked: Turn | None = None
        self._spoken_in: dict[str, Turn] = {}
        self._items: dict[str, Turn] = {}
        self._modelled_until = 0.0
        self._totals = Totals()

    def newest_first(self) -> list[Turn]:
        """The turns that aren't over."""
        return list(self._open.values())[::-1]

    # -- the caller ------------------------------------------------------------------------------

    def caller_begins(self, at: float) -> Turn | None:
        """The caller's turn begins, and LiveKit will say when it is over.

        Where a realtime model has heard them already, it is that turn, as a recogniser beside it
        is heard later; none if that turn is over.
        """
        turn = None if self.hearing is None or self.hearing.is_framed else self.hearing
        if turn is not None and (turn.caller is Caller.SPEAKING or Late.FRAME in turn.kept_for):
            turn.kept_for.add(Late.FRAME)
            return turn
        return None if at <= self._modelled_until else self._begin(Caller.SPEAKING, at)

    def caller_speaks(self, turn: Turn | None, at: float) -> Turn:
        """The caller is heard: in their turn, or without LiveKit knowing of turns."""
        if turn is None:
            turn = self.hearing
            if turn is None or not turn.caller.is_open or turn.is_heard:
                turn = self._begin(Caller.SPEAKING, at)
                turn.is_framed = False
        turn.speaking_since = at
        return turn

    def caller_silent(self, turn: Turn, last: float, at: float, late: Iterable[Late] = ()) -> None:
        """The caller was heard until ``last``, which was known at ``at``; this may come late."""
        if not turn.is_framed:
            turn.kept_for.update(late)
            if turn.marks.transcript_at is not None:
                turn.kept_for.discard(Late.WORDS)
        turn.marks.voiced_until = last
        turn.marks.speech_ended = at
        turn.speaking_since = None
        if turn.caller is Caller.SPEAKING and not turn.is_framed:
            turn.caller = Caller.ASKED
            self.part_over(turn, last)

    def caller_decided(self, turn: Turn) -> None:
        """Their turn is taken to be over."""
        if turn.is_framed:
            turn.caller = Caller.DECIDED

    def wait_over(self, turn: Turn, at: float) -> None:
        """The wait for more of their words has ended."""
        if turn.caller is Caller.DECIDED:
            turn.marks.decided_at = at

    def agent_asked(self, turn: Turn, by: object) -> None:
        """The agent has been asked about their words, in this task."""
        turn.decider = by
        self._asked = turn

    def declined(self, turn: Turn, unused: set[str]) -> None:
        """The agent won't answer; these speeches were made ahead of time and won't be heard."""
        turn.caller = Caller.DECLINED
        self.take_back(turn, unused)

    def caller_done(self, turn: Turn, at: float) -> None:
        """LiveKit's span of their turn is over."""
        turn.kept_for.discard(Late.FRAME)
        match turn.caller if turn.is_framed else None:
            case Caller.SPEAKING:
                turn.caller = Caller.DROPPED
            case Caller.DECIDED:
                turn.caller = Caller.ASKED
        self.part_over(turn, at)

    def transcribed(
        self, by: object, at: float, *, is_final: bool, item: str | None = None
    ) -> Turn | None:
        """Words of the caller's were understood, in this task; the turn, if they are its last.

        A realtime model's have the id of an item of its own, and may come late.
        """
        turn = self._whose(item)
        if turn is None:
            return None
        if turn.is_framed:
            turn.decider = by
        if item is not None:
            self._items[item] = turn
        if not is_final or (turn.is_framed and not turn.caller.is_open):
            return None
        turn.marks.transcript_at = at
        return turn

    def typed(self, by: object, at: float) -> Turn:
        """Words of the caller's have become part of the history, outside of any turn: the turn.

        LiveKit has them before the speech that answers them, which this task will make.
        """
        turn = self.hearing
        if turn is None or not turn.is_framed or names.USER_WORDS in turn.facts:
            turn = self._begin(Caller.ASKED, at)
            turn.decider = by
        return turn

    def answered_in(self, turn: Turn) -> Turn:
        """The turn whose words are answered by a speech that was made in this one.

        What LiveKit makes ahead of time may be of words that turn out to be the caller's next turn.
        """
        asked = self._asked
        if asked is None or asked is turn or asked.index not in self._open:
            return turn
        if turn.caller is Caller.SILENT or names.USER_WORDS in asked.facts:
            return turn
        is_spent = turn.caller is Caller.DECLINED or names.USER_WORDS in turn.facts
        return asked if is_spent else turn

    def of_item(self, item: str) -> Turn | None:
        """The turn of words that have this id."""
        return self._items.get(item)

    def transcript_over(self, turn: Turn, at: float) -> None:
        """All that comes of a transcript has come."""
        turn.kept_for.discard(Late.WORDS)
        self.part_over(turn, turn.over_at or at)

    def _whose(self, item: str | None) -> Turn | None:
        """The turn that words belong to.

        A model understands what it has heard when that is over, if at all: while the caller speaks
        again, or has been understood, it is the turn before that waits for words.
        """
        if item is not None and (known := self._items.get(item)) is not None:
            return known
        hearing = self.hearing
        if hearing is not None and Late.WORDS in hearing.kept_for:
            return hearing
        return next((turn for turn in self.newest_first() if Late.WORDS in turn.kept_for), hearing)

    # -- the agent's speeches --------------------------------------------------------------------

    def speech_made(
        self, speech: str, within: Turn | None, by: object, *, prompted: bool, entering: bool
    ) -> None:
        """A speech is to be made; see the module's text for whose it is.

        Args:
            speech: its id.
            within: the turn whose code asked for it.
            by: the task that asked for it.
            prompted: false if a realtime model speaks by itself.
            entering: whether an ``on_enter`` asked for it.
        """
        turn, hearing = within, self.hearing
        if (asked := self._decided_by(by)) is not None:
            turn = asked
        elif hearing is not None and turn is None:
            handed_over = entering and (hearing.awaits_answer or bool(hearing.speeches))
            meanwhile = hearing.awaits_answer and bool(hearing.speeches)
            if not prompted or handed_over or meanwhile:
                turn = hearing
        if turn is not None:
            self._speech_in(turn, speech)

    def _decided_by(self, task: object) -> Turn | None:
        """The caller's newest turn that this task was the last to decide something in.

        The caller may have begun the next one while the agent was asked about this.
        """
        decided = (turn for turn in self.newest_first() if turn.decider is task)
        return None if task is None else next(decided, None)

    def speech_begins(self, speech: str, at: float, by: object) -> tuple[Turn, bool]:
        """A speech begins to be made, in this task: its turn, and whether that begins with it."""
        turn = self._spoken_in.get(speech)
        if turn is not None:
            return turn, False
        if (turn := self._decided_by(by)) is not None:
            self._speech_in(turn, speech)
            return turn, False
        turn = self._begin(Caller.SILENT, at)
        self._speech_in(turn, speech)
        return turn, True

    def of_speech(self, speech: str) -> Turn | None:
        """The turn that a speech belongs to, until it is done."""
        return self._spoken_in.get(speech)

    def give(self, speech: str, turn: Turn) -> None:
        """A speech turns out to be another turn's."""
        if (before := self._spoken_in.get(speech)) is not None:
            self.take_back(before, {speech})
        self._speech_in(turn, speech)

    def take_back(self, turn: Turn, speeches: set[str]) -> None:
        """These won't be heard: the turn waits for what is at work for them, not for LiveKit, which
        keeps them until there is another one."""
        turn.taken_back |= speeches
        turn.speeches -= speeches

    def speech_over(self, speech: str, at: float) -> None:
        """A speech is done."""
        turn = self._spoken_in.pop(speech, None)
        if turn is not None:
            turn.speeches.discard(speech)
            self.part_over(turn, turn.over_at or at)

    def agent_heard(self, turn: Turn, at: float) -> None:
        """The agent begins to be heard."""
        self._heard_elsewhere(turn, at)
        marks = turn.marks
        if not turn.is_heard:
            marks.first_frame_at = at
            if turn.is_realtime and marks.steps:  # its model's first sound, not its first word
                marks.steps[-1].first_token_at = at
        if turn.answered_at is None and not marks.is_working:
            turn.answered_at = at

    def agent_audible(self, at: float) -> None:
        """The first audible sample of the agent's current speech left."""
        for turn in self.newest_first():
            if turn.speeches and turn.marks.audible_at is None:
                turn.marks.audible_at = at
                return

    def answered_by(self, turn: Turn, agent: str) -> None:
        """The agent of this name speaks."""
        turn.facts[names.GEN_AI_AGENT_NAME] = agent

    def agent_played(
        self, turn: Turn, *, cut: bool, by: str | None, played: float | None
    ) -> dict[str, Any]:
        """Facts of a speech that is over, as far as it was heard: see :meth:`.Turn.played`."""
        how = turn.played(cut=cut, by=by, played=played)
        other = self.hearing
        if how.get(names.INTERRUPTED_BY) == "user" and other is not None and other is not turn:
            other.facts[names.INTERRUPTS] = turn.index
        return how

    def falsely_interrupted(self) -> None:
        """The agent was paused for nothing, in the newest turn in which it is heard."""
        for turn in self.newest_first():
            if turn.speeches and turn.is_heard:
                turn.false_interruptions += 1
                return

    # -- words and work --------------------------------------------------------------------------

    def said(self, turn: Turn, name: str, text: str, *, cut: bool = False) -> None:
        """Words have become part of the history, the caller's or the agent's, cut short or not."""
        turn.said(name, text)
        self._totals.interruptions += cut
        if name == names.USER_WORDS:  # they may have typed it
            turn.facts[names.TURN_INITIATOR] = "user"

    def work_begins(self, turn: Turn) -> None:
        """A request is made that may go on when nobody wants its answer any more."""
        turn.work += 1

    def work_over(self, turn: Turn, at: float) -> None:
        """Such a request is done."""
        turn.work -= 1
        self.part_over(turn, at)

    def model_begins(self, turn: Turn, at: float) -> None:
        """A model that makes the sound itself has begun to answer."""
        turn.is_realtime = True
        turn.marks.decided_at = turn.marks.decided_at or at
        turn.marks.model_asked(at)

    def used(self, turn: Turn | None, name: str, amount: float) -> None:
        """So much of a model was used, in a turn or outside of any."""
        for usage in self._usages(turn):
            usage.add(name, amount)

    def served_by(self, turn: Turn | None, model: str) -> None:
        """A model took part."""
        for usage in self._usages(turn):
            usage.served_by(model)

    def _usages(self, turn: Turn | None) -> list[Usage]:
        return [self._totals.usage] if turn is None else [self._totals.usage, turn.usage]

    # -- the end ---------------------------------------------------------------------------------

    def part_over(self, turn: Turn, at: float) -> None:
        """End the turn if that was its last part; a question stays open to a late answer."""
        turn.over_at = max(at, turn.over_at or at)
        if turn.is_open or turn.kept_for or (turn.awaits_answer and turn is self.hearing):
            return
        self._end(turn, at)

    def close(self, at: float) -> dict[str, Any]:
        """The session is over, and so is every turn: what they come to, as attributes."""
        for turn in list(self._open.values()):
            harmless(self._end)(turn, at)
        return self._totals.attributes()

    def _begin(self, caller: Caller, at: float) -> Turn:
        before = self.hearing
        if before is not None and not before.is_open and not before.kept_for:
            self._end(before, at)  # it waited for an answer; none will come now
        turn = Turn(self._totals.turns, caller, at)
        turn.facts[names.TURN_INDEX] = turn.index
        turn.facts[names.TURN_INITIATOR] = "agent" if caller is Caller.SILENT else "user"
        self._open[turn.index] = turn
        self._totals.turns += 1
        if caller is not Caller.SILENT:
            self.hearing = turn
        return turn

    def _end(self, turn: Turn, at: float) -> None:
        """End the turn, whatever is open in it."""
        if self._open.pop(turn.index, None) is None:
            return
        if self.hearing is turn:
            self.hearing = None
        for item in [item for item, whose in self._items.items() if whose is turn]:
            del self._items[item]
        ended_at = at if turn.is_open or turn.over_at is None else turn.over_at
        if not turn.is_framed:
            self._modelled_until = max(ended_at, self._modelled_until)
        stages = turn.sum_up()
        if stages:
            self._totals.latencies.append(turn.facts[names.RESPONSE_LATENCY])
        self._over(turn, max(ended_at, turn.marks.audible_at or ended_at), stages)
        if turn.caller is not Caller.SILENT:
            for earlier in list(self._open.values()):
                if earlier.index < turn.index and earlier.kept_for and not earlier.is_open:
                    self._end(earlier, at)

    def _speech_in(self, turn: Turn, speech: str) -> None:
        turn.speeches.add(speech)
        self._spoken_in[speech] = turn

    def _heard_elsewhere(self, turn: Turn, at: float) -> None:
        """The agent starts to speak in one turn: what that is to another one of the caller's."""
        other = self.hearing
        if other is None or other is turn:
            return
        if other.speaking_since is not None:
            other.facts[names.INTERRUPTED_BY] = "agent"
            turn.facts[names.INTERRUPTS] = other.index
        elif other.awaits_answer and not other.is_open:
            # asked within a tool of an older turn, which goes on now
            other.marks.first_frame_at = at
            self.part_over(other, at)
