"""A conversation: the transaction of one call, from its beginning to its end."""

from __future__ import annotations

from ..attributes import GEN_AI_CONVERSATION_ID
from .transaction import Transaction


class Conversation(Transaction):
    """The transaction of a conversation: counted, and known by ``gen_ai.conversation.id``."""

    def _began(self) -> None:
        self.root.attributes[GEN_AI_CONVERSATION_ID] = self.id
        self.sink.tally.conversations.add()
