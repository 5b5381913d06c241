"""One module per framework, each imported only when it is used.

``livekit``
    LiveKit Agents' own spans as the conversation's, and what they leave out.
``asgi``
    A service's requests as transactions below the spans that made them.
``httpx``
    Requests as spans, with trace headers of the span that is active when they are sent.
"""
