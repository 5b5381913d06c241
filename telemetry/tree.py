"""Conversations as text: a timed tree to read, and a bare outline to compare.

::

       start  duration
      +0.000    12.402  conversation host: completed
      +0.210     2.100  ├─ conversation.turn greeting
                        │  agent "Good evening, the Golden Fork."
      +3.020     4.310  └─ conversation.turn
                           │  caller "A table for four, please."
                           │  agent "For what time?"
                           │  answered in 640 ms: endpointing 300, transcription 90, llm 250
      +3.020     1.460     ├─ user.speech
      +4.780     0.450     └─ gen_ai.chat reply: small-1, first token 250 ms, 120 → 9 tokens

Children are in order of start. Every span given is shown exactly once: one whose parent isn't
there, or that is its own ancestor, stands under a line that says so.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from . import attributes as names
from .printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .records import ConversationRecord, SpanRecord

_GUTTER: Final = "{:>8}  {:>8}  "
_BLANK: Final = _GUTTER.format("", "")
_LEAST_TEXT: Final = 20
"""Columns that words get at least, however deep the tree and narrow the screen."""

_CLOSE: Final = 0.001
"""Seconds by which clocks may differ without a remark."""
_NO_PARENT: Final = "! parent not among these spans"
_OWN_ANCESTOR: Final = "! each other's parents"

_SAID: Final = ((names.USER_WORDS, "caller"), (names.AGENT_WORDS, "agent"))
_DONE: Final = (
    (names.GEN_AI_TOOL_CALL_ARGUMENTS, "arguments"),
    (names.GEN_AI_TOOL_CALL_RESULT, "result"),
)


def render(
    record: ConversationRecord,
    *,
    others: Sequence[ConversationRecord] = (),
    words: bool = True,
    width: int | None = None,
) -> str:
    """A conversation as a timed tree; times are seconds, starts count from the conversation's.

    Args:
        record: the conversation with its spans, the root first.
        others: what else is in its trace: the caller's own transaction, what services did for it.
            Each stands below the span that asked for it, with what is known of its clock.
        words: show what was said, and what tools were given and returned.
        width: columns to fit in; words are wrapped, other lines cut. None for no limit.
    """
    lines = [*_title(record), "", _GUTTER.format("start", "duration").rstrip()]
    spans = together([record, *others])
    remarks = remarks_of(spans, [record, *others])
    for row in _tree(spans):
        if isinstance(row.node, str):
            lines.append(_BLANK + row.art + row.node)
            continue
        span = row.node
        start = f"{span.started_at - record.started_at:+.3f}"
        times = _GUTTER.format(start, f"{span.duration:.3f}")
        facts = ", ".join([*facts_of(span), *remarks.get(span.span_id, ())])
        lines.append(times + row.art + label(span) + (facts and f": {facts}"))
        for note in _notes(span, words=words):
            before = _BLANK + row.below
            room = None if width is None else max(width - len(before), _LEAST_TEXT)
            lines += [before + part for part in _wrap(note, room)]
    if not spans:
        lines.append(f"{_BLANK}(no spans)")
    return "\n".join(_cut(line, width) for line in lines)


def outline(spans: Sequence[SpanRecord]) -> str:
    """The shape of a tree: op and name of each span, no times and no ids.

    Siblings are in order of start, then of op and name: equal trees give equal text.

    Args:
        spans: the root first, the rest in any order.
    """
    return "\n".join(
        row.art + (row.node if isinstance(row.node, str) else label(row.node))
        for row in _tree(spans)
    )


# -- one trace, several transactions -----------------------------------------------------------


def together(records: Sequence[ConversationRecord]) -> list[SpanRecord]:
    """The spans of all of them, the root of the trace first: one whose parent isn't there."""
    spans = [span for record in records for span in record.spans]
    known = {span.span_id for span in spans}
    roots = [record.spans[0] for record in records if record.spans]
    tops = [root for root in roots if root.parent_span_id not in known]
    if tops:
        top = min(tops, key=lambda root: root.started_at)
        spans.remove(top)
        spans.insert(0, top)
    return spans


