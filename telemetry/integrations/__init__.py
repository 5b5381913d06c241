"""One module per framework, each imported only when it is used.

``livekit``
    LiveKit Agents' own spans as the conversation's, and what they leave out.
``asgi``
    A service's requests as transactions below the spans that made them.
``httpx``, ``httpx2``, ``aiohttp``
    Requests as spans, with trace headers of the span that is active when they are sent, only to
    hosts that may have them, also when redirected.
``websockets``
    Connections as spans, with headers at the handshake; context for messages.
``otlp``
    A collector of OpenTelemetry's, which gets the tree that Sentry gets.
``propagation``
    Headers of the current span, for whatever has no integration.
``redirects``
    Requests of httpx and httpx2, hop by hop: shared by the two.
``harmless``
    Goes around what a framework calls: a fault of telemetry's isn't the call's.
"""
