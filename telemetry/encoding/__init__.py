"""Conversations in the form that Sentry takes them.

==================  ==================================================================
``transactions``    as transaction events, one when the conversation ends
``streamed_spans``  as span items, while it runs
``ai_spans``        what Sentry's AI screens select spans by
``envelope``        the bytes of an envelope, and how much fits into one
``fitting``         items that are too large, cut to what Sentry takes
``values``          attributes as JSON knows them, without content and secrets
``given``           what is encoded, as the encoders see it
``scopes``          what a conversation's scopes say, noted for later
==================  ==================================================================
"""

from __future__ import annotations