def remarks_of(
    spans: Sequence[SpanRecord], records: Sequence[ConversationRecord]
) -> dict[str, list[str]]:
    """Compare the clocks of caller and callee: remarks by the id of the callee's root.

    What is done for somebody begins after it was asked for; if it seems to begin before, the
    clocks differ by that much at least. Nothing is shifted: the times shown are those recorded.
    """
    by_id = {span.span_id: span for span in spans}
    found: dict[str, list[str]] = {}
    for root in (record.spans[0] for record in records if record.spans):
        asked = by_id.get(root.parent_span_id or "")
        if asked is not None and (early := asked.started_at - root.started_at) > _CLOSE:
            found[root.span_id] = [f"clock behind its caller's by {_ms(early)} or more"]
        elif (
            asked is not None
            and asked.op == names.OP_HTTP_CLIENT
            and (late := root.started_at - asked.ended_at) > _CLOSE
        ):
            found[root.span_id] = [f"clock ahead of its caller's by {_ms(late)} or more"]
    return found


# -- the shape ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    node: SpanRecord | str
    """A span, or the remark that the spans below it stand under."""
    art: str
    """Drawn before it."""
    below: str
    """Drawn before text that belongs to it, in the rows that follow."""


def _tree(spans: Sequence[SpanRecord]) -> Iterator[_Row]:
    """Rows from the top down. No recursion: a chain of spans may be longer than the stack."""
    tops, children = forest(spans)
    stack = [(top, "", "") for top in reversed(tops)]
    while stack:
        node, art, onward = stack.pop()
        below = children.get(node, [])
        yield _Row(
            node if isinstance(node, str) else spans[node],
            art,
            onward + ("│  " if below else "   "),
        )
        for position, child in reversed([*enumerate(below, 1)]):
            last = position == len(below)
            stack.append(
                (
                    child,
                    onward + ("└─ " if last else "├─ "),
                    onward + ("   " if last else "│  "),
                )
            )


def forest(
    spans: Sequence[SpanRecord],
) -> tuple[list[int | str], dict[int | str, list[int]]]:
    """The spans at the top, and those below each: indices of spans, and remarks.

    The first span is a root even if it names a parent: a conversation may continue the trace of
    its caller.
    """
    order = sorted(
        range(len(spans)), key=lambda n: (spans[n].started_at, spans[n].op, spans[n].name)
    )
    by_id = {spans[index].span_id: index for index in reversed(range(len(spans)))}
    tops: list[int | str] = []
    children: dict[int | str, list[int]] = {}
    for index in order:
        parent = spans[index].parent_span_id
        if index == 0 or parent is None:
            tops.append(index)
        else:
            children.setdefault(by_id.get(parent, _NO_PARENT), []).append(index)
    if _NO_PARENT in children:
        tops.append(_NO_PARENT)

    reached = set(_descendants(tops, children))
    for index in order:
        if index not in reached:  # on a circle, or below one: cut it here, at the earliest
            children[by_id[spans[index].parent_span_id or ""]].remove(index)
            children.setdefault(_OWN_ANCESTOR, []).append(index)
            reached.update(_descendants([index], children))
    if _OWN_ANCESTOR in children:
        tops.append(_OWN_ANCESTOR)
    return tops, children


def _descendants(
    tops: Iterable[int | str], children: Mapping[int | str, list[int]]
) -> Iterator[int | str]:
    stack = [*tops]
    seen: set[int | str] = set()
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            yield node
            stack += children.get(node, [])


# -- the words ---------------------------------------------------------------------------------


def _title(record: ConversationRecord) -> Iterator[str]:
    began = f"{datetime.fromtimestamp(record.started_at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if record.ended_at is None:
        state = "not ended: it is running, or its process died"
    else:
        state = f"{record.ended_at - record.started_at:.3f} s  {printable(record.status)}"
    yield f"{printable(record.name)}  {printable(record.id)}  {began}  {state}"
    about = [f"trace {printable(record.trace_id)}"]
    for kind, values in (("user", record.user), ("tags", record.tags)):
        if values:
            pairs = (f"{printable(key)}={printable(value)}" for key, value in values.items())
            about.append(f"{kind} {' '.join(pairs)}")
    yield "  ".join(about)


