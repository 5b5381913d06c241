"""What of texts, tags, users and attributes may be sent."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

from ...attributes import USER_ID
from ...written import FILTERED, Tag, Written
from . import kinds
from .allowed import SEARCHED
from .failures import Asked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .allowed import Allowed

_NAMES: Final = frozenset({kinds.name, kinds.names})
_TAG: Final = re.compile(r"[A-Za-z0-9_.:@/+-]{1,64}")
_TAG_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,32}")
_SAMPLING: Final = (
    "trace_id",
    "public_key",
    "sample_rate",
    "sample_rand",
    "sampled",
    "release",
    "environment",
    "org_id",
    "replay_id",
)


class Search(Protocol):
    """Knows what was said in the conversation that an item belongs to."""

    ids: set[str]
    """The conversation's id, which nobody said."""

    def redacted(self, value: Any) -> Any:
        """The value, a text or a structure of texts, without what was said."""

    def names(self, text: str) -> bool:
        """True if a text has a single word of what was said, however it is put down."""


class Texts:
    """Decides on texts.

    Args:
        allowed: the attributes that may be sent.
        search: what was said where they come from; None if nobody knows.
    """

    def __init__(self, allowed: Allowed, search: Search | None) -> None:
        self.allowed = allowed
        self.search = search

    def text(self, text: Any) -> str:
        """What of a text stands in the code."""
        if isinstance(text, Asked):
            return str(self.searched(str.__str__(text)))
        if isinstance(text, Written):
            return text.code if self.search is None else text.code_around(self.search.ids)
        return "" if not text else FILTERED

    def searched(self, value: Any) -> Any:
        """A value that the operator wants sent, without what was said."""
        return value if self.search is None else self.search.redacted(value)

    def shaped(self, value: Any, *shapes: Callable[[Any], Any]) -> Any:
        """A value that has one of these looks, or None."""
        return next((found for one in shapes if (found := one(value)) is not None), None)

    def logger(self, name: Any) -> str | None:
        """The name of a logger, or of the kind of a breadcrumb: a module's, or like one."""
        found = kinds.logger(name)
        if found is None or (found not in sys.modules and self.says(found)):
            return None
        return str(found)

    # -- whose it is -------------------------------------------------------------------------------

    def user(self, user: Mapping[str, Any]) -> dict[str, Any]:
        """A user's id, and what else the operator wants sent of it."""
        made: dict[str, Any] = {}
        for field, value in user.items():
            if field == "id":
                is_text = isinstance(value, str) and " " in value
                made[field] = self.searched(value) if is_text else value
            elif self.allowed.is_operators(f"user.{field}"):
                made[field] = self.searched(value)
        return made

    def tags(self, tags: Any) -> dict[str, Any]:
        """The tags of an event."""
        pairs = tags.items() if isinstance(tags, dict) else [one for one in tags if len(one) == 2]
        return {
            name: value
            for name, given in pairs
            if (value := self.tag(str(name), given)) is not None
        }

    def tag(self, name: str, value: Any) -> Any:
        """A tag's value: the code's, the operator's, or one short word that nobody said."""
        if not _TAG_NAME.fullmatch(name) or self.says(name):
            return None
        if isinstance(value, bool):
            return value
        if isinstance(value, Written) and value.is_code:
            return str.__str__(value)
        if self.allowed.is_operators(name):
            return self.searched(value)
        text = str.__str__(value) if isinstance(value, str) else str(value)
        if not _TAG.fullmatch(text) or (self.says(text) and not self._is_id(text)):
            return None
        return text if isinstance(value, str) else value

    def _is_id(self, text: str) -> bool:
        return self.search is not None and text in self.search.ids

    def says(self, text: str) -> bool:
        """True if a text has a word of what was said in it."""
        return self.search is not None and self.search.names(text)

    # -- attributes --------------------------------------------------------------------------------

    def attributes(self, attributes: Any) -> dict[str, Any]:
        """The attributes that may be sent."""
        if not isinstance(attributes, dict):
            return {}
        made: dict[str, Any] = {}
        for name, given in attributes.items():
            value = self.attribute(name, given)
            if value is not None:
                made[name] = value
        return made

    def attribute(self, name: str, value: Any) -> Any:
        """An attribute's value as it may be sent, or None."""
        kind = self.allowed.kind_of(name)
        if type(value) is Tag:
            return self.tag(name, value.tag)
        if kind is None:
            return None
        found = kind(value)
        if kind is kinds.logger:
            return self.logger(found)
        if found is None or kind not in SEARCHED or name == USER_ID:
            return found
        # A name of one word is a tool's or an agent's: it may well be what people come to say.
        if kind in _NAMES and " " not in str(found):
            return found
        return self.searched(found)

    def operators(self, values: Any) -> dict[str, Any]:
        """Of what has no meaning to us, what the operator wants sent."""
        if not isinstance(values, dict):
            return {}
        return {
            name: self.searched(value)
            for name, value in values.items()
            if self.allowed.is_operators(str(name))
        }

    def sampling(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """A dynamic sampling context, without the transaction's name: it is in the transaction."""
        return {name: context[name] for name in _SAMPLING if name in context}
