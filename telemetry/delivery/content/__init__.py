"""The rule for what may be sent: only what is known to hold nothing that somebody said.

Applied in one place, last, to each envelope. It doesn't search for words: it builds each item anew
of what is known, and leaves out all else. What is left out is in the local store, under the event's
id. ``docs/security.md`` has the rule in words.

================  ==================================================================
``rule``          the rule of a process, as text for what it stores to be sent later
``projection``    an envelope, made anew
``events``        an error's or a transaction's event, made anew
``items``         logs, streamed spans, check-ins, profiles, metrics, made anew
``texts``         texts, tags, users and attributes
``spans``         the name and op of a span
``allowed``       attributes that may be sent, and how each has to look
``kinds``         the looks: a word, a URL's host, a query without its values
``failures``      what exceptions say of themselves, as those who know them put it
================  ==================================================================
"""

from __future__ import annotations

from .failures import mark
from .projection import NOTHING_ELSE, Policy, Projected, Projection
from .rule import Rule

__all__ = ["NOTHING_ELSE", "Policy", "Projected", "Projection", "Rule", "mark"]