def label(span: SpanRecord) -> str:
    """Op and name; of the name only what says more than the op."""
    name = "" if span.name == span.op or span.op.endswith(f".{span.name}") else span.name
    if span.op.startswith("gen_ai."):  # an AI span's name begins with what its op says
        name = name.removeprefix(f"{span.op.removeprefix('gen_ai.')} ")
    return printable(f"{span.op} {name}")


def facts_of(span: SpanRecord) -> Iterator[str]:
    """The facts of a span that one wants at a glance."""
    known = span.attributes
    if span.status != "ok":
        yield printable(span.status)
    if error := known.get(names.ERROR_TYPE):
        yield printable(error)
    if outcome := known.get(names.CONVERSATION_OUTCOME):
        yield printable(outcome)
    model = known.get(names.GEN_AI_RESPONSE_MODEL) or known.get(names.GEN_AI_REQUEST_MODEL)
    if model and str(model) not in span.name:
        yield printable(model)
    tool = known.get(names.GEN_AI_TOOL_NAME)
    if tool and str(tool) not in span.name:
        yield printable(tool)
    if (first := known.get(names.GEN_AI_TIME_TO_FIRST_TOKEN)) is not None:
        yield f"first token {_ms(first)}"
    if (first := known.get(names.TTS_TIME_TO_FIRST_BYTE)) is not None:
        yield f"first byte {_ms(first)}"
    tokens = [
        known.get(name)
        for name in (names.GEN_AI_USAGE_INPUT_TOKENS, names.GEN_AI_USAGE_OUTPUT_TOKENS)
    ]
    if any(count is not None for count in tokens):
        yield (
            " → ".join("?" if count is None else printable(count) for count in tokens) + " tokens"
        )
    if known.get(names.INTERRUPTED):
        played = known.get(names.PLAYED)
        yield "interrupted" if played is None else f"interrupted after {_seconds(played)}"


def _notes(span: SpanRecord, *, words: bool) -> Iterator[str]:
    """The texts in rows of their own below a span."""
    known = span.attributes
    if words:
        for name, who in _SAID:
            if said := known.get(name):
                yield f'{who} "{printable(said)}"'
        for name, what in _DONE:
            if known.get(name) is not None:
                yield f"{what} {printable(known[name])}"
    latency = known.get(names.RESPONSE_LATENCY)
    if span.op in (names.OP_TURN, names.OP_CALLER_TURN) and latency is not None:
        stages = ", ".join(
            f"{printable(stage)} {_ms(seconds, unit='')}" for stage, seconds in _stages(known)
        )
        gap = known.get(names.CALLER_GAP)
        heard = "" if gap is None else f" ({_ms(gap)} at the caller)"
        yield f"answered in {_ms(latency)}{heard}" + (stages and f": {stages}")


def _stages(known: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Stages of a response in the order they occur; unknown ones last."""
    prefix = names.LATENCY_STAGE
    stages = {
        name.removeprefix(prefix): value for name, value in known.items() if name.startswith(prefix)
    }
    order = [*names.STAGES, *sorted(stages.keys() - set(names.STAGES))]
    return [(stage, stages[stage]) for stage in order if stage in stages]


def _ms(seconds: object, unit: str = " ms") -> str:
    if isinstance(seconds, (int, float)):
        return f"{seconds * 1000:.0f}{unit}"
    return printable(seconds)


def _seconds(value: object) -> str:
    return f"{value:.1f} s" if isinstance(value, (int, float)) else printable(value)


def _wrap(text: str, width: int | None) -> list[str]:
    return [text] if width is None else textwrap.wrap(text, width, subsequent_indent="  ")


def _cut(line: str, width: int | None) -> str:
    return line if width is None or len(line) <= width else line[: width - 1] + "…"
