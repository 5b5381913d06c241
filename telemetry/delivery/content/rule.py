"""The rule of a process: what it may send. As text it goes with what is stored to be sent later."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .projection import NOTHING_ELSE, Policy


@dataclass(frozen=True, slots=True)
class Rule:
    """All that may be sent."""

    content: bool = False
    """True if the words of people are."""
    policy: Policy = NOTHING_ELSE
    """All else that is, where those aren't."""

    def to_text(self) -> str:
        """The rule as JSON: equal for equal rules."""
        if self.content:
            return json.dumps({"content": True})
        return json.dumps(
            {
                "attributes": sorted(self.policy.attributes),
                "errors": sorted(self.policy.errors),
            }
        )

    @classmethod
    def of_text(cls, text: str) -> Rule:
        """The rule that a text says; what can't be read allows nothing."""
        try:
            said = json.loads(text)
            if said.get("content") is True:
                return cls(content=True)
            return cls(policy=Policy(tuple(said["attributes"]), tuple(said["errors"])))
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def allows(self, other: Rule) -> bool:
        """True if all that may be sent by the other may be sent by this one."""
        if self.content or other.content:
            return self.content
        mine, others = self.policy, other.policy
        return set(mine.attributes) >= set(others.attributes) and set(mine.errors) >= set(
            others.errors
        )

    def with_other(self, other: Rule) -> Rule:
        """The rule of what both allow."""
        if self.content:
            return other
        if other.content:
            return self
        return Rule(
            policy=Policy(
                tuple(one for one in self.policy.attributes if one in other.policy.attributes),
                tuple(one for one in self.policy.errors if one in other.policy.errors),
                self.policy.keeps_whole,
            )
        )
